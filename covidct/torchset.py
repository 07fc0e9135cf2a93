"""A torch Dataset over the pictures, each decoded once; the only module here that needs torch (extra `models`)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from covidct import pictures
from covidct.files import inside

try:
    import torch
    from torch.utils.data import Dataset as TorchDataset
except ImportError as error:  # said here once, in words, instead of a bare traceback
    raise ImportError(
        "ds.torch() needs torch: pip install 'covidct[models]'; without it, iterate the subset"
    ) from error

MEMORY = 4 * 1024**3
"""bytes of pictures held in memory; above, ``cache`` must name a folder for a mapped file"""


class ImageSet(TorchDataset[tuple[Any, int]]):
    """``(image, label)`` of each record, label 1 = COVID; pictures decoded once, kept as uint8.

    Without ``size`` the transform gets a PIL image (grey, native size). With ``size`` pictures are resized once to
    size×size and the transform gets a uint8 tensor 1×size×size, which skips all PIL work in the epochs. Without a
    transform the sample is the uint8 tensor 1×H×W.
    """

    def __init__(
        self,
        root: Path,
        records: pd.DataFrame,
        transform: Callable[[Any], Any] | None = None,
        size: int | None = None,
        cache: Path | str | None = None,
    ) -> None:
        self.records = records.reset_index(drop=True)
        self.transform = transform
        self.size = size
        self.labels = torch.as_tensor(np.array(self.records["label"], dtype=np.int64))
        if size is None:
            heights, widths = (self.records[name].to_numpy(dtype=np.int64) for name in ("height", "width"))
        else:
            heights = widths = np.full(len(self.records), size, dtype=np.int64)
        self._shapes = np.stack([heights, widths], axis=1)
        self._ends = np.cumsum(heights * widths)
        self._pixels = self._decode(root, cache)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        grey = self.array(index)
        label = int(self.labels[index])
        if self.transform is None:
            return torch.from_numpy(grey.copy())[None], label
        if self.size is None:
            return self.transform(Image.fromarray(grey)), label
        return self.transform(torch.from_numpy(grey.copy())[None]), label

    def array(self, index: int) -> np.ndarray:
        """Picture as uint8 H×W (a view; do not write into it)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index}: expected 0 to {len(self) - 1}")
        index %= len(self)
        height, width = self._shapes[index]
        end = self._ends[index]
        return self._pixels[end - height * width : end].reshape(height, width)

    def _key(self, root: Path) -> str:
        """What the pixels depend on: images in order and their SHA-256 (where unknown: file, size and time)."""
        digest = hashlib.sha256()
        names, files, hashes = (self.records[name].astype(str) for name in ("image_id", "file", "sha256"))
        for name, file, known in zip(names, files, hashes, strict=True):
            if not known:
                facts = inside(root, file).stat()
                known = f"{root}/{file} {facts.st_size} {facts.st_mtime_ns}"
            digest.update(f"{name},{known}\n".encode())
        return digest.hexdigest()[:32]

    def _decode(self, root: Path, cache: Path | str | None) -> np.ndarray:
        total = int(self._ends[-1]) if len(self._ends) else 0
        ready = None
        if cache is not None:
            ready = Path(cache) / f"{self._key(root)}-{self.size or 'native'}.u8"
            if ready.is_file() and ready.stat().st_size == total and total:
                return np.memmap(ready, dtype=np.uint8, mode="r", shape=(total,))
            ready.parent.mkdir(parents=True, exist_ok=True)
        elif total > MEMORY:
            raise MemoryError(
                f"{len(self)} pictures need {total >> 20} MiB decoded, more than {MEMORY >> 20}; "
                "give cache=FOLDER to keep them in a mapped file, or size=224"
            )
        part = ready.with_name(f"{ready.stem}-{uuid.uuid4().hex}.part") if ready else None
        pixels: np.ndarray = (
            np.memmap(part, np.uint8, "w+", shape=(total,)) if part and total else np.empty(total, np.uint8)
        )

        def one(index: int) -> None:
            name = self.records["file"].iloc[index]
            image = pictures.open_picture(inside(root, name)).convert("L")
            height, width = self._shapes[index]
            if self.size is not None:
                image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
            elif image.size != (width, height):
                raise pictures.PictureError(
                    f"{name}: expected {width}×{height} pixels as the table says, got {image.width}×{image.height}; "
                    "run `covidct verify`"
                )
            pixels[self._ends[index] - height * width : self._ends[index]] = np.asarray(image).ravel()

        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(one, range(len(self.records))))
        except BaseException:
            if part:
                part.unlink(missing_ok=True)
            raise
        if ready and part and isinstance(pixels, np.memmap):
            pixels.flush()
            part.replace(ready)
            return np.memmap(ready, dtype=np.uint8, mode="r", shape=(total,))
        return pixels

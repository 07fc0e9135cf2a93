"""Reading speed: `covidct.load` and its torch data set beside the usual loader that opens each file in each epoch.

    python benchmarks/reading.py DATASET            # a dataset folder or version
    python benchmarks/reading.py DATASET --epochs 5 --size 224 --batch 16

Both sides give the same pictures: grey, size × size, float tensor in batches, one process. The usual loader is
`Image.open(path).convert("L").resize((size, size))` then a tensor, per image and epoch. "First batch" counts from
`covidct.load` (every file's hash verified) to the first batch, with torch imported and the files in the page cache;
for a version in $COVIDCT_HOME the second run finds the decoded pictures there.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import covidct


class PerEpoch(TorchDataset[tuple[torch.Tensor, int]]):
    """The usual way: open, decode and resize in every epoch."""

    def __init__(self, ds: covidct.Dataset, size: int) -> None:
        self.paths = [ds.root / file for file in ds.records["file"]]
        self.labels = ds.labels
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as image:
            grey = image.convert("L").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(grey))[None].float().div_(255), int(self.labels[index])


def epoch(data: TorchDataset[Any], batch: int) -> tuple[float, float]:
    """Seconds of one pass, and the mean of all pixels (so that nothing can be skipped)."""
    start = time.perf_counter()
    total, count = 0.0, 0
    for images, _ in DataLoader(data, batch_size=batch):
        total += float(images.mean()) * len(images)
        count += len(images)
    return time.perf_counter() - start, total / count


def main(
    dataset: Annotated[str, typer.Argument(help="a dataset folder or version")],
    size: Annotated[int, typer.Option(help="pixels")] = 224,
    batch: Annotated[int, typer.Option(help="images per batch")] = 16,
    epochs: Annotated[int, typer.Option(help="passes of each loader, in turn")] = 5,
) -> None:
    """Print the figures."""
    covidct.load(dataset).verify()  # files into the page cache
    start, busy = time.perf_counter(), time.process_time()
    ds = covidct.load(dataset)
    loaded = time.perf_counter() - start
    problems = ds.verify()
    verified = time.perf_counter() - start
    data = ds.torch(lambda image: image.float().div_(255), size=size)
    decoded = time.perf_counter() - start
    next(iter(DataLoader(data, batch_size=batch)))
    first, cpu = time.perf_counter() - start, time.process_time() - busy
    print(f"{len(ds)} images, {size} px, {torch.get_num_threads()} threads; {len(problems)} damaged files")
    print(f"first batch after {first:.2f} s ({cpu:.2f} s of processor time): "
          f"table {loaded:.2f}, hashes {verified - loaded:.2f}, "
          f"decoding {decoded - verified:.2f}, batch {first - decoded:.3f}")  # fmt: skip
    usual = PerEpoch(ds, size)
    pairs = [(epoch(usual, batch), epoch(data, batch)) for _ in range(epochs)]
    old, new = np.array([[a[0], b[0]] for a, b in pairs]).T
    means = {round(part[1], 3) for pair in pairs for part in pair}
    ratio = old / new
    print(f"epoch, median of {epochs} (least–most): "
          f"PIL per epoch {np.median(old):.2f} s ({old.min():.2f}–{old.max():.2f}), "
          f"covidct {np.median(new):.3f} s ({new.min():.3f}–{new.max():.3f}); "
          f"{np.median(ratio):.1f} times faster ({ratio.min():.1f}–{ratio.max():.1f})")  # fmt: skip
    print(f"from the second epoch on what decoding cost is won back; mean pixel {sorted(means)}")


if __name__ == "__main__":
    typer.run(main)

"""Training throughput, ours and a plain loop side by side: images per second, same network, batch, size and pictures.

    python benchmarks/train.py [--data FOLDER] [--networks resnet18,resnet50,densenet169,efficientnet_b0] [--steps 6]

The plain loop is what scripts of this kind do: a torchvision network in 32 bits, a DataLoader that opens each picture
with PIL every epoch, torchvision's transforms per picture. Ours is what `finetune` runs: pictures decoded once,
augmentation of whole batches, bf16 and channels_last where the processor has them. Both are timed in turn, several
rounds, with the time to get a batch included; the best round of each counts. FOLDER holds records.csv (a dataset);
without it 96 pictures of the size of the 2020 release's are drawn.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from torch import Tensor, nn

import covidct
from covidct.files import sha256_file
from covidct.pictures import encode
from covidct.records import COLUMNS, LABEL_NAMES, write_records
from models import backbones, data, engine
from models.engine import Hardware
from models.transforms import FineTuning, Normalise, random_numbers
from models.vision import torchvision

BATCH, SIZE, RESIZE = 16, 224, 256
transforms = torchvision.transforms


def drawn(folder: Path, count: int = 96) -> covidct.Dataset:
    """Smooth noise, 302×430 pixels (the mean of the 2020 release's COVID images), as 8-bit grey PNG."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (40, 56), dtype=np.uint8))
        picture = np.asarray(small.resize((430, 302), Image.Resampling.BICUBIC))
        file = folder / "images" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(picture))
        label = number % 2
        rows.append(
            {
                **dict.fromkeys(COLUMNS, ""),
                "image_id": str(number),
                "file": f"images/{number}.png",
                "label": label,
                "label_name": LABEL_NAMES[label],
                "patient_id": str(number),
                "width": 430,
                "height": 302,
                "reviewed": "false",
                "inpainted_fraction": 0,
                "sha256": sha256_file(file),
                "split": "train",
            }
        )
    write_records(folder / "records.csv", pd.DataFrame(rows))
    return covidct.load(folder)


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Opens, converts and transforms a picture each time it is asked for."""

    def __init__(self, subset: covidct.Subset) -> None:
        self.paths = [subset.path(name) for name in subset.records["image_id"]]
        self.labels = subset.labels
        self.transform = transforms.Compose(
            [
                transforms.Resize(RESIZE),
                transforms.RandomResizedCrop(SIZE, scale=(0.5, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=0.2, contrast=0.2),
                transforms.ToTensor(),
                transforms.Normalize([0.45] * 3, [0.33] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), int(self.labels[index])


def plain(subset: covidct.Subset, name: str, workers: int) -> Iterator[int]:
    """The plain loop; gives the size of each batch after its step."""
    model = backbones.build(name, 2).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loader = torch.utils.data.DataLoader(
        Pictures(subset), batch_size=BATCH, shuffle=True, num_workers=workers, drop_last=True
    )
    while True:
        for inputs, labels in loader:
            if name == "crnet":
                inputs = inputs[:, :1]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            yield len(labels)


def ours(subset: covidct.Subset, name: str) -> Iterator[int]:
    """What `finetune` runs, step by step."""
    fabric = engine.open_fabric(Hardware("cpu"), name)
    arrays = data.load_split(subset, RESIZE)
    channels = backbones.describe(name).channels
    view = FineTuning(SIZE, Normalise((0.45,) * channels, (0.33,) * channels))
    model = engine.channels_last(backbones.build(name, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    model, wrapped = fabric.setup(model, optimizer)
    model.train()
    epoch = 0
    while True:
        numbers = random_numbers(len(arrays), 0, epoch)
        for index in data.epoch_order(len(arrays), 0, epoch).split(BATCH):
            if len(index) < BATCH:
                continue
            inputs = view(arrays.images[index], arrays.aspect[index], numbers[index])
            wrapped.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(
                model(inputs.contiguous(memory_format=torch.channels_last)), arrays.labels[index]
            )
            fabric.backward(loss)
            wrapped.step()
            yield BATCH
        epoch += 1


def rate(steps: Iterator[int], count: int, clock: Callable[[], float]) -> float:
    """Images per second over ``count`` steps."""
    begin = clock()
    images = sum(next(steps) for _ in range(count))
    return images / (clock() - begin)


def best(
    make: dict[str, Callable[[], Iterator[int]]], steps: int, rounds: int, warm: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Highest rate of each, the loops taking turns so that both see the same machine."""
    loops = {name: maker() for name, maker in make.items()}
    for loop in loops.values():
        rate(loop, warm, clock)  # kernels chosen, memory allocated
    found = dict.fromkeys(loops, 0.0)
    for _ in range(rounds):
        for name, loop in loops.items():
            found[name] = max(found[name], rate(loop, steps, clock))
    return found


def main(
    data_folder: str = typer.Option("", "--data", help="folder of a dataset; empty: drawn pictures"),
    networks: str = typer.Option("resnet18,resnet50,densenet169,efficientnet_b0,crnet"),
    steps: int = typer.Option(4, help="per round"),
    rounds: int = typer.Option(3),
    warm: int = typer.Option(2, help="steps before the first round"),
    workers: int = typer.Option(0, help="DataLoader workers of the plain loop (the scripts of 2020: 0)"),
    cpu_time: bool = typer.Option(False, help="count this process's processor time: for a machine that others use too"),
) -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        subset = (covidct.load(data_folder) if data_folder else drawn(Path(folder))).train
        print(
            f"{torch.get_num_threads()} threads, batch {BATCH}, {SIZE}×{SIZE}, best of {rounds} × {steps} steps, "
            f"{'per second of processor time' if cpu_time else 'wall clock'}\n"
        )
        print("| network | plain loop, images/s | ours, images/s | ratio | precision of ours |\n|---|---|---|---|---|")
        for name in networks.split(","):
            makers: dict[str, Callable[[], Iterator[int]]] = {
                "plain": functools.partial(plain, subset, name, workers),
                "ours": functools.partial(ours, subset, name),
            }
            found = best(makers, steps, rounds, warm, time.process_time if cpu_time else time.perf_counter)
            precision = engine.choose_precision("auto", False, name)
            ratio = found["ours"] / found["plain"]
            print(f"| {name} | {found['plain']:.1f} | {found['ours']:.1f} | {ratio:.2f} | {precision} |", flush=True)


if __name__ == "__main__":
    typer.run(main)

"""Images per second of momentum contrast, side by side with a plain loop as the scripts of 2020 had it.

    OMP_NUM_THREADS=2 python benchmarks/contrastive.py --data FOLDER --backbones resnet18,resnet50,densenet169

FOLDER holds pictures (PNG, JPEG; searched below it). The plain loop: PIL decodes and augments each picture twice in a
DataLoader of the same process, two float32 encoders, one step at a time. Ours: pictures decoded once, views drawn in
batches, channels_last and the precision `auto` chooses, batch norm in four parts. Same pictures, batch and size; both
take turns step by step, so that a busy machine slows both alike; the median step counts, and the least (the quietest).
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from covidct import pictures
from models import backbones, engine, views
from models.contrastive import SslRecipe, build_moco
from models.engine import Hardware
from models.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise
from models.vision import torchvision

NORMALISE = Normalise(IMAGENET_MEAN, IMAGENET_STD)


class Blur:
    """MoCo v2's blur of a PIL picture."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=np.random.uniform(0.1, 2.0)))


class Plain(Dataset[tuple[Tensor, Tensor]]):
    """A picture file → two views, as the scripts did it."""

    def __init__(self, files: list[Path], size: int) -> None:
        t = torchvision.transforms
        self.files = files
        self.transform = t.Compose(
            [
                t.RandomResizedCrop(size, scale=(0.2, 1.0)),
                t.RandomApply([t.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                t.RandomGrayscale(p=0.2),
                t.RandomApply([Blur()], p=0.5),
                t.RandomHorizontalFlip(),
                t.ToTensor(),
                t.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self.files[index]).convert("RGB")
        return self.transform(image), self.transform(image)


class PlainMoCo:
    """Momentum contrast without any of ours: float32, contiguous, one optimiser."""

    def __init__(self, backbone: str, queue: int) -> None:
        encoder, width = backbones.features(backbones.build(backbone, 2), backbone)
        self.query = nn.Sequential(encoder, nn.Linear(width, 2048), nn.ReLU(), nn.Linear(2048, 128)).train()
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue = F.normalize(torch.randn(128, queue), dim=0)
        self.place = 0
        self.optimizer = torch.optim.SGD(self.query.parameters(), lr=0.015, momentum=0.9, weight_decay=1e-4)

    def step(self, first: Tensor, second: Tensor) -> None:
        query = F.normalize(self.query(first), dim=1)
        with torch.no_grad():
            for key, value in zip(self.key.parameters(), self.query.parameters(), strict=True):
                key.data = key.data * 0.999 + value.data * 0.001
            keys = F.normalize(self.key(second), dim=1)
        logits = torch.cat([(query * keys).sum(1, keepdim=True), query @ self.queue], dim=1) / 0.2
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.queue[:, self.place : self.place + len(keys)] = keys.T
        self.place = (self.place + len(keys)) % self.queue.shape[1]


def plain_steps(files: list[Path], backbone: str, size: int, batch: int, queue: int) -> Iterator[None]:
    """One training step of the plain loop each time."""
    model = PlainMoCo(backbone, queue)
    loader = DataLoader(Plain(files, size), batch_size=batch, shuffle=True, drop_last=True, num_workers=0)
    while True:
        for first, second in loader:
            model.step(first, second)
            yield


def our_steps(files: list[Path], backbone: str, size: int, batch: int, queue: int) -> Iterator[None]:
    """One training step of models.contrastive each time, views included."""
    recipe = SslRecipe(backbone=backbone, size=size, batch=batch, queue=queue)
    greys = [Image.fromarray(pictures.to_grey(pictures.open_picture(file))) for file in files]
    images = torch.from_numpy(np.stack([np.asarray(g.resize((size * 8 // 7,) * 2)) for g in greys])).unsqueeze(1)
    aspect = torch.tensor([g.width / g.height for g in greys])
    encoder, width = backbones.features(backbones.build(backbone, 2), backbone)
    moco = build_moco(engine.channels_last(encoder), width, recipe)
    fabric = engine.open_fabric(Hardware("cpu"), backbone)
    optimizer = torch.optim.SGD(moco.query.parameters(), lr=0.015, momentum=0.9, weight_decay=1e-4)
    wrapped, wrapped_optimizer = fabric.setup(moco, optimizer)
    wrapped.train()
    for epoch in range(1000):
        numbers = views.random_numbers(len(files), 0, epoch)
        for index in torch.randperm(len(files)).split(batch):
            if len(index) < batch:
                continue
            pair = views.two_views(images[index], aspect[index], numbers[index], recipe.view(), NORMALISE)
            query, key = (view.contiguous(memory_format=torch.channels_last) for view in pair)
            wrapped_optimizer.zero_grad(set_to_none=True)
            loss, keys = wrapped(query, key, index, torch.randperm(len(index)))
            fabric.backward(loss)
            wrapped_optimizer.step()
            moco.step_done(keys, index)
            yield


def timed(step: Callable[[], None], clock: Callable[[], float]) -> float:
    begin = clock()
    step()
    return clock() - begin


def main(
    data: Path = typer.Option(..., help="folder of pictures"),
    names: str = typer.Option("resnet18,resnet50,densenet169", "--backbones"),
    batch: int = typer.Option(16),
    size: int = typer.Option(224),
    queue: int = typer.Option(512),
    steps: int = typer.Option(6, help="timed steps of each, after one to warm up"),
    cpu_time: bool = typer.Option(False, help="count this process's processor time: for a machine that others use too"),
) -> None:
    """Print a Markdown table."""
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"})[: 8 * batch]
    if len(files) < batch:
        raise SystemExit(f"{data}: expected at least {batch} pictures, got {len(files)}")
    print(f"batch {batch}, {size}×{size}, {torch.get_num_threads()} threads, {steps} steps each, taking turns\n")
    print("| backbone | plain, images/s | ours, images/s | times | at best: plain | ours | times |")
    print("|---|---|---|---|---|---|---|")
    clock = time.process_time if cpu_time else time.perf_counter
    for name in names.split(","):
        loops = [maker(files, name, size, batch, queue) for maker in (plain_steps, our_steps)]
        for loop in loops:
            next(loop)
        took: list[list[float]] = [[], []]
        for _ in range(steps):
            for which, loop in enumerate(loops):
                took[which].append(timed(partial(next, loop), clock))
        cells = []
        for measure in (statistics.median, min):
            plain, ours = (batch / measure(values) for values in took)
            cells += [f"{plain:.1f}", f"{ours:.1f}", f"{ours / plain:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)

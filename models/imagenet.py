"""ImageNet weights for a network nobody published any for (CRNet's row 'Trans.' of Table III).

    python -m models.imagenet --images ILSVRC2012/train --out data/imagenet/crnet --backbone crnet

Reads   ``--images``: one folder of pictures per class.
Writes  ``--out``: model.safetensors (the network without its classifier, for ``--init encoder:…``), card.json,
        history.csv. ``--cache``: the state after each epoch, to resume from.
Guarantees  the same pictures, seed, workers, threads and hardware give the same weights, interrupted or not.

No stage of the pipeline: it takes days on a GPU and pictures that may not be passed on. The recipe is the usual one
(SGD 0.1 per 256 pictures, momentum 0.9, weight decay 1e-4, cosine, crops of 0.08 to 1, mirror); the paper does not
give its own. Pictures are read as grey for one-channel networks.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import typer
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from covidct import pictures
from covidct.commands import new_app
from covidct.files import write_text
from models import backbones, checkpoint, data, engine
from models.engine import Hardware
from models.errors import guarded
from models.objective import Clock, Objective
from models.tables import history_text
from models.training import Training, device_facts, new_network
from models.transforms import IMAGENET_MEAN, IMAGENET_STD, Evaluation, Normalise
from models.vision import torchvision

log = logging.getLogger(__name__)

ENDINGS = {".jpeg", ".jpg", ".png", ".webp"}
GREY = Normalise((0.449,), (0.226,))
"""mean and deviation of ImageNet's grey: means of the three channels'"""


class ImageNetError(ValueError):
    """A folder that cannot be trained on: says what, expected, got and the next step."""


@dataclass(frozen=True)
class ImageNetRecipe:
    """What decides the weights besides data and hardware."""

    backbone: str
    seed: int = 0
    size: int = 224
    epochs: int = 90
    batch: int = 256
    learning_rate: float = 0.1
    """for batches of 256; scaled with the batch"""
    momentum: float = 0.9
    weight_decay: float = 1e-4


class Folder(Dataset[tuple[Tensor, int]]):
    """Pictures in one folder per class, in a fixed order; gives uint8 C×S×S crops and the class."""

    def __init__(self, root: Path, size: int, channels: int) -> None:
        self.classes = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        self.items = [
            (path, label)
            for label, name in enumerate(self.classes)
            for path in sorted((root / name).iterdir())
            if path.suffix.lower() in ENDINGS
        ]
        if len(self.classes) < 2 or not self.items:
            raise ImageNetError(
                f"{root}: expected a folder per class with pictures ({', '.join(sorted(ENDINGS))}), got "
                f"{len(self.classes)} folders and {len(self.items)} pictures; name the folder 'train' of ILSVRC2012"
            )
        transforms = torchvision.transforms
        self.view = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()])
        self.mode = "L" if channels == 1 else "RGB"
        self.to_tensor = transforms.PILToTensor()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.items[index]
        image: Image.Image = pictures.open_picture(path)
        return self.to_tensor(self.view(image.convert(self.mode))), label

    @property
    def digest(self) -> str:
        """SHA-256 over the names and sizes of the files (their bytes are far too many)."""
        lines = (f"{label},{path.name},{path.stat().st_size}" for path, label in self.items)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def train(
    folder: Folder,
    recipe: ImageNetRecipe,
    *,
    hardware: Hardware = Hardware(),
    workers: int = 0,
    cache: Path | None = None,
    minutes: float = 0.0,
) -> tuple[nn.Module, dict[str, Any], list[dict[str, float]]]:
    """The network without its classifier, its card and the history. Raises EngineError, ImageNetError."""
    if not 2 <= recipe.batch <= len(folder):
        raise ImageNetError(f"batch: expected 2 to {len(folder)} (the pictures), got {recipe.batch}")
    fabric = engine.open_fabric(hardware, recipe.backbone)
    network, report = new_network(recipe.backbone, len(folder.classes), recipe.size, "random", recipe.seed)
    objective = Objective(network, recipe.backbone, None)
    rate = recipe.learning_rate * recipe.batch / 256
    optimizer = torch.optim.SGD(
        objective.parameters(), lr=rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    training, clock = Training(fabric, hardware, objective, optimizer, recipe.epochs), Clock()
    normalise = GREY if backbones.describe(recipe.backbone).channels == 1 else Normalise(IMAGENET_MEAN, IMAGENET_STD)

    def one_epoch(epoch: int) -> dict[str, float]:
        order = list(data.batches(data.epoch_order(len(folder), recipe.seed, epoch), recipe.batch))
        loader = DataLoader(
            folder,
            batch_sampler=[index.tolist() for index in order],
            num_workers=workers,
            pin_memory=fabric.device.type == "cuda",
            multiprocessing_context="spawn" if workers else None,  # torchvision is repaired at import in each
        )
        stream: Iterator[tuple[Tensor, Tensor]] = iter(loader)

        def loss_of(_: Tensor) -> Tensor:
            images, labels = (value.to(fabric.device, non_blocking=True) for value in next(stream))
            inputs = normalise(images.float() / 255).contiguous(memory_format=torch.channels_last)
            loss: Tensor = training.step(inputs, labels)
            return loss

        title = f"{recipe.backbone} ImageNet epoch {epoch + 1}/{recipe.epochs}"
        learning_rate, loss = training.epoch(order, loss_of, title=title)
        return {"lr": learning_rate, "train_loss": loss}

    history = engine.run(
        fabric,
        {"objective": objective, "optimizer": optimizer, "scheduler": training.scheduler, "clock": clock},
        recipe.epochs,
        clock.counted(one_epoch, len(folder)),
        folder=cache,
        fingerprint={"recipe": asdict(recipe), "files": folder.digest, "device": fabric.device.type},
        seed=recipe.seed,
        minutes=minutes,
    )
    encoder, _ = backbones.features(network.to("cpu"), recipe.backbone)
    card = checkpoint.make_card(
        kind="encoder",
        backbone=recipe.backbone,
        class_names=(),
        preprocessing=Evaluation(recipe.size, normalise).to_card(),
        recipe={**asdict(recipe), "method": "supervised, ImageNet classes", "optimizer": "SGD, cosine"},
        dataset={"sets": {"imagenet": {"images": len(folder), "classes": len(folder.classes)}}},
        metrics={"final_loss": history[-1]["train_loss"]},
        licence="ImageNet: non-commercial research",
        initial_weights=report.as_dict(),
        training={**clock.figures(), **device_facts(fabric)},
    )
    return encoder.eval(), card, history


app = new_app()


@app.command()
@guarded
def main(
    images: Path = typer.Option(..., help="folder with a folder of pictures per class"),
    out: Path = typer.Option(..., help="folder of the weights"),
    backbone: str = typer.Option("crnet", help=", ".join(backbones.BACKBONES)),
    cache: Path | None = typer.Option(None, help="folder of the resumable state"),
    epochs: int = typer.Option(90),
    batch: int = typer.Option(256),
    size: int = typer.Option(224),
    seed: int = typer.Option(0, min=0),
    workers: int = typer.Option(4, min=0, help="processes that decode pictures"),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    precision: str = typer.Option("auto", help=", ".join(engine.PRECISIONS)),
    minutes: float = typer.Option(0.0, help="stop cleanly after about so many minutes; 0: no limit"),
) -> None:
    """Train a network on ImageNet's pictures."""
    recipe = ImageNetRecipe(backbone, seed, size, epochs, batch)
    channels = backbones.describe(backbone).channels
    encoder, card, history = train(
        Folder(images, size, channels), recipe, hardware=Hardware(accelerator, 1, precision), workers=workers,
        cache=cache, minutes=minutes,
    )  # fmt: skip
    checkpoint.save(out, encoder, card)
    write_text(out / "history.csv", history_text(history))
    log.info("%s: loss %.3f; start from it with --init encoder:%s", out, history[-1]["train_loss"], out)


if __name__ == "__main__":
    app()

"""Which runs `benchmarks.paper_tables` makes of the paper's tables, in which order, and with which settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PARTIAL, SQUEEZE = "partial:weights/resnet18_imagenet_partial.pth", "file:weights/squeezenet1_1_imagenet.pth"


@dataclass(frozen=True)
class Job:
    """One fine-tuning with one seed, after its encoder where it has one; ``chain`` empty: none."""

    name: str
    backbone: str
    seed: int = 0
    init: str = "random"
    chain: tuple[str, ...] = ()
    rotation: bool = False
    scheme: str = "published"
    ssl_epochs: int = 0
    """0: what the command says"""

    @property
    def folder(self) -> str:
        return f"runs/{self.name}-{self.seed}"

    @property
    def encoder(self) -> str:
        start = "random" if self.init == "random" else "imagenet"
        return "-".join((self.backbone, start, *self.chain, *(() if self.scheme == "published" else (self.scheme,))))


@dataclass(frozen=True)
class Settings:
    """What decides results besides a job; defaults are the paper's, SSL epochs are not in it."""

    epochs: int = 50
    ssl_epochs: int = 200
    size: int = 224
    batch: int = 16
    ssl: dict[str, Any] = field(default_factory=dict)
    accelerator: str = "auto"
    precision: str = "auto"
    graphs: bool = True


def plan(seeds: list[int]) -> list[list[Job]]:
    """Tasks in order of importance; the jobs of a task run one after the other and share their encoder."""
    big = ("densenet169", "efficientnet_b1", "densenet121", "vgg16", "efficientnet_b0", "resnet50")
    table3 = [[Job(f"{name}-random", name, seed) for name in (*big, "resnet18", "crnet")] for seed in seeds]
    transfer = [
        ("resnet18-imagenet-partial", "resnet18", PARTIAL),
        ("squeezenet1_1-imagenet", "squeezenet1_1", SQUEEZE),
    ]

    def ssl(name: str, backbone: str, init: str, *chain: str, epochs: int = 0, scheme: str = "published") -> list[Job]:
        return [Job(name, backbone, seed, init, chain, scheme=scheme, ssl_epochs=epochs) for seed in seeds]

    def fine(name: str, backbone: str, init: str = "random", **more: Any) -> list[Job]:
        return [Job(name, backbone, seed, init, **more) for seed in seeds]

    # What takes longest begins first. Table VI: ResNet-18 whole, with the weights there are, then what can be had of
    # the paper's two networks
    luna = ssl("resnet18-partial-ssl-luna", "resnet18", PARTIAL, "luna")
    luna += ssl("resnet18-partial-self-trans", "resnet18", PARTIAL, "luna", "covidct")
    dense = ssl("densenet169-ssl-random-covidct", "densenet169", "random", "covidct", epochs=100)
    first = [dense[:1], luna, *([job] for jobs in table3 for job in jobs)]
    first += [[job] for name, backbone, init in transfer for job in fine(name, backbone, init)]
    second = [
        ssl("resnet50-ssl-random-covidct", "resnet50", "random", "covidct", epochs=100),
        fine("resnet18-random-cleaned", "resnet18", scheme="cleaned"),
        fine("resnet18-imagenet-partial-cleaned", "resnet18", PARTIAL, scheme="cleaned"),
        fine("crnet-random-cleaned", "crnet", scheme="cleaned"),
        fine("resnet18-partial-rotation", "resnet18", PARTIAL, rotation=True),
        ssl("resnet18-partial-ssl-covidct", "resnet18", PARTIAL, "covidct"),
        ssl("resnet18-ssl-random-covidct", "resnet18", "random", "covidct"),
        ssl("resnet18-partial-self-trans-cleaned", "resnet18", PARTIAL, "luna", "covidct", scheme="cleaned"),
        ssl("resnet18-ssl-random-luna-covidct", "resnet18", "random", "luna", "covidct"),
        ssl("resnet50-ssl-random-luna-covidct", "resnet50", "random", "luna", "covidct", epochs=100),
        *([job] for job in dense[1:]),  # with the encoder of the first
        *([Job(f"{name}-random-cleaned", name, seed, scheme="cleaned")] for seed in seeds for name in big[::-1]),
        ssl("densenet169-ssl-random-luna-covidct", "densenet169", "random", "luna", "covidct", epochs=100),
    ]
    return [*first, *second]

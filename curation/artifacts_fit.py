"""Relearn the numbers of `curation.artifacts` from drawn marks: ``python -m curation.artifacts_fit --help``.

Reads: folders of clean single chest CTs (8-bit grey; LUNA16 slices were used) and drawn chest CTs of the sample corpus.
Writes: ``artifacts.npz`` (16-bit numbers, under 1 MB) and prints what it reaches on subjects kept out.
Guarantees: same seed, workers and machine, same numbers (not with ``--minutes``, where the clock says how far it
gets); a subject is in training or in validation, never in both.
"""

from __future__ import annotations

import functools
import logging
import math
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn
from torch.nn import functional

from curation.artifacts_pieces import Pieces
from curation.raster import grey, read
from curation.strokes import PLANES, WIDTHS

log = logging.getLogger(__name__)

UNSEEN = 0.1
"""weight of pixels under a mark that does not show there (white on white)"""
WARM = 0.15
"""share of the training in which the learning rate rises"""


class Strokes(nn.Module):
    """`curation.strokes` in torch, with batch normalisation: N x 4 x H x W -> N x H x W logits."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.scales = len(widths)
        layers: dict[str, nn.Module] = {}
        before = PLANES
        for scale, width in enumerate(widths):
            layers[f"down{scale}a"] = block(before, width)
            layers[f"down{scale}b"] = block(width, width)
            before = width
        for scale in range(self.scales - 2, -1, -1):
            layers[f"up{scale}"] = block(widths[scale + 1] + widths[scale], widths[scale])
        self.layers = nn.ModuleDict(layers)
        self.out = nn.Conv2d(widths[0], 1, 1)
        nn.init.constant_(self.out.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for scale in range(self.scales):
            if scale:
                x = functional.max_pool2d(x, 2)
            x = self.layers[f"down{scale}b"](self.layers[f"down{scale}a"](x))
            kept.append(x)
        for scale in range(self.scales - 2, -1, -1):
            wider = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.layers[f"up{scale}"](torch.cat([wider, kept[scale]], 1))
        logits: torch.Tensor = self.out(x)[:, 0]
        return logits


def block(before: int, after: int) -> nn.Sequential:
    """3 x 3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def widths_of(learned: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Channels at each scale of the network that ``learned`` belongs to."""
    return tuple(len(learned[f"down{scale}b.bias"]) for scale in range(sum(n.endswith("b.bias") for n in learned)))


def planes(images: torch.Tensor) -> torch.Tensor:
    """`curation.strokes.planes` of a batch: N x H x W x 4 uint8 (red, green, blue, alike) -> N x 4 x H x W float32."""
    colour = images[..., :3].float() / 127.5 - 1
    luma = colour @ torch.tensor([0.299, 0.587, 0.114], device=images.device)
    return torch.stack([luma, colour[..., 0] - luma, colour[..., 2] - luma, images[..., 3].float() / 4 - 1], 1)


def numbers(network: Strokes) -> dict[str, np.ndarray]:
    """Weights and biases with the normalisation folded in, as `curation.strokes` reads them (float16)."""
    found: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for name, layer in network.layers.items():
            convolution, norm = layer[0], layer[1]  # type: ignore[index]
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            found[f"{name}.weight"] = (convolution.weight * factor[:, None, None, None]).numpy().astype(np.float16)
            found[f"{name}.bias"] = (norm.bias - norm.running_mean * factor).numpy().astype(np.float16)
        found["out.weight"] = network.out.weight[:, :, 0, 0].numpy().astype(np.float16)
        found["out.bias"] = network.out.bias.numpy().astype(np.float16)  # type: ignore[union-attr]
    return found


@torch.no_grad()
def resume(network: Strokes, learned: Mapping[str, np.ndarray], x: torch.Tensor) -> None:
    """Give the network the numbers of an earlier fit; its normalisation gets the statistics of ``x`` (N x 4 x H x W).

    Normalisation is folded into the numbers, so scale and shift are set to what leaves its input as it is. A plane that
    the earlier fit did not know starts with weights of 0.
    """

    def take(layer: nn.Module, inputs: tuple[torch.Tensor, ...], name: str) -> None:
        convolution, norm = layer.get_submodule("0"), layer.get_submodule("1")
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        weight = torch.from_numpy(learned[f"{name}.weight"].astype(np.float32))
        convolution.weight.zero_()
        convolution.weight[:, : weight.shape[1]] = weight
        variance, mean = torch.var_mean(convolution(inputs[0]), dim=(0, 2, 3), correction=0)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.copy_(mean + torch.from_numpy(learned[f"{name}.bias"].astype(np.float32)))
        norm.running_mean, norm.running_var = mean, variance

    hooks = [
        layer.register_forward_pre_hook(functools.partial(lambda name, m, i: take(m, i, name), name))
        for name, layer in network.layers.items()
    ]
    network.out.weight.copy_(torch.from_numpy(learned["out.weight"].astype(np.float32))[:, :, None, None])
    assert network.out.bias is not None
    network.out.bias.copy_(torch.from_numpy(learned["out.bias"].astype(np.float32)))
    network(x)
    for hook in hooks:
        hook.remove()


def loss_of(logits: torch.Tensor, covered: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy plus one minus the soft overlap (Dice) over the batch; all N x H x W."""
    target = covered.float()
    weight = torch.where((covered > 0) & (change == 0), UNSEEN, 1.0)
    cross = functional.binary_cross_entropy_with_logits(logits, target, weight)
    chance = torch.sigmoid(logits) * weight
    overlap = (2 * (chance * target).sum() + 1) / (chance.sum() + (target * weight).sum() + 1)
    return 4 * cross + (1 - overlap)


def rise_and_fall(share: float) -> float:
    """Factor of the learning rate after ``share`` (0..1) of the training: straight up to 1, then half a cosine to 0."""
    if share < WARM:
        return 0.04 + 0.96 * share / WARM
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (share - WARM) / (1 - WARM)))


def learn(
    slices: list[np.ndarray],
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    workers: int,
    device: str,
    start: Mapping[str, np.ndarray] | None = None,
    minutes: float = 0.0,
) -> Strokes:
    """Train for ``steps`` batches, or ``minutes``, with Adam and one cycle of the rate; ``workers`` draw the marks.

    ``start``: numbers of an earlier fit to go on from, whatever its widths.
    """
    torch.manual_seed(seed)
    network = Strokes(widths_of(start) if start else WIDTHS)
    stream = iter(
        torch.utils.data.DataLoader(
            Pieces(slices, seed), batch_size=batch, num_workers=workers, pin_memory=device != "cpu"
        )
    )
    if start is not None:
        resume(network, start, planes(next(stream)[0]))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    half = device != "cpu" or _has_bf16()
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    mean, step, begun, share = 1.0, 0, time.monotonic(), 0.0
    while share < 1:
        optimiser.param_groups[0]["lr"] = rate * rise_and_fall(share)
        image, covered, change = (part.to(device, non_blocking=True) for part in next(stream))
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            logits = network(planes(image).contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), covered, change)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        share = (time.monotonic() - begun) / 60 / minutes if minutes else step / steps
        if step % 50 == 0:
            mean += 0.2 * (float(loss.detach()) - mean)
        if step % 200 == 0:
            log.info("step %d, %.1f %%: loss %.4f", step, 100 * share, mean)
    log.info("%d steps of %d crops", step, batch)
    return network.eval().cpu()


def _has_bf16() -> bool:
    """True if this CPU multiplies bf16 in hardware; False where torch cannot tell."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def subject_of(path: Path) -> str:
    """What must not be split: the series uid before ``.mhd``, else the name before the first ``_``."""
    return path.name.split(".mhd")[0].split("_")[0]


def phantoms(count: int, seed: int) -> list[np.ndarray]:
    """Drawn chest CTs of the sample corpus that carry no marks."""
    from harvest.sample.phantom import draw_patient
    from harvest.sample.picture import draw_figure

    kinds = ("covid", "normal", "nodule", "emphysema", "lobar", "effusion", "fibrosis")
    found: list[np.ndarray] = []
    for n in range(4 * count):
        patient = draw_patient(seed + 2000, f"marks{n}", kinds[n % len(kinds)])
        picture = draw_figure(seed + 2000, f"marks{n}", [(patient, 0.3 + 0.05 * (n % 10))])
        if not any(panel.marks for panel in picture.panels) and len(found) < count:
            found.append(grey(picture.pixels))
    return found


def main(
    slices: Annotated[list[Path], typer.Option(help="folder of clean single chest CTs; repeat")],
    out: Annotated[Path, typer.Option(help="file to write")] = Path("curation/artifacts.npz"),
    steps: Annotated[int, typer.Option(help="batches")] = 6000,
    batch: Annotated[int, typer.Option(help="crops per batch")] = 16,
    rate: float = 0.006,
    workers: Annotated[int, typer.Option(help="processes that draw marks; 0: none beside this one")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    start: Annotated[Path | None, typer.Option(help="numbers of an earlier fit to go on from")] = None,
    average: Annotated[
        Path | None, typer.Option(help="numbers that the learned ones are averaged with, half each")
    ] = None,
    drawn: Annotated[int, typer.Option(help="drawn chest CTs beside the given ones")] = 60,
    seed: int = 0,
    minutes: Annotated[float, typer.Option(help="train for so long instead of a number of steps")] = 0.0,
) -> None:
    """Learn what a mark looks like."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    paths = sorted(p for folder in slices for p in folder.rglob("*.png"))
    kept = [p for p in paths if zlib.crc32(subject_of(p).encode()) % 5]
    learned_from = [grey(read(p)) for p in kept] + phantoms(drawn, seed)
    log.info("%d slices; %d of other subjects kept out for the benchmark", len(learned_from), len(paths) - len(kept))
    earlier = dict(np.load(start, allow_pickle=False)) if start else None
    network = learn(learned_from, steps, batch, rate, seed, workers, device, earlier, minutes)
    found = numbers(network)
    if average:  # weights of fits that began alike: better than either, and as quick as one
        with np.load(average, allow_pickle=False) as other:
            found = {k: ((v.astype(np.float32) + other[k]) / 2).astype(np.float16) for k, v in found.items()}
    np.savez_compressed(out, **found)  # type: ignore[arg-type]
    log.info("%d bytes -> %s", out.stat().st_size, out)


if __name__ == "__main__":
    typer.run(main)

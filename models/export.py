"""A checkpoint as ONNX, checked against torch: ``python -m models.export --model data/finetune/RUN --out model.onnx``.

The graph takes what the network takes (float32 N×C×S×S, normalised; any N) and gives logits; the card travels in the
file's metadata (key ``card``), so that preprocessing and class names are not lost.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import nn

from covidct.commands import new_app
from models import checkpoint
from models.errors import guarded

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""largest difference of a logit between torch and onnxruntime, relative to the largest logit"""


class ExportError(RuntimeError):
    """The export failed or does not compute what torch computes: says what, expected and got."""


def to_onnx(model: nn.Module, card: dict[str, Any], out: Path) -> float:
    """Write the network as ONNX and run both on random pictures; returns the largest relative difference of a logit.

    Raises ExportError if it is above TOLERANCE (nothing is written then), or if the extra `onnx` is missing.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401  asked for now, not after minutes of export
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"export: {error.name} is missing; pip install 'covidct[onnx]'") from error
    preprocessing = card["preprocessing"]
    shape = (int(preprocessing["channels"]), int(preprocessing["size"]), int(preprocessing["size"]))
    # A copy in plain memory order: channels_last weights would be written with transposes
    plain = model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".onnx") as folder:
        part = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            plain,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("images", min=1)},),
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise ExportError("export: torch.onnx gave no program")
        program.save(str(part))
        graph = onnx.load(str(part))
        onnx.helper.set_model_props(graph, {"card": json.dumps(card, ensure_ascii=False, sort_keys=True)})
        onnx.save(graph, str(part))
        onnx.checker.check_model(str(part))
        worst = difference(plain, part, shape)
        if not worst <= TOLERANCE:
            raise ExportError(
                f"{out}: expected onnxruntime to agree with torch to {TOLERANCE:g}, got a difference of {worst:.2g}; "
                f"nothing was written"
            )
        part.replace(out)
    return worst


def difference(model: nn.Module, path: Path, shape: tuple[int, int, int]) -> float:
    """Largest |difference| of a logit over batches of 1 and 3, relative to the largest |logit|."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in (1, 3):
        images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = model(images).numpy()
        (found,) = session.run(["logits"], {"images": images.numpy()})
        worst = max(worst, float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-6)))
    return worst


app = new_app()


@app.command()
@guarded
def main(
    model: Path = typer.Option(..., help="folder with model.safetensors and card.json"),
    out: Path = typer.Option(..., help="the ONNX file"),
) -> None:
    """Write a checkpoint as ONNX."""
    network, card = checkpoint.load(model)
    worst = to_onnx(network, card, out)
    log.info("%s: written, agrees with torch to %.1e of the largest logit", out, worst)


if __name__ == "__main__":
    app()

"""The state of a training on disk: written all or nothing, read without running code, used only by its own run."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

STATE = "last.pt"


def save_state(path: Path, parts: Mapping[str, Any], mark: str, history: list[dict[str, float]]) -> None:
    """Write the states all or nothing: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            torch.save(
                {"mark": mark, "history": history, "parts": {name: item.state_dict() for name, item in parts.items()}},
                out,
            )
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load_state(path: Path, parts: Mapping[str, Any], mark: str, most: int | None = None) -> list[dict[str, float]]:
    """Put saved states back and return the history; ``[]`` if there are none or they are of another run.

    ``most``: epochs; a longer run's state cannot become that of a shorter one, so it counts as another run's.
    """
    if not path.is_file():
        return []
    try:
        # Our own file, but a cache can be replaced by others: tensors and plain values only, no code
        found = torch.load(path, map_location="cpu", weights_only=True)
        if found["mark"] != mark:
            log.info("%s is of other settings or data: starting anew", path)
            return []
        if most is not None and len(found["history"]) > most:
            log.info("%s is after epoch %d, only %d are asked for: starting anew", path, len(found["history"]), most)
            return []
        states = {name: found["parts"][name] for name in parts}
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        log.warning(
            "%s cannot be read (%s): starting anew", path, str(error).splitlines()[0][:120] if str(error) else "?"
        )
        return []
    for name, item in parts.items():
        item.load_state_dict(states[name])
    return list(found["history"])

"""A trained classifier in the loop: its score orders the candidates and suggests labels where the text is silent.

The picture is no evidence for the label (guide.md): the card says that the suggestion comes from a model, and where the
text states a label the text's stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covidct.pictures import PictureError, open_picture, to_grey
from curation.cards import Opinion
from curation.masks import TaskError
from curation.records import CHEST_CT, Candidate

SURE = 0.9
"""P(COVID) from which (and 1 - SURE to which) a label is suggested where the text is silent"""


class RankingError(RuntimeError):
    """The model can't be used: what, expected, got, next step."""


class ModelRanker:
    """P(COVID) of every chest CT panel by a run of finetune, with the preprocessing that travels with its weights."""

    def __init__(self, run: str, model: Any, card: dict[str, Any]) -> None:
        from models.reading import covid_index, evaluation

        self.name = Path(run).name
        self.version = f"{self.name}@{str(card.get('weights_sha256', ''))[:8]}"
        self._model, self._transform, self._covid = model, evaluation(card), covid_index(card)

    def probabilities(self, picture: np.ndarray, candidate: Candidate) -> list[float | None]:
        """P(COVID) of each panel of a grey H x W picture; None for panels that don't look like a chest CT."""
        import torch

        from models import engine

        side = self._transform.size
        chosen = [n for n, panel in enumerate(candidate.panels) if panel.modality >= CHEST_CT]
        found: list[float | None] = [None] * len(candidate.panels)
        if not chosen:
            return found
        parts = []
        for number in chosen:
            x0, y0, x1, y1 = candidate.panels[number].box
            part = Image.fromarray(picture[y0:y1, x0:x1]).resize((side, side), Image.Resampling.BILINEAR)
            parts.append(np.array(part))
        scores = engine.probabilities(self._model, torch.from_numpy(np.stack(parts))[:, None], self._transform)
        for number, score in zip(chosen, np.asarray(scores)[:, self._covid], strict=True):
            found[number] = float(score)
        return found

    def opinion(self, candidate: Candidate, picture: Path) -> Opinion:
        """Likely COVID first (P times the modality score, best panel); labels where the text is silent."""
        try:
            grey = to_grey(open_picture(picture))
        except PictureError as error:
            raise TaskError(str(error)) from error
        scores = self.probabilities(grey, candidate)
        said = [panel.suggestion.label for panel in candidate.panels]
        labels = tuple(
            suggested(score) if label == "unclear" and score is not None else label
            for label, score in zip(said, scores, strict=True)
        )
        told = [f"{score:.2f}" for score in scores if score is not None]
        words = f"the model {self.name} gives COVID {', '.join(told) or 'no score (no panel looks like a chest CT)'}"
        if labels != tuple(said):
            words += "; labels the text is silent on are the model's: look for evidence"
        priority = max(
            (s * p.modality for s, p in zip(scores, candidate.panels, strict=True) if s is not None), default=0.0
        )
        return Opinion(priority, labels, words, self.version)


def suggested(score: float) -> str:
    """Label to suggest for P(COVID), ``unclear`` unless the model is SURE."""
    return "COVID" if score >= SURE else "NonCOVID" if score <= 1 - SURE else "unclear"


def ranker(run: str, root: Path = Path("data/finetune")) -> ModelRanker:
    """Ranker of a run below ``root`` or of a checkpoint's folder. Raises RankingError."""
    try:
        import models
        from models.checkpoint import CheckpointError
        from models.reading import EvaluateError
    except ImportError as error:
        raise RankingError(f"--model needs {error.name}, which is missing; pip install 'covidct[models]'") from error
    try:
        return ModelRanker(run, *models.load(run, root))
    except (CheckpointError, EvaluateError) as error:
        raise RankingError(f"--model {run}: {error}") from error

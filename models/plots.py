"""Figures of the report as SVG text: the same numbers give the same bytes; no date, no random ids, no global style."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""name → x, y"""


def roc(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """ROC curves: name → labels (1 = COVID), scores."""
    from sklearn.metrics import roc_curve

    curves = {name: roc_curve(truth, score)[:2] for name, (truth, score) in scores.items()}

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
        _lines(axes, curves)
        _square(axes, "false positive rate (1 − specificity)", "true positive rate (recall)")

    return svg(draw)


def precision_recall(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Precision-recall curves for COVID: name → labels, scores."""
    from sklearn.metrics import precision_recall_curve

    curves = {}
    for name, (truth, score) in scores.items():
        precision, recall, _ = precision_recall_curve(truth, score)
        curves[name] = (recall, precision)

    def draw(axes: Axes) -> None:
        _lines(axes, curves, drawstyle="steps-post")
        _square(axes, "recall", "precision (COVID)")

    return svg(draw)


def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Reliability diagram: share of COVID against mean score, per bin of the score."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
        curves = {name: ([b["score"] for b in rows], [b["covid"] for b in rows]) for name, rows in bins.items()}
        _lines(axes, curves, marker="o", markersize=3)
        _square(axes, "mean score in the bin", "share of COVID in the bin")

    return svg(draw)


def learning(histories: Mapping[str, Sequence[Mapping[str, float]]], chosen: Mapping[str, int]) -> str:
    """Validation AUC (solid; a dot at the chosen epoch) and training loss (dashed, right) by epoch."""

    def draw(axes: Axes) -> None:
        other = axes.twinx()
        for index, (name, rows) in enumerate(histories.items()):
            colour = f"C{index % 10}"
            epochs = [row["epoch"] for row in rows]
            axes.plot(epochs, [row["val_auc"] for row in rows], color=colour, linewidth=1.2, label=name)
            other.plot(epochs, [row["train_loss"] for row in rows], color=colour, linewidth=0.8, linestyle="--")
            at = [row for row in rows if int(row["epoch"]) == chosen.get(name)]
            axes.plot([row["epoch"] for row in at], [row["val_auc"] for row in at], "o", color=colour, markersize=4)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation AUC (solid)")
        other.set_ylabel("training loss (dashed)")
        _legend(axes, len(histories))

    return svg(draw, width=6.5)


def scatter(points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str:
    """Two-dimensional embedding, N×2, coloured by label."""

    def draw(axes: Axes) -> None:
        for label, name in enumerate(names):
            part = points[labels == label]
            axes.scatter(part[:, 0], part[:, 1], s=9, alpha=0.8, label=name, linewidths=0)
        axes.set_xticks([])
        axes.set_yticks([])
        _legend(axes, len(names))

    return svg(draw, width=3.6, height=3.4)


def svg(draw: Any, width: float = 4.6, height: float = 4.0) -> str:
    """The SVG text of a figure with one set of axes that ``draw`` fills; sizes in inches."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # A fixed salt makes element ids repeatable; fonts stay text, so the page needs no outlines
    with matplotlib.rc_context({"svg.hashsalt": "covidct", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _lines(axes: Axes, curves: Curves, **style: Any) -> None:
    for name, (x, y) in curves.items():
        axes.plot(x, y, linewidth=1.2, label=name, **style)
    _legend(axes, len(curves))


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _legend(axes: Axes, count: int) -> None:
    if count:
        axes.legend(fontsize=7 if count <= 8 else 5, frameon=False, loc="best")

"""Figures of the report as SVG text: the same numbers give the same bytes; no date, no random ids, no global style."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""name → x, y"""
SHADES = ("#0b5c8a", "#d1731d", "#3d8b40", "#8b3a80", "#7a7a7a", "#b8232f", "#1fa3a8", "#a08a1c", "#4a54b5", "#c45c8d")
CLASSES = ("#3b76af", "#c44e52")
"""NonCOVID, COVID"""
MARKS = "osD^vP*X"


@dataclass(frozen=True)
class Line:
    """A line of the forest plot."""

    name: str
    value: float
    low: float
    high: float
    paper: float | None = None
    baseline: bool = False


def forest(lines: Sequence[Line]) -> str:
    """AUC with its interval, a line each; diamonds are the paper's figures; grey is what sees no lung."""

    def draw(grid: Sequence[Axes]) -> None:
        axes = grid[0]
        axes.axvline(0.5, color="0.8", linewidth=0.8, linestyle=":")
        for at, line in enumerate(lines):
            colour = "0.55" if line.baseline else SHADES[0]
            if not np.isnan(line.low):
                axes.plot([line.low, line.high], [at, at], color=colour, linewidth=1.6, solid_capstyle="round")
            axes.plot([line.value], [at], "o", color=colour, markersize=5)
            if line.paper is not None:
                axes.plot([line.paper], [at], "D", color=SHADES[1], markersize=5, fillstyle="none")
        axes.set_yticks(range(len(lines)), [line.name for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        lowest = min([0.45, *(line.low for line in lines if not np.isnan(line.low))])
        axes.set_xlim(max(lowest - 0.02, -0.02), 1.02)
        axes.set_xlabel("AUC on test (dotted: chance)")

    return svg(draw, width=7.4, height=0.9 + 0.27 * max(len(lines), 1))


def roc(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """ROC curves: name → labels (1 = COVID), scores."""
    from sklearn.metrics import roc_curve

    curves = {name: roc_curve(truth, score)[:2] for name, (truth, score) in scores.items()}

    def draw(grid: Sequence[Axes]) -> None:
        grid[0].plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
        _lines(grid[0], curves)
        _square(grid[0], "false positive rate (1 − specificity)", "true positive rate (recall)")

    return svg(draw, legend=len(curves))


def precision_recall(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Precision-recall curves for COVID: name → labels, scores; dotted: the share of COVID, which chance gives."""
    from sklearn.metrics import precision_recall_curve

    curves = {}
    for name, (truth, score) in scores.items():
        precision, recall, _ = precision_recall_curve(truth, score)
        curves[name] = (recall, precision)
    share = float(np.mean(next(iter(scores.values()))[0])) if scores else 0.0

    def draw(grid: Sequence[Axes]) -> None:
        grid[0].axhline(share, color="0.7", linewidth=0.8, linestyle=":")
        _lines(grid[0], curves, drawstyle="steps-post")
        _square(grid[0], "recall", "precision (COVID)")

    return svg(draw, legend=len(curves))


def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Reliability diagram: share of COVID against mean score per bin of the score; the dot's area is its images."""

    def draw(grid: Sequence[Axes]) -> None:
        axes = grid[0]
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
        for index, (name, rows) in enumerate(bins.items()):
            x, y = [row["score"] for row in rows], [row["covid"] for row in rows]
            total = sum(row["images"] for row in rows) or 1
            colour = SHADES[index % len(SHADES)]
            axes.plot(x, y, color=colour, linewidth=1.0, label=name)
            axes.scatter(
                x, y, s=[8 + 160 * row["images"] / total for row in rows], color=colour, alpha=0.7, linewidths=0
            )
        _square(axes, "mean score in the bin", "share of COVID in the bin")

    return svg(draw, legend=len(bins))


def learning(histories: Mapping[str, Sequence[Mapping[str, float]]], chosen: Mapping[str, int]) -> str:
    """Validation AUC (a dot at the chosen epoch) and training loss by epoch."""
    from matplotlib.ticker import MaxNLocator

    def draw(grid: Sequence[Axes]) -> None:
        for index, (name, rows) in enumerate(histories.items()):
            colour = SHADES[index % len(SHADES)]
            epochs = [row["epoch"] for row in rows]
            grid[0].plot(epochs, [row["val_auc"] for row in rows], color=colour, linewidth=1.2, label=name)
            grid[1].plot(epochs, [row["train_loss"] for row in rows], color=colour, linewidth=1.2, label=name)
            at = [row for row in rows if int(row["epoch"]) == chosen.get(name)]
            grid[0].plot([row["epoch"] for row in at], [row["val_auc"] for row in at], "o", color=colour, markersize=4)
        grid[0].set_ylabel("AUC on val")
        grid[1].set_ylabel("loss on train")
        for axes in grid:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))

    return svg(draw, width=9.4, height=3.4, columns=2, legend=len(histories))


def losses(histories: Mapping[str, Sequence[tuple[float, float, str]]]) -> str:
    """Loss of self-supervised pretraining: name → (epoch over all sets, loss, set); a dotted line where a set ends."""
    from matplotlib.ticker import MaxNLocator

    def draw(grid: Sequence[Axes]) -> None:
        axes = grid[0]
        for index, (name, rows) in enumerate(histories.items()):
            colour = SHADES[index % len(SHADES)]
            axes.plot([row[0] for row in rows], [row[1] for row in rows], color=colour, linewidth=1.2, label=name)
            for before, after in pairwise(rows):
                if before[2] != after[2]:
                    axes.axvline((before[0] + after[0]) / 2, color=colour, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch, over all sets")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_ylabel("loss")

    return svg(draw, height=3.4, legend=len(histories))


def maps(panels: Sequence[tuple[str, np.ndarray, np.ndarray, Sequence[str]]], names: Sequence[str]) -> str:
    """Embeddings side by side: title, points N×2, labels N (0, 1), sources N; colour = class, mark = source."""
    from matplotlib.lines import Line2D

    sources = sorted({source for panel in panels for source in panel[3]})
    marks = {source: MARKS[index % len(MARKS)] for index, source in enumerate(sources)}

    def draw(grid: Sequence[Axes]) -> None:
        for axes, (title, points, labels, of) in zip(grid, panels, strict=True):
            for source in sources:
                for label in range(len(names)):
                    part = points[(labels == label) & (np.asarray(of) == source)]
                    axes.plot(
                        part[:, 0], part[:, 1], marks[source], color=CLASSES[label], markersize=3.6, alpha=0.75,
                        markeredgewidth=0,
                    )  # fmt: skip
            axes.set_title(title, fontsize=8.5)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[["top", "right"]].set_visible(True)
        keys = [
            *(Line2D([], [], marker="o", color=CLASSES[label], linestyle="", label=name)
              for label, name in enumerate(names)),
            *(Line2D([], [], marker=marks[source], color="0.4", linestyle="", label=source) for source in sources),
        ]  # fmt: skip
        grid[0].figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=7, frameon=False)

    return svg(draw, width=2.35 * len(panels), height=2.9, columns=len(panels))


def svg(
    draw: Callable[[Sequence[Axes]], None],
    width: float = 4.6,
    height: float = 4.0,
    *,
    columns: int = 1,
    legend: int = 0,
) -> str:
    """The SVG text of a figure whose axes ``draw`` fills; sizes in inches, without ``legend`` entries below."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # A fixed salt makes element ids repeatable; fonts stay text, so the page needs no outlines
    with matplotlib.rc_context({"svg.hashsalt": "covidct", "svg.fonttype": "none", "font.size": 9}):
        across = 2 if width < 6 else 4
        figure = Figure(figsize=(width, height + 0.17 * -(-legend // across)), layout="constrained")
        FigureCanvasSVG(figure)
        grid = list(figure.subplots(1, columns, squeeze=False)[0])
        for axes in grid:
            axes.spines[["top", "right"]].set_visible(False)
        draw(grid)
        if legend:
            handles, labels = grid[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=across, fontsize=7, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _lines(axes: Axes, curves: Curves, **style: Any) -> None:
    for index, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, linewidth=1.2, label=name, color=SHADES[index % len(SHADES)], **style)


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(x)
    axes.set_ylabel(y)

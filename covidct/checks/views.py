"""Is the picture one axial lung-window slice, the right way up? Window, orientation, body part, leftovers of other
panels.

The window is told by the lungs themselves: in a soft-tissue or bone window they are flat black, whatever the rest looks
like. The right way up is told by the folder: a picture that resembles the others' average more when turned over is
suspect.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from covidct.checks.model import Finding, Folder
from covidct.matching.features import Array

WORK = 256
"""longest side in pixels on which a picture is judged"""
BLACK = 0.8
"""share of lung pixels at the black end from which the window shows no lung tissue"""
LITTLE = 0.02
"""share of the body that is dark inside below which hardly any lung is shown"""
TURNED = 0.125
"""by how much more the turned lungs must correlate with the folder's average"""
CHEST = 0.5
"""modality score below which a picture is no chest CT (curation.modality)"""
LEAST = 20
"""pictures that an average needs"""
STAMP = 32


@dataclass(frozen=True)
class View:
    """What one picture shows: share of lung in the body, share of lung at the black end, and the lungs' outline."""

    lung: float
    black: float
    stamp: Array
    """32 x 32, 0..1: the lungs within their own box"""

    @property
    def window(self) -> str:
        """``lung``, ``other`` (lungs flat black), ``none`` (hardly any lung)."""
        if self.lung < LITTLE:
            return "none"
        return "other" if self.black > BLACK else "lung"


def check(folder: Folder) -> list[Finding]:
    """Findings about window, orientation, body part and leftovers of other panels."""
    views = [look(folder.grey(i)) for i in range(len(folder.items))]
    wrong = [i for i, view in enumerate(views) if view.window != "lung"]
    folder.metrics["windows"] = {
        name: sum(view.window == key for view in views)
        for key, name in (("lung", "lung window"), ("other", "lungs flat black"), ("none", "hardly any lung"))
    }
    gain = turned([view.stamp for view in views])
    over = [i for i in np.argsort(-gain, kind="stable").tolist() if gain[i] > TURNED]
    found = []
    for members, what, evidence, remedy in (
        (
            wrong,
            "window",
            "no lung tissue can be seen: a soft-tissue, bone or angiography window, or hardly any lung",
            "take the slice in a lung window, or leave it out",
        ),
        (
            over,
            "turned",
            "the lungs resemble the other pictures more when turned over: prone or upside down",
            "a person decides; turn it, and note the position",
        ),
    ):
        if members:
            found.append(
                Finding(
                    "not-a-lung-view",
                    "warning",
                    folder.names(members),
                    f"{len(members)} images: {evidence}",
                    remedy,
                    _by_class(folder, members) | {"what": what},
                )
            )
    return found + _by_curation(folder)


def _by_curation(folder: Folder) -> list[Finding]:
    """Body part and leftovers of panels, by the rules that propose candidates."""
    try:
        from curation.modality import score
        from curation.panels import find_panels
    except ImportError as error:
        folder.not_checked["panels"] = f"curation is not installed ({error.name}): body part and panels not looked at"
        return []
    indices = range(len(folder.items))
    strange = [i for i in indices if score(folder.grey(i)) < CHEST]
    several = [i for i in indices if len(find_panels(folder.grey(i))) > 1]
    found = []
    for members, severity, what, evidence, remedy in (
        (strange, "warning", "body part", "does not look like one chest CT slice", "a person decides"),
        (
            several,
            "note",
            "panels",
            "looks like more than one panel",
            "cut it into its panels, or crop the rest of another one",
        ),
    ):
        if members:
            found.append(
                Finding(
                    "not-a-lung-view",
                    severity,
                    folder.names(members),
                    f"{len(members)} images: {evidence}",
                    remedy,
                    _by_class(folder, members) | {"what": what},
                )
            )
    return found


def _by_class(folder: Folder, members: list[int]) -> dict[str, int]:
    labels = [folder.items[i].label for i in members]
    return {"COVID": labels.count(1), "NonCOVID": labels.count(0)}


def look(grey: Array) -> View:
    """Judge one picture (uint8 H x W)."""
    scale = WORK / max(grey.shape)
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    image: Array = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    level, _ = cv2.threshold(cv2.medianBlur(image, 5), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = (cv2.medianBlur(image, 5) < min(level, 170)).astype(np.uint8)
    ground = _ground(dark)
    body = ~ground
    lungs = _lungs(dark.astype(bool) & body)
    if not lungs.any():
        return View(0.0, 0.0, np.zeros((STAMP, STAMP), np.float32))
    rows, columns = np.flatnonzero(lungs.any(1)), np.flatnonzero(lungs.any(0))
    box = lungs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    floor = float(np.percentile(image, 1))
    return View(
        float(lungs.sum() / max(1, int(body.sum()))),
        float((image[lungs] < floor + 14).mean()),
        cv2.resize(box, (STAMP, STAMP), interpolation=cv2.INTER_AREA),
    )


def _ground(dark: Array) -> NDArray[np.bool_]:
    """Dark surroundings of the body: dark areas that hold a corner of the picture. Lungs cut by the edge hold none."""
    count, labels = cv2.connectedComponents(dark, connectivity=4)
    if count < 2:
        return np.zeros(dark.shape, bool)
    corner = max(2, min(dark.shape) // 40)
    ends = (slice(0, corner), slice(-corner, None))
    touching = np.unique(np.concatenate([labels[a, b].ravel() for a in ends for b in ends]))
    return np.isin(labels, touching[touching > 0])


def _lungs(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] > 0.01 * mask.size
    keep[0] = False
    return keep[labels]


def turned(stamps: list[Array]) -> NDArray[np.float64]:
    """By how much more each stamp correlates with the average of the others when turned over (top to bottom)."""
    if len(stamps) < LEAST:
        return np.zeros(len(stamps))
    rows = np.stack([_standard(s) for s in stamps])
    flipped = np.stack([_standard(s[::-1]) for s in stamps])
    total = rows.sum(axis=0)
    gain = np.zeros(len(stamps))
    for index, (row, back) in enumerate(zip(rows, flipped, strict=True)):
        others = _standard(total - row)
        gain[index] = float(back @ others - row @ others)
    return gain


def _standard(stamp: Array) -> NDArray[np.float64]:
    values = stamp.astype(np.float64).ravel()
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-9)

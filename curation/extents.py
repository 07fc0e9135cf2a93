"""Leaves of the layout -> panel boxes: where in its cell a panel ends; pure geometry under `panels`.

On a light page a panel ends where its ink does. On a dark page black air around a body belongs to the panel: the air's
noise shows how far the scanner's field of view reaches, and panels in line show each other where they end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.layout import LEVELS, Box, Region

NEAR = 0.1
"""share of a panel's size: sides of panels in line and a gutter's width lie within it"""
NOISE = 0.35
"""share of the air around a body that must be lighter than the page to be noise and not what compression left"""


@dataclass(frozen=True)
class Leaf:
    """A cell of the layout with what is in it: the ink's rectangle and which of its sides run straight."""

    dark: bool
    cell: Box
    ink: Box
    straight: tuple[bool, bool, bool, bool]
    field: Box | None
    """the scanner's field of view, where its noise shows it"""

    @property
    def own(self) -> Box:
        return self.field or self.ink

    def sure(self, side: int) -> bool:
        return self.field is not None or self.straight[side]

    @classmethod
    def of(cls, region: Region) -> Leaf:
        ink = region.inked(whole=region.drawn())
        field = _field(region, ink) if region.dark else None
        return cls(region.dark, region.box, ink, region.straight(), field)


def settle(regions: list[Region]) -> list[Box]:
    """Boxes of the regions, in their order."""
    leaves = [Leaf.of(region) for region in regions]
    boxes = []
    for leaf in leaves:
        others = [other for other in leaves if other is not leaf]
        sides = [(_dark_side if leaf.dark else _light_side)(leaf, others, side) for side in range(4)]
        boxes.append((sides[0], sides[1], sides[2], sides[3]))
    return boxes


def _light_side(leaf: Leaf, others: list[Leaf], side: int) -> int:
    """The ink's, or if not straight the outermost of neighbours: tissue as white as the page was trimmed."""
    if leaf.straight[side]:
        return leaf.ink[side]
    mates = [other.ink for other in others if _beside(other.ink, leaf.ink, side % 2)]
    return _outermost(leaf.ink[side], [box[side] for box in mates], leaf.cell[side], side)


def _dark_side(leaf: Leaf, others: list[Leaf], side: int) -> int:
    """A straight side, else how far the noise of air or a panel in line reaches, else the end of the black around."""
    if leaf.straight[side] and leaf.field is None:
        return leaf.ink[side]
    far = (side + 2) % 4
    size = abs(leaf.cell[side] - leaf.cell[far])
    mates = [other for other in others if abs(other.cell[far] - leaf.cell[far]) < NEAR * size]
    beside = [other for other in mates if _beside(other.ink, leaf.ink, side % 2)]
    ends = [_mirrored(leaf, side)]
    if side % 2 == 1:  # panels of a row end together, those of a column need not be equally wide
        ends += [_mirrored(other, side) for other in beside]
    end = _outermost(leaf.own[side], ends, leaf.cell[side], side)
    known = [other.own[side] for other in beside if other.sure(side)]
    if leaf.field is not None:
        return _outermost(leaf.field[side], known, end, side)
    found = [v for v in known if _between(v, leaf.ink[side], end)]
    if found:
        return min(found) if side < 2 else max(found)
    inside = [other.cell[side] for other in mates if _between(other.cell[side], leaf.ink[side], end)]
    return max([end, *inside]) if side < 2 else min([end, *inside])


def _outermost(own: int, values: list[int], end: int, side: int) -> int:
    """The value farthest out of those between a panel's own side and the end of its cell; its own if there is none."""
    found = [own, *(v for v in values if _between(v, own, end))]
    return min(found) if side < 2 else max(found)


def _between(value: int, a: int, b: int) -> bool:
    return min(a, b) <= value <= max(a, b)


def _mirrored(leaf: Leaf, side: int) -> int:
    """The cell's side, unless black reaches much farther than on the opposite side: then as far as there."""
    cell, own, far = leaf.cell, leaf.own, (side + 2) % 4
    margin, opposite = abs(cell[side] - own[side]), abs(cell[far] - own[far])
    if margin <= max(2.5 * opposite, 0.3 * abs(own[side] - own[far])):
        return cell[side]
    return own[side] + (opposite if side > 1 else -opposite)


def _beside(a: Box, b: Box, axis: int) -> bool:
    """True if two boxes share a column (axis 0: x sides are compared) or a row (axis 1)."""
    shared = min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis])
    return shared > 0.5 * max(a[axis + 2] - a[axis], b[axis + 2] - b[axis])


def _field(region: Region, ink: Box) -> Box | None:
    """Rectangle of the round field of view, if noise fills it around the body; None if air is as black as the page."""
    reach, air = region.reach(), region.tone > LEVELS[0]
    if reach is None:
        return None
    left, top = region.box[:2]
    x0, y0 = min(reach[0], ink[0] - left), min(reach[1], ink[1] - top)
    x1, y1 = max(reach[2], ink[2] - left), max(reach[3], ink[3] - top)
    solid = region.every[y0:y1, x0:x1]
    above, below = np.maximum.accumulate(solid, 0), np.maximum.accumulate(solid[::-1], 0)[::-1]
    down, across = np.ogrid[-1 : 1 : 1j * (y1 - y0), -1 : 1 : 1j * (x1 - x0)]
    outside = ~(above & below) & (down**2 + across**2 < 1)
    if outside.mean() < 0.03 or air[y0:y1, x0:x1][outside].mean() < NOISE:
        return None
    return left + x0, top + y0, left + x1, top + y1

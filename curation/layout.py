"""Lines that may separate panels, how sure each is, and which of them to cut along; pure geometry under `panels`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np

Box = tuple[int, int, int, int]
SIDE = 28
"""pixels (at work size): no panel is thinner"""
EMPTY = 0.0015
"""share of a line's pixels that may differ from the page in an empty line"""
STRONG, WEAK = 0.42, 0.2
"""strength of a line that is cut along by itself, and of one that must repeat at equal distances"""
LEVELS = (1, 3, 6, 12, 23)
"""grey levels from the page at which empty lines are sought on a dark page; the last is where ink begins"""
RIM = 0.04
"""share of a line that must be lighter than the page to be in the field of view: a few pixels inside its rim"""
BAND = 12
"""lines beside a gap that are looked at for noise of air"""
STEP = 14
"""grey levels of a step between two panels that touch"""


@dataclass(frozen=True)
class Region:
    """A rectangle of the figure with its pixels, its ink (not page) and whether the page is dark."""

    luma: np.ndarray = field(repr=False)
    tone: np.ndarray = field(repr=False)
    """grey levels away from the page, without free letters"""
    ink: np.ndarray = field(repr=False)
    every: np.ndarray = field(repr=False)
    """ink with the free letters that `ink` leaves out"""
    dark: bool
    airy: bool
    """true if the air in slices on a dark page is not as black as the page"""
    box: Box

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    def part(self, axis: int, a: int, b: int) -> Region:
        """Rows (axis 0) or columns (axis 1) from ``a`` to ``b`` of the region."""
        x0, y0, x1, y1 = self.box
        box = (x0, y0 + a, x1, y0 + b) if axis == 0 else (x0 + a, y0, x0 + b, y1)
        where = np.s_[a:b] if axis == 0 else np.s_[:, a:b]
        return Region(self.luma[where], self.tone[where], self.ink[where], self.every[where], self.dark, self.airy, box)

    def bounds(self, whole: bool = False) -> Box | None:
        """Rectangle of the ink (``whole``: letters too) inside the region, or None."""
        ink = self.every if whole else self.ink
        rows, columns = np.flatnonzero(ink.mean(1) > EMPTY), np.flatnonzero(ink.mean(0) > EMPTY)
        if not rows.size or not columns.size:
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def trimmed(self) -> Region:
        """Without the page around it; on a dark page only where a straight side or noise of air ends the picture."""
        found = self.bounds()
        if found is None:
            return self
        x0, y0, x1, y1 = found
        if self.airy:
            x0, y0, x1, y1 = self.reach() or found
        elif self.dark:
            ink = self.ink
            x0 = x0 if ink[:, x0 : x0 + 3].any(1).mean() > 0.5 else 0
            x1 = x1 if ink[:, x1 - 3 : x1].any(1).mean() > 0.5 else self.width
            y0 = y0 if ink[y0 : y0 + 3].any(0).mean() > 0.5 else 0
            y1 = y1 if ink[y1 - 3 : y1].any(0).mean() > 0.5 else self.height
        return self.part(0, y0, y1).part(1, x0, x1)

    def reach(self) -> Box | None:
        """Rectangle inside the region of all that is lighter than a dark page, the noise of air too, or None."""
        air = self.tone > LEVELS[0]
        rows, columns = np.flatnonzero(air.mean(1) > RIM), np.flatnonzero(air.mean(0) > RIM)
        if not rows.size or not columns.size:
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def inked(self, whole: bool = False) -> Box:
        """Rectangle of the ink, in the figure's pixels; the whole region if there is none."""
        x0, y0, x1, y1 = self.bounds(whole) or (0, 0, self.width, self.height)
        return self.box[0] + x0, self.box[1] + y0, self.box[0] + x1, self.box[1] + y1

    def straight(self) -> tuple[bool, bool, bool, bool]:
        """Whether ink runs straight along the left, top, right and bottom side of `inked`."""
        found = self.bounds()
        if found is None:
            return False, False, False, False
        x0, y0, x1, y1 = found
        ink = self.ink[y0:y1, x0:x1]
        return (
            bool(ink[:, :3].any(1).mean() > 0.45),
            bool(ink[:3].any(0).mean() > 0.45),
            bool(ink[:, -3:].any(1).mean() > 0.45),
            bool(ink[-3:].any(0).mean() > 0.45),
        )

    def empty(self) -> bool:
        """True if nothing but page is in it."""
        return bool(self.ink.mean() < 0.02)

    def drawn(self) -> bool:
        """True for charts and line art: most of it is page."""
        return not self.dark and bool(self.ink.mean() < 0.45)


@dataclass(frozen=True)
class Line:
    """A candidate: lines ``start`` to ``stop`` (exclusive; equal for touching panels) and its strength in 0..1."""

    start: int
    stop: int
    strength: float

    @property
    def middle(self) -> int:
        return (self.start + self.stop) // 2

    def inside(self, length: int) -> bool:
        """True if something lies on both sides of it, False for the margins of a region of ``length`` lines."""
        return self.start > 0 and self.stop < length


def gaps(region: Region, axis: int) -> list[Line]:
    """Empty lines between ink, with the share of their length along which a neighbour's side runs straight.

    On a dark page each is as narrow as the faintest tone leaves it: the noise of air fills a slice's black to its end.
    """
    tone = region.tone if axis == 0 else region.tone.T
    wide = _runs(tone > LEVELS[-1])
    if not region.dark:
        return wide
    found: list[Line] = []
    for level in LEVELS[:-1]:
        found = _narrowed(_runs(tone > level), found)
    lines = _narrowed(wide, found)
    if region.airy:
        lines = [_between_air(tone, line, wide) for line in lines]
    return sorted(lines, key=lambda g: g.start)


def _narrowed(lines: list[Line], fainter: list[Line]) -> list[Line]:
    """Each line as its widest part that is empty of fainter tones too, and the fainter lines that are in none."""
    kept, found = list(fainter), []
    for line in lines:
        inside = [g for g in kept if line.start <= g.start and g.stop <= line.stop]
        widest = max(inside, key=lambda g: g.stop - g.start, default=line)
        found.append(replace(widest, strength=max(g.strength for g in [line, *inside])))
        kept = [g for g in kept if g not in inside]
    return kept + found


def _between_air(tone: np.ndarray, line: Line, wide: list[Line]) -> Line:
    """The line, strong if noise fills the black between it and a body: air belongs to a slice, the page is black."""
    around = next((g for g in wide if g.start <= line.start and line.stop <= g.stop), line)
    air = tone[max(around.start, line.start - BAND) : line.start], tone[line.stop : min(around.stop, line.stop + BAND)]
    black = bool((tone[line.start : line.stop] > LEVELS[0]).mean() < RIM)
    noisy = black and any(len(lines) >= 4 and (lines > LEVELS[0]).mean() > 2 * RIM for lines in air)
    return replace(line, strength=max(line.strength, STRONG + 0.1)) if noisy else line


def _runs(ink: np.ndarray) -> list[Line]:
    """Runs of empty rows between inked ones."""
    filled = ink.mean(axis=1) > EMPTY
    edges = np.flatnonzero(np.diff(filled.astype(np.int8)))
    found = []
    for a, b in itertools.pairwise(edges):
        start, stop = int(a) + 1, int(b) + 1
        if filled[start]:
            continue
        before, after = ink[max(0, start - 3) : start].any(0).mean(), ink[stop : stop + 3].any(0).mean()
        found.append(Line(start, stop, float(max(before, after) * 0.5 + min(before, after) * 0.5)))
    return found


def steps(region: Region, axis: int) -> list[Line]:
    """Straight edges across the region: lines where far more pixels jump than in the lines around."""
    luma = (region.luma if axis == 0 else region.luma.T).astype(np.int16)
    if luma.shape[0] < 2 * SIDE or region.drawn():
        return []
    jump = (np.abs(np.diff(luma, axis=0)) > STEP).mean(axis=1)
    around = np.convolve(np.pad(jump, 8, mode="edge"), np.r_[np.ones(6), np.zeros(5), np.ones(6)] / 12, mode="valid")
    excess = jump - around
    page = ~(region.every if axis == 0 else region.every.T)
    bare = page.mean(axis=1)
    found = []
    for i in range(SIDE, len(excess) - SIDE):
        if excess[i] >= 0.25 and excess[i] == excess[max(0, i - 4) : i + 5].max():
            beside = bare[max(0, i - 7) : i - 1].mean(), bare[i + 3 : i + 9].mean()
            if region.dark or max(beside) < 0.5:  # the side of a bar or frame has page beside it
                found.append(Line(i + 1, i + 1, float(excess[i])))
    return found


def cuts(region: Region, axis: int) -> tuple[list[tuple[int, int]], float]:
    """``(parts, strength)`` along an axis (0: rows); one part if there is nothing to cut."""
    length = region.height if axis == 0 else region.width
    lines = gaps(region, axis)
    lines += [s for s in steps(region, axis) if all(not g.start - 4 <= s.middle <= g.stop + 4 for g in lines)]
    lines.sort(key=lambda g: g.middle)
    least = max(SIDE, 0.1 * length)
    if region.dark:
        lines = _with_ends(region, axis, lines)
        places = even(lines, length)
        if any(g.strength >= STRONG for g in places):
            return parted(places, length, SIDE), max(g.strength for g in places)
    strong = [g for g in lines if g.strength >= STRONG or (g.stop > g.start and _between_drawings(region, axis, g))]
    best = max(strong, key=lambda g: (g.strength, g.stop - g.start), default=None)
    if (
        best is not None and best.stop > best.start
    ):  # a weaker edge may be that of a panel in one row: the parts will tell
        strong = [g for g in strong if g.stop > g.start]
    parts = parted(strong, length, least)
    if best is not None and len(parts) > 1:
        return parts, best.strength
    for count in range(8, 1, -1):
        chosen = _equal(lines, count, length, region, axis)
        if chosen:
            return parted(chosen, length, least), float(np.mean([g.strength for g in chosen])) + 0.01
    wide = [g for g in lines if g.stop - g.start >= max(6, 0.02 * length)]
    parts = parted(wide, length, max(SIDE, 0.2 * length))
    if not region.dark and len(parts) > 1 and _alike([region.part(axis, a, b) for a, b in parts]):
        return parts, STRONG
    return [(0, length)], 0.0


def _with_ends(region: Region, axis: int, lines: list[Line]) -> list[Line]:
    """The lines, and the black before the first and behind the last body: where a grid's last row ends early."""
    tone = region.tone if axis == 0 else region.tone.T
    filled = np.flatnonzero((tone > LEVELS[-1]).mean(axis=1) > EMPTY)
    if not filled.size:
        return lines
    return [Line(0, int(filled[0]), 0.0), *lines, Line(int(filled[-1]) + 1, len(tone), 0.0)]


def parted(lines: list[Line], length: int, least: float) -> list[tuple[int, int]]:
    """Parts between lines; lines that leave a thin part are given up, weakest first."""
    chosen = list(lines)
    while chosen:
        ends = [0, *(g.middle for g in chosen), length]
        sizes = np.diff(ends)
        thin = int(np.argmin(sizes))
        if sizes[thin] >= least and sizes[thin] >= 0.2 * sizes.max():
            break
        beside = [i for i in (thin - 1, thin) if 0 <= i < len(chosen)]
        del chosen[min(beside, key=lambda i: chosen[i].strength)]
    ends = [0, *(g.middle for g in chosen), length]
    return list(itertools.pairwise(ends))


def _alike(parts: list[Region]) -> bool:
    """True if the ink of all parts is of one size and at one height: the same kind of picture side by side."""
    boxes = np.array([part.bounds(whole=True) or (0, 0, 1, 1) for part in parts])
    sizes = boxes[:, 2:] - boxes[:, :2]
    return bool((np.ptp(sizes, axis=0) <= 0.05 * sizes.mean(0)).all() and sizes.min() >= 2 * SIDE)


def even(lines: list[Line], length: int) -> list[Line]:
    """Cuts into as many equal parts as can be (12 to 2) with an empty line at each place; none if there are none.

    On a dark page black air around bodies makes gaps wide, and where in them the panels meet only repetition can tell.
    """
    empty = [g for g in lines if g.stop > g.start]
    for count in range(12, 1, -1):
        places = [round(n * length / count) for n in range(1, count)]
        held = [next((g for g in empty if g.start - 1 <= place <= g.stop + 1), None) for place in places]
        if length / count >= max(SIDE, 40) and all(held) and any(g.inside(length) for g in held if g):
            return [Line(at, at, g.strength) for at, g in zip(places, held, strict=True) if g is not None]
    return []


def _between_drawings(region: Region, axis: int, gap: Line) -> bool:
    """True if line art lies on both sides: charts have no straight sides, their gaps count by width."""
    if region.dark:
        return False
    length = region.height if axis == 0 else region.width
    sides = region.part(axis, 0, gap.start), region.part(axis, gap.stop, length)
    return all(s.drawn() for s in sides) and gap.stop - gap.start >= max(4, 0.012 * length)


def _equal(lines: list[Line], count: int, length: int, region: Region, axis: int) -> list[Line]:
    """The lines nearest to ``count`` equal parts, if there is one at each place and together they are sure enough."""
    if length / count < max(SIDE, 40):
        return []
    chosen, between = [], False
    for n in range(1, count):
        place, slack = n * length / count, max(3.0, 0.03 * length / count + 11)
        near = [g for g in lines if g.start - slack <= place <= g.stop + slack]
        if not near:
            return []
        best = max(near, key=lambda g: (g.strength, -abs(g.middle - place)))
        between = between or best.inside(length)
        if best.stop > best.start and best.strength < STRONG:
            middle = int(np.clip(round(place), best.start, best.stop))
            best = Line(middle, middle, best.strength if not region.dark else max(best.strength, WEAK))
        chosen.append(best)
    if not between:
        return []
    return chosen if np.mean([g.strength for g in chosen]) >= (WEAK if region.dark else 0.3) else []

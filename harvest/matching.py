"""Which caption belongs to which region: an assignment over the whole document, not the nearest on the page.

Reads the page plans and the captions. Gives `Match`es. Guarantees: pure; a region belongs to one caption at most; on a
page the captions share one side of their figures unless the page says otherwise; what is left (captions listed at the
end of a manuscript, figures on pages of their own) is aligned in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from harvest.captions import Caption, is_bare
from harvest.layout import area, overlap, union, x_overlap, y_overlap
from harvest.records import Box
from harvest.regions import Plan, Region, completed

FAR = 260.0
"""cost in points from which a caption and a region on one page have nothing to do with each other"""
ABOVE, BELOW = "above", "below"
"""where the figure stands, seen from its caption"""


@dataclass(frozen=True)
class Match:
    """A caption with its figure; ``caption.page`` and ``page`` differ where captions are listed apart."""

    caption: Caption
    page: int
    box: Box
    regions: tuple[Region, ...]


def match(plans: Sequence[Plan], captions: Sequence[Caption]) -> list[Match]:
    """All matches of a document, in page order."""
    by_page: dict[int, list[Caption]] = {}
    for caption in captions:
        by_page.setdefault(caption.page, []).append(caption)
    habit = usual_side(plans, by_page)
    matches: list[Match] = []
    for plan in plans:
        here = [c for c in by_page.get(plan.page.number, []) if c.spans[0] not in plan.typeset]
        if here and plan.regions:
            matches += match_page(plan, here, habit)
    matches = [found for found in matches if not found.caption.is_table]
    matches = with_listed_text(matches, captions)
    taken = {region for found in matches for region in found.regions}
    done = {key for found in matches for key in (found.caption.label.key, found.caption.label.whole)}
    rest = [c for c in captions if not c.is_table and c.label.key not in done and not c.label.continued]
    matches += match_apart(plans, first_of_each(rest), taken)
    return sorted(matches, key=lambda found: (found.page, round(found.box.y0), found.box.x0))


def usual_side(plans: Sequence[Plan], by_page: Mapping[int, Sequence[Caption]]) -> str:
    """Where this document puts figures, by the pages that leave no doubt: one caption, one region."""
    votes = 0
    for plan in plans:
        captions = [c for c in by_page.get(plan.page.number, []) if not c.is_table]
        regions = [region for region in plan.regions if region.is_figure_sized]
        if len(captions) == 1 and len(regions) == 1:
            votes += 1 if regions[0].box.y1 <= captions[0].box.y0 + 4 else -1
    return ABOVE if votes >= 0 else BELOW


def match_page(plan: Plan, captions: Sequence[Caption], habit: str) -> list[Match]:
    """The page's captions and regions, taken once with the figures above and once below; the cheaper reading holds."""
    readings = [assign(plan, captions, side) for side in (ABOVE, BELOW)]
    costs = [cost + (0 if side == habit else 30) for (_, cost), side in zip(readings, (ABOVE, BELOW), strict=True)]
    groups, _ = readings[int(np.argmin(costs))]
    return [
        Match(
            captions[row],
            plan.page.number,
            trimmed(plan, completed(plan, members), members, captions),
            tuple(members),
        )
        for row, members in groups.items()
    ]


def assign(plan: Plan, captions: Sequence[Caption], side: str) -> tuple[dict[int, list[Region]], float]:
    """Regions by caption, and the cost: one each at least cost, then the others to the captions they stand with."""
    regions = plan.regions
    cost = np.array([[distance(plan, caption, region, side) for region in regions] for caption in captions])
    rows, columns = linear_sum_assignment(np.minimum(cost, 4 * FAR))
    groups: dict[int, list[Region]] = {}
    total = 0.0
    taken = set()
    for row, column in zip(rows, columns, strict=True):
        if cost[row, column] < FAR:
            groups[row] = [regions[column]]
            taken.add(column)
            total += cost[row, column]
    total += FAR * (len(captions) - len(groups))
    for column in sorted(set(range(len(regions))) - taken, key=lambda c: float(cost[:, c].min())):
        region = regions[column]
        for row in np.argsort(cost[:, column]):
            if row in groups and cost[row, column] < 2 * FAR and joins(plan, groups, int(row), region):
                groups[row].append(region)
                total += 0.1 * min(FAR, cost[row, column])
                break
        else:
            total += min(FAR, area(region.box) / 500)
    return groups, total


def trimmed(plan: Plan, box: Box, regions: Sequence[Region], captions: Sequence[Caption]) -> Box:
    """The figure's box without the captions that stand on a picture's empty margin.

    The cut keeps most of the box and every picture and drawing; where no cut does, the box stays as it is.
    """
    parts = [plan.page.graphics[index].box for region in regions for index in region.graphics]
    for own in (caption.box for caption in captions if overlap(box, caption.box) > 0):
        sides = (
            Box(box.x0, box.y0, box.x1, own.y0 - 1),
            Box(box.x0, own.y1 + 1, box.x1, box.y1),
            Box(box.x0, box.y0, own.x0 - 1, box.y1),
            Box(own.x1 + 1, box.y0, box.x1, box.y1),
        )
        best = max(sides, key=area)
        whole = all(overlap(part, best) >= 0.5 * area(part) for part in parts)
        if whole and area(best) > 0.5 * area(box):
            box = best
    return box


def joins(plan: Plan, groups: Mapping[int, Sequence[Region]], row: int, region: Region) -> bool:
    """Whether a region can be added to a figure without the figure's box running over text or another figure."""
    box = union((*(member.box for member in groups[row]), region.box))
    if any(overlap(box, wall) > 0.3 * area(wall) for wall in plan.walls):
        return False
    others = (member.box for other, members in groups.items() if other != row for member in members)
    return not any(overlap(box, other) > 0.1 * area(other) for other in others)


def distance(plan: Plan, caption: Caption, region: Region, side: str) -> float:
    """Cost of a caption and a region belonging together, in points."""
    box, own = region.box, caption.box
    across, along = x_overlap(own, box), y_overlap(own, box)
    size = 0.0 if region.is_figure_sized else 60.0
    middle = abs((own.x0 + own.x1) - (box.x0 + box.x1)) / 2
    if across > 0 and along < 0.5 * (own.y1 - own.y0):
        stands_above = box.y1 <= (own.y0 + own.y1) / 2
        gap = max(0.0, own.y0 - box.y1 if stands_above else box.y0 - own.y1)
        want_above = side == ABOVE and not caption.is_table
        cost = gap + 0.15 * middle + (0 if stands_above == want_above else 45)
        x0, x1 = max(own.x0, box.x0), min(own.x1, box.x1)
        between = Box(x0, min(own.y1, box.y1), x1, max(own.y0, box.y0))
    elif along > 0:
        gap = max(0.0, -across)
        cost = gap + 30 + 0.1 * abs((own.y0 + own.y1) - (box.y0 + box.y1)) / 2
        between = Box(min(own.x1, box.x1), max(own.y0, box.y0), max(own.x0, box.x0), min(own.y1, box.y1))
    else:
        cost = float(np.hypot(across, along)) + 90
        between = Box(min(own.x1, box.x1), min(own.y1, box.y1), max(own.x0, box.x0), max(own.y0, box.y0))
    if between.x1 > between.x0 and between.y1 > between.y0:
        blocked = sum(1 for wall in plan.walls if overlap(wall, between) > 0.5 * area(wall) and overlap(wall, own) < 1)
        cost += min(4 * FAR, 60 * blocked)
    return cost + size


def with_listed_text(matches: Sequence[Match], captions: Sequence[Caption]) -> list[Match]:
    """Matches whose caption is a bare label beside the picture get the text of the full caption listed elsewhere.

    ``Figure 2B`` gets that of Figure 2 where it has none of its own, and keeps its own label.
    """
    result = []
    for found in matches:
        label = found.caption.label
        for key in (label.key, label.whole) if is_bare(found.caption) else ():
            full = [c for c in captions if c.label.key == key and c.text and not c.label.continued]
            if full:
                longest = max(full, key=lambda caption: len(caption.text))
                found = replace(found, caption=longest if key == label.key else replace(longest, label=label))
                break
        result.append(found)
    return result


def first_of_each(captions: Sequence[Caption]) -> list[Caption]:
    """One caption a number: the longest."""
    best: dict[tuple[str, str], Caption] = {}
    for caption in captions:
        key = caption.label.key
        if key not in best or len(caption.text) > len(best[key].text):
            best[key] = caption
    return list(best.values())


def match_apart(plans: Sequence[Plan], captions: Sequence[Caption], taken: set[Region]) -> list[Match]:
    """Captions and figures on different pages, in order: the n-th left over caption to the n-th left over figure page.

    An alignment by dynamic programming: pages apart cost, skipping costs more, crossing is not possible.
    """
    groups = []
    single = []
    for plan in plans:
        free = [region for region in plan.regions if region not in taken]
        if not any(region.is_figure_sized for region in free):
            continue
        box = union(region.box for region in free)
        if any(overlap(box, wall) > 0.3 * area(wall) for wall in plan.walls):
            free = [max(free, key=lambda region: area(region.box))]
        if area(free[0].box) > 0.03 * plan.page.width * plan.page.height or len(free) > 1:
            groups.append((plan, free))
            single += [(plan, [region]) for region in free if region.is_figure_sized]
    if len(captions) > len(groups) and len(captions) == len(single):
        groups = single  # several bare pictures on a page, and a caption for each
    if not captions or not groups:
        return []
    skip = 30.0
    best = np.full((len(captions) + 1, len(groups) + 1), np.inf)
    best[0, :] = [skip * 0.2 * j for j in range(len(groups) + 1)]
    best[:, 0] = [skip * i for i in range(len(captions) + 1)]
    for i, caption in enumerate(captions, 1):
        for j, (plan, _) in enumerate(groups, 1):
            apart = min(20.0, abs(plan.page.number - caption.page)) * 0.5
            best[i, j] = min(best[i - 1, j] + skip, best[i, j - 1] + skip * 0.2, best[i - 1, j - 1] + apart)
    found = []
    i, j = len(captions), len(groups)
    while i and j:
        plan, free = groups[j - 1]
        apart = min(20.0, abs(plan.page.number - captions[i - 1].page)) * 0.5
        if best[i, j] == best[i - 1, j - 1] + apart:
            found.append(Match(captions[i - 1], plan.page.number, completed(plan, free), tuple(free)))
            i, j = i - 1, j - 1
        elif best[i, j] == best[i, j - 1] + skip * 0.2:
            j -= 1
        else:
            i -= 1
    return found

"""What is done about each finding of the audit: pure rules, findings in, one explained action per image out.

Nothing is guessed: a rule acts only on what a finding states. What needs a person is held out, not repaired; a reviewed
decision overrules every rule. The order: reviewed decisions, contradictions, doubtful labels, copies, masks, persons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from covidct.records import LABEL_NAMES

COLUMNS = ["image_id", "action", "before", "after", "reason", "finding"]
NAMES_COVID = re.compile(
    r"covid|sars[\s-]*cov|2019[\s-]*n?cov|n[\s-]?cov\b|novel coronavirus|coronavirus disease", re.I
)
DECISIONS = ("keep", "hold", "remove", "COVID", "NonCOVID")
OUT = ("removed", "held out")
MARKED = 0.001
"""share of a picture from which it counts as annotated: one arrow in a picture of 300 x 400 pixels"""
HELD_VIEWS = ("body part", "panels")
"""views that are no single chest picture; another window or orientation stays, with a flag"""


class CleanError(ValueError):
    """The release, the findings or the decisions cannot be used: what, expected, got, next step."""


@dataclass(frozen=True)
class Action:
    """What is done to one image, and why."""

    image_id: str
    action: str
    before: str
    after: str
    reason: str
    finding: str = ""


@dataclass
class Plan:
    """All actions on a table of records."""

    records: pd.DataFrame
    actions: list[Action] = field(default_factory=list)
    fate: dict[str, str] = field(default_factory=dict)
    """image_id -> removed or held out"""
    boxes: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    """image_id -> boxes to mask, pixels x0 y0 x1 y1"""
    decided: dict[str, str] = field(default_factory=dict)

    def do(self, image_id: str, action: str, before: object, after: object, reason: str, finding: str = "") -> None:
        """Note an action; the first fate of an image stands, and what a person decided is not overruled."""
        if action in OUT:
            if image_id in self.fate or image_id in self.decided:
                return
            self.fate[image_id] = action
        self.actions.append(Action(image_id, action, str(before), str(after), reason, finding))

    def here(self, image_id: str) -> bool:
        """True while an image is neither removed nor held out."""
        return image_id not in self.fate

    def set(self, image_id: str, **values: Any) -> None:
        """Change values of an image's row."""
        for column, value in values.items():
            self.records.at[image_id, column] = value

    def of(self, image_id: str, column: str) -> Any:
        """A value of an image's row."""
        return self.records.at[image_id, column]


def plan(
    records: pd.DataFrame,
    findings: Sequence[dict[str, Any]],
    decisions: dict[str, tuple[str, str]] | None = None,
    wrong: str = "hold",
    marks: Callable[[str], float] = lambda name: 0.0,
) -> Plan:
    """All actions on ``records`` (index image_id) that the findings (items: image ids) call for.

    decisions: image_id -> (decision, reason) of a person. wrong: what a label that its own text contradicts gets, hold
    or relabel. marks: share of a picture covered by letters and arrows, to keep the cleaner of two copies.
    Raises CleanError.
    """
    if wrong not in ("hold", "relabel"):
        raise CleanError(f"wrong {wrong!r}: expected hold or relabel")
    made = Plan(records.copy())
    kinds: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        kinds.setdefault(str(finding["kind"]), []).append(finding)
    _decided(made, decisions or {})
    doubted = {name for row in kinds.get("label-in-doubt", []) for name in row["items"]}
    for row in kinds.get("opposite-label", []):
        _contradiction(made, row, doubted)
    for row in kinds.get("label-in-doubt", []):
        _doubt(made, row, wrong)
    for row in kinds.get("not-a-lung-view", []):
        _view(made, row)
    private = {name for row in kinds.get("personal-data", []) for name in row["items"]}
    _copies(made, [*kinds.get("same-picture", []), *kinds.get("redundant", [])], private, marks)
    for row in kinds.get("retouched", []):  # which of two copies was painted, pixels do not tell: a person looks
        for name in (name for name in row["items"] if made.here(name)):
            made.do(name, "flagged", "", "", f"perhaps retouched: {row['evidence']}", _id(row))
    for row in kinds.get("personal-data", []):
        _mask(made, row)
    _persons(made, findings)
    return made


def _id(row: dict[str, Any]) -> str:
    return str(row.get("id", row["kind"]))


def _decided(made: Plan, decisions: dict[str, tuple[str, str]]) -> None:
    for name, (decision, reason) in sorted(decisions.items()):
        if name not in made.records.index:
            raise CleanError(f"decisions: image {name!r} is not in the release; give its image_id (no ending)")
        if decision not in DECISIONS:
            raise CleanError(f"decisions: image {name}: expected one of {', '.join(DECISIONS)}, got {decision!r}")
        why = f"decided by a person: {reason}"
        if decision in ("hold", "remove"):
            made.do(name, "held out" if decision == "hold" else "removed", "", "", why)
        elif decision != "keep":
            _relabel(made, name, int(decision == "COVID"), why, "")
        made.decided[name] = decision


def _relabel(made: Plan, name: str, label: int, why: str, finding: str) -> None:
    old = int(made.of(name, "label"))
    if old != label:
        made.set(name, label=label, label_name=LABEL_NAMES[label])
        made.do(name, "relabelled", LABEL_NAMES[old], LABEL_NAMES[label], why, finding)


def _contradiction(made: Plan, row: dict[str, Any], doubted: set[str]) -> None:
    """The COVID copy stays if its own text names COVID-19 and the other copy has no text that says otherwise."""
    pair = [name for name in row["items"] if name in made.records.index]
    positive = [name for name in pair if made.of(name, "label") == 1]
    negative = [name for name in pair if made.of(name, "label") == 0]
    if len(positive) != 1 or len(negative) != 1:
        return
    one, other = positive[0], negative[0]
    supported = bool(NAMES_COVID.search(str(made.of(one, "caption")))) and one not in doubted
    silent = not made.of(other, "caption") or bool(NAMES_COVID.search(str(made.of(other, "caption"))))
    if supported and silent:
        made.do(
            other, "removed", "NonCOVID", "",
            f"the same picture as {one}, whose text names COVID-19; no text supports NonCOVID", _id(row),
        )  # fmt: skip
        return
    for name in pair:
        made.do(name, "held out", made.of(name, "label_name"), "", f"one picture under both labels: {pair}", _id(row))


def _doubt(made: Plan, row: dict[str, Any], wrong: str) -> None:
    sure = bool(row.get("details", {}).get("sure", row["severity"] == "error"))
    for name in row["items"]:
        if not made.here(name) or name in made.decided:
            continue
        if sure and wrong == "relabel":
            _relabel(made, name, 1 - int(made.of(name, "label")), str(row["evidence"]), _id(row))
            made.set(name, reviewed=False, reviewers="rule: caption")
        else:
            before = made.of(name, "label_name")
            made.do(name, "held out", before, "", f"label for review: {row['evidence']}", _id(row))


def _view(made: Plan, row: dict[str, Any]) -> None:
    details = row.get("details", {})
    what = details.get("what", "")
    for name in row["items"]:
        if what in HELD_VIEWS and row["severity"] != "note":
            made.do(name, "held out", "", "", f"not a single chest picture ({what}): {row['evidence']}", _id(row))
        elif made.here(name):
            made.do(name, "flagged", "", "", f"{what or 'view'}: {row['evidence']}"[:300], _id(row))


def _copies(made: Plan, rows: Iterable[dict[str, Any]], private: set[str], marks: Callable[[str], float]) -> None:
    """Of pictures that are copies or nearly the same slice, the best stays: no personal data, unmarked, in test, large.
    The others go unless they are held out already."""
    edges: dict[tuple[str, str], tuple[str, str]] = {}
    for row in rows:
        if row["kind"] == "redundant":
            pairs = [(*sorted(pair["items"]), pair) for pair in row.get("details", {}).get("pairs", [])]
            said = [
                (a, b, "the same picture" if p.get("same") else f"nearly the same slice ({p['correlation']:.2f})")
                for a, b, p in pairs
            ]
        else:
            a, b = sorted(row["items"][:2])
            said = [(a, b, "the same picture")]
        for a, b, what in said:
            if a in made.records.index and b in made.records.index:
                edges.setdefault((a, b), (what, _id(row)))
    names = sorted({name for edge in edges for name in edge if made.here(name)}, key=str)

    def rank(name: str) -> tuple[Any, ...]:
        size = int(made.of(name, "width")) * int(made.of(name, "height"))
        test = made.of(name, "split") == "test"
        return (name in private, marks(name) > MARKED, not test, -size, name)

    near: dict[str, dict[str, tuple[str, str]]] = {}
    for (a, b), why in edges.items():
        near.setdefault(a, {})[b] = why
        near.setdefault(b, {})[a] = why
    kept: set[str] = set()
    for name in sorted(names, key=rank):
        better = [other for other in near[name] if other in kept]
        if better and name not in made.decided:
            what, finding = near[name][better[0]]
            made.do(name, "removed", made.of(name, "split"), "", f"{what} as {better[0]}, which stays", finding)
        else:
            kept.add(name)


def _mask(made: Plan, row: dict[str, Any]) -> None:
    """Boxes with burned-in personal data are painted over; without a box the picture is held out, or flagged where the
    finding is a suspicion only.
    """
    details = row.get("details", {})
    boxes = details.get("boxes", {})
    what = details.get("kind", details.get("what", "personal data"))
    for name in row["items"]:
        if not made.here(name):
            continue
        whole = (box for box in boxes.get(name, []) if len(box) == 4)
        found = [(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in whole]
        if not found:
            what_to_do = "flagged" if row["severity"] == "warning" else "held out"
            reason = f"{what} burned in, place not known: {row['evidence']}"[:300]
            made.do(name, what_to_do, "", "", reason, _id(row))
            continue
        made.boxes.setdefault(name, []).extend(found)
        places = "; ".join(" ".join(map(str, box)) for box in found)
        made.do(name, "masked", "", places, f"{what} burned in", _id(row))


def _persons(made: Plan, findings: Sequence[dict[str, Any]]) -> None:
    """One person, one id: ids that a case, or one picture, ties together become the first of them."""
    ties: list[tuple[list[str], str, str]] = []
    for row in findings:
        if row["kind"] in ("patient-identity", "patient-across-splits"):
            if row.get("details", {}).get("conflict"):  # like slices, but the tables state two people
                continue
            ids = [str(value) for value in row.get("details", {}).get("ids", [])]
            ties.append((ids, str(row["evidence"]), _id(row)))
        elif row["kind"] in ("same-picture", "opposite-label"):
            members = [name for name in row["items"][:2] if name in made.records.index]
            ties.append(([str(made.of(name, "patient_id")) for name in members], str(row["evidence"]), _id(row)))
    known = sorted(set(made.records["patient_id"]))
    place = {value: index for index, value in enumerate(known)}
    edges = [(place[ids[0]], place[other]) for ids, _, _ in ties if set(ids) <= set(place) for other in ids[1:]]
    if not edges:
        return
    first, second = np.array(edges).T
    size = len(known)
    graph = coo_matrix((np.ones(len(edges), np.int8), (first, second)), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    chosen: dict[int, str] = {}
    for value in sorted(known, key=lambda text: (len(text), text)):
        chosen.setdefault(int(component[place[value]]), value)
    why = {
        value: (evidence, finding) for ids, evidence, finding in reversed(ties) for value in ids if len(set(ids)) > 1
    }
    for name in made.records.index:
        old = str(made.of(name, "patient_id"))
        new = chosen[int(component[place[old]])]
        if new != old:
            made.set(name, patient_id=new)
            made.do(name, "regrouped", old, new, *why.get(old, ("one person under two ids", "")))


def _tie(made: Plan, name: str, split: str) -> str:
    """What ties an image to the split it moved to: the first image there that shares its patient or document."""
    there = made.records[made.records["split"] == split]
    for column, what in (("patient_id", "patient"), ("document_id", "document")):
        value = made.of(name, column)
        same = there.index[(there[column] == value).to_numpy()] if value else []
        if len(same):
            return f"shares its {what} ({value}) with {same[0]}, which was in {split}"
    return f"belongs, through other images, to a group that was in {split}"


def table(made: Plan, after: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS for every image: its actions, its move to another split, or that it stayed as it was.

    after: the records as they come out, with ``split``.
    """
    rows = list(made.actions)
    new = after.set_index("image_id")["split"]
    for name in made.records.index:
        old = str(made.of(name, "split"))
        if made.here(name) and old != new[name]:
            rows.append(Action(name, "moved", old or "held out", str(new[name]), _tie(made, name, str(new[name]))))
    told = {row.image_id for row in rows}
    rows += [
        Action(name, "kept", str(made.of(name, "split")), str(made.of(name, "split")), "no finding calls for a change")
        for name in made.records.index
        if name not in told
    ]
    frame = pd.DataFrame([[getattr(row, column) for column in COLUMNS] for row in rows], columns=COLUMNS)
    return frame.sort_values(["image_id", "action"], kind="stable").reset_index(drop=True)

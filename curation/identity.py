"""Who is shown in each panel: a key scoped by document, and how it is known.

Knowing nothing is answered cautiously: the whole figure is one group, or the whole document where several of its
figures show
chest CTs, because a patient may come back in the next figure. Spellings are mixed cautiously too: where one document
numbers some patients and calls others by age only, the latter count as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curation.patients import patients_in

SHORT = re.compile(r"(?:p|pt|pat)[\s.:#-]*(\d{1,4})", re.I)
"""how curators shorten "patient 1": P1, pt. 1"""


@dataclass(frozen=True)
class Shown:
    """What is known about the person in one panel."""

    image_id: str
    source: str
    document_id: str
    figure_id: str
    stated: str = ""
    curator: str = ""
    named: tuple[str, ...] = ()


def assign(
    panels: Iterable[Shown],
    aliases: Mapping[str, Mapping[str, str]] | None = None,
    figures: Mapping[tuple[str, str], int] | None = None,
) -> dict[str, tuple[str, str]]:
    """``{image_id: (patient_id, basis)}``.

    ``aliases``: per document, ages that a text ties to a number. ``figures``: how many figures of ``(source,
    document)`` show chest CTs, those not yet accepted included; absent: as many as ``panels`` come from.
    """
    documents: dict[str, list[Shown]] = {}
    for panel in panels:
        documents.setdefault(f"{panel.source} {panel.document_id}", []).append(panel)
    result: dict[str, tuple[str, str]] = {}
    for members in documents.values():
        document = members[0].document_id or members[0].figure_id
        known = dict((aliases or {}).get(members[0].document_id, {}))
        keys = {p.image_id: _key(p, known) for p in members}
        kinds = {_kind(key) for key, _ in keys.values() if key}
        seen = len({p.figure_id for p in members})
        alone = max(seen, (figures or {}).get((members[0].source, members[0].document_id), 0)) == 1
        for panel in members:
            key, basis = keys[panel.image_id]
            if panel.stated:
                result[panel.image_id] = (
                    _scoped(panel.source, panel.stated),
                    "case" if panel.source == "medpix" else "stated",
                )
            elif key and (len(kinds) == 1 or _kind(key) == "number"):
                result[panel.image_id] = (f"{document}:{key.replace(' ', '-')}", basis)
            elif alone:
                result[panel.image_id] = (f"{panel.figure_id}", "figure")
            else:
                result[panel.image_id] = (document, "document")
    return result


def _key(panel: Shown, aliases: Mapping[str, str]) -> tuple[str, str]:
    if panel.curator:
        short = SHORT.fullmatch(panel.curator.strip())
        said = f"patient {short.group(1)}" if short else panel.curator
        spelled = patients_in(said) or patients_in(f"patient {said}")
        return (spelled[0] if len(spelled) == 1 else panel.curator.strip().lower()), "curator"
    names = tuple(dict.fromkeys(aliases.get(name, name) for name in panel.named))
    return (names[0], "caption") if len(names) == 1 else ("", "")


def _kind(key: str) -> str:
    if key.startswith("patient "):
        return "number"
    return "age" if "-year-old " in key else "curator"


def _scoped(source: str, stated: str) -> str:
    return stated if stated.startswith(source) else f"{source}:{stated}"

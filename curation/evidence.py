"""Caption and mentions -> suggested label, the sentence that supports it, and the patients named.

Rules, not a model, because a curator must see why: a name of the disease counts unless the words around it deny it
("negative for", "non-"), doubt it ("suspected"), set it aside ("contact of", "during the pandemic") or compare with it;
a control or another disease stated of the person shown, or a date before December 2019, makes it the other class; a
caption that names both says "unclear" for the figure and is decided panel by panel. What the panel's own text says
goes before what the whole caption says, and the caption goes before the text that mentions the figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation import terms
from curation.captions_text import clean, early, panel_texts, said_of, sentences
from curation.patients import patients_in
from curation.records import Label, Suggestion
from harvest.records import Figure

VERSION = "evidence-3"
LIMIT = 20_000
"""characters of a caption or mention that are read"""
FIRST_CASE = "2019-12"


@dataclass(frozen=True)
class Verdict:
    """What one piece of text says: evidence for, against, doubt, and the sentence of each."""

    covid: str = ""
    other: str = ""
    doubt: str = ""

    @property
    def label(self) -> Label | None:
        """COVID, NonCOVID, unclear (contradicting or doubtful), or None: nothing said."""
        if self.covid:
            return "unclear" if self.other else "COVID"
        if self.other:
            return "NonCOVID"
        return "unclear" if self.doubt else None

    @property
    def sentence(self) -> str:
        return self.covid or self.other or self.doubt


def suggest(caption: str, mentions: Iterable[Any] = (), own: Mapping[str, str] | None = None) -> Suggestion:
    """Suggested label of a figure (or of one panel, if ``caption`` is the panel's text).

    ``mentions``: sentences or paragraphs that refer to the figure: strings, or anything with ``.text`` or ``["text"]``.
    ``own``: texts of single panels found by the harvest; where they differ, the whole is unclear.
    """
    body = clean(str(caption or "")[:LIMIT])
    head, panels = panel_texts(body)
    texts = _both(panels, own or {})
    named = patients_in(body)
    if texts:
        labels = [_agreed(head, several) for several in dict.fromkeys(texts.values())]
        said = {v.label for v in labels}
        if len(said) == 1 and None not in said:
            return _suggestion(labels[0], named)
        if ("COVID" in said and "NonCOVID" in said) or said - {"COVID", None}:
            best = next((v for v in labels if v.label in ("NonCOVID", "unclear")), labels[0])
            return Suggestion(label="unclear", sentence=best.sentence[:1000], patients=named)
    verdict = read(body)
    if (
        texts
        and verdict.label == "COVID"
        and any(terms.NORMAL.search(t) and not read_panel(head, t).label for several in texts.values() for t in several)
    ):
        verdict = Verdict(doubt=verdict.covid)  # "COVID-19 (A) and normal lungs (B)": whose lungs?
    if verdict.label is None:
        verdict = _mentioned(list(_texts(mentions)), body)
        named = named or patients_in(verdict.sentence)
    return _suggestion(verdict, named)


def suggest_panels(
    caption: str, letters: Iterable[str], own: Mapping[str, str], mentions: Iterable[Any] = ()
) -> dict[str, Suggestion]:
    """Suggested label of each lettered panel; ``own`` holds panel texts found by the harvest, else the caption is
    split.
    """
    body = clean(str(caption or "")[:LIMIT])
    head, found = panel_texts(body)
    texts = _both(found, own)
    mentioned = list(_texts(mentions))
    whole = suggest(caption, mentioned, own)
    result = {}
    for letter in letters:
        if letter not in texts:
            result[letter] = whole
            continue
        text = texts[letter][0]
        verdict = _agreed(head, texts[letter])
        named = patients_in(text) or _only(patients_in(head))
        if verdict.label is None:
            pointed = [said_of(t, letter) for t in mentioned]
            verdict = _mentioned([t for own_letter, t in pointed if own_letter], text)
            named = named or patients_in(verdict.sentence)
            if verdict.label is None:
                verdict = _mentioned([t for own_letter, t in pointed if not own_letter], text)
        result[letter] = _suggestion(verdict, named)
    return result


def _both(split: Mapping[str, str], own: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Per panel the harvest's text first, then what the caption's letters give, where they differ."""
    given = {k.strip().upper(): clean(v) for k, v in own.items() if v}
    return {
        k: tuple(t for t in dict.fromkeys((given.get(k, ""), split.get(k, ""))) if t)
        for k in (*given, *(k for k in split if k not in given))
        if given.get(k) or split.get(k)
    }


def _agreed(head: str, texts: Sequence[str]) -> Verdict:
    """What the texts of one panel say; two ways to cut a caption that disagree leave it unclear."""
    said = [v for v in (read_panel(head, text) for text in texts) if v.label is not None]
    if len({v.label for v in said}) > 1:
        return Verdict(doubt=said[0].sentence)
    return said[0] if said else Verdict()


@dataclass(frozen=True)
class FigureEvidence:
    """What the words say of a figure, and of each panel: ``(letter, own text, suggestion)``."""

    whole: Suggestion
    panels: tuple[tuple[str, str, Suggestion], ...]


def for_figure(figure: Figure, count: int) -> FigureEvidence:
    """Evidence for a figure with ``count`` panels in reading order.

    Panels take the letters A, B, ... only if the caption has a text for as many letters as there are panels; else each
    gets what is said of the whole figure, which is unclear where the panels' own texts differ. A stated diagnosis
    (MedPix) and the date of the document speak where the caption and the mentions do not.
    """
    own = {k.strip().upper(): clean(v) for k, v in figure.panel_captions.items() if v}
    whole = _with_context(suggest(figure.caption, figure.mentions, own), figure)
    _, split = panel_texts(clean(figure.caption))
    texts = {**split, **own}
    letters = [chr(65 + n) for n in range(count)]
    if count > 1 and sorted(texts) == letters:
        said = suggest_panels(figure.caption, letters, own, figure.mentions)
        return FigureEvidence(whole, tuple((x, texts[x], _with_context(said[x], figure)) for x in letters))
    return FigureEvidence(whole, tuple(("", "", whole) for _ in range(count)))


def _with_context(said: Suggestion, figure: Figure) -> Suggestion:
    if said.label != "unclear" or said.sentence:
        return said
    if figure.diagnosis:
        label = read(clean(figure.diagnosis)).label
        if label != "unclear":
            return said.model_copy(update={"label": label or "NonCOVID", "sentence": f"Diagnosis: {figure.diagnosis}"})
    if FIRST_CASE > figure.date[:7] > "1900":
        return said.model_copy(
            update={"label": "NonCOVID", "sentence": f"Published {figure.date}, before the disease."}
        )
    return said


def read_panel(head: str, text: str) -> Verdict:
    """The panel's own text decides; where it says nothing, the head of the caption does.

    A head that sets diseases side by side hands its label to nobody, nor does one that names the disease to a panel
    called normal; and what may come with COVID-19 (an embolism) is not another patient's only because a panel shows it.
    """
    own, above = read(text), read(head)
    if own.label is None:
        if above.label == "COVID" and (compares(head) or terms.NORMAL.search(text)):
            return Verdict(doubt=above.covid)
        return above
    if own.label == "NonCOVID" and above.label == "COVID" and not compares(head):
        found = [m.group(0) for m in terms.OTHER.finditer(text)]
        if found and all(terms.FINDING.match(f) for f in found):
            return Verdict(doubt=own.other)
    return own


def compares(text: str) -> bool:
    """True if a text sets the disease beside another, named or not ("differences between COVID-19 and ...")."""
    return bool(terms.COMPARISON.search(text) and terms.SIDE_BY_SIDE.search(text))


def read(text: str) -> Verdict:
    """Evidence of one cleaned text, sentence by sentence."""
    covid = other = doubt = suspected = ""
    said = sentences(text)
    for number, sentence in enumerate(said):
        found = _sentence(sentence, " ".join(said[number + 1 : number + 4])[:400])
        covid = covid or (sentence if "covid" in found else "")
        other = other or (sentence if "other" in found else "")
        doubt = doubt or (sentence if found & {"suspected", "aside"} else "")
        suspected = suspected or (sentence if "suspected" in found else "")
    if not covid and early(text):
        other = other or next((s for s in said if early(s)), text)
    if covid and (early(text) or (terms.APART.search(text) and terms.PLAIN.search(text))):
        return Verdict(doubt=covid)
    if suspected and not covid and not other and terms.CONFIRMED.search(text):
        covid = suspected
    return Verdict(covid, other, doubt)


def _sentence(sentence: str, following: str) -> set[str]:
    """What one sentence says: any of covid, other, suspected, aside; ``following``: the next ones, for later tests."""
    found: set[str] = set()
    first = -1
    for match in terms.COVID.finditer(sentence):
        before, after = sentence[max(0, match.start() - 90) : match.start()], sentence[match.end() : match.end() + 90]
        if terms.ALIAS_BEFORE.search(before):
            continue
        kind = _name(before, terms.ALIAS_AFTER.sub("", after))
        if kind in ("other", "suspected") and _positive_later(f"{sentence[match.end() :][:300]} {following}"):
            kind = "covid"
        found.add(kind)
        if kind == "covid":
            first = match.start() if first < 0 else first
    for match in terms.OTHER.finditer(sentence):
        before, after = sentence[max(0, match.start() - 90) : match.start()], sentence[match.end() : match.end() + 90]
        compared = terms.COMPARED_BEFORE.search(before)
        if terms.NON_COVID.match(match.group(0)):
            found.add("other")
        elif (
            terms.COVID.match(sentence[match.start() :])
            or _negated(before, after)
            or terms.HISTORY.search(before)
            or (first < 0 and compared)
        ):
            continue
        elif first < 0 or compared or not _same_person(sentence, first, match.start(), match.end()):
            found.add("other")
    return found


def _name(before: str, after: str) -> str:
    """What the words around a name of the disease make of it: covid, other, suspected or aside."""
    negative = terms.NEGATIVE_BEFORE.search(before)
    time = terms.TIME_BEFORE.search(before)
    if terms.CONTACT_BEFORE.search(before) or terms.ASIDE_AFTER.search(after):
        return "aside"
    if terms.DURING_BEFORE.search(before):
        return "covid" if terms.PERSONAL.search(after) else "aside"
    if time:
        what = time["what"] or ""
        if terms.TREATED.search(what or after):
            return "covid"
        return "suspected" if terms.NEAR.search(what) or terms.NEAR.search(after) else "other"
    if negative:
        return "suspected" if negative["doubtful"] or terms.FIRST.search(negative["kind"]) else "other"
    if terms.SUSPECTED_AFTER.search(after):
        return "suspected"
    if terms.COMPARED_BEFORE.search(before) or _negated(before, after):
        return "other"
    return "suspected" if terms.SUSPECTED_BEFORE.search(before) else "covid"


def _negated(before: str, after: str) -> bool:
    return bool(terms.DENIED_BEFORE.search(before) or terms.DENIED_AFTER.search(after))


def _positive_later(rest: str) -> bool:
    """After a negative test of the virus: a later clause reports a positive one, of nothing else."""
    at = rest.find("negative")
    clauses = terms.CLAUSE.split(rest[at + 8 :]) if at >= 0 else terms.CLAUSE.split(rest)[1:]
    return any(terms.POSITIVE_LATER.search(c) and not terms.OTHER.search(c) for c in clauses)


def _same_person(sentence: str, covid: int, start: int, end: int) -> bool:
    """``COVID-19 ... with emphysema``: a finding or second illness of the same patient, not another patient's."""
    between = sentence[covid:start] if covid < start else sentence[end:covid]
    if terms.SECOND.search(between) or terms.APART.search(sentence):
        return False
    return bool(terms.BOTH.search(sentence[:end]) or (covid < start and terms.WITH.search(between)))


def _mentioned(texts: Sequence[str], shown: str) -> Verdict:
    """What mentions say of the figure or panel whose own text is ``shown`` and silent.

    Only sentences that speak of somebody or of pictures count for the disease, and none that names other patients;
    mentions that contradict each other leave it unclear, as does the disease said of a CT called normal.
    """
    covid = other = doubt = ""
    named = set(patients_in(shown))
    for text in texts:
        verdict = read(text)
        theirs = set(patients_in(verdict.sentence))
        if named and theirs and not named & theirs:
            continue
        other, doubt = other or verdict.other, doubt or verdict.doubt
        if verdict.covid and terms.SHOWN.search(verdict.covid):
            covid = covid or verdict.covid
    if covid and terms.NORMAL.search(shown):
        return Verdict(doubt=covid)
    return Verdict(covid, other, doubt)


def _texts(mentions: Iterable[Any]) -> Iterable[str]:
    for mention in mentions:
        raw = mention if isinstance(mention, str) else getattr(mention, "text", None)
        if raw is None and isinstance(mention, Mapping):
            raw = mention.get("text", "")
        if raw:
            yield clean(str(raw)[:LIMIT])


def _only(names: tuple[str, ...]) -> tuple[str, ...]:
    return names if len(names) == 1 else ()


def _suggestion(verdict: Verdict, named: tuple[str, ...]) -> Suggestion:
    return Suggestion(label=verdict.label or "unclear", sentence=verdict.sentence[:1000], patients=named)

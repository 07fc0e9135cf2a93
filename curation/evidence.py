"""Caption and mentions -> suggested label, the sentence that supports it, and the patients named.

Rules, not a model, because a curator must see why: a name of the disease counts unless the words around it deny it
("negative for", "non-"), doubt it ("suspected") or set it aside ("compared with"); a control or another disease stated
of the person shown, or a date before December 2019, makes it the other class; a caption that names both says
"unclear" for
the figure and is decided panel by panel. What the panel's own text says goes before what the whole caption says, and
the
caption goes before the text that mentions the figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curation import terms
from curation.captions_text import clean, panel_texts, sentences
from curation.patients import patients_in
from curation.records import Label, Suggestion
from harvest.records import Figure

VERSION = "evidence-2"
LIMIT = 20_000
"""characters of a caption or mention that are read"""
FIRST_CASE = "2019-12"


@dataclass(frozen=True)
class Verdict:
    """What one piece of text says: evidence for, against, doubt, and the sentence of each."""

    covid: str = ""
    other: str = ""
    doubt: str = ""
    together: bool = False
    """one sentence names both as the same person's ("a patient with both heart failure and COVID-19")"""

    @property
    def label(self) -> Label | None:
        """COVID, NonCOVID, unclear (contradicting or doubtful), or None: nothing said."""
        if self.covid and (not self.other or self.together):
            return "COVID"
        if self.covid:
            return "unclear"
        if self.other:
            return "NonCOVID"
        return "unclear" if self.doubt else None

    @property
    def sentence(self) -> str:
        return self.covid or self.other or self.doubt


def suggest(caption: str, mentions: Iterable[Any] = ()) -> Suggestion:
    """Suggested label of a figure (or of one panel, if ``caption`` is the panel's text).

    ``mentions``: sentences or paragraphs that refer to the figure: strings, or anything with ``.text`` or ``["text"]``.
    """
    body = clean(str(caption or "")[:LIMIT])
    head, panels = panel_texts(body)
    named = patients_in(body)
    if panels:
        labels = [read_panel(head, text) for text in dict.fromkeys(panels.values())]
        said = {v.label for v in labels}
        if len(said) == 1 and None not in said:
            return _suggestion(labels[0], named)
        if ("COVID" in said and "NonCOVID" in said) or said - {"COVID", None}:
            best = next((v for v in labels if v.label in ("NonCOVID", "unclear")), labels[0])
            return Suggestion(label="unclear", sentence=best.sentence[:1000], patients=named)
    verdict = read(body)
    if verdict.label is None:
        for text in _texts(mentions):
            verdict = read(text)
            if verdict.label is not None:
                named = named or patients_in(verdict.sentence)
                break
    return _suggestion(verdict, named)


def suggest_panels(
    caption: str, letters: Iterable[str], own: Mapping[str, str], mentions: Iterable[Any] = ()
) -> dict[str, Suggestion]:
    """Suggested label of each lettered panel; ``own`` holds panel texts found by the harvest, else the caption is
    split.
    """
    body = clean(str(caption or "")[:LIMIT])
    head, found = panel_texts(body)
    texts = {**found, **{k.upper(): clean(v) for k, v in own.items() if v}}
    whole = suggest(caption, mentions)
    result = {}
    for letter in letters:
        text = texts.get(letter, "")
        if not text:
            result[letter] = whole
            continue
        verdict = read_panel(head, text)
        if verdict.label is None:
            verdict = _mentioned(mentions, letter)
        named = patients_in(text) or _only(patients_in(head))
        result[letter] = _suggestion(verdict, named)
    return result


@dataclass(frozen=True)
class FigureEvidence:
    """What the words say of a figure, and of each panel: ``(letter, own text, suggestion)``."""

    whole: Suggestion
    panels: tuple[tuple[str, str, Suggestion], ...]


def for_figure(figure: Figure, count: int) -> FigureEvidence:
    """Evidence for a figure with ``count`` panels in reading order.

    Panels take the letters A, B, ... only if the caption has a text for as many letters as there are panels; else each
    gets what is said of the whole figure. A stated diagnosis (MedPix) and the date of the document speak where the
    caption and the mentions do not.
    """
    whole = _with_context(suggest(figure.caption, figure.mentions), figure)
    own = {k.strip().upper(): clean(v) for k, v in figure.panel_captions.items() if v}
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
    """The panel's own text decides; where it says nothing, the head of the caption does."""
    own = read(text)
    if own.label is not None:
        return own
    return read(head)


def read(text: str) -> Verdict:
    """Evidence of one cleaned text, sentence by sentence."""
    covid = other = doubt = ""
    together = False
    for sentence in sentences(text):
        found = _sentence(sentence)
        covid = covid or (sentence if found.covid else "")
        other = other or (sentence if found.other else "")
        doubt = doubt or (sentence if found.doubt else "")
        together = together or found.together
    if not covid and early(text):
        other = other or next((s for s in sentences(text) if early(s)), text)
    if covid and early(text):
        return Verdict(doubt=covid)
    if doubt and not covid and terms.CONFIRMED.search(text) and not other:
        covid = doubt
    return Verdict(covid, other, doubt, together)


def _sentence(sentence: str) -> Verdict:
    covid = other = doubt = False
    first = -1
    for match in terms.COVID.finditer(sentence):
        before, after = sentence[max(0, match.start() - 90) : match.start()], sentence[match.end() : match.end() + 90]
        if terms.DENIED_BEFORE.search(before) or terms.DENIED_AFTER.search(after):
            other = True
        elif terms.SUSPECTED_BEFORE.search(before) or terms.SUSPECTED_AFTER.search(after):
            doubt = True
        else:
            covid = True
            first = match.start() if first < 0 else first
    both = False
    for match in terms.OTHER.finditer(sentence):
        before, after = sentence[max(0, match.start() - 90) : match.start()], sentence[match.end() : match.end() + 90]
        if terms.NON_COVID.match(match.group(0)):
            other = True
        elif (
            terms.COVID.match(sentence[match.start() :])
            or terms.DENIED_BEFORE.search(before)
            or terms.DENIED_AFTER.search(after)
            or terms.HISTORY.search(before)
        ):
            continue
        elif covid and (terms.BOTH.search(sentence[: match.end()]) or _accompanies(sentence, first, match.start())):
            both = True
        else:
            other = True
    return Verdict("x" if covid else "", "x" if other else "", "x" if doubt else "", both and covid and not other)


def _accompanies(sentence: str, covid: int, other: int) -> bool:
    """``COVID-19 … with emphysema``: a finding or second illness of the same patient, not another patient's."""
    between = sentence[covid:other].lower() if covid < other else sentence[other:covid].lower()
    return covid < other and any(
        f" {w} " in f" {between} " for w in ("with", "showed", "showing", "shows", "and then", "developed")
    )


def early(text: str) -> bool:
    """True if the text gives dates and all lie before December 2019, when nobody had the disease yet."""
    dates = []
    for match in terms.DATE.finditer(text):
        year = int(match["y1"] or match["y2"] or match["y3"])
        december = (match["m1"] or "").lower().startswith("dec") or (match["m2"] or "") == "12"
        if 1950 <= year <= 2100:
            dates.append(year > 2019 or (year == 2019 and (december or bool(match["y3"]))))
    return bool(dates) and not any(dates)


def _mentioned(mentions: Iterable[Any], letter: str) -> Verdict:
    for text in _texts(mentions):
        verdict = read(text)
        if verdict.label is not None:
            return verdict
    return Verdict()


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

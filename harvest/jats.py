"""Articles in JATS XML: title, text, licence, and figures in every form `<fig>` takes.

A figure may stand in the text, in a `fig-group` that shares a caption, or in a `floats-group` at the end; it may hold
one graphic, several, alternatives of the same, or none. It may carry its own permissions: "reproduced with permission
from …" is not the article's to license.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from harvest.forms import read_label
from harvest.licences import code_of, of_others
from harvest.naming import REFERENCE, references, sentences

_XLINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class JatsFigure:
    """One figure; ``graphics`` are file names mostly without ending, one per picture."""

    id: str
    label: str
    number: str
    caption: str
    graphics: tuple[str, ...]
    licence: str
    """the figure's own: a code, ``reproduced``, or '' for the article's"""
    mentions: tuple[tuple[int, str], ...]
    """(offset into the body's text, sentence)"""


@dataclass(frozen=True)
class Article:
    """What a harvest needs of an article."""

    pmcid: str
    doi: str
    title: str
    abstract: str
    body: str
    licence: str
    date: str
    retracted: bool
    figures: tuple[JatsFigure, ...]


def read_article(root: Element) -> Article:
    """An article from its root (``article``, or a set whose first article is taken)."""
    article = root if _name(root) == "article" else next((e for e in root.iter() if _name(e) == "article"), root)
    front = _child(article, "front")
    meta = _child(front, "article-meta") if front is not None else None
    ids = {e.get("pub-id-type", ""): _text(e) for e in _children(meta, "article-id")}
    pmcid = ids.get("pmcid") or ids.get("pmc") or ""
    body = _child(article, "body")
    named = list(_sentences(body))
    return Article(
        pmcid=pmcid if pmcid.startswith("PMC") or not pmcid else f"PMC{pmcid}",
        doi=ids.get("doi", ""),
        title=_text(_find(meta, "article-title")),
        abstract=" ".join(_text(e) for e in _children(meta, "abstract")),
        body=_text(body),
        licence=_licence(_child(meta, "permissions")),
        date=_date(meta),
        retracted=article.get("article-type") == "retraction"
        or any("retract" in (e.get("related-article-type") or "") for e in _all(meta, "related-article")),
        figures=tuple(_figures(article, named)),
    )


def _figures(article: Element, named: list[tuple[int, str]]) -> Iterator[JatsFigure]:
    for element, group in _walk(article, None):
        graphics = tuple(_graphics(element))
        if not graphics:
            continue
        own = " ".join(_text(e) for e in _children(element, "caption"))
        shared = " ".join(_text(e) for e in _children(group, "caption")) if group is not None else ""
        caption = " ".join(part for part in (shared, own) if part)
        label = _text(_child(element, "label")) or (_text(_child(group, "label")) if group is not None else "")
        key = _key(label)
        yield JatsFigure(
            id=element.get("id", ""),
            label=label,
            number=key[1],
            caption=caption,
            graphics=graphics,
            licence=_own_licence(element, caption),
            mentions=tuple((at, text) for at, text in named if key in {key for _, key in references(text)}),
        )


def _walk(element: Element, group: Element | None) -> Iterator[tuple[Element, Element | None]]:
    """Each ``fig``, and each ``fig-group`` with graphics of its own, with the group around it; not those of letters."""
    for child in element:
        name = _name(child)
        if name in ("sub-article", "response", "supplementary-material"):
            continue
        if name == "fig":
            yield child, group
        elif name == "fig-group":
            if any(_name(e) in ("graphic", "alternatives") for e in child):
                yield child, None
            yield from _walk(child, child)
        else:
            yield from _walk(child, group)


def _graphics(element: Element) -> Iterator[str]:
    """File names of a figure's pictures: of alternatives one, the fullest."""
    for child in element:
        name = _name(child)
        if name == "graphic" and child.get(_XLINK):
            yield str(child.get(_XLINK))
        elif name == "alternatives":
            choices = [e for e in child if _name(e) == "graphic" and e.get(_XLINK)]
            choices.sort(
                key=lambda e: "thumb" in f"{e.get('specific-use')} {e.get('content-type')} {e.get(_XLINK)}".lower()
            )
            if choices:
                yield str(choices[0].get(_XLINK))
        elif name in ("p", "boxed-text", "disp-quote"):
            yield from _graphics(child)


def _licence(permissions: Element | None) -> str:
    for licence in _children(permissions, "license"):
        links = [licence.get(_XLINK, ""), *(_text(e) for e in licence.iter() if _name(e) == "license_ref")]
        links += [e.get(_XLINK, "") for e in licence.iter() if _name(e) in ("ext-link", "uri")]
        for text in (*links, _text(licence)):
            if code := code_of(text):
                return code
    return ""


def _own_licence(figure: Element, caption: str) -> str:
    permissions = _child(figure, "permissions")
    if permissions is not None:
        return _licence(permissions) or "reproduced"
    attributions = " ".join(_text(e) for e in figure.iter() if _name(e) in ("attrib", "copyright-statement"))
    return "reproduced" if of_others(f"{caption} {attributions}") else ""


def _sentences(body: Element | None) -> Iterator[tuple[int, str]]:
    """Sentences of the paragraphs that name figures, with their offsets into the body's text; captions left out."""
    whole, at = _text(body), 0
    for paragraph in _paragraphs(body):
        for _, sentence in sentences(_text(paragraph)):
            if REFERENCE.search(sentence):
                found = whole.find(sentence, at)
                at = max(at, found)
                yield max(found, 0), sentence


def _paragraphs(element: Element | None) -> Iterator[Element]:
    for child in element if element is not None else ():
        if _name(child) == "p":
            yield child
        elif _name(child) not in ("fig", "fig-group", "table-wrap", "sub-article", "ref-list"):
            yield from _paragraphs(child)


def _key(label: str) -> tuple[str, str]:
    """Kind and number of a label, a panel's letter left out: ``Fig. 1A`` → figure 1, ``S2 Fig`` → figure S2."""
    reading = read_label(f"{label.strip().rstrip('.:')}.")
    if reading is not None:
        return reading.label.whole
    found = re.search(r"S?\d+", label)
    return "figure", found[0] if found else ""


def _date(meta: Element | None) -> str:
    best = ""
    for kind in ("epub", "ppub", "collection", ""):
        for element in _children(meta, "pub-date"):
            if kind and kind not in (element.get("pub-type"), element.get("date-type")):
                continue
            parts = [_text(_child(element, name)) for name in ("year", "month", "day")]
            if parts[0].isdigit():
                best = "-".join(part.zfill(2) for part in parts if part.isdigit())
                return best
    return best


def _text(element: Element | None) -> str:
    """Text of an element in reading order; inline markup joins, blocks are set apart."""
    if element is None:
        return ""
    parts: list[str] = []

    def collect(node: Element) -> None:
        blocks = _name(node) in ("p", "title", "sec", "caption", "abstract", "label", "list-item", "td", "th", "break")
        if blocks:
            parts.append(" ")
        if _name(node) not in ("tex-math", "object-id", "permissions"):
            parts.append(node.text or "")
            for child in node:
                collect(child)
                parts.append(child.tail or "")
        if blocks:
            parts.append(" ")

    collect(element)
    return " ".join("".join(parts).split())


def _name(element: Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _child(element: Element | None, name: str) -> Element | None:
    return next(iter(_children(element, name)), None)


def _children(element: Element | None, name: str) -> list[Element]:
    return [child for child in element if _name(child) == name] if element is not None else []


def _find(element: Element | None, name: str) -> Element | None:
    return next(iter(_all(element, name)), None)


def _all(element: Element | None, name: str) -> list[Element]:
    return [e for e in element.iter() if _name(e) == name] if element is not None else []

"""The report's parts, and how they become an HTML page or Markdown: the same parts feed both."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    """A table of text cells; ``note`` is printed under it.

    ``groups``: titles over several columns, as (title, number of columns); together they span the header. ``strong``:
    columns (from 0) that hold this run's own figures.
    """

    header: list[str]
    rows: list[list[str]]
    caption: str = ""
    note: str = ""
    groups: list[tuple[str, int]] = field(default_factory=list)
    strong: tuple[int, ...] = ()

    @property
    def flat_header(self) -> list[str]:
        """One line of titles, for Markdown: group and column together."""
        over = [title for title, span in self.groups for _ in range(span)] or [""] * len(self.header)
        return [", ".join(filter(None, pair)) for pair in zip(over, self.header, strict=True)]


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG text, or a picture as PNG bytes; ``name`` becomes the file."""

    name: str
    caption: str
    svg: str = ""
    png: bytes = b""
    wide: bool = False
    """takes the page's whole width"""

    @property
    def file(self) -> str:
        return f"{self.name}.{'svg' if self.svg else 'png'}"

    @property
    def content(self) -> bytes:
        return (self.svg + "\n").encode() if self.svg else self.png

    @property
    def address(self) -> str:
        """The picture inside the page."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A part of the report. ``closed``: the page shows its tables only when asked."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    closed: bool = False


def prose(text: str) -> Markup:
    """A paragraph for HTML: everything escaped, `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped just before


def render(parts: list[Section], title: str, template: str) -> str:
    """The page (``report.html``) or the Markdown (``report.md``) of the sections."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = prose
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template(template).render(title=title, sections=parts)

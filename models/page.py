"""The report's parts, and how they become an HTML page or Markdown: the same parts feed both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    """A table of text cells; ``note`` is printed under it."""

    header: list[str]
    rows: list[list[str]]
    caption: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG text, or a picture as a data address; ``name`` becomes the file."""

    name: str
    caption: str
    svg: str = ""
    address: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


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
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template(template).render(title=title, sections=parts)

"""What the stages' command lines share."""

from __future__ import annotations

import typer


def new_app() -> typer.Typer:
    """A one-command app whose options may be written with ``_``, as in params.yaml, or ``-``."""
    return typer.Typer(
        context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
        add_completion=False,
        pretty_exceptions_enable=False,
    )

"""Stage `sample`: draw the embedded corpus.

Reads nothing. Writes ``server/``, ``luna/``, ``published/`` and ``truth/`` under ``--out``. Guarantees the same bytes
for the same options, and empty folders when disabled, so that later stages find the paths they name.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from harvest.options import new_app
from harvest.sample.corpus import PARTS, write_corpus
from harvest.sample.plan import Size

log = logging.getLogger("harvest.sample")
app = new_app()


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="folder to write; its parts of an earlier run are replaced")],
    seed: Annotated[int, typer.Option(min=0, help="the corpus follows from it")] = 7,
    enabled: Annotated[bool, typer.Option(help="false: write empty folders")] = True,
    ct_preprints: Annotated[int, typer.Option(min=0)] = Size.ct_preprints,
    other_preprints: Annotated[int, typer.Option(min=0)] = Size.other_preprints,
    rows: Annotated[int, typer.Option(min=0)] = Size.rows,
    articles: Annotated[int, typer.Option(min=0)] = Size.articles,
    cases: Annotated[int, typer.Option(min=0)] = Size.cases,
    volumes: Annotated[int, typer.Option(min=0)] = Size.volumes,
    release: Annotated[int, typer.Option(min=0)] = Size.release,
) -> None:
    """Draw the embedded corpus."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        for name in PARTS:
            if (out / name).exists():
                shutil.rmtree(out / name)
            (out / name).mkdir(parents=True)
        if not enabled:
            log.info("sample is disabled in this profile: %s holds empty folders", out)
            return
        write_corpus(out, seed, Size(ct_preprints, other_preprints, rows, articles, cases, volumes, release))
    except OSError as error:
        log.error("cannot write the sample corpus to %s: %s; free space or choose another --out", out, error)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()

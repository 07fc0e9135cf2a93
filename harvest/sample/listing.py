"""The rows of the preprint API for a drawn preprint, one for each version, in the API's own field forms."""

from __future__ import annotations

from harvest.sample.papers import Paper


def listing_rows(paper: Paper) -> list[dict[str, str]]:
    """The API's rows, one for each version, in its own field forms."""
    site = "www.medrxiv.org" if paper.server == "medrxiv" else "www.biorxiv.org"
    rows = []
    for version in paper.versions:
        kind = version.kind if paper.server == "medrxiv" or "WITHDRAWN" in version.kind else "new results"
        if paper.server == "biorxiv":
            kind = kind.lower()
        day = version.date.replace("-", "/")
        rows.append(
            {
                "title": paper.title,
                "authors": paper.authors,
                "author_corresponding": paper.authors.split(";")[0].replace(",", ""),
                "author_corresponding_institution": "Example Institute",
                "doi": paper.doi,
                "date": version.date,
                "version": str(version.number),
                "type": kind,
                "license": paper.licence,
                "category": paper.category,
                "jatsxml": f"https://{site}/content/early/{day}/{paper.preprint_id}.source.xml",
                "abstract": paper.abstract,
                "funder": "NA",
                "published": "NA",
                "server": "medRxiv" if paper.server == "medrxiv" else "bioRxiv",
            }
        )
    return rows

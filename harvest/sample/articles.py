"""Drawn PubMed Central articles: JATS XML and figure files in the form of the `pmc-oa-opendata` bucket."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np

from harvest.sample import prose
from harvest.sample.papers import Plate, Studio, groups_of, panel_rows
from harvest.sample.picture import jpeg
from harvest.sample.plan import ARTICLE_PANELS, MIXED, NEGATIVES, Cast, Size, ct_plate
from harvest.sample.rand import stream

LICENCES = [
    ("CC BY", "https://creativecommons.org/licenses/by/4.0/"),
    ("CC BY-NC", "https://creativecommons.org/licenses/by-nc/4.0/"),
    ("CC BY-NC-ND", "https://creativecommons.org/licenses/by-nc-nd/4.0/"),
    ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    ("TDM", ""),
]
JOURNALS = ["J Drawn Radiol", "Case Rep Phantom Med", "Ann Imaging Examples"]
SUBJECTS = "chest lung thoracic computed tomography, x-ray computed ct tomography radiology humans"
FORMS = ("plain", "titled", "group", "floats", "alternatives", "two", "plain")
"""ways an article holds its figures: see `_figure_xml`"""


@dataclass
class Article:
    """One article version: its files (name → bytes), index entry and truth rows."""

    pmcid: str
    version: int
    files: dict[str, bytes] = field(repr=False)
    metadata: dict[str, object]
    entry: dict[str, object]
    openi: list[dict[str, object]]
    truth: list[dict[str, object]]


def draw_articles(seed: int, size: Size, studio: Studio) -> list[Article]:
    """Non-COVID articles with chest CT, plus the ones a harvest must leave out (COVID, retracted, X-ray only)."""
    cast = Cast(seed, "P")
    articles = []
    for n in range(size.articles):
        rng = stream(seed, "article", n)
        pmcid = f"PMC{3200000 + n * 48271 % 4100000 + n}"
        odd = {size.articles - 1: "covid", size.articles - 2: "xray", size.articles - 3: "retracted"}.get(n, "")
        plates: list[Plate] = []
        if odd == "xray":
            plates.append(Plate(f"{pmcid}-x0", "xray"))
        else:
            for f in range(1 + int(rng.random() < 0.5)):
                panels = int(rng.choice(ARTICLE_PANELS))
                kinds = ["covid"] if odd == "covid" else [NEGATIVES[cast.made % len(NEGATIVES)]]
                people = [cast.patient(k) for k in kinds]
                also = ("xray",) if rng.random() < MIXED else ()
                plates.append(ct_plate(f"{pmcid}-ct{f}", cast, people, panels, also=also))
        plates += [
            Plate(f"{pmcid}-y{k}", str(rng.choice(["bar", "slide", "curve"]))) for k in range(int(rng.integers(0, 2)))
        ]
        articles.append(_draw(pmcid, n, odd, plates, studio, rng))
        if n == 1:
            articles.append(_draw(pmcid, n, odd, plates, studio, stream(seed, "article", n, "again"), version=2))
    return articles


def _draw(
    pmcid: str, n: int, odd: str, plates: list[Plate], studio: Studio, rng: np.random.Generator, version: int = 1
) -> Article:
    base = f"{pmcid}.{version}"
    virus = "COVID-19" if odd == "covid" else ""
    people = [p for plate in plates for p, _ in plate.shows]
    kind = people[0].disease.kind if people else "normal"
    diagnosis = "COVID-19 pneumonia" if odd == "covid" else str(rng.choice(prose.DIAGNOSES[kind]))
    title = f"{diagnosis} on chest CT: a report of {len({p.patient_id for p in people}) or 'some'} patients"
    year = 2020 if odd == "covid" else int(rng.integers(2009, 2020))
    code, link = LICENCES[n % len(LICENCES)]
    journal = JOURNALS[n % len(JOURNALS)]
    doi = f"10.5555/drawn.{pmcid[3:]}"
    form = FORMS[n % len(FORMS)]
    numbers: dict[str, int] = {}
    for patient in people:
        numbers.setdefault(patient.patient_id, len(numbers) + 1)
    files: dict[str, bytes] = {}
    figures: list[str] = []
    floats: list[str] = []
    sentences: list[str] = []
    openi: list[dict[str, object]] = []
    truth: list[dict[str, object]] = []
    for k, plate in enumerate(plates, 1):
        picture = studio.picture(plate)
        href = f"drawn-{pmcid[3:]}-g{k:03d}"
        files[f"{href}.jpg"] = jpeg(picture.pixels, 97)
        if plate.kind == "ct":
            caption, panels = prose.ct_caption(groups_of(plate), numbers, rng, False, virus, plate.also)
            sentences.append(prose.ct_mention(f"Fig. {k}", groups_of(plate), numbers, virus or "the virus", rng))
        else:
            caption, panels = "Further findings.", {}
            sentences.append(f"Further findings are shown in Fig. {k}.")
        second = f"{href}b" if form == "two" and k == 1 else ""
        if second:
            files[f"{second}.jpg"] = jpeg(studio.picture(Plate(f"{pmcid}-second", "bar")).pixels, 90)
        own = form == "plain" and k == 2
        xml = _figure_xml(k, href, caption, form, second, own)
        (floats if form == "floats" else figures).append(xml)
        openi.append(_openi(pmcid, f"g{k:03d}", href, caption, title, journal, year, code, plate.kind))
        truth.append(_truth_row(base, href, plate, caption, panels, studio, k))
    if form == "plain":
        figures.append(
            '<fig id="fx" position="float"><label>Scheme 1</label><caption><p>No graphic here.</p></caption></fig>'
        )
    xml = _article_xml(pmcid, doi, title, journal, year, (code, link), n, figures, floats, sentences, odd)
    files[f"{base}.xml"] = xml.encode()
    files[f"{base}.txt"] = "\n".join([title, *sentences]).encode()
    metadata = _metadata(pmcid, version, doi, title, journal, year, code, files, odd)
    entry = {
        "pmcid": pmcid,
        "title": title,
        "year": year,
        "date": f"{year}/{1 + n % 12:02d}/{1 + n % 27:02d}",
        "journal": journal,
        "doi": doi,
        "open_access": code != "TDM",
        "text": " ".join([title, journal, SUBJECTS, *sentences, *(str(row["caption"]) for row in truth)]).lower(),
        "license": code,
    }
    return Article(pmcid, version, files, metadata, entry, openi, truth)


def _figure_xml(k: int, href: str, caption: str, form: str, second: str, own: bool) -> str:
    """One ``<fig>`` in one of the forms JATS allows."""
    words = escape(caption)
    graphic = f'<graphic xlink:href="{href}"/>'
    if form == "alternatives":
        graphic = f'<alternatives><graphic specific-use="thumb" xlink:href="{href}-thumb"/>{graphic}</alternatives>'
    if second:
        graphic += f'<graphic xlink:href="{second}"/>'
    first, _, rest = words.partition(". ")
    body = (
        f"<caption><title>{first}.</title><p>{rest}</p></caption>"
        if form == "titled"
        else f"<caption><p>{words}</p></caption>"
    )
    words = "Reproduced with permission from another publisher."
    permissions = f"<permissions><copyright-statement>{words}</copyright-statement></permissions>"
    fig = (
        f'<fig id="f{k}" fig-type="figure" position="float"><label>Fig. {k}</label>{body}{graphic}'
        f"{permissions if own else ''}</fig>"
    )
    if form == "group":
        return f'<fig-group id="fg{k}"><caption><p>Imaging of the patients.</p></caption>{fig}</fig-group>'
    return fig


def _article_xml(
    pmcid: str,
    doi: str,
    title: str,
    journal: str,
    year: int,
    licence: tuple[str, str],
    n: int,
    figures: list[str],
    floats: list[str],
    sentences: list[str],
    odd: str,
) -> str:
    code, link = licence
    if not link:
        terms = "<license><license-p>Open for reading and text mining only.</license-p></license>"
    elif n % 3 == 0:
        terms = (
            f'<license license-type="open-access" xlink:href="{link}"><license-p>Open access ({code}).</license-p>'
            "</license>"
        )
    elif n % 3 == 1:
        terms = (
            '<license><ali:license_ref xmlns:ali="http://www.niso.org/schemas/ali/1.0/">'
            f"{link}</ali:license_ref><license-p>Open access.</license-p></license>"
        )
    else:
        terms = f"<license><license-p>Distributed under the terms of {code} ({link}).</license-p></license>"
    related = '<related-article related-article-type="retraction-forward"/>' if odd == "retracted" else ""
    paragraphs = "".join(f"<p>{escape(s)}</p>" for s in sentences)
    tail = f"<floats-group>{''.join(floats)}</floats-group>" if floats else ""
    day, month = 1 + n % 27, 1 + n % 12
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving '
        'and Interchange DTD v1.3 20210610//EN" "JATS-archivearticle1-3.dtd">\n'
        '<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML" '
        'article-type="case-report"><?properties open_access?>',
        f'<front><journal-meta><journal-id journal-id-type="nlm-ta">{journal}</journal-id><journal-title-group>'
        f"<journal-title>{journal}</journal-title></journal-title-group></journal-meta><article-meta>",
        f'<article-id pub-id-type="pmcid">{pmcid}</article-id><article-id pub-id-type="pmc">{pmcid[3:]}</article-id>'
        f'<article-id pub-id-type="doi">{doi}</article-id>',
        f"<title-group><article-title>{escape(title)}</article-title></title-group>",
        f'<pub-date pub-type="epub"><day>{day}</day><month>{month}</month><year>{year}</year></pub-date>',
        f"<permissions><copyright-statement>The authors {year}</copyright-statement>{terms}</permissions>{related}",
        f"<abstract><p>{escape(title)}. Chest CT was performed.</p></abstract></article-meta></front>",
        f"<body><sec><title>Report</title>{paragraphs}{''.join(figures)}</sec></body>{tail}</article>\n",
    ]
    return "".join(parts)


def _metadata(
    pmcid: str,
    version: int,
    doi: str,
    title: str,
    journal: str,
    year: int,
    code: str,
    files: dict[str, bytes],
    odd: str,
) -> dict[str, object]:
    base = f"{pmcid}.{version}"

    def url(name: str) -> str:
        return f"s3://pmc-oa-opendata/{base}/{name}?md5={hashlib.md5(files[name], usedforsecurity=False).hexdigest()}"

    media = sorted(name for name in files if not name.startswith(base))
    return {
        "pmcid": pmcid,
        "version": version,
        "pmid": int(pmcid[3:]) + 20000000,
        "doi": doi,
        "title": title,
        "citation": f"{journal}. {year}",
        "is_pmc_openaccess": code != "TDM",
        "is_manuscript": code == "TDM",
        "is_historical_ocr": False,
        "is_retracted": odd == "retracted",
        "license_code": code,
        "xml_url": url(f"{base}.xml"),
        "pdf_url": None,
        "text_url": url(f"{base}.txt"),
        "media_urls": [url(m) for m in media],
    }


def _openi(
    pmcid: str, figure: str, href: str, caption: str, title: str, journal: str, year: int, code: str, kind: str
) -> dict[str, object]:
    digits = pmcid[3:]
    path = f"{int(digits) % 401}/{digits}/{pmcid}_{href}.png"
    terms = {"CC BY": "by", "CC BY-NC": "bync", "CC BY-NC-ND": "byncnd"}
    return {
        "uid": pmcid,
        "pmcid": digits,
        "pmid": str(int(digits) + 20000000),
        "docSource": "PMC",
        "articleType": "cr",
        "pmc_url": f"http://www.ncbi.nlm.nih.gov/pmc/articles/{pmcid}",
        "title": title,
        "journal_title": journal,
        "journal_abbr": journal,
        "journal_date": {"day": "01", "month": "01", "year": str(year)},
        "authors": "Meyer A, Sato B",
        "affiliate": "Example Institute",
        "MeSH": {"minor": [], "major": []},
        "Problems": "",
        "licenseType": "open-access",
        "ccLicense": terms.get(code, ""),
        "image": {
            "id": figure,
            "caption": caption.replace("CT", "<b>CT</b>") if kind == "ct" else caption,
            "modalityMajor": "c" if kind == "ct" else "x" if kind == "xray" else "g",
        },
        "imgLarge": f"/imgs/512/{path}",
        "imgThumb": f"/imgs/100/{path}",
        "imgThumbLarge": f"/imgs/137/{path}",
        "imgGrid150": f"/imgs/150/{path}",
    }


def _truth_row(
    base: str, href: str, plate: Plate, caption: str, panels: dict[str, str], studio: Studio, k: int
) -> dict[str, object]:
    picture = studio.picture(plate)
    return {
        "source": "pmc",
        "document": base.split(".")[0],
        "file": f"{href}.jpg",
        "plate": plate.name,
        "kind": plate.kind,
        "label": f"Fig. {k}",
        "number": str(k),
        "caption": caption,
        "panel_captions": panels,
        "width": picture.pixels.shape[1],
        "height": picture.pixels.shape[0],
        "panels": panel_rows(plate, picture),
    }

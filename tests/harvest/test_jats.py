# ruff: noqa: E501
"""Figures in every form JATS has, licences, mentions."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvest.answers import parse_xml
from harvest.jats import read_article

HEAD = (
    '<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/">'
    '<front><article-meta><article-id pub-id-type="pmc">123</article-id><article-id pub-id-type="doi">10.1/x</article-id>'
    "<title-group><article-title>A <italic>title</italic></article-title></title-group>"
    '<pub-date pub-type="epub"><day>3</day><month>7</month><year>2015</year></pub-date>{permissions}</article-meta></front>'
)


def article(body: str, permissions: str = "", tail: str = ""):
    text = HEAD.replace("{permissions}", permissions) + f"<body>{body}</body>{tail}</article>"
    return read_article(parse_xml(text.encode(), "test"))


def test_the_plain_form():
    found = article(
        "<sec><p>See Fig. 1.</p></sec>"
        '<fig id="f1"><label>Figure 1</label><caption><title>Chest CT.</title><p>CO<sub>2</sub> in <bold>A</bold>.</p><p>More.</p>'
        '</caption><graphic xlink:href="x-g001"/></fig>'
    )
    (figure,) = found.figures
    assert (figure.label, figure.number, figure.graphics) == ("Figure 1", "1", ("x-g001",))
    assert figure.caption == "Chest CT. CO2 in A. More."
    assert (found.pmcid, found.doi, found.title, found.date) == ("PMC123", "10.1/x", "A title", "2015-07-03")


def test_figures_without_a_graphic_are_none_and_groups_share_their_caption():
    """Trap 15."""
    found = article(
        '<fig id="a"><label>Fig. 1</label><caption><p>Nothing.</p></caption></fig>'
        "<fig-group><label>Fig. 2</label><caption><p>Both.</p></caption>"
        '<fig id="b"><caption><p>Left.</p></caption><graphic xlink:href="b"/></fig>'
        '<fig id="c"><label>Fig. 2B</label><graphic xlink:href="c"/></fig></fig-group>',
        tail='<floats-group><fig id="d"><label>Fig. 3</label><graphic xlink:href="d1"/><graphic xlink:href="d2"/></fig></floats-group>',
    )
    assert [(f.label, f.caption, f.graphics) for f in found.figures] == [
        ("Fig. 2", "Both. Left.", ("b",)),
        ("Fig. 2B", "Both.", ("c",)),
        ("Fig. 3", "", ("d1", "d2")),
    ]


def test_of_alternatives_the_full_picture_is_taken():
    found = article(
        '<fig><alternatives><graphic specific-use="thumbnail" xlink:href="t"/><graphic xlink:href="full"/>'
        "</alternatives></fig><fig><p><graphic xlink:href='inside'/></p></fig>"
    )
    assert [f.graphics for f in found.figures] == [("full",), ("inside",)]


def test_figures_of_replies_and_supplements_are_left_out():
    found = article(
        "<supplementary-material><fig><graphic xlink:href='s'/></fig></supplementary-material>",
        tail="<sub-article><body><fig><graphic xlink:href='r'/></fig></body></sub-article>",
    )
    assert found.figures == ()


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ('<license xlink:href="https://creativecommons.org/licenses/by-nc/4.0/"><license-p>x</license-p></license>', "cc_by_nc"),
        ("<license><ali:license_ref>http://creativecommons.org/licenses/by/3.0/</ali:license_ref></license>", "cc_by"),
        ("<license><license-p>under the Creative Commons Attribution-NonCommercial-NoDerivs License</license-p></license>",
         "cc_by_nc_nd"),
        ('<license><license-p>See <ext-link xlink:href="https://creativecommons.org/publicdomain/zero/1.0/">CC0</ext-link>'
         "</license-p></license>", "cc0"),
        ("<license><license-p>All rights reserved.</license-p></license>", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_articles_licence(terms, code):
    assert article("", f"<permissions>{terms}</permissions>").licence == code


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("<permissions><copyright-statement>Elsevier 2010</copyright-statement></permissions>", "reproduced"),
        ('<permissions><license xlink:href="https://creativecommons.org/licenses/by/4.0/"/></permissions>', "cc_by"),
        ("<caption><p>Chest CT. Reproduced with permission from Smith et al.</p></caption>", "reproduced"),
        ("<caption><p>Chest CT, adapted with the kind permission of Elsevier.</p></caption>", "reproduced"),
        ("<attrib>Reprinted from [12]</attrib>", "reproduced"),
        ("<caption><p>Chest CT reproduced the finding.</p></caption>", ""),
    ],
)
def test_a_figure_may_have_its_own_licence(inside, code):
    found = article(f"<fig>{inside}<graphic xlink:href='g'/></fig>")
    assert found.figures[0].licence == code


def test_mentions_are_sentences_that_name_the_figure():
    found = article(
        "<sec><title>Results</title><p>First sentence. Patient 1 had nodules (Fig. 1 and Figs. 2-4). Nothing here.</p></sec><p>Figure 12 shows more.</p>"
        "<fig><label>Figure 3</label><caption><p>See Fig. 3.</p></caption><graphic xlink:href='g'/></fig>"
        "<fig><label>Figure 1</label><graphic xlink:href='h'/></fig><fig><label>Figure 12</label><graphic xlink:href='i'/></fig>"
    )
    by_label = {f.label: [text for _, text in f.mentions] for f in found.figures}
    assert by_label["Figure 3"] == ["Patient 1 had nodules (Fig. 1 and Figs. 2-4)."]
    assert by_label["Figure 1"] == by_label["Figure 3"] and by_label["Figure 12"] == ["Figure 12 shows more."]
    offset, text = found.figures[0].mentions[0]
    assert found.body[offset : offset + len(text)] == text


def test_series_and_ranges_keep_their_numbers():
    labels = ("Figure S1", "Figure S2", "S3 Fig", "eFigure 1", "Figure 1", "Figure II", "Appendix Figure 2")
    found = article(
        "<p>See Figures S1-S3. Also eFigure 1. Then Figure 1. Last Figure II. And Appendix Figure 2.</p>"
        + "".join(f"<fig><label>{label}.</label><graphic xlink:href='g{i}'/></fig>" for i, label in enumerate(labels))
    )
    assert [f.number for f in found.figures] == ["S1", "S2", "S3", "E1", "1", "II", "A2"]
    assert [[text for _, text in f.mentions] for f in found.figures] == [
        *[["See Figures S1-S3."]] * 3,
        ["Also eFigure 1."],
        ["Then Figure 1."],
        ["Last Figure II."],
        ["And Appendix Figure 2."],
    ]


def test_retractions_are_seen():
    assert not article("").retracted
    text = HEAD.replace("{permissions}", '<related-article related-article-type="retraction-forward"/>') + "</article>"
    assert read_article(parse_xml(text.encode(), "test")).retracted


@pytest.mark.real
def test_the_recorded_article(real_data: Path):
    found = read_article(
        parse_xml((real_data / "recorded/europepmc/fullTextXML_PMC4062634.xml").read_bytes(), "PMC4062634")
    )
    assert (found.pmcid, found.doi) == ("PMC4062634", "10.4056/sigs.4538264")
    assert found.figures[0].graphics == ("sigs.4538264-f1A",)
    assert [f.label for f in found.figures] == [
        "Figure 1A",
        "Figure 1B",
        "Figure 1C",
        "Figure 2",
        "Figure 3",
    ] and found.licence
    assert all(f.caption and f.mentions for f in found.figures[:1])


@pytest.mark.real
def test_the_recorded_efetch(real_data: Path):
    found = read_article(parse_xml((real_data / "recorded/eutils/efetch_pmc_biopython.xml").read_bytes(), "efetch"))
    assert (found.pmcid, found.licence, found.date, found.figures) == ("PMC8435807", "cc_by_nc", "2021-09-13", ())

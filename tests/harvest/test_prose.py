"""What is running text and what is furniture, by repetition, position and style."""

from __future__ import annotations

from harvest.prose import FURNITURE, OTHER, PROSE, Document
from tests.harvest.drawn import Draft, prose


def role(document: Document, page: int, start: str) -> str:
    (index,) = [i for i, line in enumerate(document.pages[page - 1].lines) if line.text.startswith(start)]
    return document.roles[page - 1][index]


def journal(pages: int = 4) -> Draft:
    draft = Draft()
    for number in range(1, pages + 1):
        draft.page()
        draft.put(72, 40, "Li et al. Chest CT in pneumonia", 8)
        draft.put(300, 770, f"Page {number} of {pages}", 8)
        draft.text(prose(200, number))
    return draft


def test_headers_and_page_numbers_are_furniture_and_paragraphs_are_prose() -> None:
    document = journal().analysis().document
    for page in document.pages:
        assert role(document, page.number, "Li et al.") == FURNITURE
        assert role(document, page.number, "Page ") == FURNITURE
        roles = document.roles[page.number - 1]
        assert sum(r == PROSE for r in roles) >= 10
    assert document.body[1] == 22


def test_a_preprint_servers_banner_is_furniture_wherever_it_stands() -> None:
    draft = Draft()
    for number in range(3):
        draft.page()
        banner = "medRxiv preprint doi: https://doi.org/10.1101/2020.02.11.20020008; this version posted"
        draft.put(90, 20, banner, 7)
        draft.put(90, 28, "It is made available under a CC-BY 4.0 International license.", 7)
        draft.text(prose(150, number))
    document = draft.analysis().document
    for page in (1, 2, 3):
        assert role(document, page, "medRxiv preprint") == FURNITURE
        assert role(document, page, "It is made available") == FURNITURE


def test_a_figures_title_in_the_margin_is_no_furniture() -> None:
    draft = journal()
    for number in (1, 2):
        draft.page()
        draft.put(200, 66, "Mean score of the groups", 9)
        draft.image((120, 72, 500, 400), seed=number)
        draft.y = 420
        draft.text(prose(100, number))
    document = draft.analysis().document
    assert role(document, 5, "Mean score") == OTHER


def test_a_caption_in_the_margin_is_no_furniture() -> None:
    draft = journal(2)
    for number in (1, 2):
        draft.page()
        draft.image((120, 60, 500, 700), seed=number)
        draft.put(120, 730, f"Figure {number}. Chest CT of a patient", 9)
    analysis = draft.analysis()
    assert {match.caption.label.number for match in analysis.matches} == {"1", "2"}


def test_the_last_lines_of_a_column_are_no_footer() -> None:
    draft = Draft()
    for number in range(3):
        draft.page()
        draft.text(prose(960, number), size=11)
        assert 700 < draft.y < 780
    document = draft.analysis().document
    for page in document.pages:
        assert all(r == PROSE for r in document.roles[page.number - 1])


def test_short_labels_are_neither() -> None:
    draft = journal()
    draft.page()
    for index, word in enumerate(("Control", "5 mg", "10 mg", "A", "0.5")):
        draft.put(100 + 80 * index, 300, word, 8)
    document = draft.analysis().document
    assert set(document.roles[4]) == {OTHER}


def test_a_logo_at_one_place_is_repeated_and_a_figure_is_not() -> None:
    draft = Draft()
    for number in range(3):
        draft.page()
        draft.image((72, 30, 120, 50), seed=7)
        draft.image((100, 100, 500, 300), seed=number)
        draft.y = 320
        draft.text(prose(100, number))
    document = draft.analysis().document
    kept = {document.pages[page - 1].graphics[index].box.y0 for page, index in document.repeated}
    assert kept and max(kept) < 60

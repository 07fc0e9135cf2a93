"""Cards: what the form shows, escaped; order and suggestions of a model; reviews to adjudicate; missing pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.cards import FORM_FIELDS, GUIDE, Opinion, Wish, cards, elsewhere, guide, marked, served, to_data
from curation.labelstudio import FORM
from curation.records import Candidate, PanelReview, Review, Suggestion
from harvest.records import write_jsonl
from tests.curation.test_tasks import candidate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "candidates"
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((100, 200), number, np.uint8)).save(folder / "images" / f"{number}.png")
    write_jsonl(folder / "candidates.jsonl", [candidate(n) for n in range(3)])
    return folder


def test_a_card_shows_everything_the_form_asks_for() -> None:
    asked = set(re.findall(r'value="\$(\w+)"', FORM.read_text(encoding="utf-8")))
    assert asked == FORM_FIELDS and asked <= set(to_data(candidate(), "x"))


def test_text_of_papers_is_escaped_and_the_sentence_is_marked() -> None:
    data = to_data(candidate(), "x.png")
    assert "patient 3 &lt;b&gt;with&lt;/b&gt; COVID-19" in data["caption"]
    assert "https://www.medrxiv.org/content/10.1101/2020.02.11.20021493v2" in data["link"]
    assert "<b>p. 4</b>" in data["mentions"] and data["evidence"].startswith("<b>COVID</b> CT of patient 3")
    assert marked("a <i> b. c", "<i> b.") == "a <mark>&lt;i&gt; b.</mark> c"
    nasty = Suggestion(label="unclear", sentence='<img src=x onerror="alert(1)">')
    figure = candidate().figure.model_copy(
        update={"caption": "<script>", "document_id": '"><script>', "doi": '10.1/"onclick="x', "source": "other"}
    )
    data = to_data(candidate(suggestion=nasty, figure=figure, priority_reason="<u>"), "x.png")
    shown = " ".join(str(data[name]) for name in FORM_FIELDS)
    assert not re.search(r"<(script|img|u)\b", shown) and 'onclick="x' not in shown


def test_letters_with_the_same_caption_are_one_line() -> None:
    figure = candidate().figure.model_copy(update={"panel_captions": {"B": "lung", "A": "lung", "C": "liver"}})
    assert to_data(candidate(figure=figure), "x")["panel_captions"].startswith("<p><b>(A, B)</b> lung</p><p><b>(C)</b>")
    assert "none" in to_data(candidate(figure=figure.model_copy(update={"panel_captions": {}})), "x")["panel_captions"]


def test_personal_data_not_checked_is_said_on_the_card() -> None:
    assert "not checked" in to_data(candidate(), "x")["why"]
    assert "shows personal data" in to_data(candidate(personal_data="found"), "x")["why"]


def test_addresses_are_quoted() -> None:
    assert served(Path("d/c"), Path("d"))("images/a b%0.png") == "/data/local-files/?d=c/images/a%20b%250.png"
    assert elsewhere("https://x.org/c/")("images/a%0.png") == "https://x.org/c/images/a%250.png"


def test_a_missing_picture_is_told_and_the_others_go_on(folder: Path) -> None:
    (folder / "images" / "1.png").unlink()
    wish = Wish(folder, elsewhere("https://x.org"))
    assert [card.candidate_id for card in cards(wish)] == [candidate(0).candidate_id, candidate(2).candidate_id]
    assert wish.missing[0].item == candidate(1).candidate_id and "images/1.png" in wish.missing[0].reason


class Model:
    def opinion(self, candidate: Candidate, picture: Path) -> Opinion:
        assert picture.is_file()
        return Opinion(0.25, ("COVID", "unclear"), "the model <m> says", "m@1")


def test_a_model_sets_order_suggestion_and_version(folder: Path) -> None:
    plain = next(cards(Wish(folder, elsewhere("https://x.org"))))
    card = next(cards(Wish(folder, elsewhere("https://x.org"), Model())))
    assert card.data["priority"] == 0.25 and card.data["why"].startswith("the model &lt;m&gt; says<br>")
    assert card.predictions[0]["model_version"] == "proposals-1 m@1"
    labels = [r["value"]["rectanglelabels"] for r in card.predictions[0]["result"] if r["from_name"] == "panel"]
    assert labels == [["COVID"], ["unclear"]] and card.data["digest"] != plain.data["digest"]


def test_adjudication_shows_both_reviews_and_what_differs(folder: Path) -> None:
    box = candidate().panels[0].box
    reviews = [
        Review(
            candidate_id=candidate(1).candidate_id,
            reviewer=who,
            reviewed_at="t",
            chest_ct=True,
            panels=(PanelReview(box=box, label=label),),
            mask="100x200: 5+10",
        )
        for who, label in (("b@x.org", "unclear"), ("a@x.org", "COVID"))
    ]
    found = list(cards(Wish(folder, elsewhere("https://x.org"), disputed={candidate(1).candidate_id: reviews})))
    assert [card.candidate_id for card in found] == [candidate(1).candidate_id]
    assert [p["model_version"] for p in found[0].predictions] == ["review of a@x.org", "review of b@x.org"]
    assert "unclear / COVID (b@x.org / a@x.org)" in found[0].data["why"]
    assert [r["type"] for r in found[0].predictions[0]["result"]] == ["choices", "rectanglelabels", "brushlabels"]


def test_the_guide_is_shown_as_a_page_and_its_pictures_are_there() -> None:
    page = guide()
    assert "<table>" in page and "<img" not in page and "curation/guide.md" in page
    named = re.findall(r"\]\((guide/[\w-]+\.png)\)", GUIDE.read_text(encoding="utf-8"))
    assert len(named) == 9 and all((GUIDE.parent / name).is_file() for name in named)

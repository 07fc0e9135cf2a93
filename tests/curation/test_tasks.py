"""Pixels and percent, runs and brush codes, candidates and tasks: round trips and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.cards import to_data
from curation.records import Candidate, PanelProposal, PixelBox, Suggestion
from curation.tasks import (
    TaskError,
    decode_mask,
    digest,
    encode_mask,
    mask_to_rle,
    review_result,
    rle_to_mask,
    to_percent,
    to_pixels,
    to_prediction,
    to_review,
)
from harvest.records import Figure, Mention


def candidate(number: int = 0, **changes: object) -> Candidate:
    figure = Figure(
        figure_id=f"2020.02.11.20021493-p16-{number}",
        source="medrxiv",
        document_id="2020.02.11.20021493",
        doi="10.1101/2020.02.11.20021493",
        version=2,
        pixels="native",
        file=f"images/{number}.png",
        width=200,
        height=100,
        label="Figure 2",
        caption="Figure 2. CT of patient 3 <b>with</b> COVID-19.",
        mentions=(Mention(page=4, offset=10, text="As Figure 2 shows, …"),),
        panel_captions={"A": "axial"},
    )
    suggestion = Suggestion(label="COVID", sentence="CT of patient 3 with COVID-19.", patients=("patient 3",))
    panels = (
        PanelProposal(box=PixelBox(0, 0, 100, 100), suggestion=suggestion, modality=0.9),
        PanelProposal(box=PixelBox(101, 3, 200, 97), suggestion=suggestion, modality=0.8),
    )
    values = {
        "candidate_id": figure.figure_id,
        "figure": figure,
        "file": figure.file,
        "modality": 0.9,
        "panels": panels,
        "suggestion": suggestion,
        "priority": 1.0,
        "proposed_by": "proposals-1",
    }
    return Candidate.model_validate({**values, **changes})


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.data())
def test_a_box_survives_the_way_to_percent_and_back(width: int, height: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = PixelBox(x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    assert to_pixels(to_percent(box, width, height), width, height) == box


def test_boxes_drawn_backwards_or_outside_are_mended_and_empty_or_rotated_ones_refused() -> None:
    assert to_pixels({"x": 50, "y": 60, "width": -30, "height": -20}, 200, 100) == PixelBox(40, 40, 100, 60)
    assert to_pixels({"x": 90, "y": -5, "width": 50, "height": 20}, 200, 100) == PixelBox(180, 0, 200, 15)
    for value in ({"x": 120, "y": 0, "width": 5, "height": 5}, {"x": 1, "y": 1, "width": 0, "height": 5}, {"x": 1}):
        with pytest.raises(TaskError, match="rectangle"):
            to_pixels(value, 200, 100)
    with pytest.raises(TaskError, match="rotated"):
        to_pixels({"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 30}, 200, 100)
    with pytest.raises(TaskError, match="expected 0 <= x0"):
        to_percent((5, 0, 5, 10), 200, 100)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_masks_survive_both_codes_exactly(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    assert np.array_equal(decode_mask(encode_mask(mask), (height, width)), mask)
    assert np.array_equal(rle_to_mask(mask_to_rle(mask), width, height), mask)


@pytest.mark.parametrize("text", ["nonsense", "2x2: 3+5", "2x2: -1+1", "2x2: 0+0", "99999x99999: 0+1"])
def test_a_malformed_mask_is_refused(text: str) -> None:
    with pytest.raises(TaskError, match="mask"):
        decode_mask(text)
    with pytest.raises(TaskError, match="expected 3 x 3"):
        decode_mask("2x2: 0+1", (3, 3))
    with pytest.raises(TaskError, match="for this picture"):
        rle_to_mask(mask_to_rle(np.ones((4, 4), bool)), 5, 5)


def test_our_form_accepts_our_prediction() -> None:
    from label_studio_sdk.label_interface import LabelInterface

    from curation.labelstudio import FORM

    mask = np.zeros((100, 200), bool)
    mask[2:9, 3:30] = True
    interface = LabelInterface(FORM.read_text(encoding="utf-8"))
    assert interface.validate_prediction(to_prediction(candidate(), mask), return_errors=True) == []
    assert to_prediction(candidate(), None, labels=("unclear", "COVID"))["result"][3]["value"]["rectanglelabels"] == [
        "COVID"
    ]
    with pytest.raises(TaskError, match="re-run candidates"):
        to_prediction(candidate(), mask[:50])


def annotation(result: list[dict], **changes: object) -> dict:
    return {"id": 7, "result": result, "created_at": "2026-11-24T00:00:00Z", "lead_time": 12.34, **changes}


def test_an_accepted_proposal_comes_back_as_the_same_boxes_and_mask() -> None:
    mask = np.zeros((100, 200), bool)
    mask[2:9, 3:30] = True
    proposal = to_prediction(candidate(), mask)
    task = {"id": 1, "data": to_data(candidate(), "x.png"), "predictions": [{"id": 5, "model_version": "proposals-1"}]}
    review = to_review(task, annotation(proposal["result"], parent_prediction=5), "a@b.org")
    assert [p.box for p in review.panels] == [p.box for p in candidate().panels]
    assert {p.label for p in review.panels} == {"COVID"} and review.panels[0].patient == "patient 3"
    assert np.array_equal(decode_mask(review.mask), mask)
    assert review.seconds == 12.3 and review.proposed_by == "proposals-1" and review.chest_ct
    assert review.mask_kinds == ("text",)
    again = to_review(task, annotation(review_result(candidate(), review)), "judge", adjudicated=True)
    assert (again.panels, again.mask, again.chest_ct) == (review.panels, review.mask, True)


def test_what_is_no_ct_or_cannot_be_repaired_has_no_box() -> None:
    ct, other = candidate().panels
    boxes = [PixelBox(0, 0, 50, 50), PixelBox(60, 0, 110, 50), PixelBox(0, 50, 50, 100), PixelBox(60, 50, 110, 100)]
    changes = ({}, {"modality": 0.04}, {"inpaint": "drop", "masked_lung_fraction": 0.071}, {"inpaint": "crop"})
    panels = tuple(ct.model_copy(update={"box": b, **c}) for b, c in zip(boxes, changes, strict=True))
    mixed = candidate(panels=panels)
    shown = [r for r in to_prediction(mixed, None)["result"] if r["type"] == "rectanglelabels"]
    assert [to_pixels(r["value"], 200, 100) for r in shown] == [boxes[0], boxes[3]]
    labelled = to_prediction(mixed, None, labels=("COVID", "COVID", "COVID", "NonCOVID"))["result"]
    assert [r["value"]["rectanglelabels"] for r in labelled if r["type"] == "rectanglelabels"] == [
        ["COVID"],
        ["NonCOVID"],
    ]
    why = to_data(mixed, "x.png")["why"]
    assert "1 of 4 panels look like no chest CT and have no box" in why
    assert "1 of 4 panels have no box because marks cover 7.1% of the lung" in why
    assert "no box" not in to_data(candidate(panels=(ct, other)), "x.png")["why"]


def test_a_patient_is_filled_in_only_where_one_is_named() -> None:
    for named, expected in ((("patient 3",), {"patient 3"}), (("patient 1", "patient 2"), set()), ((), set())):
        said = Suggestion(label="COVID", sentence="s", patients=named)
        panels = tuple(panel.model_copy(update={"suggestion": said}) for panel in candidate().panels)
        result = to_prediction(candidate(panels=panels), None)["result"]
        assert {r["value"]["text"][0] for r in result if r["from_name"] == "patient"} == expected


def test_a_proposal_accepted_as_it_is_keeps_the_order_of_its_panels() -> None:
    left, right = PixelBox(0, 24, 90, 90), PixelBox(101, 4, 200, 97)  # one row; the right one begins higher up
    panels = tuple(p.model_copy(update={"box": b}) for p, b in zip(candidate().panels, (left, right), strict=True))
    drawn = to_prediction(candidate(panels=panels), None)["result"]
    task = {"id": 1, "data": to_data(candidate(), "x.png")}
    for result in (drawn, drawn[::-1]):
        assert [p.box for p in to_review(task, annotation(result), "a@b.org").panels] == [left, right]


OURS = {"id": 1, "data": {"candidate_id": "c", "size": "200x100"}}
YES = {"type": "choices", "from_name": "chest_ct", "value": {"choices": ["yes"]}}


def box(**changes: object) -> dict:
    value = {"x": 10, "y": 10, "width": 50, "height": 50, "rectanglelabels": ["COVID"]}
    return {
        "id": "r",
        "type": "rectanglelabels",
        "from_name": "panel",
        "original_width": 200,
        "original_height": 100,
        "value": value,
        **changes,
    }


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([], "no answer"),
        ([{**YES, "value": {"choices": []}}], "expected one of yes, no"),
        ([{**YES, "value": {"choices": ["maybe"]}}], "expected one of yes, no"),
        ([{"type": "choices", "from_name": "mood", "value": {}}], "not of our form"),
        (["text"], "expected an object"),
        ([{"type": "choices", "from_name": "chest_ct", "value": "yes"}], "expected an object"),
        ([YES, box(value={"rectanglelabels": ["Cat"]})], "panel label"),
        ([YES, box(value={"rectanglelabels": ["COVID", "unclear"]})], "panel label"),
        ([YES, box(original_width=None)], "original_width"),
        ([YES, box(original_width="wide")], "original_width"),
        ([YES, box(original_width=10**12)], "original_width"),
        ([YES, box(original_width=400)], "expected 200 x 100"),
        ([YES, box(value={"x": "nan", "y": 1, "width": 5, "height": 5, "rectanglelabels": ["COVID"]})], "rectangle"),
        ([YES, box(type="brushlabels", from_name="artifact", value={"brushlabels": ["text"], "rle": [1, 2]})], "brush"),
        ([YES, box(type="brushlabels", from_name="artifact", value={"brushlabels": ["lung"]})], "artifact"),
    ],
)
def test_what_the_form_cannot_have_made_is_refused(result: list, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        to_review(OURS, annotation(result), "r")


def test_a_task_of_another_project_is_refused() -> None:
    for task in ({"id": 1, "data": {"text": "x"}}, {"id": 1, "data": None}, {"id": 1}, {"data": {"candidate_id": ""}}):
        with pytest.raises(TaskError, match="one of our projects"):
            to_review(task, annotation([YES]), "r")


def test_an_annotation_that_lost_its_tie_is_traced_to_the_newest_proposal_before_it() -> None:
    versions = [{"id": n, "model_version": f"v{n}", "created_at": f"2026-01-0{n}T00:00:00Z"} for n in (3, 1, 2)]
    task = {**OURS, "predictions": versions}
    for origin, made, version in (("prediction-changed", 2, "v2"), ("prediction", 9, "v3"), ("manual", 9, "")):
        found = annotation([YES, box(origin=origin)], created_at=f"2026-01-0{made}T12:00:00Z")
        assert to_review(task, found, "r").proposed_by == version
    assert to_review(task, annotation([YES], parent_prediction=1), "r").proposed_by == "v1"


def test_boxes_are_in_reading_order_and_texts_may_be_lists_or_not() -> None:
    low = box(id="b", value={"x": 0, "y": 60, "width": 20, "height": 20, "rectanglelabels": ["unclear"]})
    patient = {"id": "r", "type": "textarea", "from_name": "patient", "value": {"text": "P1 "}}
    comment = {"id": "t", "type": "textarea", "from_name": "comment", "value": {"text": ["hard", "to see"]}}
    review = to_review(OURS, annotation([low, patient, comment, box(), YES], lead_time=None), "r")
    assert [(p.label, p.patient) for p in review.panels] == [("COVID", "P1"), ("unclear", "")]
    assert review.comment == "hard to see" and review.seconds is None


def test_all_strokes_are_one_mask() -> None:
    one, two = np.zeros((100, 200), bool), np.zeros((100, 200), bool)
    one[2:9, 3:30], two[5:20, 20:60] = True, True

    def stroke(kind: str, mask: np.ndarray) -> dict:
        value = {"format": "rle", "rle": mask_to_rle(mask), "brushlabels": [kind]}
        return box(type="brushlabels", from_name="artifact", value=value)

    review = to_review(OURS, annotation([YES, box(), stroke("text", one), stroke("arrow", two)]), "r")
    assert np.array_equal(decode_mask(review.mask), one | two)
    assert review.mask_kinds == ("text", "arrow")


def test_the_soft_edge_of_a_stroke_is_no_mark() -> None:
    """Label Studio paints antialiased: alpha above one half counts."""
    from label_studio_sdk.converter.brush import mask2rle

    alpha = np.array([[0, 1, 127, 128, 255]], np.uint8)
    assert rle_to_mask([int(v) for v in mask2rle(alpha)], 5, 1).tolist() == [[False, False, False, True, True]]


def test_a_brush_code_that_unpacks_to_much_is_refused_before_it_is_unpacked() -> None:
    code = mask_to_rle(np.ones((4, 4), bool))
    for broken in (code[:6], [255, 255, 255, 255, *code[4:]], [*code[:-2], 300, 0], ["a"] * 9, []):
        with pytest.raises(TaskError, match="brush code"):
            rle_to_mask(broken, 4, 4)
    with pytest.raises(TaskError, match="brush code"):
        rle_to_mask([255, 255, 255, 252, 0, 0], 32768, 32768)


def test_digest_tells_a_changed_proposal() -> None:
    data = {"a": 1, "b": "ö"}
    assert digest(data, [1]) == digest({"b": "ö", "a": 1}, [1]) != digest(data, [2])

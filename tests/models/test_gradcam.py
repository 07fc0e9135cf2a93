"""Heat maps and lungs: Grad-CAM on our networks, masks on drawn slices, Figure 5's layout, the measures."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

import covidct
from covidct.records import COLUMNS, write_records
from models import backbones, checkpoint, data, gradcam
from models.gradcam import GradCamError, choose, figure, heat_maps, overlay, summary, write_overlay
from models.lungmask import lung_mask, share_inside
from models.reading import EvaluateError


def ellipse(shape, centre, radii) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - centre[0] * shape[0]) / (radii[0] * shape[0])) ** 2 + (
        (x - centre[1] * shape[1]) / (radii[1] * shape[1])
    ) ** 2 < 1


def slice_(shape=(120, 150), crop=False, lesion=False, seed=0):
    """A drawn axial slice and its lungs; ``crop``: no air around the body; ``lesion``: bright patches in the lungs."""
    lungs = ellipse(shape, (0.5, 0.3), (0.3, 0.15)) | ellipse(shape, (0.5, 0.7), (0.3, 0.15))
    body = np.ones(shape, bool) if crop else ellipse(shape, (0.5, 0.5), (0.44, 0.48))
    grey = np.where(lungs, 35, np.where(body, 190, 4)).astype(float)
    if lesion:
        grey[ellipse(shape, (0.68, 0.24), (0.1, 0.07)) & lungs] = 170
    noise = np.random.default_rng(seed).normal(0, 6, shape)
    return np.clip(grey + noise, 0, 255).astype(np.uint8), lungs


def overlap(first, second) -> float:
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("lesion", [False, True])
@pytest.mark.parametrize("shape", [(120, 150), (400, 300), (64, 64)])
def test_lungs_of_a_drawn_slice(crop, lesion, shape):
    grey, lungs = slice_(shape, crop, lesion)
    assert overlap(lung_mask(grey), lungs) > 0.85


def test_no_lungs():
    body = np.where(ellipse((100, 100), (0.5, 0.5), (0.4, 0.4)), 200, 5).astype(np.uint8)
    for grey in (body, np.full((50, 50), 80, np.uint8)):
        assert lung_mask(grey) is None
    with pytest.raises(ValueError, match="uint8"):
        lung_mask(body.astype(float))


@pytest.mark.real
def test_lungs_of_real_pictures(real_data):
    """On LUNA slices with much lung the mask is found and lies over dark pixels; true lungs are not known here."""
    found = dark = 0
    files = sorted((real_data / "luna").glob("*.png"))[:200:5]
    for file in files:
        grey = np.asarray(Image.open(file).convert("L"))
        mask = lung_mask(grey)
        if mask is not None:
            found += 1
            dark += grey[mask].mean() < grey[~mask].mean() + 40
    assert found >= 0.8 * len(files) and dark >= 0.9 * found


def test_share_inside():
    heat = np.zeros((4, 4))
    heat[0, 0], heat[3, 3] = 3, 1
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    assert share_inside(heat, mask) == 0.75
    assert np.isnan(share_inside(np.zeros((4, 4)), mask))


def card(name, size=64, channels=3):
    return checkpoint.make_card(
        backbone=name,
        class_names=data.CLASS_NAMES,
        preprocessing={"size": size, "channels": channels, "mean": [0.5] * channels, "std": [0.25] * channels},
        recipe={},
    )


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet_b0", "squeezenet1_1", "vgg16", "crnet"])
def test_heat_of_every_kind_of_network(name):
    torch.manual_seed(0)
    model = backbones.build(name, 2, size=64)
    heat = heat_maps(model, card(name, channels=1 if name == "crnet" else 3), torch.randint(
        0, 256, (3, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)))  # fmt: skip
    assert heat.shape == (3, 64, 64) and heat.dtype == np.float32
    assert float(heat.min()) >= 0 and float(heat.max()) <= 1
    assert not any(module._forward_hooks for module in model.modules())


def test_heat_is_gradcam_by_its_definition():
    """Weights are mean gradients of the COVID logit, the map is the ReLU of the weighted sum (reference 58)."""
    torch.manual_seed(3)
    model = backbones.build("resnet18", 2).eval()
    image = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    heat = heat_maps(model, card("resnet18"), image)[0]
    inputs = gradcam.evaluation(card("resnet18"))(image)
    maps: list[torch.Tensor] = []
    handle = model.layer4.register_forward_hook(lambda _m, _i, out: maps.append(out))
    logit = model(inputs)[0, 1]
    handle.remove()
    gradient = torch.autograd.grad(logit, maps[0])[0]
    cam = F.relu((gradient.mean(dim=(2, 3), keepdim=True) * maps[0]).sum(dim=1, keepdim=True)).detach()
    wide = F.interpolate(cam, (64, 64), mode="bilinear", align_corners=False)[0, 0].numpy()
    wide = (wide - wide.min()) / (wide.max() - wide.min() + 1e-7)
    assert np.corrcoef(wide.ravel(), heat.ravel())[0, 1] > 0.999


def test_heat_finds_what_the_network_looks_at():
    """A network that answers with the brightness at one place must be hot there."""
    model = backbones.build("crnet", 2, size=64).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.features[1].weight.fill_(1)
        for index in (0, 4, 7):
            model.features[index].weight[:, :, 3, 3] = 1
        model.classifier.weight.view(2, 128, -1)[1] = 1
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    image[..., 8:20, 40:56] = 255
    heat = heat_maps(model, card("crnet", channels=1), image)[0]
    assert heat[14, 48] > 0.9 and heat[50, 10] < 0.1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"kind": "encoder", "class_names": []}, "got encoder with no classes"),
        ({"class_names": ["NonCOVID", "COVID", "Pneumonia"]}, "got classifier with classes NonCOVID, COVID, Pneumonia"),
    ],
)
def test_other_classes_are_not_explained(other, message):
    bad = card("resnet18") | other
    with pytest.raises(EvaluateError, match=message):
        heat_maps(backbones.build("resnet18", 2), bad, torch.zeros(1, 1, 64, 64, dtype=torch.uint8))


def test_overlay_keeps_the_size_of_the_picture(tmp_path):
    grey, _ = slice_((90, 130))
    out = overlay(grey, np.eye(64, dtype=np.float32))
    assert out.shape == (90, 130, 3) and out.dtype == np.uint8
    path = write_overlay(
        backbones.build("crnet", 2, size=64), card("crnet", channels=1), torch.zeros(1, 1, 64, 64, dtype=torch.uint8),
        grey, tmp_path / "a" / "heat.png",
    )  # fmt: skip
    assert Image.open(path).size == (130, 90)


def test_figure_has_seven_columns_for_three_runs():
    grey = np.full((50, 70), 128, np.uint8)
    heats = [np.full((16, 16), value, np.float32) for value in (0.0, 0.5, 1.0)]
    picture = figure([(grey, heats)] * 2, ["random", "ImageNet", "Self-Trans"])
    cell, gap, head = gradcam.CELL, gradcam.GAP, 2 * gradcam.LINE + gradcam.GAP
    assert picture.shape == (head + 2 * (cell + gap) + gap, 7 * (cell + gap) + gap, 3)

    def at(row, column):
        return picture[head + row * (cell + gap) + cell // 2, gap + column * (cell + gap) + cell // 2].astype(int)

    for row in range(2):
        assert at(row, 0).tolist() == [128, 128, 128]
        for run in range(3):
            heat, over = at(row, 1 + 2 * run), at(row, 2 + 2 * run)
            assert np.abs((heat + 128) / 2 - over).max() <= 1  # the overlay is half picture, half heat


def test_long_names_take_more_lines_and_rows_can_be_named():
    assert gradcam.wrapped("resnet18-ssl-random-luna-covidct-0") == ["resnet18-ssl-random-luna-", "covidct-0"]
    assert gradcam.wrapped("x" * 40) == ["x" * gradcam.LETTERS]
    assert gradcam.wrapped("") == [""]
    grey, heat = np.full((50, 70), 128, np.uint8), np.zeros((16, 16), np.float32)
    plain = figure([(grey, [heat])], ["random"])
    named = figure([(grey, [heat])], ["resnet18-ssl-random-luna-covidct-0"], ["image 1"])
    assert named.shape[0] == plain.shape[0] + 2 * gradcam.LINE


@pytest.fixture
def dataset(tmp_path):
    """Twelve test pictures of six COVID patients and two others, one picture without lungs."""
    rows = []
    for number in range(14):
        split = "test" if number < 12 else "train" if number == 12 else "val"
        grey = slice_(seed=number)[0] if number != 3 else np.full((60, 60), 90, np.uint8)
        path = tmp_path / "dataset" / "images" / f"p{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(path)
        covid = number < 10
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {
                "image_id": f"p{number:02d}", "file": f"images/p{number:02d}.png", "label": int(covid),
                "label_name": "COVID" if covid else "NonCOVID", "width": grey.shape[1], "height": grey.shape[0],
                "patient_id": f"who{number // 2}-{split}", "reviewed": False, "inpainted_fraction": 0.0, "split": split,
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    for column in ("page", "xref", "panel", "version"):
        frame[column] = pd.array([pd.NA] * len(frame), dtype="Int64")
    write_records(tmp_path / "dataset" / "records.csv", frame)
    found = covidct.load(tmp_path / "dataset")
    for seed, name in enumerate(("random-0", "self-trans-0")):
        torch.manual_seed(seed)
        made = card("resnet18") | {"dataset": data.describe(found)}
        checkpoint.save(tmp_path / "finetune" / name, backbones.build("resnet18", 2), made)
    return found


def test_images_are_chosen_by_order_each_of_another_patient(dataset):
    picks = choose(dataset.test, 3)
    chosen = dataset.test.records.iloc[picks]
    assert chosen["image_id"].tolist() == ["p00", "p04", "p08"] and chosen["patient_id"].is_unique
    assert len(choose(dataset.test, 99)) == 5
    with pytest.raises(GradCamError, match="expected COVID images"):
        choose(dataset.val, 0)


def cli(tmp_path, *more, runs=("random-0", "self-trans-0")):
    arguments = ["--dataset", tmp_path / "dataset", "--finetune", tmp_path / "finetune", "--out", tmp_path / "out"]
    arguments += [item for name in runs for item in ("--runs", name)]
    return CliRunner().invoke(gradcam.app, [str(a) for a in [*arguments, *more]])


def test_command(dataset, tmp_path):
    result = cli(tmp_path, "--images", 2)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    rows = list(csv.DictReader(io.StringIO((out / "heat.csv").read_text())))
    assert len(rows) == 2 * 10 and {row["run"] for row in rows} == {"random-0", "self-trans-0"}
    found = json.loads((out / "metrics.json").read_text())["random-0"]
    values = [float(row["inside"]) for row in rows if row["run"] == "random-0" and row["inside"]]
    assert found["images"] == 9 and found["inside"] == pytest.approx(np.mean(values), abs=1e-3)
    assert found["interval"][0] <= found["inside"] <= found["interval"][1] and 0.2 < found["even_heat"] < 0.4
    assert [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()] == [
        {"item": "p03", "reason": "no lungs found"}
    ]
    assert Image.open(out / "figure-5.png").size[0] == 5 * (gradcam.CELL + gradcam.GAP) + gradcam.GAP
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert cli(tmp_path, "--images", 2).exit_code == 0
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_command_refuses(dataset, tmp_path, caplog):
    assert cli(tmp_path, runs=("nowhere",)).exit_code == 1
    assert "got nothing there" in caplog.text
    folder = tmp_path / "finetune" / "random-0"
    made = json.loads((folder / checkpoint.CARD).read_text())
    made["dataset"]["split_hash"] = "0" * 64
    (folder / checkpoint.CARD).write_text(json.dumps(made))
    assert cli(tmp_path).exit_code == 1
    assert "test images may have been" in caplog.text and not (tmp_path / "out").exists()


def test_transductive_runs_are_marked(dataset, tmp_path, monkeypatch):
    folder = tmp_path / "finetune" / "self-trans-0"
    made = json.loads((folder / checkpoint.CARD).read_text())
    start = {"dataset": made["dataset"] | {"transductive": True}}
    (folder / checkpoint.CARD).write_text(json.dumps(made | {"start": start}))
    titles = []
    plain = gradcam.figure
    monkeypatch.setattr(gradcam, "figure", lambda rows, heads, names: titles.extend(heads) or plain(rows, heads, names))
    assert cli(tmp_path, "--images", 1).exit_code == 0
    assert titles == ["random-0", "self-trans-0 (transductive)"]
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["self-trans-0"]["transductive"] and "transductive" not in found["random-0"]


def test_command_refuses_other_classes(dataset, tmp_path, caplog):
    torch.manual_seed(0)
    made = card("resnet18") | {"dataset": data.describe(dataset), "class_names": ["NonCOVID", "COVID", "Pneumonia"]}
    checkpoint.save(tmp_path / "finetune" / "three-0", backbones.build("resnet18", 3), made)
    assert cli(tmp_path, runs=("random-0", "three-0")).exit_code == 1
    assert "expected a classifier of NonCOVID and COVID" in caplog.text and not (tmp_path / "out").exists()


def test_the_interval_is_over_patients():
    """Three equal images of each patient tell no more than one: the interval stays as it was."""
    values = np.random.default_rng(0).random(20)
    rows = [{"patient_id": f"p{number:02}", "inside": value, "lung_area": 0.3} for number, value in enumerate(values)]
    once, thrice = summary(rows, 400, 0), summary(rows * 3, 400, 0)
    assert thrice["images"] == 60 and thrice["interval"] == pytest.approx(once["interval"], abs=1e-4)
    alone = summary([row | {"patient_id": f"i{number}"} for number, row in enumerate(rows * 3)], 400, 0)
    assert np.ptp(alone["interval"]) < 0.7 * np.ptp(once["interval"])


def test_summary_without_any_lungs():
    row = {"patient_id": "a", "inside": float("nan"), "lung_area": float("nan")}
    assert summary([row], 10, 0) == {"images": 0, "inside": None, "interval": None, "even_heat": None}

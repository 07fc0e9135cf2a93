"""The report: the paper's rows beside ours, rows not run said, failures counted, one page without outside addresses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import covidct
from models import caveats, evaluate, experiments, findings, report, results, sections
from models.checkpoint import load
from models.data import describe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, toys: Callable[..., Path], small: Callable[..., None]) -> Path:
    """data/-like folder with a dataset, two seeds of CRNet and a failed.jsonl."""
    root = tmp_path_factory.mktemp("world")
    dataset = covidct.load(toys(root / "dataset"))
    for seed in (0, 1):
        out = root / "finetune" / f"crnet-random-{seed}"
        small(dataset, out, seed)
        options = [
            "--dataset",
            str(root / "dataset"),
            "--model",
            str(out),
            "--accelerator",
            "cpu",
            "--replicates",
            "40",
            "--start",
            "random",
        ]
        run = CliRunner().invoke(evaluate.app, [*options, "--out", str(root / "evaluate" / out.name)])
        assert run.exit_code == 0
    (root / "figures").mkdir()
    lines = [{"item": f"{number}.pdf", "reason": "encrypted" if number else "<b>odd|reason</b>"} for number in range(3)]
    (root / "figures" / "failed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def make(world: Path, out: Path, *more: str):
    options = [f"--{name}={world / name}" for name in ("dataset", "finetune", "evaluate")]
    return CliRunner().invoke(report.app, [*options, f"--failed={world / 'figures'}", f"--out={out}", *more])


def test_page_and_markdown_hold_the_paper_s_tables_and_ours(world: Path, tmp_path: Path) -> None:
    assert make(world, tmp_path).exit_code == 0
    page, text = (tmp_path / "index.html").read_text(), (tmp_path / "report.md").read_text()
    for numeral in ("III", "IV", "V", "VI", "VII"):
        assert f"Table {numeral}" in page
        assert f"Table {numeral}" in text
    (line,) = re.findall(r"^\| CRNet Rand\. .*$", text, flags=re.MULTILINE)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert [cells[1], cells[3], cells[6]] == ["0.72", "0.76", "0.77"]
    assert all("±" in cells[column] for column in results.OWN)
    assert cells[8] == "2"
    assert "size 32 (224)" in cells[9]
    assert "epochs 2 (50)" in cells[9]
    assert "F1, ours, non-COVID" in text
    assert "the pictures are not those of the 2020 release" in text
    (line,) = re.findall(r"^\| VGG-16 Rand\. .*$", text, flags=re.MULTILINE)
    assert "not run" in line
    (line,) = re.findall(r"^\| CRNet Trans\. .*$", text, flags=re.MULTILINE)
    assert "not run: there are no ImageNet weights for CRNet; train them: python -m models.imagenet --images" in line
    assert "python -m models.experiments run --table table6" in text
    assert "546,882" in page
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["seed"].tolist() == [0, 1]
    assert {"auc", "auc_low", "auc_high", "f1_noncovid"} <= set(table)
    assert table["transductive"].tolist() == [False, False]
    assert "ransductive" not in text


def test_page_is_self_contained_and_escaped(world: Path, tmp_path: Path) -> None:
    make(world, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"""(src|href)=["']https?:""", page)
    assert "<script" not in page
    assert "&lt;b&gt;odd|reason&lt;/b&gt;" in page
    assert r"odd\|reason" in (tmp_path / "report.md").read_text()
    names = {"auc", "roc", "precision-recall", "reliability", "learning", "encoders-crnet-random"}
    assert page.count("<svg") == len(names)
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == names
    for name in names:
        assert f"](figures/{name}.svg)" in (tmp_path / "report.md").read_text()


def test_same_inputs_same_bytes(world: Path, tmp_path: Path) -> None:
    make(world, tmp_path / "a")
    make(world, tmp_path / "b")
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes(), file.name


def test_results_of_another_split_and_damaged_ones_are_left_out_by_name(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    other = copy / "evaluate" / "crnet-random-0" / "metrics.json"
    content = json.loads(other.read_text())
    content["dataset"]["split_hash"] = "another"
    other.write_text(json.dumps(content))
    (copy / "evaluate" / "crnet-random-1" / "metrics.json").write_text("{")
    assert make(copy, tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "crnet-random-0: evaluated on another split" in text
    assert "crnet-random-1: cannot be read" in text
    assert "No model has been evaluated on this split yet" in text


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "predictions.csv").write_text("image_id,score\na,1\n"), "no column patient_id"),
        (lambda folder: (folder / "predictions.csv").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda folder: (folder / "metrics.json").write_text('{"dataset": 3}'), "cannot be read"),
        (lambda folder: drop(folder / "metrics.json", "threshold"), "'threshold'"),
        (lambda folder: drop(folder / "metrics.json", "test", "calibration"), "'calibration'"),
    ],
)
def test_a_result_that_lacks_something_is_left_out_whole(
    world: Path, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    copy = tmp_path / "evaluate"
    shutil.copytree(world / "evaluate", copy)
    damage(copy / "crnet-random-1")
    split_hash = describe(covidct.load(world / "dataset"))["split_hash"]
    found, left = results.collect(copy, world / "finetune", split_hash)
    assert [result.key for result in found] == ["crnet-random-0"]
    assert left[0]["item"] == "crnet-random-1"
    assert reason in left[0]["reason"]


def drop(path: Path, *keys: str) -> None:
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    path.write_text(json.dumps(content))


def test_groups_give_mean_spread_and_the_middle_interval(world: Path) -> None:
    dataset = covidct.load(world / "dataset")
    found, left = results.collect(world / "evaluate", world / "finetune", describe(dataset)["split_hash"])
    assert not left
    (group,) = results.group(found).values()
    values = [result.figure("auc") for result in found]
    assert group.mean("auc") == pytest.approx(sum(values) / 2)
    low, high = group.interval("auc")
    assert low <= group.mean("auc") <= high
    assert group.middle.figure("auc") == min(values)
    assert len(results.table(experiments.choose("table3"), {group.run: group})) == 16
    assert results.comparisons({"a": group, "b": group})[0]["bootstrap"]["auc"]["difference"] == 0


def test_shortcuts_and_findings_of_the_audit_stand_beside_the_networks(world: Path, tmp_path: Path) -> None:
    row = {
        "auc": 0.57,
        "interval": [0.41, 0.72],
        "images": 12,
        "model": "forest",
        "by_source": {"pmc": {"auc": 0.5, "interval": [None, None]}},
    }
    audit = {
        "findings": [
            {"kind": "same-picture", "severity": "warning", "evidence": "a.png <is> b.png"},
            {"kind": "personal-data", "severity": "error", "evidence": "a birth date"},
        ],
        "metrics": {
            "shortcuts": {"border": row, "size": row},
            "shortcuts_scored": {"images": 12, "patients": 6, "how": "train -> test"},
        },
        "not_checked": {"encoding": "no reader"},
    }
    (tmp_path / "findings.json").write_text(json.dumps(audit))
    assert make(world, tmp_path / "out", f"--audit={tmp_path / 'findings.json'}").exit_code == 0
    text = (tmp_path / "out" / "report.md").read_text()
    results_part = text[text.index("## Results") : text.index("## The dataset")]
    assert "| no lung: outer 3 pixels | – | 0.57 (0.41–0.72) |" in results_part
    assert "| border | the outer 3 pixels | forest | 0.57 (0.41–0.72) | 0.50 |" in text
    assert text.index("| personal-data | error |") < text.index("| same-picture | warning |")
    assert "Not checked: encoding: no reader" in text
    assert "a.png &lt;is&gt; b.png" in (tmp_path / "out" / "index.html").read_text()


def test_without_an_audit_the_page_says_not_checked(world: Path, tmp_path: Path) -> None:
    (tmp_path / "findings.json").write_text("{")
    make(world, tmp_path / "out", f"--audit={tmp_path / 'findings.json'}")
    assert "Not checked: the audit was not run" in (tmp_path / "out" / "report.md").read_text()


def test_figure_five_comes_with_its_numbers(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gradcam"
    folder.mkdir()
    Image.new("RGB", (20, 10)).save(folder / "figure-5.png")
    measured = {"images": 9, "inside": 0.61, "interval": [0.5, 0.7], "even_heat": 0.3}
    seen = {**measured, "transductive": True}
    figures = {"a-0": measured, "b-0": {"images": 0, "inside": None}, "c-0": seen}
    (folder / "metrics.json").write_text(json.dumps(figures))
    make(world, tmp_path / "out", f"--gradcam={folder}")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| a-0 | 9 | 0.61 (0.50–0.70) | 0.30 |" in text
    assert "| b-0 | 0 | undefined |" in text
    assert "| c-0 (transductive) | 9 |" in text
    assert (tmp_path / "out" / "figures" / "figure-5.png").read_bytes() == (folder / "figure-5.png").read_bytes()
    assert "data:image/png;base64," in (tmp_path / "out" / "index.html").read_text()


def test_what_each_stage_made_is_counted(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "figures.jsonl").write_text('{"figure_id": "a"}\n' * 5)
    (folder / "failed.jsonl").write_text('{"item": "x", "reason": "encrypted"}\nnot json\n[]\n')
    section = caveats.failures([folder, world / "dataset", tmp_path / "nowhere"], [])
    made, reasons = section.tables
    assert made.rows == [["figures", "5", "1"], ["dataset", "48", "0"], ["nowhere", "–", "0"]]
    assert reasons.rows == [
        ["figures", "1", "encrypted"],
        ["figures", "2", "lines of failed.jsonl that cannot be read"],
    ]


def test_ssl_settings_and_transductive_use_are_told(world: Path) -> None:
    found, _ = results.collect(
        world / "evaluate", world / "finetune", describe(covidct.load(world / "dataset"))["split_hash"]
    )
    first = found[0]
    ssl = {
        "init": "random",
        "chain": ["luna", "covidct"],
        "size": 64,
        "batch": 128,
        "queue": 512,
        "epochs": 3,
        "temperature": 0.2,
    }
    history = [{"set": "luna", "epoch": 0, "loss": 2.0}, {"set": "covidct", "epoch": 0, "loss": 1.0}]
    card = {**first.card, "start": {"backbone": "crnet", "recipe": ssl, "history": history}}
    group = results.Group("x", (replace(first, card=card, summary={**first.summary, "transductive": True}),))
    told = results.differs(group)
    assert "SSL: size 64 (224), epochs 3, temperature 0.2" in told
    assert "transductive" in told
    assert sections.begins(card) == "random (Kaiming) → SSL on LUNA → SSL on COVID-CT train"
    assert findings._pretraining({"x": group}) == {"crnet-random-luna-covidct": [(1, 2.0, "luna"), (2, 1.0, "covidct")]}
    section = findings.encoders({"x": group})
    assert section is not None
    assert [figure.name for figure in section.figures] == ["encoders-x", "pretraining"]


def test_a_transductive_run_is_marked_wherever_it_stands(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    path = copy / "evaluate" / "crnet-random-1" / "metrics.json"  # not the middle seed's, or not only
    for name in ("crnet-random-0", "crnet-random-1"):
        shutil.copytree(copy / "evaluate" / name, copy / "evaluate" / name.replace("random", "imagenet"))
        shutil.copytree(copy / "finetune" / name, copy / "finetune" / name.replace("random", "imagenet"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "transductive": True}))
    assert make(copy, tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "report.md").read_text()
    marked = re.findall(r"^\| crnet-random \(transductive\) \|", text, flags=re.MULTILINE)
    assert len(marked) >= 6  # results, runs, thresholds, sources, cost, encoders, shortcuts
    assert not re.findall(r"^\| crnet-random \|", text, flags=re.MULTILINE)
    assert "crnet-imagenet | crnet-random (transductive) |" in text  # pairs
    assert "Transductive: pictures of val or test were seen" in text
    assert "(transductive) [seed 1]" in text
    page = (tmp_path / "out" / "index.html").read_text()
    assert re.search(r">crnet-random \(transductive\)<", page)
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table.loc[table["transductive"], ["run", "seed"]].to_numpy().tolist() == [["crnet-random", 1]]


def test_a_val_split_of_one_class_is_told_in_the_tables(world: Path) -> None:
    found, _ = results.collect(
        world / "evaluate", world / "finetune", describe(covidct.load(world / "dataset"))["split_hash"]
    )
    first = found[0]
    note = "val holds COVID only: AUC undefined, the epoch was chosen by loss, threshold 0.5 was not chosen"
    card = {**first.card, "metrics": {**first.card["metrics"], "notes": [note]}}
    assert note in results.differs(results.Group("x", (replace(first, card=card),)))
    assert note not in results.differs(results.Group("x", (first,)))


def test_what_differs_is_looked_for_in_every_seed(world: Path) -> None:
    found, _ = results.collect(
        world / "evaluate", world / "finetune", describe(covidct.load(world / "dataset"))["split_hash"]
    )
    group = results.Group("x", tuple(found))
    other = next(result for result in found if result is not group.middle)
    recipe = {**other.card["recipe"], "epochs": 7, "frozen": True}
    changed = replace(other, card={**other.card, "recipe": recipe})
    group = results.Group("x", tuple(changed if result is other else result for result in found))
    told = results.differs(group)
    assert f"epochs 7 (50) [seed {other.seed}]" in told
    assert f"epochs 2 (50) [seed {1 - other.seed}]" in told
    assert "size 32 (224);" in told
    (row,) = sections.recipes({"x": group}).rows
    assert sorted(row[3].split(" / ")) == ["all layers", "frozen"]


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.02, 0.3), "does harm"),  # a is the plain run: a better a is a worse pretraining
        ((-0.3, -0.02), "helps"),
        ((-0.1, 0.2), "no difference can be told"),
        ((float("nan"), float("nan")), "undefined"),
    ],
)
def test_the_page_says_whether_pretraining_helped(world: Path, interval: tuple[float, float], words: str) -> None:
    split_hash = describe(covidct.load(world / "dataset"))["split_hash"]
    (first, _), _ = results.collect(world / "evaluate", world / "finetune", split_hash)
    plain = replace(first, card={**first.card, "recipe": {**first.card["recipe"], "init": "random"}})
    recipe = {**first.card["recipe"], "init": "encoder:x"}
    ssl = replace(
        first, card={**first.card, "recipe": recipe, "start": {"recipe": {"init": "random", "chain": ["luna"]}}}
    )
    groups = {"plain": results.Group("plain", (plain,)), "ssl": results.Group("ssl", (ssl,))}
    pair = {"a": "plain", "b": "ssl", "bootstrap": {"auc": {"difference": sum(interval) / 2, "interval": interval}}}
    said = findings.pretraining_helps(pair, groups)
    assert words in said
    assert "pretraining (ssl) against the same weights without it (plain)" in said
    assert findings.pretraining_helps({**pair, "b": "plain"}, groups) == ""
    other = replace(ssl, card={**ssl.card, "start": {"recipe": {"init": "imagenet", "chain": ["luna"]}}})
    assert findings.pretraining_helps(pair, {**groups, "ssl": results.Group("ssl", (other,))}) == ""


def test_files_are_named_without_their_folder() -> None:
    assert results.weights_in_words("partial:/somebody/here/net.pth") == "net.pth (incomplete)"
    assert results.weights_in_words("file:here/net.pth") == "net.pth"
    assert results.weights_in_words("imagenet") == "ImageNet"


def test_only_runs_of_one_network_and_the_best_are_compared(world: Path) -> None:
    found, _ = results.collect(
        world / "evaluate", world / "finetune", describe(covidct.load(world / "dataset"))["split_hash"]
    )

    def group(run: str, backbone: str, flip: bool) -> results.Group:
        table = found[0].predictions.assign(score=lambda t: abs(t["label"] - 0.1) if not flip else 0.5)
        auc = {**found[0].summary["test"]["at_half"], "auc": 0.5 if flip else 1.0}
        summary = {**found[0].summary, "test": {**found[0].summary["test"], "at_half": auc}}
        card = {**found[0].card, "backbone": backbone}
        return results.Group(run, (replace(found[0], predictions=table, card=card, summary=summary),))

    groups = {
        "a": group("a", "crnet", False), "b": group("b", "crnet", True), "c": group("c", "vgg16", True),
        "d": group("d", "resnet18", True),
    }  # fmt: skip
    pairs = [(row["a"], row["b"]) for row in results.comparisons(groups)]
    assert pairs == [("a", "b"), ("a", "c"), ("a", "d")]


def test_one_class_in_test_is_shown_as_undefined(world: Path) -> None:
    dataset = covidct.load(world / "dataset")
    found, _ = results.collect(world / "evaluate", world / "finetune", describe(dataset)["split_hash"])
    parts = []
    for result in found:
        summary = json.loads(json.dumps(result.summary))
        for at in ("at_half", "at_chosen"):
            summary["test"][at]["auc"] = None
            summary["test"][at]["intervals"]["auc"] = [None, None]
        table = result.predictions.assign(label=1)
        parts.append(replace(result, summary=summary, predictions=table))
    one = {"both": results.Group("both", tuple(parts)), "single": results.Group("single", (parts[0],))}
    section = sections.headline(dataset, one, {})
    assert [row[2] for row in section.tables[0].rows] == ["undefined", "undefined"]
    drawn = findings.curves(one)
    assert drawn is not None
    assert {figure.name for figure in drawn.figures} == {"reliability", "learning"}
    compared = findings.compared(one)
    assert compared is not None
    assert compared.tables[0].rows[0][2] == "undefined"
    assert findings.beyond(one) is not None


def test_table_two_is_equal_everywhere() -> None:
    (table,) = sections.table_two().tables
    assert [row[3] for row in table.rows] == ["yes"] * 8


def test_a_missing_dataset_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert make(tmp_path, tmp_path / "out").exit_code == 1
    assert "records.csv" in caplog.text
    assert not (tmp_path / "out").exists()


def test_cards_of_the_results_load(world: Path) -> None:
    _, card = load(world / "finetune" / "crnet-random-0")
    assert card["recipe"]["seed"] == 0

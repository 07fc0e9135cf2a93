"""Pretraining: training patients only, chains, exact resuming with the queue, what the card says, refusals."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import covidct
from covidct.records import COLUMNS, write_records
from models import backbones, checkpoint, contrastive, engine, nodules, pretrain, weights
from models.contrastive import SslRecipe
from models.engine import Hardware
from models.moco import MoCo, MoCoError
from models.unlabelled import UnlabelledError, read_covid, read_luna

TINY = {
    "backbone": "crnet",
    "size": 32,
    "resize": 36,
    "batch": 4,
    "queue": 10,
    "hidden": 8,
    "dim": 4,
    "splits": 2,
    "momentum": 0.9,
}
CPU = Hardware("cpu", precision="32")


def picture(path, seed, shape=(40, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grey = np.kron(rng.integers(0, 256, (shape[0] // 8, shape[1] // 8)), np.ones((8, 8))).astype(np.uint8)
    Image.fromarray(grey).save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A dataset of 14 pictures (9 train, 2 val, 3 test) and 11 LUNA slices, two with hardly any lung."""
    root = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(14):
        split = "train" if number < 9 else "val" if number < 11 else "test"
        name = f"p{number:02d}"
        picture(root / "dataset" / "images" / f"{name}.png", number)
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {
                "image_id": name,
                "file": f"images/{name}.png",
                "label": number % 2,
                "label_name": "COVID" if number % 2 else "NonCOVID",
                "patient_id": f"who{number}",
                "width": 48,
                "height": 40,
                "reviewed": False,
                "inpainted_fraction": 0.0,
                "licence": "CC-BY-4.0" if number % 3 else "",
                "split": split,
            }
        )
    frame = pd.DataFrame(rows)
    for column in ("page", "xref", "panel", "version"):
        frame[column] = pd.array([pd.NA] * len(frame), dtype="Int64")
    write_records(root / "dataset" / "records.csv", frame)
    with (root / "slices.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["image_id", "file", "subject_id", "slice", "lung_fraction", "flags"])
        for number in range(11):
            picture(root / "images" / f"s{number:02d}.png", 100 + number, (40, 40))
            table.writerow([f"s{number:02d}", f"images/s{number:02d}.png", f"x{number // 2}", number, 0.2,
                            "little-lung" if number > 8 else ""])  # fmt: skip
    return root


def sets(root, chain=("luna", "covidct"), **options):
    return pretrain.read_sets(chain, root, covidct.load(root / "dataset"), TINY["resize"], **options)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_only_training_pictures_unless_asked(root):
    train = read_covid(covidct.load(root / "dataset"), 36)
    assert len(train) == 9 and train.facts == {"images": 9, "patients": 9, "splits": ["train"]}
    everything = read_covid(covidct.load(root / "dataset"), 36, transductive=True)
    assert len(everything) == 14 and everything.facts["splits"] == ["train", "val", "test"]
    assert train.images.shape == (9, 1, 36, 36) and train.aspect.tolist() == pytest.approx([1.2] * 9)
    assert train.digest != everything.digest


def test_luna_slices(root, tmp_path):
    slices = read_luna(root, 36)
    assert len(slices) == 9 and slices.facts == {"images": 9, "subjects": 5, "left_out_little_lung": 2}
    assert len(read_luna(root, 36, little_lung=True)) == 11
    with pytest.raises(UnlabelledError, match="dvc repro luna"):
        read_luna(tmp_path, 36)
    (tmp_path / "slices.csv").write_text("image_id,file,subject_id,slice,lung_fraction,flags\n")
    with pytest.raises(UnlabelledError, match="switch stage luna on"):
        read_luna(tmp_path, 36)
    (tmp_path / "slices.csv").write_text("image_id,file,subject_id,flags\na,../out.png,b,\n")
    with pytest.raises(ValueError, match=r"\.\./out\.png"):
        read_luna(tmp_path, 36)
    (tmp_path / "slices.csv").write_text("image_id,file,subject_id,flags\na,images/a.png,b,\n")
    with pytest.raises(UnlabelledError, match=r"a\.png: expected"):
        read_luna(tmp_path, 36)
    (tmp_path / "slices.csv").write_text("image_id,file\n")
    with pytest.raises(UnlabelledError, match="missing subject_id"):
        read_luna(tmp_path, 36)


class LostError(Exception):
    """Stands for a lost machine."""


def run(root, folder, epochs=3, stop_at=None, monkeypatch=None, **options):
    """Pretrain; with ``stop_at`` the process dies in that epoch (counted over all sets) and the states stay behind."""
    recipe = SslRecipe(**(TINY | {"epochs": epochs, "chain": ("luna", "covidct")} | options))
    if stop_at is None:
        return contrastive.pretrain(sets(root, recipe.chain), recipe, cache=folder, hardware=CPU)
    count = [0]
    original = engine.train_epoch

    def dying(fabric, model, optimizer, batches, loss_of, **more):
        count[0] += 1
        if count[0] == stop_at:
            original(fabric, model, optimizer, batches[:1], loss_of, **more)
            raise LostError
        return original(fabric, model, optimizer, batches, loss_of, **more)

    with monkeypatch.context() as patch, pytest.raises(LostError):
        patch.setattr(engine, "train_epoch", dying)
        contrastive.pretrain(sets(root, recipe.chain), recipe, cache=folder, hardware=CPU)
    return None


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(root, tmp_path, monkeypatch, stop_at):
    """The batch (4) divides neither the sets (9) nor the queue (10), and death comes within an epoch."""
    whole = run(root, tmp_path / "a")
    run(root, tmp_path / "b", stop_at=stop_at, monkeypatch=monkeypatch)
    resumed = run(root, tmp_path / "b")
    assert equal(whole.encoder.state_dict(), resumed.encoder.state_dict())
    assert whole.history == resumed.history
    for name in ("1-luna", "2-covidct"):
        first, second = (
            torch.load(tmp_path / which / name / engine.STATE, weights_only=True)["parts"] for which in "ab"
        )
        assert equal(first["moco"], second["moco"])
        assert {"queue", "queue_ids", "pointer"} <= set(first["moco"])
        momenta = [[s["momentum_buffer"] for s in part["optimizer"]["state"].values()] for part in (first, second)]
        assert momenta[0] and all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))


def test_every_step_moves_the_key_encoder_and_fills_the_queue(root, tmp_path):
    """9 pictures, batches of 4: two steps an epoch, so 8 of the queue's 10 places are written."""
    run(root, tmp_path, epochs=1, chain=("covidct",))
    moco = torch.load(tmp_path / "1-covidct" / engine.STATE, weights_only=True)["parts"]["moco"]
    assert int(moco["pointer"]) == 8 and int((moco["queue_ids"] >= 0).sum()) == 8
    encoder, width = backbones.features(backbones.build("crnet", 2, size=32), "crnet")
    first = contrastive.build_moco(encoder, width, SslRecipe(**TINY)).state_dict()
    head = "key.head.0.weight"  # drawn from the seed, so known before training
    assert not torch.equal(moco[head], first[head]) and not torch.equal(moco[head], moco[head.replace("key", "query")])


def test_the_key_encoders_momentum_is_not_the_optimisers(root, tmp_path):
    encoder, width = backbones.features(backbones.build("crnet", 2, size=32), "crnet")
    recipe = SslRecipe(**(TINY | {"momentum": 0.99, "sgd_momentum": 0.5}))
    assert contrastive.build_moco(encoder, width, recipe).momentum == 0.99
    run(root, tmp_path, epochs=1, chain=("covidct",), momentum=0.99, sgd_momentum=0.5)
    saved = torch.load(tmp_path / "1-covidct" / engine.STATE, weights_only=True)["parts"]["optimizer"]
    assert {group["momentum"] for group in saved["param_groups"]} == {0.5}


def test_keys_are_shuffled_anew_in_every_step(root, monkeypatch):
    """Shuffled batch norm: in order, a part's statistics would give the positive pairs away."""
    orders = []
    original = MoCo.forward

    def watched(self, view_q, view_k, ids=None, order=None):
        orders.append(order.tolist())
        return original(self, view_q, view_k, ids, order)

    monkeypatch.setattr(MoCo, "forward", watched)
    run(root, None, chain=("covidct",))
    assert len(orders) == 6 and all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 3


def test_saved_states_of_other_settings_are_not_used(root, tmp_path):
    first = run(root, tmp_path, epochs=1)
    other = run(root, tmp_path, epochs=1, temperature=0.1)
    fresh = run(root, tmp_path / "none", epochs=1, temperature=0.1)
    assert equal(other.encoder.state_dict(), fresh.encoder.state_dict())
    assert not equal(first.encoder.state_dict(), other.encoder.state_dict())


def test_seeds_and_chains_matter(root):
    both = run(root, None, epochs=1)
    assert equal(both.encoder.state_dict(), run(root, None, epochs=1).encoder.state_dict())
    for options in ({"seed": 1}, {"chain": ("covidct",)}, {"chain": ("covidct", "luna")}):
        assert not equal(both.encoder.state_dict(), run(root, None, epochs=1, **options).encoder.state_dict())
    assert [row["set"] for row in both.history] == ["luna", "covidct"]


def test_global_random_state_is_left_alone(root):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run(root, None, epochs=1)
    assert torch.equal(torch.rand(2), expected)


def cli(*arguments):
    return CliRunner().invoke(pretrain.app, [str(a) for a in arguments])


def options(root, out, *more):
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    return [*settings, "--out", out, "--luna", root, "--dataset", root / "dataset", "--epochs=1", "--accelerator=cpu",
            "--precision=32", *more]  # fmt: skip


def test_command_writes_an_encoder_that_fine_tuning_can_start_from(root, tmp_path):
    out, cache = tmp_path / "enc", tmp_path / "cache"
    result = cli(*options(root, out, "--cache", cache, "--luna_licence", "CC-BY-3.0"))
    assert result.exit_code == 0, result.output
    encoder, card = checkpoint.load(out)
    assert not any(key.startswith("classifier") for key in encoder.state_dict())
    assert card["kind"] == "encoder" and card["recipe"]["chain"] == ["luna", "covidct"]
    assert card["dataset"]["transductive"] is False and card["dataset"]["sets"]["luna"]["images"] == 9
    assert card["dataset"]["split_hash"] and card["initial_weights"]["init"] == "random"
    assert "CC-BY-4.0, not stated" in card["licence"] and "LUNA slices: CC-BY-3.0" in card["licence"]
    assert [row["set"] for row in csv.DictReader((out / "history.csv").open())] == ["luna", "covidct"]
    model = backbones.build("crnet", 2, size=32)
    report = weights.initialise(model, "crnet", f"encoder:{out}")
    assert torch.equal(model.features[0].weight, encoder.features[0].weight) and not report.missing
    mean = weights.normalisation(f"encoder:{out}", "crnet", torch.zeros(1, 1, 4, 4, dtype=torch.uint8)).mean
    assert list(mean) == card["preprocessing"]["mean"]


def test_a_transductive_run_is_marked(root, tmp_path):
    assert cli(*options(root, tmp_path, "--transductive", "--chain=covidct")).exit_code == 0
    card = json.loads((tmp_path / checkpoint.CARD).read_text())
    assert card["dataset"]["transductive"] is True
    assert card["dataset"]["sets"]["covidct"]["splits"] == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch=16", "--queue=16"], "at most 9 (the images of the set), got 16"),
        (["--queue=3"], "at least the batch (4), got 3"),
        (["--chain=luna,mars"], "chain: expected sets among luna, covidct"),
        (["--chain="], "chain: expected sets"),
        (["--backbone=resnet19"], "expected one of vgg16"),
        (["--init=encoder:nowhere"], "expected a checkpoint folder"),
        (["--temperature=0"], "more than 0"),
        (["--sgd-momentum=-1"], "sgd_momentum: expected 0 to less than 1, got -1"),
        (["--sgd-momentum=1"], "sgd_momentum: expected 0 to less than 1, got 1"),
        (["--weight-decay=-1"], "weight_decay: expected 0 or more, got -1"),
        (["--crop=2"], "0 < scale"),
        (["--accelerator=gpu"], "GPU"),
        (["--init=imagenet"], "no ImageNet weights for CRNet"),
    ],
)
def test_refusals(root, tmp_path, caplog, more, message):
    if more == ["--accelerator=gpu"] and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    result = cli(*options(root, tmp_path / "out", *more))
    assert result.exit_code == 1, result.output
    assert message in caplog.text and not (tmp_path / "out").exists()


def test_a_set_that_is_not_given(tmp_path):
    with pytest.raises(UnlabelledError, match="needs --luna"):
        pretrain.read_sets(("luna",), None, None, 36)
    with pytest.raises(UnlabelledError, match="needs --dataset"):
        pretrain.read_sets(("covidct",), None, None, 36)


def test_time_is_up_and_the_same_command_continues(root, tmp_path, monkeypatch):
    clock = iter(range(0, 100000, 40))  # each look at the clock takes 40 seconds
    with monkeypatch.context() as patch:
        patch.setattr(engine.time, "monotonic", lambda: next(clock))
        result = cli(*options(root, tmp_path / "out", "--cache", tmp_path / "c", "--epochs=3", "--minutes=2"))
    assert result.exit_code == 3 and not (tmp_path / "out").exists()
    again = cli(*options(root, tmp_path / "out", "--cache", tmp_path / "c", "--epochs=3"))
    assert again.exit_code == 0 and (tmp_path / "out" / checkpoint.CARD).is_file()


def test_queue_longer_than_the_set_warns_and_runs(root, caplog):
    recipe = SslRecipe(**(TINY | {"epochs": 1, "chain": ("covidct",), "queue": 32, "mask_same": True}))
    result = contrastive.pretrain(sets(root, ("covidct",)), recipe, hardware=CPU)
    assert "longer than the set of 9 images" in caplog.text and np.isfinite(result.history[0]["loss"])
    with pytest.raises(MoCoError, match="at most 9"):
        contrastive.pretrain(sets(root, ("covidct",)), SslRecipe(**(TINY | {"chain": ("covidct",), "batch": 10})))


@pytest.mark.parametrize("profile", ["params", "profiles/sample", "profiles/published", "profiles/paper"])
@pytest.mark.parametrize(("section", "entries"), [("pretrain", "encoders"), ("nodules", "lnm")])
def test_sections_of_the_profiles_are_the_options_of_the_commands(profile, section, entries):
    """What DVC puts on the command line is what the command takes, and nothing is left to a default."""
    yaml = pytest.importorskip("yaml")
    text = (Path(__file__).parents[2] / f"{profile}.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    app = {"pretrain": pretrain.app, "nodules": nodules.app}[section]
    known = {option.name for option in typer.main.get_command(app).params} - {"help"}
    wired = {"out", "cache", "luna", "dataset"}
    for name, entry in params[entries].items():
        assert set(params[section]) | set(entry) | wired >= known, (name, known)
        assert set(params[section]) | set(entry) <= known
        sets = entry.get("chain", "").split(",") if "chain" in entry else []
        assert name == "-".join([entry["backbone"], entry["init"], *sets])
    assert None not in params[section].values()


SCRIPT = """
import sys
from pathlib import Path
import torch
from models.contrastive import SslRecipe, pretrain
from models.engine import Hardware
from models.unlabelled import Unlabelled

out, devices = Path(sys.argv[1]), int(sys.argv[2])
images = torch.randint(0, 256, (19, 1, 36, 36), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
recipe = SslRecipe("crnet", chain=("covidct",), epochs=2, size=32, resize=36, batch=8, queue=12, hidden=8, dim=4,
                   splits=4, momentum=0.9, learning_rate=0.1, mask_same=True)
pretrain([Unlabelled("covidct", images, torch.ones(19))], recipe, hardware=Hardware("cpu", devices, "32"), cache=out)
"""


def test_two_processes_pretrain_as_one(tmp_path):
    """Parts of batch norm, shuffled keys, queue and running statistics are those of one device with the whole batch."""
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    root, found = Path(__file__).resolve().parents[2], {}
    for devices in (1, 2):
        out = tmp_path / str(devices)
        done = subprocess.run(
            [sys.executable, str(script), str(out), str(devices)],
            cwd=root,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[devices] = torch.load(out / "1-covidct" / engine.STATE, weights_only=True)
    one, two = found[1], found[2]
    assert [row["loss"] for row in one["history"]] == pytest.approx([row["loss"] for row in two["history"]], rel=1e-4)
    for name, value in one["parts"]["moco"].items():
        torch.testing.assert_close(two["parts"]["moco"][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_parts_that_the_processes_cannot_share_are_said(caplog):
    class Fabric:
        world_size, global_rank, all_gather = 4, 1, None

    encoder, width = backbones.features(backbones.build("crnet", 2, size=32), "crnet")
    moco = contrastive.build_moco(encoder, width, SslRecipe(**TINY), Fabric())
    assert moco.splits == 1 and "expected a multiple of the 4 processes, got 2: batch norm sees 4 parts" in caplog.text
    recipe = SslRecipe(**(TINY | {"splits": 8}))
    assert contrastive.build_moco(encoder, width, recipe, Fabric()).splits == 2
    assert contrastive.build_moco(encoder, width, recipe).splits == 8

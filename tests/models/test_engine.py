"""Resume is exact, two processes are one, and failures are said in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from models import engine
from models.engine import Hardware
from models.transforms import Evaluation, Normalise

ROOT = Path(__file__).resolve().parents[2]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))


class Job:
    """Small training with dropout: its result depends on order, seed, optimiser state and schedule."""

    def __init__(self, fabric: engine.Fabric) -> None:
        with engine.seeded(0, 0):
            self.model = network()
            self.inputs, self.labels = torch.randn(40, 6), torch.randint(0, 2, (40,))
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-2)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 3)
        self.parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        self.fabric = fabric
        self.wrapped, self.fabric_optimizer = fabric.setup(self.model, self.optimizer)

    def epoch(self, epoch: int) -> dict[str, float]:
        loss = engine.train_epoch(
            self.fabric,
            self.wrapped,
            self.fabric_optimizer,
            torch.arange(40).split(8),
            lambda index: nn.functional.cross_entropy(self.wrapped(self.inputs[index]), self.labels[index]),
            title="job",
        )
        self.scheduler.step()
        return {"loss": loss}


def cpu() -> engine.Fabric:
    return engine.open_fabric(Hardware("cpu", 1, "32"))


def test_interrupted_and_resumed_is_bit_for_bit_uninterrupted(tmp_path: Path) -> None:
    whole = Job(cpu())
    expected = engine.run(whole.fabric, whole.parts, 5, whole.epoch, seed=3)

    first = Job(cpu())

    def dies(epoch: int) -> dict[str, float]:
        if epoch == 2:
            first.epoch(epoch)  # half the work of an epoch is lost
            raise KeyboardInterrupt
        return first.epoch(epoch)

    with pytest.raises(KeyboardInterrupt):
        engine.run(first.fabric, first.parts, 5, dies, seed=3, folder=tmp_path, fingerprint={"a": 1})
    torch.manual_seed(12345)  # whatever happens outside does not matter
    second = Job(cpu())
    history = engine.run(second.fabric, second.parts, 5, second.epoch, seed=3, folder=tmp_path, fingerprint={"a": 1})
    assert history == expected
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert [file.name for file in tmp_path.iterdir()] == [engine.STATE]


def test_global_generators_are_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    job = Job(cpu())
    engine.run(job.fabric, job.parts, 1, job.epoch)
    assert torch.equal(before, torch.get_rng_state())


def test_every_epoch_seed_and_process_draws_its_own_numbers() -> None:
    fabric = cpu()
    drawn = [engine.run(fabric, {}, 3, lambda epoch: {"draw": float(torch.rand(()))}, seed=seed) for seed in (0, 1)]
    assert len({row["draw"] for rows in drawn for row in rows}) == 6
    mixed = {engine._mixed(seed, epoch, rank) for seed in range(3) for epoch in (0, 1, 4095) for rank in (0, 1, 255)}
    assert len(mixed) == 27


def test_a_state_of_other_settings_is_not_used(tmp_path: Path) -> None:
    job = Job(cpu())
    engine.run(job.fabric, job.parts, 2, job.epoch, folder=tmp_path, fingerprint={"rate": 1})
    other = Job(cpu())
    calls: list[int] = []

    def epoch(number: int) -> dict[str, float]:
        calls.append(number)
        return other.epoch(number)

    engine.run(other.fabric, other.parts, 2, epoch, folder=tmp_path, fingerprint={"rate": 2})
    assert calls == [0, 1]


def test_a_longer_run_s_state_is_not_the_result_of_a_shorter_one(tmp_path: Path) -> None:
    long = Job(cpu())
    engine.run(long.fabric, long.parts, 4, long.epoch, folder=tmp_path)
    fresh, again = Job(cpu()), Job(cpu())
    expected = engine.run(fresh.fabric, fresh.parts, 2, fresh.epoch)
    assert engine.run(again.fabric, again.parts, 2, again.epoch, folder=tmp_path) == expected
    for name, value in fresh.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    more = Job(cpu())
    assert len(engine.run(more.fabric, more.parts, 3, more.epoch, folder=tmp_path)) == 3  # more may follow fewer


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut off"])
def test_a_damaged_state_starts_anew(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / engine.STATE).write_bytes(content)
    job = Job(cpu())
    assert len(engine.run(job.fabric, job.parts, 1, job.epoch, folder=tmp_path)) == 1
    assert "cannot be read" in caplog.text


def test_the_time_limit_stops_cleanly_and_the_next_call_goes_on(tmp_path: Path) -> None:
    job = Job(cpu())
    with pytest.raises(engine.Unfinished, match=r"stopped after epoch [1-4] of 5"):
        engine.run(job.fabric, job.parts, 5, job.epoch, folder=tmp_path, minutes=1e-7)
    again = Job(cpu())
    for _ in range(6):
        try:
            history = engine.run(again.fabric, again.parts, 5, again.epoch, folder=tmp_path, minutes=1e-7)
        except engine.Unfinished:
            continue
        break
    assert len(history) == 5


def test_states_are_written_as_often_as_they_are_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes 1 second, writing 4: a tenth of the time is every 40 epochs, at the end, and when time is up."""
    now = [0.0]
    monkeypatch.setattr(engine.time, "monotonic", lambda: now[0])
    written: list[int] = []

    def save(path: Path, parts: object, mark: str, history: list[dict[str, float]]) -> None:
        now[0] += 4
        written.append(len(history))

    def epoch(number: int) -> dict[str, float]:
        now[0] += 1
        return {"loss": 0.0}

    monkeypatch.setattr(engine, "save_state", save)
    engine.run(cpu(), {}, 90, epoch, folder=tmp_path)
    assert written == [1, 41, 81, 90]
    written.clear()
    with pytest.raises(engine.Unfinished):
        engine.run(cpu(), {}, 90, epoch, folder=tmp_path, minutes=0.5)
    assert written[0] == 1 and len(written) == 2
    written.clear()
    engine.run(cpu(), {}, 3, epoch)
    assert written == []


def test_stop_ends_a_run_early() -> None:
    job = Job(cpu())
    assert len(engine.run(job.fabric, job.parts, 9, job.epoch, stop=lambda history: len(history) >= 2)) == 2


def test_nan_is_told_at_once() -> None:
    job = Job(cpu())
    job.inputs[20] = float("nan")
    with pytest.raises(engine.Diverged, match=r"job: the loss became NaN .* by step 3 of 5 .*learning rate 0.01"):
        job.epoch(0)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_names_a_batch_to_try(error: BaseException) -> None:
    job = Job(cpu())

    def loss(index: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(engine.OutOfMemory, match="batches of 8; try batch 4"):
        engine.train_epoch(job.fabric, job.wrapped, job.fabric_optimizer, torch.arange(16).split(8), loss)


def test_the_cpu_allocator_s_own_words_count_too() -> None:
    job = Job(cpu())

    def loss(index: torch.Tensor) -> torch.Tensor:
        return torch.empty(1 << 60).sum()

    with pytest.raises(engine.OutOfMemory, match="try batch 4"):
        engine.train_epoch(job.fabric, job.wrapped, job.fabric_optimizer, torch.arange(16).split(8), loss)


class Hungry(nn.Module):
    """Cannot take more than ``most`` pictures at a time."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen = most, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        if len(images) > self.most:
            torch.empty(1 << 60)
        return torch.stack([images.mean(dim=(1, 2, 3)), torch.zeros(len(images))], dim=1)


def test_prediction_takes_as_many_pictures_as_memory_holds(caplog: pytest.LogCaptureFixture) -> None:
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 1, 8, 8)
    plain = Evaluation(8, Normalise((0.5,), (0.5,)))
    hungry = Hungry(10)
    expected = engine.probabilities(Hungry(64), images, plain, batch=32)
    assert torch.equal(engine.probabilities(hungry, images, plain, batch=32), expected)
    assert hungry.seen == [32, 16, 8, 8, 8, 8, 8]
    assert "out of memory with 32 pictures at a time, trying 16" in caplog.text
    with pytest.raises(engine.OutOfMemory, match="a single picture of 8×8 pixels; take a smaller --size"):
        engine.probabilities(Hungry(0), images, plain)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        engine.probabilities(nn.Linear(3, 2), images, plain)


def test_other_errors_stay_what_they_are() -> None:
    job = Job(cpu())

    def loss(index: torch.Tensor) -> torch.Tensor:
        return job.wrapped(torch.zeros(2, 5)).sum()

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        engine.train_epoch(job.fabric, job.wrapped, job.fabric_optimizer, torch.arange(16).split(8), loss)


def test_hardware_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(engine.EngineError, match="expected a GPU, got none"):
        engine.open_fabric(Hardware("gpu"))
    with pytest.raises(engine.EngineError, match="auto, cpu or gpu, got 'tpu'"):
        engine.open_fabric(Hardware("tpu"))
    with pytest.raises(engine.EngineError, match="precision: expected one of"):
        engine.open_fabric(Hardware(precision="8"))
    with pytest.raises(engine.EngineError, match="devices"):
        engine.open_fabric(Hardware(devices=0))


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cpu_has_bf16", lambda: True)
    assert engine.choose_precision("auto", False, "resnet18") == "bf16-mixed"
    assert engine.choose_precision("auto", False, "efficientnet_b0") == "32-true"
    assert engine.choose_precision("32", False, "resnet18") == "32-true"
    monkeypatch.setattr(engine, "cpu_has_bf16", lambda: False)
    assert engine.choose_precision("auto", False, "resnet18") == "32-true"


SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
from models import engine
from models.engine import Hardware

out, devices = Path(sys.argv[1]), int(sys.argv[2])
fabric = engine.open_fabric(Hardware("cpu", devices, "32"))
with engine.seeded(0, 0):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    inputs, labels = torch.randn(21, 1, 8, 8), torch.randint(0, 2, (21,))
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
loss_of = lambda index: nn.functional.cross_entropy(wrapped(inputs[index]), labels[index])
epoch = lambda e: {"loss": engine.train_epoch(fabric, wrapped, wrapped_optimizer, torch.arange(21).split(5), loss_of)}
history = engine.run(fabric, {"model": model, "optimizer": optimizer}, 3, epoch, folder=out / "state")
if fabric.is_global_zero:
    torch.save({"model": model.state_dict(), "loss": [row["loss"] for row in history]}, out / f"{devices}.pt")
"""


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    """Batches of 5 and a last one of 1 over two processes: uneven parts, one of them empty."""
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    found = {}
    for devices in (1, 2):
        out = tmp_path / str(devices)
        out.mkdir()
        done = subprocess.run(
            [sys.executable, str(script), str(out), str(devices)],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[devices] = torch.load(out / f"{devices}.pt", weights_only=True)
    assert found[1]["loss"] == pytest.approx(found[2]["loss"], rel=1e-4)
    for name, value in found[1]["model"].items():
        assert torch.allclose(value, found[2]["model"][name], atol=1e-5), name

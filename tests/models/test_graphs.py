"""Replayed steps give what ordinary ones give. The card is played by a stand-in that runs the recorded step again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch import nn

from models import engine, graphs
from models.engine import Hardware


class FakeStream:
    def wait_stream(self, other: object) -> None:
        pass


class FakeGraph:
    """Replays by running the recorded step anew; what it writes goes where the recorded one wrote."""

    recorded: ClassVar[list[FakeGraph]] = []

    def __init__(self) -> None:
        self.replays = 0
        FakeGraph.recorded.append(self)

    def replay(self) -> None:
        self.replays += 1
        job = self.job
        kept = [(parameter, parameter.grad) for parameter, _ in job.grads]
        for parameter, _ in kept:
            parameter.grad = None
        found = job._step()
        for place, value in zip(job.outputs, (found,) if job.single else found, strict=True):
            place.copy_(value.detach())
        for parameter, grad in kept:
            grad.copy_(parameter.grad)
            parameter.grad = grad


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGraph.recorded.clear()

    @contextmanager
    def nothing(*_: object, **__: object):
        yield

    for name, value in {
        "Stream": FakeStream,
        "CUDAGraph": FakeGraph,
        "graph": nothing,
        "stream": nothing,
        "current_stream": FakeStream,
        "get_rng_state": torch.get_rng_state,
        "set_rng_state": torch.set_rng_state,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


class Pair(nn.Module):
    """Loss and something else, batch norm, dropout, an input that may be absent."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        self.unused = nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None):
        logits = self.body(inputs)
        return nn.functional.cross_entropy(logits, labels, weight), logits.detach()


def train(graphed: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
    fabric = engine.open_fabric(Hardware("cpu", 1, "32"))
    with engine.seeded(0, 0):
        model = Pair()
        inputs, labels = torch.randn(22, 4), torch.randint(0, 2, (22,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    wrapped, fabric_optimizer = fabric.setup(model, optimizer)
    step = graphs.Graphed(fabric, wrapped) if graphed else wrapped
    losses = []

    def loss_of(index: torch.Tensor) -> torch.Tensor:
        loss, logits = step(inputs[index], labels[index], None)
        assert logits.shape == (len(index), 2)
        return loss

    if graphed:
        original = graphs.Graphed._record

        def record(self: graphs.Graphed, given: Sequence[torch.Tensor | None]) -> bool:
            done = original(self, given)
            FakeGraph.recorded[-1].job = self
            return done

        graphs.Graphed._record = record  # type: ignore[method-assign]
    try:
        for epoch in range(3):
            with engine.seeded(1, epoch):
                batches = torch.arange(22).split(8)  # the last has 6
                losses.append(engine.train_epoch(fabric, wrapped, fabric_optimizer, batches, loss_of))
    finally:
        if graphed:
            graphs.Graphed._record = original  # type: ignore[method-assign]
    return {name: value.clone() for name, value in model.state_dict().items()}, losses


def test_replayed_training_is_ordinary_training(card: None) -> None:
    """Warming up leaves no trace in buffers or random numbers; the odd last batch runs as usual."""
    expected, losses = train(graphed=False)
    found, again = train(graphed=True)
    (recorded,) = FakeGraph.recorded
    assert recorded.replays == 6  # two full batches in each of three epochs
    assert again == losses
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_what_cannot_be_recorded_runs_step_by_step(
    card: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def refuses(*_: object, **__: object):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "graph", refuses)
    fabric = engine.open_fabric(Hardware("cpu", 1, "32"))
    model = Pair()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = fabric.setup(model)
    step = graphs.Graphed(fabric, wrapped)
    wrapped.train()
    loss, _ = step(torch.randn(8, 4), torch.zeros(8, dtype=torch.long), None)
    assert loss.requires_grad and "no CUDA graph (operation not permitted when stream is capturing)" in caplog.text
    assert int(model.state_dict()["body.1.num_batches_tracked"]) == 1  # the ordinary step alone
    assert torch.equal(before["body.0.weight"], model.state_dict()["body.0.weight"])


def test_memory_that_is_not_there_is_not_hidden(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = engine.open_fabric(Hardware("cpu", 1, "32"))
    wrapped = fabric.setup(Pair())
    step = graphs.Graphed(fabric, wrapped)

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(step, "_step", full)
    with pytest.raises(torch.OutOfMemoryError):
        step(torch.randn(8, 4), torch.zeros(8, dtype=torch.long), None)


def test_only_one_cuda_device_without_compile_gets_graphs() -> None:
    fabric = engine.open_fabric(Hardware("cpu", 1, "32"))
    model = Pair()
    assert engine.step_of(fabric, model, Hardware("cpu")) is model

    class Card:
        device = torch.device("cuda")
        world_size = 1
        _precision = fabric._precision

    def on_card(hardware: Hardware, world: int = 1) -> object:
        Card.world_size = world
        return engine.step_of(Card(), model, hardware)  # type: ignore[arg-type]

    assert isinstance(on_card(Hardware()), graphs.Graphed)
    assert on_card(Hardware(graphs=False)) is model
    assert on_card(Hardware(compile=True)) is model
    assert on_card(Hardware(devices=2), world=2) is model


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_real_card() -> None:
    results = []
    for hardware in (Hardware("gpu", 1, "32", graphs=False), Hardware("gpu", 1, "32")):
        fabric = engine.open_fabric(hardware)
        with engine.seeded(0, 0):
            model, inputs, labels = Pair(), torch.randn(16, 4).cuda(), torch.randint(0, 2, (16,)).cuda()
        model.body[2].p = 0.0
        wrapped, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters(), 1e-2))
        step = engine.step_of(fabric, wrapped, hardware)

        def loss_of(index: torch.Tensor, step=step, inputs=inputs, labels=labels) -> torch.Tensor:
            return step(inputs[index], labels[index], None)[0]

        for _ in range(4):
            engine.train_epoch(fabric, wrapped, optimizer, torch.arange(16).split(8), loss_of)
        results.append({name: value.cpu() for name, value in model.state_dict().items()})
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-5), name

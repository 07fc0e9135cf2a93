"""Momentum contrast: the loss against a closed form and an independent implementation, Eq. 2, the queue, resuming."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.moco import MoCo, MoCoError, check_sizes, moco_loss


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(
        torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def moco(**options) -> MoCo:
    settings = {"queue": 10, "hidden": 8, "dim": 4, "generator": torch.Generator().manual_seed(1)} | options
    return MoCo(encoder(), 6, **settings)


def images(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def closed_form(query, key, queue, temperature) -> float:
    """Eq. 1 with τ in every term, image by image, in plain numpy and without the log-sum-exp of torch."""
    losses = []
    for q, k in zip(query.numpy(), key.numpy(), strict=True):
        positive = np.exp(np.dot(q, k) / temperature)
        losses.append(-np.log(positive / (positive + np.exp(queue.numpy() @ q / temperature).sum())))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize(("count", "keys"), [(1, 1), (5, 7), (128, 512)])
def test_loss_is_the_closed_form(count, keys, temperature):
    query, key, queue = unit(count, 128, 1), unit(count, 128, 2), unit(keys, 128, 3)
    assert float(moco_loss(query, key, queue, temperature)) == pytest.approx(
        closed_form(query, key, queue, temperature), abs=1e-10
    )


def test_loss_equals_lightlys():
    pytest.importorskip("models.vision")  # lightly imports torchvision
    lightly = pytest.importorskip("lightly.loss.ntx_ent_loss")
    query, key, queue = unit(16, 32, 1).float(), unit(16, 32, 2).float(), unit(48, 32, 3).float()
    theirs = lightly.NTXentLoss(temperature=0.1, memory_bank_size=(48, 32))
    theirs.memory_bank.init_memory_bank(size=(48, 32)) if hasattr(theirs.memory_bank, "init_memory_bank") else None
    bank = theirs.memory_bank.bank
    bank.copy_(queue.T if bank.shape == (32, 48) else queue)
    assert float(moco_loss(query, key, queue, 0.1)) == pytest.approx(float(theirs(query, key)), abs=1e-6)


def test_known_values():
    one = torch.eye(3)
    assert float(moco_loss(one[:1], one[:1], one[1:], 0.5)) == pytest.approx(np.log(1 + 2 * np.exp(-2)), abs=1e-6)
    # every key equal to the query: 1 of K + 1 equal terms
    assert float(moco_loss(one[:1], one[:1], one[:1].repeat(7, 1), 0.07)) == pytest.approx(np.log(8), abs=1e-6)


def test_ignored_keys_leave_the_denominator():
    query, key, queue = unit(3, 8, 1), unit(3, 8, 2), unit(5, 8, 3)
    ignore = torch.zeros(3, 5, dtype=torch.bool)
    ignore[:, 4] = True
    assert float(moco_loss(query, key, queue, 0.2, ignore)) == pytest.approx(
        float(moco_loss(query, key, queue[:4], 0.2)), abs=1e-12
    )
    ignore[:] = True
    assert float(moco_loss(query, key, queue, 0.2, ignore)) == pytest.approx(0.0, abs=1e-12)


def test_gradient_reaches_only_the_query():
    query, key, queue = (unit(4, 8, seed).requires_grad_() for seed in (1, 2, 3))
    moco_loss(query, key, queue, 0.2).backward()
    assert query.grad is not None and key.grad is None and queue.grad is None


@pytest.mark.parametrize(
    ("shapes", "temperature"),
    [(((4, 8), (3, 8), (5, 8)), 0.2), (((4, 8), (4, 8), (5, 7)), 0.2), (((4, 8), (4, 8), (8,)), 0.2)]
    + [(((4, 8), (4, 8), (5, 8)), t) for t in (0.0, -1.0, float("nan"))],
)
def test_loss_refuses(shapes, temperature):
    with pytest.raises(MoCoError, match="expected"):
        moco_loss(*(torch.zeros(shape) for shape in shapes), temperature)


def test_key_encoder_moves_exactly_by_eq_2_and_gets_no_gradient():
    model = moco(momentum=0.9)
    optimiser = torch.optim.SGD(model.query.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.key.parameters()]
    loss, keys = model(images(4, 1), images(4, 2))
    loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.key.parameters())
    assert all(p.grad is not None for p in model.query.parameters())
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.key.parameters(), strict=True))
    model.momentum_update()
    moved = 0.0
    for old, key, query in zip(before, model.key.parameters(), model.query.parameters(), strict=True):
        torch.testing.assert_close(key, 0.9 * old + 0.1 * query.detach(), rtol=0, atol=1e-7)
        moved += float((key - old).abs().sum())
    assert moved > 0 and not keys.requires_grad


def test_encoders_start_equal_and_share_nothing():
    model = moco()
    for query, key in zip(model.query.parameters(), model.key.parameters(), strict=True):
        assert torch.equal(query, key) and query.data_ptr() != key.data_ptr()
    head = [m for m in model.query.head if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in head] == [(6, 8), (8, 4)]


def test_queue_is_first_in_first_out_and_wraps():
    model = moco(queue=10)
    written = torch.full((10,), -1)
    number = 0
    for _ in range(9):  # 4 does not divide 10
        ids = torch.arange(number, number + 4)
        rows = ids[:, None].float().repeat(1, 4)
        model.enqueue(rows, ids)
        for i in ids.tolist():
            written[i % 10] = i
        number += 4
        assert torch.equal(model.queue_ids, written)
        assert int(model.pointer) == number % 10
    assert sorted(model.queue_ids.tolist()) == list(range(number - 10, number))  # the ten youngest, whole
    assert torch.equal(model.queue[:, 0].long(), written)


def test_keys_return_in_the_order_of_the_queries():
    model = moco(splits=3).eval()  # running statistics: a picture's key does not depend on its part
    batch = images(7, 5)
    order = torch.tensor([6, 0, 3, 1, 5, 2, 4])
    _, plain = model(batch, batch)
    _, shuffled = model(batch, batch, order=order)
    torch.testing.assert_close(plain, shuffled)


def test_keys_are_of_the_second_view():
    model = moco().eval()
    first, second = images(4, 1), images(4, 2)
    _, keys = model(first, second)
    torch.testing.assert_close(keys, model.key(second))
    assert not torch.allclose(keys, model.key(first))


def test_split_batch_norm_uses_each_parts_statistics():
    whole, split = moco(splits=1), moco(splits=2)
    batch = torch.cat([images(4, 1), 5 + 3 * images(4, 2)])
    _, keys_whole = whole(batch, batch)
    _, keys_split = split(batch, batch)
    assert float((keys_whole - keys_split).abs().max()) > 1e-3
    _, first = moco(splits=1)(batch[:4], batch[:4])
    torch.testing.assert_close(keys_split[:4], first)


def test_masking_own_keys():
    model = moco(mask_same=True, queue=4)
    model.enqueue(F.normalize(torch.ones(4, 4), dim=1), torch.tensor([0, 1, 0, 1]))
    batch, ids = images(2, 1), torch.tensor([0, 1])
    masked, _ = model(batch, batch, ids)
    model.mask_same = False
    unmasked, _ = model(batch, batch, ids)
    assert float(masked.detach()) < float(unmasked.detach())
    model.mask_same = True
    with pytest.raises(MoCoError, match="ids"):
        model(batch, batch)


def test_state_dict_carries_the_queue():
    model = moco(queue=6)
    model.enqueue(F.normalize(torch.randn(4, 4), dim=1), torch.arange(4))
    other = moco(queue=6, generator=torch.Generator().manual_seed(9))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other.queue, model.queue) and int(other.pointer) == 4
    assert torch.equal(other.queue_ids, model.queue_ids)


def test_training_tells_pictures_apart():
    model = moco(queue=32, momentum=0.9, temperature=0.1, dim=16, hidden=32)
    optimiser = torch.optim.SGD(model.query.parameters(), lr=0.1, momentum=0.9)
    base = 2 * torch.randn(8, 3, 1, 1, generator=torch.Generator().manual_seed(3)).expand(-1, -1, 8, 8)  # a colour each

    def found() -> float:
        """Share of pictures whose query is nearest to its own key."""
        keys = F.normalize(model.key(base + 0.1 * images(8, 1)), dim=1)
        return float(((model.query(base + 0.1 * images(8, 2)) @ keys.T).argmax(1) == torch.arange(8)).float().mean())

    losses = []
    for step in range(60):
        loss, keys = model(base + 0.1 * images(8, 100 + step), base + 0.1 * images(8, 200 + step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.step_done(keys, torch.arange(8))
        losses.append(float(loss.detach()))
    # 32 keys of 8 pictures: four older keys of the picture itself stay in the denominator, so log(5) is the floor
    assert np.log(5) - 0.2 < min(losses[-5:]) < 0.6 * np.log(33)
    assert found() > 0.9


def test_sizes(caplog):
    with pytest.raises(MoCoError, match="at most 100"):
        check_sizes(images=100, batch=128, queue=512)
    with pytest.raises(MoCoError, match=r"at least the batch \(128\)"):
        check_sizes(images=425, batch=128, queue=64)
    with pytest.raises(MoCoError, match="at least 2"):
        check_sizes(images=425, batch=1, queue=64)
    with caplog.at_level(logging.WARNING):
        check_sizes(images=1000, batch=128, queue=512)
        assert not caplog.records
        check_sizes(images=425, batch=128, queue=512)
    assert "longer than the set of 425" in caplog.text
    with pytest.raises(MoCoError, match="at most 10"):
        moco(queue=10).enqueue(torch.zeros(11, 4))
    with pytest.raises(MoCoError, match="momentum"):
        moco(momentum=1.5)

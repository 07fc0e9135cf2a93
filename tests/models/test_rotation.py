"""Method 4: exact turns, a shared extractor that both losses train, and a sum of losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models import backbones
from models.rotation import RotationHead, joint_loss, logits_and_features, random_turns, rotate


def test_rotate_is_numpys_rot90():
    images = torch.arange(4 * 2 * 5 * 5).reshape(4, 2, 5, 5).float()
    turns = torch.tensor([0, 1, 2, 3])
    for before, after, turn in zip(images, rotate(images, turns), turns.tolist(), strict=True):
        assert np.array_equal(after.numpy(), np.rot90(before.numpy(), turn, axes=(1, 2)))
    assert torch.equal(rotate(rotate(images, turns), (4 - turns) % 4), images)


def test_rotate_refuses():
    with pytest.raises(ValueError, match="square"):
        rotate(torch.zeros(1, 1, 4, 5), torch.tensor([1]))
    with pytest.raises(ValueError, match="one turn per picture"):
        rotate(torch.zeros(2, 1, 4, 4), torch.tensor([1]))


def test_turns_are_uniform_and_repeatable():
    turns = random_turns(4000, torch.Generator().manual_seed(3))
    assert torch.equal(turns, random_turns(4000, torch.Generator().manual_seed(3)))
    assert all(900 < int((turns == turn).sum()) < 1100 for turn in range(4))


def test_joint_loss_is_the_sum_and_trains_the_shared_body():
    torch.manual_seed(0)
    model, head = backbones.build("crnet", 2, size=30).eval(), RotationHead(128, torch.Generator().manual_seed(0))
    images, labels = torch.randn(6, 1, 30, 30, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1] * 3)
    turns = torch.tensor([0, 1, 2, 3, 1, 2])
    loss = joint_loss(model, "crnet", head, images, labels, turns)
    turned = rotate(images, turns)
    features = model.flatten(model.features(turned))
    torch.testing.assert_close(loss.classification, F.cross_entropy(model.classifier(features), labels))
    torch.testing.assert_close(loss.rotation, F.cross_entropy(head(features), turns))
    torch.testing.assert_close(loss.total, loss.classification + loss.rotation)
    loss.rotation.backward()
    assert float(model.features[0].weight.grad.abs().sum()) > 0  # the auxiliary task alone reaches the extractor
    assert model.classifier.weight.grad is None
    half = joint_loss(model, "crnet", head, images, labels, turns, weight=0.5)
    torch.testing.assert_close(half.total, half.classification + 0.5 * half.rotation)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "crnet"])
def test_features_of_real_backbones(name):
    model = backbones.build(name, 2).eval()
    channels = 1 if name == "crnet" else 3
    with torch.no_grad():
        images = torch.zeros(2, channels, 224, 224)
        logits, features = logits_and_features(model, name, images)
        torch.testing.assert_close(logits, model(images))
    assert features.ndim == 2 and len(features) == 2
    assert not model._forward_hooks and not any(m._forward_pre_hooks for m in model.modules())

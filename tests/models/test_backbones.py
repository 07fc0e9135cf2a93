"""Table II exactly; heads found; encoders keep the classifier's parameter names."""

from __future__ import annotations

import pytest
import torch

from models import backbones
from models.crnet import CRNet

TABLE_2 = {
    "vgg16": 138_357_544,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "crnet": 546_882,
}
SMALL = [name for name in backbones.BACKBONES if name != "vgg16"]


@pytest.mark.parametrize(("name", "parameters"), TABLE_2.items())
def test_parameter_counts_are_table_2(name: str, parameters: int) -> None:
    with torch.device("meta"):  # shapes without memory: VGG-16 alone is half a gigabyte
        model = backbones.build(name)
    assert backbones.count(model) == parameters
    assert backbones.describe(name).parameters == parameters


def test_table_2_lists_the_paper_s_networks_in_order() -> None:
    assert tuple(TABLE_2) == backbones.TABLE_2


@pytest.mark.parametrize("name", SMALL)
def test_two_classes_and_an_encoder_with_the_same_names(name: str) -> None:
    entry = backbones.describe(name)
    model = backbones.build(name, 2, size=64).eval()
    images = torch.zeros(2, entry.channels, 64, 64)
    names = set(model.state_dict())
    with torch.no_grad():
        assert model(images).shape == (2, 2)
        assert backbones.head(model, name).weight.shape[0] == 2
        encoder, width = backbones.features(model, name)
        assert encoder(images).shape == (2, width)
    assert names - set(encoder.state_dict()) == set(backbones.head_keys(name))
    assert set(encoder.state_dict()) < names
    assert encoder.get_submodule(entry.layer) is not None


def test_vgg_head_is_the_last_of_its_three_linear_layers() -> None:
    with torch.device("meta"):
        model = backbones.build("vgg16", 2)
        assert backbones.head(model, "vgg16").weight.shape == (2, 4096)
        encoder, width = backbones.features(model, "vgg16")
    assert width == 4096
    assert set(backbones.head_keys("vgg16")).isdisjoint(encoder.state_dict())


def test_crnet_is_the_paper_s_sequence() -> None:
    model = CRNet()
    sides = []
    x = torch.zeros(1, 1, 224, 224)
    for layer in model.features:
        x = layer(x)
        sides.append(x.shape[-1])
    assert [side for side, previous in zip(sides[1:], sides, strict=False) if side != previous] == [111, 55, 27, 13]
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.features) == 1
    assert model.classifier.in_features == 128 * 13 * 13


def test_crnet_takes_one_channel_only() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        CRNet()(torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize("size", [23, 96, 128])
def test_crnet_of_another_size(size: int) -> None:
    assert backbones.build("crnet", 2, size=size)(torch.zeros(1, 1, size, size)).shape == (1, 2)


def test_mistakes_are_named() -> None:
    with pytest.raises(backbones.BackboneError, match=r"expected one of vgg16.*got 'resnet19'"):
        backbones.build("resnet19", 2)
    with pytest.raises(backbones.BackboneError, match="at least 1"):
        backbones.build("resnet18", 0)
    with pytest.raises(backbones.BackboneError, match="at least 32"):
        backbones.build("resnet18", 2, size=16)
    with pytest.raises(ValueError, match="at least 23"):
        CRNet(size=22)
    model, _ = backbones.features(backbones.build("resnet18", 2), "resnet18")
    with pytest.raises(backbones.BackboneError, match="head at 'fc', got Identity"):
        backbones.features(model, "resnet18")

"""The networks of Table II: seven of torchvision, unchanged, and CRNet; outside the tables SqueezeNet 1.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.crnet import CRNet
from models.vision import torchvision


class BackboneError(ValueError):
    """The name is none of the backbones, or the size does not fit: says which are known."""


@dataclass(frozen=True)
class Backbone:
    """What has to be known of a network besides its layers.

    make         classes -> the network with random weights (torchvision's own initialisation)
    head         dotted name of the last trainable layer, the only one whose shape depends on the classes
    parameters   Table II (1000 classes; CRNet 2), None outside the table
    channels     input channels
    layer        dotted name of the last layer with a spatial map (for Grad-CAM)
    title        as the paper's tables call it
    """

    make: Callable[..., nn.Module]
    head: str
    parameters: int | None
    layer: str
    title: str
    channels: int = 3


_zoo = torchvision.models
BACKBONES: dict[str, Backbone] = {
    "vgg16": Backbone(_zoo.vgg16, "classifier.6", 138_357_544, "features.29", "VGG-16"),
    "resnet18": Backbone(_zoo.resnet18, "fc", 11_689_512, "layer4", "ResNet-18"),
    "resnet50": Backbone(_zoo.resnet50, "fc", 25_557_032, "layer4", "ResNet-50"),
    "densenet121": Backbone(_zoo.densenet121, "classifier", 7_978_856, "features.norm5", "DenseNet-121"),
    "densenet169": Backbone(_zoo.densenet169, "classifier", 14_149_480, "features.norm5", "DenseNet-169"),
    "efficientnet_b0": Backbone(_zoo.efficientnet_b0, "classifier.1", 5_288_548, "features.8", "EfficientNet-b0"),
    "efficientnet_b1": Backbone(_zoo.efficientnet_b1, "classifier.1", 7_794_184, "features.8", "EfficientNet-b1"),
    "crnet": Backbone(CRNet, "classifier", 546_882, "features.8", "CRNet", channels=1),
    "squeezenet1_1": Backbone(_zoo.squeezenet1_1, "classifier.1", None, "features.12", "SqueezeNet 1.1"),
}
TABLE_2 = tuple(name for name, backbone in BACKBONES.items() if backbone.parameters is not None)


def describe(name: str) -> Backbone:
    """The entry for ``name``; raises BackboneError that lists the known names."""
    if name not in BACKBONES:
        raise BackboneError(f"backbone: expected one of {', '.join(BACKBONES)}; got {name!r}")
    return BACKBONES[name]


def build(name: str, classes: int | None = None, *, size: int = 224) -> nn.Module:
    """A network with freshly drawn weights: N×C×size×size → N×classes logits.

    ``classes`` defaults to what Table II counts: 1000, and 2 for CRNet. ``size`` matters to CRNet alone (its linear
    layer sees the whole map); the others take any size from 32. The parameter names are torchvision's.
    Raises BackboneError for an unknown name or fewer than one class.
    """
    backbone = describe(name)
    if classes is None:
        classes = 2 if name == "crnet" else 1000
    if classes < 1:
        raise BackboneError(f"classes: expected at least 1, got {classes}")
    if name == "crnet":
        return CRNet(classes=classes, size=size)
    if size < 32:
        raise BackboneError(f"size: expected at least 32 pixels for {name}, got {size}")
    return backbone.make(weights=None, num_classes=classes)


def features(model: nn.Module, name: str) -> tuple[nn.Module, int]:
    """The same model without its head, and the width D of what it then gives: N×C×S×S → N×D.

    The model is changed in place (its head becomes an identity), so parameters are shared and every remaining key of
    its state dict keeps the name it has in the classifier: an encoder loads back by name alone.
    """
    dotted = describe(name).head
    layer = head(model, name)
    if isinstance(layer, nn.Conv2d):  # SqueezeNet: the head is a 1×1 convolution inside (dropout, head, ReLU, pool)
        replacement: nn.Module = nn.Identity()
        width = layer.in_channels
    elif isinstance(layer, nn.Linear):
        replacement, width = nn.Identity(), layer.in_features
    else:
        raise BackboneError(f"{name}: expected a network with its head at {dotted!r}, got {type(layer).__name__} there")
    parent, _, child = dotted.rpartition(".")
    setattr(model.get_submodule(parent), child, replacement)
    return model, width


def head(model: nn.Module, name: str) -> nn.Module:
    """The last trainable layer of a network built here."""
    return model.get_submodule(describe(name).head)


def head_keys(name: str) -> tuple[str, str]:
    """Names of the head's two tensors in the state dict."""
    dotted = describe(name).head
    return f"{dotted}.weight", f"{dotted}.bias"


def count(model: nn.Module) -> int:
    """Number of parameters, as Table II counts them (buffers such as running means are none)."""
    return sum(parameter.numel() for parameter in model.parameters())

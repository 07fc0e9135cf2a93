"""Batch norm folded into convolutions: find it, and give it real statistics again without changing the function.

A file of weights for inference may have each convolution scaled by its batch norm, which is then left to add a bias
(mean 0, variance + eps = 1, weight 1). Training from there would normalise with batch statistics that weight and bias
do not match; with statistics taken from a batch they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SPREAD = 1e-4
"""var + eps of a folded batch norm differs from 1 by less than this (float32 rounding of 1 − 1e-5)"""


def find(model: nn.Module) -> list[str]:
    """Names of the batch norms that do nothing but add a learnt bias: mean 0, var + eps = 1, weight 1, bias not 0."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and module.running_mean is not None
        and module.running_var is not None
        and bool((module.running_mean == 0).all())
        and bool(((module.running_var + module.eps - 1).abs() < SPREAD).all())
        and bool((module.weight == 1).all())
        and bool((module.bias != 0).any())
    ]


@torch.no_grad()
def reestimate(model: nn.Module, names: Sequence[str], batch: Tensor) -> None:
    """Run ``batch`` (N×C×H×W, normalised as in training) once and refill the named batch norms.

    Running mean and variance become those of what each convolution gives; weight = √(var + eps) and
    bias = bias + mean undo them, so the network computes what it did before. Raises ValueError on values that are not
    finite.
    """
    norms = {name: module for name, module in model.named_modules() if name in set(names)}
    moments: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].double()
            moments[name] = (values.mean(dim=(0, 2, 3)), values.var(dim=(0, 2, 3), unbiased=False))

        return hook

    hooks = [module.register_forward_pre_hook(record(name)) for name, module in norms.items()]
    try:
        with evaluating(model):
            model(batch)
    finally:
        for handle in hooks:
            handle.remove()
    for name, norm in norms.items():
        mean, var = moments[name]
        if not bool(torch.isfinite(mean).all() and torch.isfinite(var).all()):
            raise ValueError(f"{name}: expected finite activations, got NaN or infinity; is the batch normalised?")
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            raise ValueError(f"{name}: expected a BatchNorm2d with running statistics, got {type(norm).__name__}")
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each module's own mode again after."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode

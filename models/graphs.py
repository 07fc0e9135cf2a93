"""Forward and backward of a training step as one CUDA graph: with batches of 16 a card waits for launches, not sums.

A DenseNet-169 launches over a thousand small kernels a step; recorded once and replayed, they run without the
interpreter between them. Only on one CUDA device, only for batches of the shape seen first: every other batch (the last
of an epoch) runs as usual, with the same result up to rounding.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

log = logging.getLogger(__name__)

WARM_UP = 3
"""steps before recording: libraries choose their kernels and allocate their workspaces"""


class Graphed:
    """A module of which one call is forward *and* backward, replayed.

    ``model(*inputs)`` gives a loss, or a tuple that begins with one. What a replay returns needs no gradient any more:
    the parameters' ``.grad`` are filled already, which is how `engine.train_epoch` tells it from an ordinary call. The
    tensors returned are overwritten by the next call, except the loss. States must be loaded before the first call.
    """

    def __init__(self, fabric: Fabric, model: nn.Module) -> None:
        self.fabric, self.model = fabric, model
        self.graph: Any = None
        self.inputs: list[Tensor | None] = []
        self.outputs: tuple[Tensor, ...] = ()
        self.single = True
        self.grads: list[tuple[nn.Parameter, Tensor]] = []
        self.given_up = False

    def __call__(self, *inputs: Tensor | None) -> Any:
        if self.given_up or not self.model.training:
            return self.model(*inputs)
        if self.graph is None and not self._record(inputs):
            return self.model(*inputs)
        if not _alike(self.inputs, inputs):
            return self.model(*inputs)
        for place, value in zip(self.inputs, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        for parameter, grad in self.grads:
            parameter.grad = grad
        self.graph.replay()
        loss = self.outputs[0].clone()
        return loss if self.single else (loss, *self.outputs[1:])

    def _record(self, inputs: Sequence[Tensor | None]) -> bool:
        """Record a step; False, with a warning, where that cannot be. Buffers and random state stay as before."""
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        random = torch.cuda.get_rng_state()
        self.inputs = [None if value is None else value.clone() for value in inputs]
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        gc.collect()  # an earlier run's graph that is let go while this one is recorded would spoil it
        collecting = gc.isenabled()
        gc.disable()
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=torch.backends.cudnn.allow_tf32):
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    for _ in range(WARM_UP):
                        self.model.zero_grad(set_to_none=True)
                        self._step()
                torch.cuda.current_stream().wait_stream(stream)
                self.model.zero_grad(set_to_none=True)
                with torch.cuda.graph(graph):
                    found = self._step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.given_up = True
            first = error.__context__ or error  # leaving the recording fails a second time
            log.warning("no CUDA graph (%s): training step by step, slower", str(first).splitlines()[0][:160])
            self.model.zero_grad(set_to_none=True)
        finally:
            if collecting:
                gc.enable()
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            torch.cuda.set_rng_state(random)
        if self.given_up:
            return False
        self.single = isinstance(found, Tensor)
        self.outputs = tuple(value.detach() for value in ((found,) if self.single else found))
        self.grads = [
            (parameter, parameter.grad) for parameter in self.model.parameters() if parameter.grad is not None
        ]
        self.graph = graph
        return True

    def _step(self) -> Any:
        found = self.model(*self.inputs)
        self.fabric.backward(found if isinstance(found, Tensor) else found[0])
        return found


def _alike(first: Sequence[Tensor | None], second: Sequence[Tensor | None]) -> bool:
    return len(first) == len(second) and all(
        (a is None) == (b is None) and (a is None or b is None or (a.shape == b.shape and a.dtype == b.dtype))
        for a, b in zip(first, second, strict=True)
    )

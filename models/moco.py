"""Momentum contrast (section III.C, Eq. 1–2, Algorithm 1): the loss, the two encoders and the queue of keys.

Shapes: N queries, D = 128 dimensions, K keys in the queue. Pure maths, visible state: all state is parameters and
persistent buffers, so a resumed run continues exactly.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

log = logging.getLogger(__name__)


class MoCoError(ValueError):
    """Shapes or sizes that momentum contrast cannot work with: says what, expected, got and the next step."""


def moco_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float, ignore: Tensor | None = None) -> Tensor:
    """Mean InfoNCE loss of Eq. 1, a scalar.

    ``query`` and ``key`` are N×D, ``queue`` K×D, all L2-normalised; row i of ``key`` is the positive of row i of
    ``query``, the rows of ``queue`` are the negatives. Eq. 1 as printed lacks the temperature τ in the sum over the
    queue; this is the standard loss (and the paper's Algorithm 1): τ divides every term, and the positive stands in
    the denominator once:

        −log( exp(q·k/τ) / (exp(q·k/τ) + Σ_i exp(q·k_i/τ)) )

    ``ignore`` (N×K, bool) takes single negatives out, for example older keys of the query's own image. No gradient
    flows into ``key`` and ``queue``. Raises MoCoError on shapes that do not fit or a temperature that is not positive.
    """
    if query.ndim != 2 or query.shape != key.shape or queue.ndim != 2 or queue.shape[1] != query.shape[1]:
        raise MoCoError(
            f"moco_loss: expected query N×D, key N×D, queue K×D, got {tuple(query.shape)}, {tuple(key.shape)}, "
            f"{tuple(queue.shape)}"
        )
    if not temperature > 0:
        raise MoCoError(f"moco_loss: expected a temperature > 0, got {temperature}; MoCo uses 0.07 to 0.2")
    key, queue = key.detach(), queue.detach()
    positive = (query * key).sum(dim=1, keepdim=True)  # N×1
    negative = query @ queue.T  # N×K
    if ignore is not None:
        negative = negative.masked_fill(ignore, float("-inf"))
    logits = torch.cat([positive, negative], dim=1) / temperature  # N×(1+K), the positive is class 0
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


class Projector(nn.Module):
    """An encoder (image → features) with MoCo v2's head: 2-layer MLP, L2-normalised N×D output (IV.E.2)."""

    def __init__(self, encoder: nn.Module, features: int, hidden: int = 2048, dim: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))

    def forward(self, images: Tensor) -> Tensor:
        """N×C×H×W → N×D, each row of length 1 (normalised in float32 whatever the precision)."""
        return F.normalize(self.head(self.encoder(images)).float(), dim=1)


class MoCo(nn.Module):
    """Query and key encoder with a first-in-first-out queue of keys (Algorithm 1).

    One training step: ``loss, keys = moco(view_q, view_k, ids)`` → ``loss.backward()`` → optimiser step →
    ``moco.momentum_update()`` → ``moco.enqueue(keys, ids)``.

    ``splits`` > 1 runs both encoders on that many parts of the batch, the key encoder on shuffled parts, so that batch
    norm's statistics cannot give the positive pair away (shuffled batch norm; the paper had 4 GPUs × 32 images).
    ``mask_same`` takes older keys of a query's own image out of its negatives; needed when the queue is longer than
    the set (512 keys, 425 images).
    """

    queue: Tensor
    queue_ids: Tensor
    pointer: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        features: int,
        *,
        queue: int = 512,
        momentum: float = 0.999,
        temperature: float = 0.2,
        hidden: int = 2048,
        dim: int = 128,
        splits: int = 1,
        mask_same: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise MoCoError(f"MoCo: expected a momentum in 0…1, got {momentum}; the paper uses 0.999")
        if queue < 1 or splits < 1:
            raise MoCoError(f"MoCo: expected queue and splits of at least 1, got {queue} and {splits}")
        self.momentum, self.temperature = momentum, temperature
        self.splits, self.mask_same = splits, mask_same
        self.query = Projector(encoder, features, hidden, dim)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        # As in MoCo the queue starts with random unit vectors: K negatives from the first step on.
        self.register_buffer("queue", F.normalize(torch.randn(queue, dim, generator=generator), dim=1))  # K×D
        self.register_buffer("queue_ids", torch.full((queue,), -1, dtype=torch.long))  # image of each key, −1: none
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))  # next place to write

    def forward(
        self, view_q: Tensor, view_k: Tensor, ids: Tensor | None = None, order: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and keys (N×D, no gradient) of two views N×C×H×W of the images ``ids`` (N, whole numbers ≥ 0).

        ``order`` is the permutation (N) of shuffled batch norm; drawn by the caller so that runs can be repeated.
        """
        parts = min(self.splits, len(view_q) // 2) or 1  # batch norm needs two images a part
        query = torch.cat([self.query(part) for part in view_q.tensor_split(parts)])  # N×D
        with torch.no_grad():
            if order is None:
                order = torch.arange(len(view_k), device=view_k.device)
            shuffled = torch.cat([self.key(part) for part in view_k[order].tensor_split(parts)])
            keys = torch.empty_like(shuffled)
            keys[order] = shuffled  # back in the order of the queries
        ignore = None
        if self.mask_same:
            if ids is None:
                raise MoCoError("MoCo: masking keys of the same image needs ids, got none")
            ignore = ids[:, None] == self.queue_ids[None, :]  # N×K
        with torch.autocast(query.device.type, enabled=False):  # similarities / 0.07 need float32's digits
            loss = moco_loss(query.float(), keys.float(), self.queue, self.temperature, ignore)
        return loss, keys

    @torch.no_grad()
    def momentum_update(self) -> None:
        """Eq. 2: θ_k ← m·θ_k + (1 − m)·θ_q. Batch norm's running statistics are each encoder's own."""
        keys: list[Tensor] = list(self.key.parameters())
        queries: list[Tensor] = list(self.query.parameters())
        torch._foreach_mul_(keys, self.momentum)
        torch._foreach_add_(keys, queries, alpha=1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, keys: Tensor, ids: Tensor | None = None) -> None:
        """Put N×D keys in the place of the oldest N; a batch that does not divide the queue wraps around."""
        size, count = len(self.queue), len(keys)
        if count > size:
            raise MoCoError(
                f"MoCo: expected a batch of at most {size} (the queue), got {count}; lengthen the queue to at least "
                f"{count} or lower the batch size"
            )
        places = (self.pointer + torch.arange(count, device=self.queue.device)) % size  # no look at its value: no wait
        self.queue[places] = keys.to(self.queue.dtype)
        self.queue_ids[places] = -1 if ids is None else ids.to(self.queue_ids)
        self.pointer.copy_((self.pointer + count) % size)

    def step_done(self, keys: Tensor, ids: Tensor, gather: Callable[[Tensor], Tensor] | None = None) -> None:
        """After the optimiser's step: Eq. 2 and the queue. ``gather`` joins the batches of all processes, in order."""
        self.momentum_update()
        if gather is not None:
            keys, ids = gather(keys).reshape(-1, keys.shape[1]), gather(ids).reshape(-1)
        self.enqueue(keys, ids)

    @property
    def encoder(self) -> nn.Module:
        """The query encoder without its head: what fine-tuning starts from (Algorithm 1: f = f_q)."""
        return cast(nn.Module, self.query.encoder)


def check_sizes(images: int, batch: int, queue: int) -> None:
    """Refuse a batch larger than the set or than the queue; warn of a queue larger than the set."""
    if batch > images:
        raise MoCoError(
            f"pretrain: expected a batch of at most {images} (the images of the set), got {batch}; set --batch "
            f"{images} or lower"
        )
    if batch < 2:
        raise MoCoError(f"pretrain: expected a batch of at least 2 (batch norm), got {batch}")
    if queue < batch:
        raise MoCoError(f"pretrain: expected a queue of at least the batch ({batch}), got {queue}; set --queue {batch}")
    if queue > images:
        log.warning(
            "queue of %d keys is longer than the set of %d images: a query meets older keys of its own image among its "
            "negatives; --mask-same takes them out",
            queue,
            images,
        )

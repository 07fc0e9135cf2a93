"""Momentum contrast (section III.C, Eq. 1–2, Algorithm 1): the loss, the two encoders and the queue of keys.

Shapes: N queries, D = 128 dimensions, K keys in the queue. Pure maths, visible state: all state is parameters and
persistent buffers, so a resumed run continues exactly.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Processes:
    """Those that share a batch in equal parts, in the order of their ``rank``; ``joined`` puts the parts together."""

    all_gather: Callable[[Tensor], Tensor]
    """N×… of each → count×N×…"""
    rank: int
    count: int

    def joined(self, part: Tensor) -> Tensor:
        """This process's N×… → all processes' (count·N)×…, the same everywhere; no gradient."""
        return self.all_gather(part.detach().contiguous()).reshape(-1, *part.shape[1:])

    def own(self, whole: Tensor) -> Tensor:
        """The part of this process of what all have."""
        return whole.chunk(self.count)[self.rank]


class MoCo(nn.Module):
    """Query and key encoder with a first-in-first-out queue of keys (Algorithm 1).

    One training step: ``loss, keys = moco(view_q, view_k, ids)`` → ``loss.backward()`` → optimiser step →
    ``moco.momentum_update()`` → ``moco.enqueue(keys, ids)``.

    ``splits`` > 1 runs both encoders on that many parts of the batch, the key encoder on shuffled parts, so that batch
    norm's statistics cannot give the positive pair away (shuffled batch norm; the paper had 4 GPUs × 32 images).
    With ``processes`` each has ``splits`` parts of its share of the batch, and keys are shuffled over all of them; the
    result is that of one process with all the parts.
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
        processes: Processes | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise MoCoError(f"MoCo: expected a momentum in 0…1, got {momentum}; the paper uses 0.999")
        if queue < 1 or splits < 1:
            raise MoCoError(f"MoCo: expected queue and splits of at least 1, got {queue} and {splits}")
        self.momentum, self.temperature = momentum, temperature
        self.splits, self.mask_same, self.processes = splits, mask_same, processes
        self._before: tuple[Tensor, int] | None = None
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

        ``order`` is the permutation (N; with ``processes`` of the whole batch, the same in each) of shuffled batch
        norm; drawn by the caller so that runs can be repeated.
        """
        parts = min(self.splits, len(view_q) // 2) or 1  # batch norm needs two images a part
        others = self.processes
        self._before = (self._statistics(), parts) if others is not None and self.training else None
        query = torch.cat([self.query(part) for part in view_q.tensor_split(parts)])  # N×D
        with torch.no_grad():
            whole = view_k if others is None else others.joined(view_k)
            if order is None:
                order = torch.arange(len(whole), device=whole.device)
            mine = whole[order] if others is None else _like(whole[others.own(order)], view_k)
            shuffled = torch.cat([self.key(part) for part in mine.tensor_split(parts)])
            if others is not None:
                shuffled = others.joined(shuffled)
            keys = torch.empty_like(shuffled)
            keys[order] = shuffled  # back in the order of the queries
            if others is not None:
                keys = others.own(keys)
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

    def step_done(self, keys: Tensor, ids: Tensor) -> None:
        """After the optimiser's step: Eq. 2 and the queue, into which the keys of all processes go, in order."""
        self.momentum_update()
        if self.processes is not None:
            if self._before is not None:  # not before the gradients are there, which need what forward left
                self._join_statistics(*self._before)
            keys, ids = self.processes.joined(keys), self.processes.joined(ids)
        self.enqueue(keys, ids)

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [m for m in self.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]

    def _statistics(self) -> Tensor:
        """Running means and variances of all batch norms in one row."""
        return torch.cat(
            [torch.cat([cast(Tensor, m.running_mean), cast(Tensor, m.running_var)]) for m in self._norms()]
        )

    def _join_statistics(self, before: Tensor, parts: int) -> None:
        """As if the parts of all processes had gone through one after the other.

        Each process moved its running statistics from ``before`` by its own parts: r ← a·r + c with a = (1 − m)^parts,
        and such moves can be done in a row.
        """
        others, norms = cast(Processes, self.processes), self._norms()
        kept = torch.cat([torch.full((2 * m.num_features,), (1 - (m.momentum or 0.0)) ** parts) for m in norms])
        kept = kept.to(before)
        found = before
        for after in others.joined(self._statistics()[None]):
            found = kept * found + (after - kept * before)
        for norm, row in zip(norms, found.split([2 * m.num_features for m in norms]), strict=True):
            cast(Tensor, norm.running_mean).copy_(row[: norm.num_features])
            cast(Tensor, norm.running_var).copy_(row[norm.num_features :])
            cast(Tensor, norm.num_batches_tracked).add_(parts * (others.count - 1))

    @property
    def encoder(self) -> nn.Module:
        """The query encoder without its head: what fine-tuning starts from (Algorithm 1: f = f_q)."""
        return cast(nn.Module, self.query.encoder)


def _like(images: Tensor, pattern: Tensor) -> Tensor:
    """Pictures in the memory format of others."""
    last = pattern.is_contiguous(memory_format=torch.channels_last)
    return images.contiguous(memory_format=torch.channels_last) if last else images


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

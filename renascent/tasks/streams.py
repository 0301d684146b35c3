"""Sequences of batches: endless, shuffled and resumable; or once, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.gates import Gates
from renascent.core.protocols import Batch

Fetch = Callable[[Tensor, torch.Generator], Batch]
"""Indices (batch,) and a generator on the CPU for augmentation -> a batch."""


class Shuffled:
    """Batches of shuffled items, a new order every epoch. Implements `renascent.core.protocols.Stream`.

    The order of epoch e depends on (seed, e) alone, the randomness of batch k on (seed, k) alone: so a stream
    put back at batch k goes on exactly, on any device. The last, partial batch of an epoch is dropped; when
    everything is smaller than one batch, the batch is everything.

    fetch: makes a batch.  indices: (items,) that are shuffled.  seed: one number, or several that together
    are it.  batch: items in a batch.  steps_per_epoch: batches until every item was used once.
    Raises UserError for a seed below 0 or a batch below 1.

    >>> stream = Shuffled(lambda i, rng: (i, i), torch.arange(5), seed=0, batch=2)
    >>> stream.steps_per_epoch, len(stream.next()[0]), stream.state_dict()
    (2, 2, {'given': 1})
    """

    def __init__(self, fetch: Fetch, indices: Tensor, *, seed: int | tuple[int, ...], batch: int) -> None:
        self._seed = (seed,) if isinstance(seed, int) else seed
        if min(self._seed) < 0:
            raise UserError(f"the seed is {min(self._seed)}; give a whole number of at least 0")
        self._fetch = fetch
        self._indices = indices
        self._batch = min(positive(batch), len(indices))
        self._given = 0
        self._order: tuple[int, Tensor] = (-1, indices)
        self.steps_per_epoch = len(indices) // self._batch

    def next(self, gates: Gates | None = None) -> Batch:
        """Return the next batch; `gates` are not used: here augmentation is no decision."""
        epoch, place = divmod(self._given, self.steps_per_epoch)
        rng = torch.Generator().manual_seed(self._number("batch", self._given))
        self._given += 1
        return self._fetch(self._shuffled(epoch)[place * self._batch : (place + 1) * self._batch], rng)

    def state_dict(self) -> dict[str, Any]:
        return {"given": self._given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the batch after `state["given"]` batches. Raises UserError when that is no count."""
        given = state.get("given")
        if not isinstance(given, int) or given < 0:
            raise UserError(f"a stream's state is {{'given': count of batches}}, and this one is {dict(state)}")
        self._given = given

    def _shuffled(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:  # kept only to save work: it follows from the seed and the epoch
            order = np.random.default_rng(self._number("epoch", epoch)).permutation(len(self._indices))
            self._order = (epoch, self._indices[torch.from_numpy(order).to(self._indices.device)])
        return self._order[1]

    def _number(self, what: str, count: int) -> int:
        """Return 64 bits of a hash, so that near seeds, epochs and batches share nothing."""
        text = f"{self._seed} {what} {count}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


class InOrder(Sequence[Batch]):
    """Batches in a fixed order, each made when asked for. fetch: makes one.  chunks: the indices of each.

    >>> batches = InOrder(lambda i: (i, i), in_chunks(torch.arange(5), 2))
    >>> len(batches), batches[2][0].tolist(), len(batches[1:])
    (3, [4], 2)
    """

    def __init__(self, fetch: Callable[[Tensor], Batch], chunks: Sequence[Tensor]) -> None:
        self._fetch = fetch
        self._chunks = chunks

    def __len__(self) -> int:
        return len(self._chunks)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> InOrder: ...
    def __getitem__(self, index: int | slice) -> Batch | InOrder:
        if isinstance(index, slice):
            return InOrder(self._fetch, self._chunks[index])
        return self._fetch(self._chunks[index])


def in_chunks(indices: Tensor, batch: int) -> list[Tensor]:
    """Cut indices (items,) into pieces of `batch`, the last perhaps smaller. Raises UserError when batch < 1.

    >>> in_chunks(torch.arange(3), 2)
    [tensor([0, 1]), tensor([2])]
    """
    return [indices[start : start + batch] for start in range(0, len(indices), positive(batch))]


def positive(batch: int) -> int:
    """Return `batch`. Raises UserError when it is below 1."""
    if batch < 1:
        raise UserError(f"the batch is {batch} images; give at least 1")
    return batch

"""Sequences of batches: endless, shuffled and resumable; or once, in order."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.gates import Gates
from renascent.core.protocols import Batch

Fetch = Callable[[Any, torch.Generator], Batch]
"""Indices (batch,), or what was read of them, and a generator on the CPU for augmentation -> a batch."""

Read = Callable[[Iterable[Tensor]], Iterator[Any]]
"""Indices (batch,) of one batch after the other -> what `fetch` makes each of; perhaps before it is asked for."""


class Shuffled:
    """Batches of shuffled items, a new order every epoch. Implements `renascent.core.protocols.Stream`.

    The order of epoch e depends on (seed, e) alone, the randomness of batch k on (seed, k) alone: so a stream
    put back at batch k goes on exactly, on any device. The last, partial batch of an epoch is dropped; when
    everything is smaller than one batch, the batch is everything.

    fetch: makes a batch.  indices: (items,) that are shuffled.  seed: one number, or several that together
    are it.  batch: items in a batch.  read: reads ahead what batches are made of; unless given, that is their indices.
    steps_per_epoch: batches until every item was used once.
    Raises UserError for a seed below 0 or a batch below 1.

    >>> stream = Shuffled(lambda i, rng: (i, i), torch.arange(5), seed=0, batch=2)
    >>> stream.steps_per_epoch, len(stream.next()[0]), stream.state_dict()
    (2, 2, {'given': 1})
    """

    def __init__(
        self, fetch: Fetch, indices: Tensor, *, seed: int | tuple[int, ...], batch: int, read: Read = iter
    ) -> None:
        self._seed = (seed,) if isinstance(seed, int) else seed
        if min(self._seed) < 0:
            raise UserError(f"the seed is {min(self._seed)}; give a whole number of at least 0")
        self._fetch, self._read = fetch, read
        self._indices = indices
        self._batch = min(positive(batch), len(indices))
        self._given = 0
        self._coming: Iterator[Any] | None = None
        self.steps_per_epoch = len(indices) // self._batch

    def next(self, gates: Gates | None = None) -> Batch:
        """Return the next batch; `gates` are not used: here augmentation is no decision."""
        if self._coming is None:  # only now: most streams that are put back are never asked before
            self._coming = self._read(_batches(self._indices, self._seed, self._batch, self._given))
        coming, self._coming = self._coming, None  # one that raises is not asked again
        found = next(coming)
        self._coming = coming
        rng = torch.Generator().manual_seed(_number(self._seed, "batch", self._given))
        self._given += 1
        return self._fetch(found, rng)

    def state_dict(self) -> dict[str, Any]:
        return {"given": self._given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the batch after `state["given"]` batches. Raises UserError when that is no count."""
        given = state.get("given")
        if not isinstance(given, int) or given < 0:
            raise UserError(f"a stream's state is {{'given': count of batches}}, and this one is {dict(state)}")
        self._given, self._coming = given, None


def _batches(indices: Tensor, seed: tuple[int, ...], batch: int, given: int) -> Iterator[Tensor]:
    """Give the indices of every batch behind the first `given`, without end: they follow from the seed alone.

    A function, and no method of the stream: what reads ahead holds it, and must end with the stream.
    """
    steps = len(indices) // batch
    first, place = divmod(given, steps)
    for epoch in itertools.count(first):
        order = np.random.default_rng(_number(seed, "epoch", epoch)).permutation(len(indices))
        shuffled = indices[torch.from_numpy(order).to(indices.device)]
        for step in range(place, steps):
            yield shuffled[step * batch : (step + 1) * batch]
        place = 0


def _number(seed: tuple[int, ...], what: str, count: int) -> int:
    """Return 64 bits of a hash, so that near seeds, epochs and batches share nothing."""
    text = f"{seed} {what} {count}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


class InOrder(Sequence[Batch]):
    """Batches in a fixed order, each made when asked for, or a little before where one follows the other.

    fetch: makes one.  chunks: the indices of each.  read: as of `Shuffled`.

    >>> batches = InOrder(lambda i: (i, i), in_chunks(torch.arange(5), 2))
    >>> len(batches), batches[2][0].tolist(), len(batches[1:]), [len(x) for x, _ in batches]
    (3, [4], 2, [2, 2, 1])
    """

    def __init__(self, fetch: Callable[[Any], Batch], chunks: Sequence[Tensor], read: Read = iter) -> None:
        self._fetch, self._read = fetch, read
        self._chunks = chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Batch]:
        return map(self._fetch, self._read(self._chunks))

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> InOrder: ...
    def __getitem__(self, index: int | slice) -> Batch | InOrder:
        if isinstance(index, slice):
            return InOrder(self._fetch, self._chunks[index], self._read)
        return self._fetch(next(self._read([self._chunks[index]])))


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

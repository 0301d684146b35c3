"""Images that are read again whenever they are used, since all of them would not fit into memory."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.devices import free_memory
from renascent.core.errors import UserError
from renascent.core.processes import check_processes
from renascent.tasks.formats import Images, Labels
from renascent.tasks.memory import available, check_memory
from renascent.tasks.stored import Shape, sums_of
from renascent.tasks.workers import Places, ahead, usual_workers

SCANNED = 64
"""Images that are looked at in one go, before a task is made of them."""


class Source(Protocol):
    """Where images are read from, each by its place."""

    def image(self, place: int) -> Tensor:
        """Return (channels, h, w), uint8 or float32. Raises UserError when it cannot be had."""

    def name(self, place: int) -> str:
        """Return what an error calls the image."""

    @property
    def changed(self) -> str:
        """What to do where an image is no longer the one that it was."""


class Seen(NamedTuple):
    """What is kept of an image: enough to know it again, to normalise it, and to make room for it.

    sums: (2, channels) of values and squares of uint8, otherwise 0.  span: least and greatest value.
    """

    shape: Shape
    dtype: torch.dtype
    checksum: int
    sums: list[list[int]] | int
    span: tuple[float, float]

    @classmethod
    def of(cls, image: Tensor) -> Seen:
        """Return what is kept of an image (channels, h, w)."""
        sums = sums_of(image[None])[0].tolist() if image.dtype == torch.uint8 else 0
        return cls(tuple(image.shape), image.dtype, checksum(image), sums, (float(image.min()), float(image.max())))


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How images are to be had.

    streamed: read them again whenever they are used; None: if they would take more than half of the memory.
    workers: processes of each stream that read ahead; None: what suits the machine.
    device: where they would be held otherwise.
    """

    streamed: bool | None = None
    workers: int | None = None
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        check_processes("workers", self.workers or 0)

    def holds(self, needed: int, what: str, smaller: str) -> bool:
        """Return whether so many bytes are to be held. Raises UserError for more than fit where they have to be."""
        if self.streamed or (self.streamed is None and 2 * needed > self.room):
            return False
        check_memory(needed, what, f"{smaller}, or leave `streamed` to what fits")
        return True

    @cached_property
    def room(self) -> float:
        """Bytes that can still be had, here and on the device."""
        return min(available(), free_memory(self.device))

    @property
    def processes(self) -> int:
        """Workers of each stream."""
        return usual_workers() if self.workers is None else self.workers


class Known:
    """What is kept of each image of a source, in numbers: a list of objects would itself be large.

    checksums: (count,).  sums: (count, 2, channels) of values and squares of uint8.  shape: (channels, h, w) of all.
    span: least and greatest value of all.
    """

    def __init__(self, count: int, first: Seen) -> None:
        self.shape, self.dtype, self.span = first.shape, first.dtype, first.span
        self.checksums = np.zeros(count, np.uint32)
        self.sums = np.zeros((count, 2, self.shape[0]), np.int64)

    def add(self, place: int, seen: Seen) -> None:
        """Keep what was seen of one more image; the first in colour after grey ones makes all of them so."""
        if seen.shape[0] > self.shape[0]:
            self.shape, self.sums = seen.shape, np.repeat(self.sums, seen.shape[0], axis=2)
        self.checksums[place], self.sums[place] = seen.checksum, seen.sums
        self.span = min(self.span[0], seen.span[0]), max(self.span[1], seen.span[1])


@dataclass(frozen=True)
class Streamed:
    """Images of a source that were all looked at once, as `tasks.stored.Stored` has them; a part of them is one, too.

    Each is compared with its checksum when it is read again, so that a run means the same images to its end. Grey ones
    become RGB where others are.

    source: where they are read from.  known: what is kept of them.  places: (n,), those that are meant, in order.
    workers: processes that read ahead.
    """

    source: Source
    known: Known
    places: NDArray[np.int64]
    workers: int

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> Streamed:
        return replace(self, places=self.places[chosen])

    @property
    def shape(self) -> Shape:
        """(n, channels, h, w)."""
        return len(self.places), *self.known.shape

    @property
    def dtype(self) -> torch.dtype:
        """Of the pixels."""
        return self.known.dtype

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return self.known.span

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Give the images of each batch, read ahead by processes. Raises UserError for one that cannot be had."""
        places = (self.places[batch.cpu().numpy()].tolist() for batch in batches)
        for found in ahead(self._stacked, places, self.workers):
            if isinstance(found, UserError):
                raise found
            yield torch.from_numpy(found)

    def sums(self, chosen: Tensor) -> NDArray[np.int64]:
        """Return the sums of values and of their squares over the chosen images, exact."""
        found: NDArray[np.int64] = self.known.sums[self.places[chosen.cpu().numpy()]].sum(0)
        return found

    def _stacked(self, places: Places) -> NDArray[Any] | UserError:
        """Return the images, or what is wrong: an error that a process raises would be told with its traceback.

        An array goes through the pipe; for each tensor, torch would connect two processes, and need shared memory.
        """
        try:
            return torch.stack([self._image(place) for place in places]).numpy()
        except UserError as e:
            return UserError(str(e))

    def _image(self, place: int) -> Tensor:
        x = self.source.image(place)
        if x.shape[1:] != self.known.shape[1:] or checksum(x) != self.known.checksums[place]:
            raise UserError(f"{self.source.name(place)} is not the image that it was at first: {self.source.changed}")
        return x.expand(self.known.shape)


Pictured = tuple[Images | Streamed, Labels]
"""Images (n, channels, h, w) and labels (n,)."""


def joined(parts: Sequence[Tensor | Streamed]) -> Tensor | Streamed:
    """Return images one after the other, all of them held or all streamed from one source."""
    streamed = [part for part in parts if isinstance(part, Streamed)]
    if not streamed:
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    return replace(streamed[0], places=np.concatenate([part.places for part in streamed]))


def scan(look: Any, count: int, workers: int) -> Iterator[Any]:
    """Give what `look` returns of each of so many places, in order; processes look ahead. It should not raise."""
    batches = (list(range(start, min(start + SCANNED, count))) for start in range(0, count, SCANNED))
    return itertools.chain.from_iterable(ahead(_Each(look), batches, workers))


@dataclass(frozen=True)
class _Each:
    """Do the same with each place."""

    look: Any

    def __call__(self, places: Places) -> list[Any]:
        return [self.look(place) for place in places]


def checksum(image: Tensor) -> int:
    """Return 32 bits that hardly any other image has."""
    return zlib.crc32(image.contiguous().numpy().data)

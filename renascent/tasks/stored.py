"""Where the images of a task are: here, held in memory; in `tasks.streamed`, read again whenever they are used."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.tasks.streams import in_chunks

Shape = tuple[int, ...]

PIECE = 2**24
"""Values that are worked on at a time, where all would take several times the memory of the images."""


class Stored(Protocol):
    """The images of a task, (n, channels, h, w), uint8 or float32."""

    @property
    def shape(self) -> Shape:
        """(n, channels, h, w)."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the pixels."""

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest value of all images."""

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Give the images of each batch of indices (batch,) as they are stored, perhaps before they are asked for."""

    def sums(self, chosen: Tensor) -> NDArray[np.int64]:
        """Return the sums of values and of their squares over the chosen uint8 images: (2, channels), exact."""


@dataclass(frozen=True)
class Held:
    """Images in the memory of a device."""

    images: Tensor

    @property
    def shape(self) -> Shape:
        """(n, channels, h, w)."""
        return tuple(self.images.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the pixels."""
        return self.images.dtype

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(self.images.min()), float(self.images.max())

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Give the images of each batch, on their device."""
        return (self.images[batch] for batch in batches)

    def sums(self, chosen: Tensor) -> NDArray[np.int64]:
        """Return the sums of values and of their squares over the chosen images, exact."""
        pieces = self.read(in_chunks(chosen.to(self.images.device), piece(self.shape)))
        return sum((sums_of(x.cpu()).sum(0).numpy() for x in pieces), np.zeros((2, self.shape[1]), np.int64))


def digest(images: Stored, *others: Tensor) -> str:
    """Return the sha256 of images, and then of other tensors; equal wherever they are."""
    found = hashlib.sha256(str((torch.Size(images.shape), images.dtype)).encode())
    pieces = in_chunks(torch.arange(images.shape[0]), piece(images.shape))
    for part in itertools.chain(images.read(pieces), others):
        found.update(part.cpu().contiguous().numpy().data)
    return found.hexdigest()


def sums_of(images: Tensor) -> Tensor:
    """Return of each of uint8 images (n, channels, h, w) the sums of values and of their squares: (n, 2, channels).

    >>> sums_of(torch.full((1, 1, 2, 2), 3, dtype=torch.uint8)).tolist()
    [[[12], [36]]]
    """
    x = images.int()
    return torch.stack([x.sum((2, 3)), x.square().sum((2, 3))], 1)


def piece(shape: Shape) -> int:
    """Return how many images of the shape (n, channels, h, w) are worked on at a time: one at least.

    >>> piece((60_000, 3, 32, 32)), piece((10, 3, 4000, 4000))
    (5461, 1)
    """
    return max(1, PIECE // max(1, int(np.prod(shape[1:]))))

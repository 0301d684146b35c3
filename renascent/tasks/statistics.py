"""Mean and spread of images, by which they are normalised."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.tasks.formats import brief
from renascent.tasks.stored import Stored, piece
from renascent.tasks.streams import in_chunks

LEAST = 1e-6
"""Deviation of a channel that changes at all."""


def statistics(
    images: Stored, train: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel; what is not given is measured on the images `train`.

    images: (n, channels, h, w).  train: indices into them.  uint8 counts as 0 to 1. A channel that
    never changes has deviation 1.
    Raises UserError when what is given are not as many numbers as channels, or a deviation is not above 0.

    >>> from renascent.tasks.stored import Held
    >>> x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    >>> statistics(Held(x), torch.arange(2), None, None)
    ((0.5,), (0.5,))
    """
    channels = images.shape[1]
    if mean is None or std is None:
        measured = _moments(images, train)
        mean, std = measured[0] if mean is None else mean, measured[1] if std is None else std
    try:
        found = tuple(map(float, mean)), tuple(map(float, std))
        usable = all(len(values) == channels and all(map(math.isfinite, values)) for values in found)
        if usable and min(found[1]) > 0:
            return found
    except (TypeError, ValueError, OverflowError):
        pass  # no numbers at all
    given = brief(f"mean is {mean}, std is {std}", 120)
    raise UserError(f"{given}; give {channels} numbers each, every std above 0")


def _moments(images: Stored, train: Tensor) -> tuple[list[float], list[float]]:
    pixels = len(train) * images.shape[2] * images.shape[3]
    if images.dtype == torch.uint8:  # in whole numbers: the same however the images are dealt out
        sums = [(int(total), int(square)) for total, square in zip(*images.sums(train), strict=True)]
        mean = [total / (255 * pixels) for total, _ in sums]
        spread = [math.sqrt(pixels * square - total**2) / (255 * pixels) for total, square in sums]
        return mean, [value if value > LEAST else 1.0 for value in spread]
    total, square = torch.zeros(2, images.shape[1], dtype=torch.float64)
    # In pieces: in float64 the whole would be twice the data.
    for x in images.read(in_chunks(train, min(2048, piece(images.shape)))):
        x = x.cpu().double()
        total += x.sum((0, 2, 3))
        square += x.square().sum((0, 2, 3))
    deviation = (square / pixels - (total / pixels).square()).clamp(min=0).sqrt()
    return (total / pixels).tolist(), torch.where(deviation > LEAST, deviation, 1.0).tolist()

"""Mean and spread of images, by which they are normalised."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.tasks.formats import brief
from renascent.tasks.streams import in_chunks


def statistics(
    images: Tensor, train: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel; what is not given is measured on the images `train`.

    images: (n, channels, h, w).  train: indices into them.  uint8 counts as 0 to 1. A channel that
    never changes has deviation 1.
    Raises UserError when what is given are not as many numbers as channels, or a deviation is not above 0.

    >>> x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    >>> statistics(x, torch.arange(2), None, None)
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


def _moments(images: Tensor, train: Tensor) -> tuple[list[float], list[float]]:
    total, square = torch.zeros(2, images.shape[1], dtype=torch.float64)
    # In pieces: in float64 the whole would be eight times the data.
    for chunk in in_chunks(train.to(images.device), 2048):
        x = images[chunk].cpu().double() / (255 if images.dtype == torch.uint8 else 1)
        total += x.sum((0, 2, 3))
        square += x.square().sum((0, 2, 3))
    pixels = len(train) * images.shape[2] * images.shape[3]
    mean = total / pixels
    deviation = (square / pixels - mean.square()).clamp(min=0).sqrt()
    return mean.tolist(), torch.where(deviation > 1e-6, deviation, 1.0).tolist()

"""Random changes to a batch of images: pure functions on (batch, channels, h, w), without a loop over images.

Every draw comes from a generator on the CPU, so that a seed gives the same images on every device.
"""

import torch
from torch import Tensor
from torch.nn import functional

from renascent.core.fields import Whole, settings
from renascent.core.protocols import Change


@settings
class Augmentation:
    """What happens to a training image: mirror, then shifted crop, then (after normalisation) cutout.

    flip: mirror left to right, half of the time.
    pad: pixels of black added on every side before a crop back to the image's size; 0 means no crop.
    cutout: side in pixels of a square set to the mean colour, arXiv:1708.04552; 0 means none.

    Raises UserError when a number is negative.

    >>> Augmentation(cutout=16)
    Augmentation(flip=True, pad=4, cutout=16)
    """

    flip: bool = True
    pad: Whole = 4
    cutout: Whole = 0


def augment(
    x: Tensor, how: Augmentation, mean: Tensor, std: Tensor, rng: torch.Generator, change: Change | None = None
) -> Tensor:
    """Return raw images x (batch, channels, h, w), changed at random and normalised, float32.

    change: what is done besides to raw images that are mirrored and cropped already.

    The crop's border is black because it is added before normalisation, and cutout is the mean colour because
    it comes after: as in the authors' code of DARTS, GDAS and NAS-Bench-201.

    >>> x, rng = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.Generator().manual_seed(0)
    >>> augment(x, Augmentation(), torch.tensor([0.5]), torch.tensor([0.5]), rng).unique()
    tensor([-1.])
    """
    x = flip(x, rng) if how.flip else x
    x = padded_crop(x, how.pad, rng) if how.pad else x
    x = change(x, rng) if change else x
    x = normalise(x, mean, std)
    return cutout(x, how.cutout, rng) if how.cutout else x


def flip(x: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each image of x (batch, channels, h, w) left to right with probability 1/2.

    >>> flip(torch.tensor([[[[1, 2, 3]]]]), torch.Generator().manual_seed(0)).tolist()
    [[[[3, 2, 1]]]]
    """
    mirrored = (torch.rand(len(x), generator=rng) < 0.5).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


def padded_crop(x: Tensor, pad: int, rng: torch.Generator) -> Tensor:
    """Add `pad` zero pixels around each image of x (batch, channels, h, w) and cut out a random (h, w).

    >>> x = torch.ones(2, 3, 8, 8, dtype=torch.uint8)
    >>> padded_crop(x, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """
    height, width = x.shape[2:]
    top, left = torch.randint(2 * pad + 1, (2, len(x)), generator=rng).to(x.device)
    windows = functional.pad(x, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)  # a view: every window
    return windows[torch.arange(len(x), device=x.device), :, top, left]


def cutout(x: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Set a square of `size` pixels to 0 in each image of x (batch, channels, h, w).

    Its centre is uniform over the pixels, so that the square may hang over the border.

    References:
        DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, arXiv:1708.04552,
        section 3.2.

    >>> int((cutout(torch.ones(1, 1, 4, 4), 1, torch.Generator().manual_seed(0)) == 0).sum())
    1
    """
    rows = _span(len(x), x.shape[2], size, rng).to(x.device)
    columns = _span(len(x), x.shape[3], size, rng).to(x.device)
    return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def _span(count: int, length: int, size: int, rng: torch.Generator) -> Tensor:
    """Return (count, length) booleans: the pixels less than `size` on from a random start."""
    start = torch.randint(length, (count, 1), generator=rng) - size // 2
    place = torch.arange(length)
    return (place >= start) & (place < start + size)


def normalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (x - mean) / std as float32; x (batch, channels, h, w), mean and std (channels,).

    uint8 images are first brought to [0, 1]; float images are taken as they are.

    >>> white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    >>> normalise(white, torch.tensor([0.5]), torch.tensor([0.25])).item()
    2.0
    """
    scale = 255.0 if x.dtype == torch.uint8 else 1.0
    return (x.float() - (mean * scale)[:, None, None]) / (std * scale)[:, None, None]

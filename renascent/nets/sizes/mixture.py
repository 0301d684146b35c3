"""How outputs of several sizes become one: masks, or channel-wise interpolation."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from renascent.core.gates import Gate


def mask(gate: Gate, options: tuple[int, ...], width: int) -> Tensor:
    """Return how much of each of the first `width` channels is open, (width,): FBNet-V2, arXiv:2004.05565, Eq. 3.

    >>> mask(Gate(torch.tensor([0.25, 0.75]), (0, 1)), (1, 3), 3)
    tensor([1.0000, 0.7500, 0.7500])
    """
    open_to = tuple(options[k] for k in gate.active)
    return _covers(open_to, width, gate.weight.dtype, gate.weight.device) @ gate.opened


@lru_cache(maxsize=4096)
def stretching(narrow: int, wide: int) -> Tensor:
    """Return the matrix (wide, narrow) of adaptive average pooling from `narrow` channels to `wide`.

    Row i averages channels floor(i narrow / wide) up to ceil((i + 1) narrow / wide): TAS, arXiv:1905.09717, Sec. 3.1.

    >>> stretching(2, 3)
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """
    first, last = _ends(narrow, wide, torch.device("cpu"))
    columns = torch.arange(narrow, device="cpu")
    inside = ((columns >= first[:, None]) & (columns <= last[:, None])).double()
    return inside / inside.sum(1, keepdim=True)


def stretch(x: Tensor, width: int) -> Tensor:
    """Return x (batch, channels, h, w) interpolated over channels to `width` of them; itself if it has as many."""
    return x if x.shape[1] == width else _through(x, _matrix(x.shape[1], width, x.dtype, x.device))


def interpolated(x: Tensor, gate: Gate, options: tuple[int, ...]) -> Tensor:
    """Return the weighted sum of x's first C channels for every active C, each stretched to the widest.

    x: (batch, widest active option, h, w).  TAS, arXiv:1905.09717, Eq. 5.  One matrix product over the channels.
    """
    wide = x.shape[1]
    total = x.new_zeros(wide, wide)
    for k in gate.active:
        part = _matrix(options[k], wide, x.dtype, x.device) * gate.weight[k].to(x)
        total = total + functional.pad(part, (0, wide - options[k]))
    return _through(x, total)


def interpolated_rows(rows: Tensor, gate: Gate, options: tuple[int, ...]) -> Tensor:
    """Return what `interpolated` does to channels, done to the rows of a matrix (widest active option, n).

    >>> interpolated_rows(torch.tensor([[1.0], [3.0], [7.0]]), Gate(torch.tensor([0.5, 0.5]), (0, 1)), (2, 3)).T
    tensor([[1.0000, 2.5000, 5.0000]])
    """
    parts = []
    for k in gate.active:
        first, last = _ends(options[k], len(rows), rows.device)
        stretched = rows if options[k] == len(rows) else (rows[first] + rows[last]) / 2
        parts.append(stretched * gate.weight[k].to(rows))
    return sum(parts[1:], parts[0])


def padded(x: Tensor, width: int) -> Tensor:
    """Return x (batch, channels, h, w) with channels of zeros up to `width`."""
    return x if x.shape[1] == width else functional.pad(x, (0, 0, 0, 0, 0, width - x.shape[1]))


def padded_sum(a: Tensor, b: Tensor) -> Tensor:
    """Return a + b, the narrower of the two padded with channels of zeros.

    >>> padded_sum(torch.ones(1, 1, 1, 1), torch.ones(1, 2, 1, 1)).flatten()
    tensor([2., 1.])
    """
    width = max(a.shape[1], b.shape[1])
    return padded(a, width) + padded(b, width)


def _through(x: Tensor, matrix: Tensor) -> Tensor:
    return functional.conv2d(x, matrix[:, :, None, None])


@lru_cache(maxsize=4096)
def _covers(widths: tuple[int, ...], channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return 1 where a width has the channel, else 0, (channels, widths)."""
    return (torch.arange(channels, device=device)[:, None] < torch.tensor(widths, device=device)).to(dtype)


@lru_cache(maxsize=4096)
def _matrix(narrow: int, wide: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return stretching(narrow, wide).to(device, dtype)


@lru_cache(maxsize=4096)
def _ends(narrow: int, wide: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first and the last channel that each of `wide` averages, (wide,); no more than two if it stretches."""
    rows = torch.arange(wide, device=device)
    return rows * narrow // wide, -(-(rows + 1) * narrow // wide) - 1

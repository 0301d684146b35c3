"""A model in memory as a search space."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from renascent.core.errors import UserError
from renascent.nets.adapt.checks import smaller_sizes
from renascent.nets.adapt.config import Adapted


def adapt(
    model: nn.Module, shape: tuple[int, int, int], *, resolutions: Sequence[int] | bool = (), **settings: Any
) -> Adapted:
    """Return the search space of a model, which is copied. shape: of one input, (channels, h, w).

    resolutions: smaller sizes of the input to choose from, besides its own; True: all of `smaller_sizes`, those from
    half its own at which the model runs.  settings: further fields of `Adapted`.
    What searches it, is searched and loaded again with `space=` this.

    Raises UserError where the model takes no smaller input and one was asked for, or it cannot be copied.

    >>> net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 5))
    >>> space = adapt(net, (3, 8, 8))
    >>> space.space.decisions
    mappingproxy({'0': Integer(options=(8, 16), when=None)})
    >>> print(space.coverage)
    decision  now          options  what changes, or why nothing does
    0         16 channels  8, 16    0, 3
    3                      fixed    the model's output
    100% of the MACs can change
    """
    if isinstance(resolutions, bool):
        resolutions = all_smaller(Adapted(shape=shape, model=model), "resolutions is True") if resolutions else ()
    return Adapted(shape=shape, model=model, resolutions=tuple(resolutions), **settings)


def all_smaller(space: Adapted, asked: str) -> tuple[int, ...]:
    """Return the smaller sizes of the input that a model takes. asked: how they were asked for, for an error.

    Raises UserError where there are none.
    """
    channels, height, width = space.shape
    sizes = smaller_sizes(space.source, (channels, height, width))
    if not sizes:
        raise UserError(f"{asked}: the model takes no smaller inputs than {height} x {width}: leave it out")
    return sizes

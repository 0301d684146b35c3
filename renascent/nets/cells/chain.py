"""Chains of inverted residual blocks: the places of such a network, and what an architecture has there."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from renascent.core.space import Arch
from renascent.core.spaces import ChainBlock


class Block(NamedTuple):
    """One place of a chain. shortcut: whether x passes it by: a block that is left out is then that alone."""

    decision: str
    inputs: int
    outputs: int
    stride: int
    shortcut: bool


def blocks_of(
    places: Iterable[Block], kinds: Mapping[str, tuple[int, int]], arch: Arch, size: tuple[int, int]
) -> Iterator[ChainBlock]:
    """Yield the blocks of an architecture in order.

    kinds: option -> kernel and expansion; of an option without an entry both are 0.  size: of the map before the first.
    """
    for place in places:
        option, size = str(arch[place.decision]), halved(size, place.stride)
        yield ChainBlock(place.decision, option, *kinds.get(option, (0, 0)), size)


def halved(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return the size of the map behind a padded convolution.

    >>> halved((225, 32), 2)
    (113, 16)
    """
    return -(-size[0] // stride), -(-size[1] // stride)

"""The size search space of NATS-Bench: the width of each of five layers.

Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437, Sec. 3.2.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from renascent.core.errors import UserError
from renascent.core.space import Arch, Codec, Integer, Space
from renascent.core.text import short

SIZES = tuple(range(8, 65, 8))
"""The widths, in channels."""

LAYERS = tuple(f"width-{k}" for k in range(5))


@cache
def size_space() -> Space:
    """Return the space of NATS-Bench's size benchmark, 8^5 architectures; the last width varies fastest.

    Its exchange string is the authors' (arXiv:2009.00437): the widths, with colons between them.

    >>> space = size_space()
    >>> space.size, space.format(space.at(284))
    (32768, '8:8:40:32:40')
    """
    return Space(dict.fromkeys(LAYERS, Integer(SIZES)), name="nats-size", codec=Codec(_format, _parse))


def _format(arch: Arch) -> str:
    return ":".join(str(arch[name]) for name in LAYERS)


def _parse(text: str) -> Mapping[str, Any]:
    parts = text.split(":")
    known = {str(size): size for size in SIZES}
    if len(parts) != len(LAYERS) or not all(part in known for part in parts):
        allowed = f"write five widths of {', '.join(known)}, as in 8:16:24:32:40"
        raise UserError(f"{short(text)} is no architecture of nats-size: {allowed}")
    return dict(zip(LAYERS, (known[part] for part in parts), strict=True))

"""How architectures are written for others to read (Codec), and name=value where a space has no codec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from renascent.core.arch import Arch
from renascent.core.decisions import Value, quoted, written
from renascent.core.errors import UserError
from renascent.core.text import short


@dataclass(frozen=True)
class Codec:
    """How the architectures of a space are written for others to read. parse raises UserError."""

    format: Callable[[Arch], str]
    parse: Callable[[str], Mapping[str, Any]]


def written_pairs(values: Mapping[str, Value]) -> str:
    """Write values as name=value,name=value."""
    return ",".join(f"{quoted(name)}={written(value)}" for name, value in values.items())


def read_pairs(text: str) -> dict[str, str]:
    """Return the text of each value by its name. Raises UserError naming the part that cannot be read.

    >>> read_pairs("depth=2, op=conv")
    {'depth': '2', 'op': 'conv'}
    """
    found: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        name, equals, value = part.strip().partition("=")
        if not equals or unquote(name) in found:
            raise UserError(f"{short(part)} in {short(text)} cannot be read: write name=value, each name once")
        found[unquote(name)] = value
    return found

"""Settings as flags are made of them: each with its type, and with what its docstring says of it."""

import inspect
import types
import typing
from dataclasses import fields, is_dataclass, make_dataclass
from typing import Annotated, Any

from renascent.core.errors import UserError
from renascent.core.fields import Limit, Range
from renascent.core.source import OURS, arguments, place_of, static

PLAIN = (bool, int, float, str, tuple[int, ...], tuple[str, ...])
"""Types of settings that a flag can give."""


def outline_of(settings: object) -> Any:
    """Return the class of some settings with its docstring, and annotations evaluated.

    Ours is read from its source. Another package's is imported already; what no flag can give is left out of it.
    """
    kind = type(settings)
    place = getattr(kind, "stands_for", None) or place_of(kind)
    return static(place) if place.startswith(f"{OURS}.") else _outlined(settings)


def plain(kind: Any) -> tuple[Any, bool, Limit]:
    """Return the type without None, whether None was in it, and the values it takes."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        (rest, *_) = [k for k in typing.get_args(kind) if k is not types.NoneType]  # a number, before its word
        return plain(rest)[0], types.NoneType in typing.get_args(kind), plain(rest)[2]
    if typing.get_origin(kind) is Annotated:
        inner, *marks = typing.get_args(kind)
        return plain(inner)[0], False, next((mark for mark in marks if isinstance(mark, Limit)), Range())
    return kind if typing.get_origin(kind) is tuple else typing.get_origin(kind) or kind, False, Range()


def _outlined(settings: Any) -> type:
    """Return a dataclass with the settings that flags can give. Raises UserError for annotations that mean nothing."""
    kind = type(settings)
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception as e:
        raise UserError(f"the annotations of {place_of(kind)} cannot be read ({e}): import what they name") from None
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        meanings |= arguments(inspect.cleandoc(base.__doc__ or ""))
    rows = [
        (f.name, hints[f.name], f)
        for f in fields(kind)
        if f.init and (is_dataclass(getattr(settings, f.name)) or plain(hints[f.name])[0] in PLAIN)
    ]
    text = "Settings.\n\nArgs:" + "".join(f"\n    {name}: {meaning}" for name, meaning in meanings.items())
    return make_dataclass(kind.__name__, rows, namespace={"__doc__": text}, frozen=True, kw_only=True)

"""JSON objects as frozen dataclasses, whose annotations say what is under each key, and back."""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from renascent.core.errors import UserError
from renascent.core.fields import Limit
from renascent.core.files import Json, read_json

T = TypeVar("T")

ABSENT: Mapping[str, str] = {"key": "absent"}
"""Metadata of a field whose key is left out of the file where its value is empty, or the default: files that were
written before there was such a field are those of its default."""

REST: Mapping[str, str] = {"key": "rest"}
"""Metadata of a field, a dict, that holds all keys of the object that are no fields."""


def read_as(kind: type[T], path: Path, advice: str) -> T:
    """Return the object in a JSON file as a dataclass. Raises UserError as `checked`, or where there is no object."""
    return checked(kind, read_json(path), path, advice)


def checked(kind: type[T], value: object, path: Path, advice: str) -> T:
    """Return a JSON value as a dataclass; keys that it does not know are those of later versions, and let be.

    Args:
        kind: Dataclass of str, int, float, bool, list, tuple, dict, other dataclasses and None.
        value: As JSON holds it.
        path: Names the file in the error.
        advice: What the error tells the user to do.

    Raises:
        UserError: A key is missing or holds another type, or the dataclass itself refuses it.

    >>> from dataclasses import dataclass
    >>> Share = dataclass(type("Share", (), {"__annotations__": {"of": str, "most": float}}))
    >>> checked(Share, {"of": "macs", "most": 1}, Path("a.json"), "repeat the search").most
    1
    >>> checked(Share, {"of": "macs", "most": "1"}, Path("a.json"), "repeat the search")
    Traceback (most recent call last):
    renascent.core.errors.UserError: a.json is damaged (most is '1', no float): repeat the search
    """
    try:
        return _value(kind, value, "")  # type: ignore[no-any-return]
    except (UserError, ValueError) as e:
        raise UserError(f"{path} is damaged ({e}): {advice}") from None


def written(value: object) -> Any:
    """Return what `checked` reads: the dataclass as a JSON object, its keys in the order of the fields."""
    if isinstance(value, Mapping):
        return {key: written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [written(item) for item in value]
    return dict(_pairs(value)) if is_dataclass(value) else value


def with_defaults(kind: type, held: Json) -> Json:
    """Return a JSON object with the defaults of the keys that it lacks, in nested objects too.

    What was written before a setting existed is then what is written now with that setting left alone.

    >>> from dataclasses import make_dataclass
    >>> with_defaults(make_dataclass("Rule", [("lr", float), ("linear", bool, False)]), {"lr": 0.1})
    {'lr': 0.1, 'linear': False}
    """
    found = dict(held)
    for field in fields(kind):
        default = _default(field)
        if field.name not in held and default is not MISSING:
            found[field.name] = written(default)
        nested = held.get(field.name)
        if is_dataclass(default) and not isinstance(default, type) and isinstance(nested, Mapping):
            found[field.name] = with_defaults(type(default), dict(nested))
    return found


def _default(field: Field[Any]) -> Any:
    """Return the default of a field; MISSING where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        held = written(getattr(value, field.name))
        if field.metadata == REST:
            yield from held.items()
        elif field.metadata != ABSENT or held != written(_default(field)):
            yield field.name, held


def _value(kind: Any, value: Any, key: str) -> Any:
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        held = _value(args[0], value, key)
        for limit in (item for item in args[1:] if isinstance(item, Limit)):
            limit.check(key, held)
        return held
    if origin in (Union, UnionType):
        (inner,) = (arg for arg in args if arg is not NoneType)
        return None if value is None else _value(inner, value, key)
    if is_dataclass(origin) and isinstance(value, dict):
        return _object(kind, value, f"{key}." if key else "")
    if origin is dict and isinstance(value, dict):
        return {name: _value(args[1], item, f"{key}.{name}") for name, item in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        inner = args if origin is tuple and args[-1] is not Ellipsis else args[:1] * len(value)
        if len(inner) == len(value):
            return origin(_value(inner[k], item, f"{key}.{k}") for k, item in enumerate(value))
    allowed: Any = {float: (int, float), Any: object}.get(origin, origin)
    if origin in (dict, list, tuple) or is_dataclass(origin) or not isinstance(value, allowed):
        raise ValueError(f"{key or 'it'} is {value!r:.40}, no {getattr(origin, '__name__', origin)}")
    if isinstance(value, bool) and origin in (int, float):
        raise ValueError(f"{key} is {value}, no {origin.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key} is {value}, no finite number")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"{key} has {len(str(value))} digits, too many")
    return value


def _object(kind: Any, held: Json, prefix: str) -> Any:
    known, found = {field.name: field for field in fields(kind)}, {}
    for name, annotation in _hints(kind).items():
        field = known[name]
        if field.metadata == REST:
            others, inner = [key for key in held if key not in known], get_args(annotation)[1]
            found[name] = {key: _value(inner, held[key], prefix + key) for key in others}
        elif name in held:
            found[name] = _value(annotation, held[name], prefix + name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{prefix}{name} is missing")
    return kind(**found)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}

"""Settings: frozen dataclasses whose annotations say which values they take."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from renascent.core.errors import UserError, unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Which numbers a setting takes, or each of several: from `least` to `most`, both allowed, and no infinite ones.

    >>> print(Range(0), Range(0, 1))
    of at least 0 from 0 to 1
    """

    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        return f"from {self.least:g} to {self.most:g}" if self.most < math.inf else f"of at least {self.least:g}"

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and (isinstance(value, int) or math.isfinite(value))

    def check(self, name: str, value: float | Sequence[float]) -> None:
        """Raise UserError for a number that is not taken."""
        for given in value if isinstance(value, Sequence) else [value]:
            if given not in self:
                raise UserError(f"{name} is {given}: give a number {self}")


AUTO = "auto"
"""Stands for a number that a strategy chooses itself."""


@dataclass(frozen=True)
class OrAuto(Range):
    """Which numbers a setting takes, beside the word auto.

    >>> print(OrAuto(0)), "auto" in OrAuto(0), "fast" in OrAuto(0)
    of at least 0, or auto
    (None, True, False)
    """

    def __str__(self) -> str:
        return f"{super().__str__()}, or {AUTO}"

    def __contains__(self, value: float | str) -> bool:
        return value == AUTO if isinstance(value, str) else super().__contains__(value)

    def check(self, name: str, value: float | str | Sequence[float]) -> None:
        """Raise UserError for a number that is not taken, and for another word."""
        if value != AUTO:
            super().check(name, [value])  # type: ignore[list-item]


@dataclass(frozen=True)
class OneOf:
    """Which names a setting takes, or each of several.  kind: what they are names of.

    >>> OneOf("split", ["stratified", "official"]).check("split", "offical")
    Traceback (most recent call last):
    renascent.core.errors.UserError: unknown split 'offical': did you mean 'official'? known: stratified, official
    """

    kind: str
    names: Sequence[str]

    def check(self, name: str, value: str | Sequence[str]) -> None:
        """Raise UserError for a name that is not taken, with the nearest that is."""
        for given in [value] if isinstance(value, str) else value:
            if given not in self.names:
                raise unknown(self.kind, given, self.names)


@dataclass(frozen=True)
class Like:
    """Which text a setting takes: what matches all of a regular expression.  meaning: of that, in words.

    >>> Like(r"cpu|cuda", "cpu or cuda").check("device", "gpu")
    Traceback (most recent call last):
    renascent.core.errors.UserError: device is 'gpu': give cpu or cuda
    """

    pattern: str
    meaning: str

    def accepts(self, value: str) -> bool:
        """Return whether it takes a text."""
        return re.fullmatch(self.pattern, value, re.ASCII) is not None

    def check(self, name: str, value: str) -> None:
        """Raise UserError for other text."""
        if not self.accepts(value):
            raise UserError(f"{name} is '{value}': give {self.meaning}")


Limit = Range | OneOf | Like
"""What the annotation of a setting says of its values."""


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(1e-6)]
Share = Annotated[float, Range(0, 1)]
Rate = Annotated[float | str, OrAuto(0)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a frozen dataclass of keyword settings, which are checked against their annotations.

    Making one raises UserError for the first value that is of another kind or outside its limits. A `__post_init__` of
    the class's own, or one that it inherits, runs after that.

    >>> @settings
    ... class Rate:
    ...     lr: NonNegative = 0.1
    >>> Rate(lr=-1)
    Traceback (most recent call last):
    renascent.core.errors.UserError: lr is -1: give a number of at least 0
    >>> Rate(lr=None)
    Traceback (most recent call last):
    renascent.core.errors.UserError: lr is None: give a number
    """
    own: Callable[..., None] | None = getattr(cls, "__post_init__", None)

    def check(self: Any, *given: Any) -> None:
        for name, hint in get_type_hints(cls).items():
            check_kind(hint, name, getattr(self, name))
        for name, limit in limits(cls).items():
            if (value := getattr(self, name)) is not None:
                limit.check(name, value)
        if own is not None:
            own(self, *given)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def check_kind(hint: Any, name: str, value: object) -> None:
    """Raise UserError for a value that is no number, no whole one, no text or no bool, where it has to be one of these.

    >>> check_kind(int | None, "epochs", None)
    >>> check_kind(int, "epochs", 1.5)
    Traceback (most recent call last):
    renascent.core.errors.UserError: epochs is 1.5: give a whole number
    """
    kinds = _alternatives(hint)
    if all(kind in KINDS for kind in kinds):
        known = [KINDS[kind] for kind in kinds]
        flag = isinstance(value, bool) and bool not in kinds  # which is a whole number to Python
        if flag or not isinstance(value, tuple(one for allowed, _ in known for one in allowed)):
            raise UserError(f"{name} is {value!r:.40}: give {' or '.join(what for _, what in known if what)}")


KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "True or False"),
    str: ((str,), "text"),
    NoneType: ((NoneType,), ""),
}
"""Annotation -> what values of it are, and how they are called."""


def limits(cls: type) -> dict[str, Any]:
    """Return the limit of every setting that has one; one that may be None has that of its other values.

    >>> limits(Range)
    {}
    """
    hints = get_type_hints(cls, include_extras=True)
    parts = ((name, part) for name, hint in hints.items() for part in _alternatives(hint))
    found = ((name, getattr(part, "__metadata__", ())) for name, part in parts)
    return {name: item for name, items in found for item in items if isinstance(item, Limit)}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the annotations of which any may hold: several of one that may be None, say."""
    return get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)

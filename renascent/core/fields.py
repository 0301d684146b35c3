"""Settings: frozen dataclasses whose annotations say which numbers they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform, get_type_hints

from renascent.core.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Which numbers a setting takes: those from `least` to `most`, both allowed, and no infinite ones.

    >>> print(Range(0), Range(0, 1))
    of at least 0 from 0 to 1
    """

    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        return f"from {self.least:g} to {self.most:g}" if self.most < math.inf else f"of at least {self.least:g}"

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and math.isfinite(value)


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(1e-6)]
Share = Annotated[float, Range(0, 1)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a frozen dataclass of keyword settings, which are checked against the ranges of their annotations.

    Making one raises UserError for the first number that is outside its range. A `__post_init__` of the class's own
    runs after that.

    >>> @settings
    ... class Rate:
    ...     lr: NonNegative = 0.1
    >>> Rate(lr=-1)
    Traceback (most recent call last):
    renascent.core.errors.UserError: lr is -1: give a number of at least 0
    """
    own: Callable[..., None] | None = cls.__dict__.get("__post_init__")

    def check(self: Any, *given: Any) -> None:
        for name, range_ in ranges(cls).items():
            if (value := getattr(self, name)) not in range_:
                raise UserError(f"{name} is {value}: give a number {range_}")
        if own is not None:
            own(self, *given)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def ranges(cls: type) -> dict[str, Range]:
    """Return the range of every setting that has one.

    >>> ranges(Range)
    {}
    """
    hints = get_type_hints(cls, include_extras=True)
    found = ((name, getattr(hint, "__metadata__", ())) for name, hint in hints.items())
    return {name: item for name, items in found for item in items if isinstance(item, Range)}

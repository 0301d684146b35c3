"""What can be decided: Choice, Integer, Real, Subset."""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.core.errors import UserError
from renascent.core.text import short

Value = str | int | float | tuple[str, ...]
"""What a decision can be set to: a Choice, Integer, Real or Subset, in this order."""

When = tuple[str, tuple[Any, ...]] | None
"""(name of an earlier Choice or Integer, its values for which a decision is active); None: always active."""


@dataclass(frozen=True)
class Choice:
    """One of several named options. Raises UserError unless they are distinct, non-empty strings.

    >>> Choice(("skip", "conv"), when=("depth", (2, 3))).options
    ('skip', 'conv')
    """

    options: tuple[str, ...]
    when: When = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _distinct(self.options))


@dataclass(frozen=True)
class Integer:
    """One of several integers. Raises UserError unless they increase.

    >>> Integer.range(8, 32, 8).options
    (8, 16, 24, 32)
    >>> Integer.multiples(100, (0.5, 0.29, 0.295)).options
    (29, 50)
    """

    options: tuple[int, ...]
    when: When = None

    def __post_init__(self) -> None:
        try:
            options = tuple(operator.index(option) for option in self.options)
        except TypeError:
            options = ()
        if not options or any(a >= b for a, b in itertools.pairwise(options)):
            raise UserError(f"Integer options {short(self.options)} cannot be used: give increasing, distinct integers")
        object.__setattr__(self, "options", options)

    @classmethod
    def range(cls, low: int, high: int, step: int = 1, when: When = None) -> Integer:
        """Return low, low + step, ... up to and including `high`. Raises UserError if that is nothing."""
        if step < 1 or high < low:
            raise UserError(f"Integer.range({low}, {high}, {step}) is empty: give low <= high and step >= 1")
        return cls(tuple(range(low, high + 1, step)), when)

    @classmethod
    def multiples(cls, base: int, factors: Iterable[float], when: When = None) -> Integer:
        """Return each floor(base * factor), duplicates merged. Raises UserError for a negative one."""
        exact = [base * factor for factor in factors]
        if not all(0 <= value < math.inf for value in exact):
            raise UserError(f"Integer.multiples of {base} gives {exact}: give a base and factors of at least 0")
        # 0.29 * 100 is 28.999999999999996 in binary: lifted by far less than any intended fraction
        return cls(tuple(sorted({math.floor(value * (1 + 1e-12)) for value in exact})), when)


@dataclass(frozen=True)
class Real:
    """A number from low to high, even in its logarithm if `log`. Raises UserError unless low < high, finite.

    >>> Real(1e-4, 1e-2, log=True).high
    0.01
    """

    low: float
    high: float
    log: bool = False
    when: When = None

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf or (self.log and self.low <= 0):
            raise UserError(f"{self} cannot be used: give finite low < high, and low > 0 if log")


@dataclass(frozen=True)
class Subset:
    """Any of several named options, none and all included; its value is a tuple in their order.

    Raises UserError unless they are distinct, non-empty strings.

    >>> Subset(("skip", "conv")).options
    ('skip', 'conv')
    """

    options: tuple[str, ...]
    when: When = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _distinct(self.options))


Decision = Choice | Integer | Real | Subset


def _distinct(options: Iterable[str]) -> tuple[str, ...]:
    # a bare string would pass for its letters; in an exchange string an empty name would be no name
    names = () if isinstance(options, str) else tuple(options)
    if not names or not all(isinstance(n, str) and n for n in names) or len(set(names)) < len(names):
        raise UserError(f"options {short(options)} cannot be used: give distinct, non-empty strings (numbers: Integer)")
    return names


def count_values(decision: Decision) -> int | float:
    """Count the values: an int, or infinity for a Real."""
    if isinstance(decision, Real):
        return math.inf
    return 2 ** len(decision.options) if isinstance(decision, Subset) else len(decision.options)


def ways(decisions: Mapping[str, Decision], name: str) -> int:
    """Count the values of one decision and of all that depend on it: dependence is a forest."""
    decision, below = decisions[name], [(n, d.when) for n, d in decisions.items() if d.when]
    children = [(child, when[1]) for child, when in below if when[0] == name]
    if not children or isinstance(decision, Real | Subset):
        return int(count_values(decision))
    return sum(math.prod(ways(decisions, n) for n, on in children if v in on) for v in decision.options)


def value_at(decision: Decision, index: int) -> Value:
    """Return the value at an index; a Real has only its lowest."""
    if isinstance(decision, Real):
        return float(decision.low)
    if isinstance(decision, Subset):
        return tuple(option for k, option in enumerate(decision.options) if index >> k & 1)
    return decision.options[index]


def index_of(name: str, decision: Choice | Integer | Subset, value: Any) -> int:
    """Return the index of a value; bit k of a Subset's is option k. Raises UserError if not allowed."""
    if not isinstance(decision, Subset):
        if not isinstance(value, bool) and value in decision.options:
            return decision.options.index(value)
    elif isinstance(value, tuple | list | set | frozenset) and all(v in decision.options for v in value):
        return sum(1 << k for k, option in enumerate(decision.options) if option in value)
    kind = "any of" if isinstance(decision, Subset) else "one of"
    allowed = f"{', '.join(map(str, decision.options)):.300}"
    raise UserError(f"decision '{name:.80}' cannot be {short(value)}: give {kind} {allowed}")


def checked(name: str, decision: Decision, value: Any) -> Value:
    """Return the value as this decision spells it. Raises UserError if not allowed."""
    if not isinstance(decision, Real):
        return value_at(decision, index_of(name, decision, value))
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not decision.low <= value <= decision.high:
        limits = f"{decision.low} to {decision.high}"
        raise UserError(f"decision '{name}' cannot be {value!r}: give a number from {limits}")
    return float(value)


def favoured(decision: Decision, score: NDArray[np.float64]) -> Value:
    """Turn scores into the value they favour."""
    if isinstance(decision, Subset):
        return tuple(option for option, s in zip(decision.options, score, strict=True) if s > 0)
    if not isinstance(decision, Real):
        return decision.options[int(score.argmax())]
    low, high, place = decision.low, decision.high, float(np.clip(score[0], 0.0, 1.0))
    value = low * (high / low) ** place if decision.log else low + (high - low) * place
    return float(min(max(value, low), high))


def noise_for(decision: Decision, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw scores that favour every value equally."""
    return rng.random(1) if isinstance(decision, Real) else rng.standard_normal(len(decision.options))


def other_value(decision: Decision, value: Value, rng: np.random.Generator) -> Value:
    """Draw a different value: any other, and for a Subset one option added or removed."""
    if isinstance(decision, Real):
        fresh = (favoured(decision, noise_for(decision, rng)) for _ in itertools.count())
        return next(other for other in fresh if other != value)
    index, options = index_of("", decision, value), len(decision.options)
    if isinstance(decision, Subset):
        return value_at(decision, index ^ 1 << int(rng.integers(options)))
    return value_at(decision, (index + 1 + int(rng.integers(options - 1))) % options)


def quoted(text: str) -> str:
    return quote(text, safe="/:()[]|~")


def written(value: Value) -> str:
    """Write a value so that `,`, `=` and `+` stay free as separators."""
    if isinstance(value, tuple):
        return "+".join(quoted(option) for option in value)
    return quoted(value) if isinstance(value, str) else repr(value)


def read_value(decision: Decision, text: str) -> Any:
    """Read what `written` wrote; what cannot be read is returned as it is, to be refused by `checked`."""
    if isinstance(decision, Subset):
        return tuple(unquote(part) for part in text.split("+") if part)
    if isinstance(decision, Real):
        try:
            return float(text)
        except ValueError:
            return text
    return {written(option): option for option in decision.options}.get(text, unquote(text))


def check_place(name: str, decision: Decision, earlier: Mapping[str, Decision]) -> None:
    """Refuse a decision that does not fit behind the earlier ones."""
    if not isinstance(name, str) or not name or not isinstance(decision, Decision):
        raise UserError(f"{name!r}: {decision!r} is no decision: name a Choice, Integer, Real or Subset")
    when = decision.when
    if when is None:
        return
    above = earlier.get(when[0]) if isinstance(when, tuple) and len(when) == 2 else None
    if not isinstance(above, Choice | Integer):
        raise UserError(f"decision '{name}' has when={when!r}: give (earlier Choice or Integer, its values)")
    if not isinstance(when[1], tuple) or not when[1] or not all(v in above.options for v in when[1]):
        allowed = ", ".join(map(str, above.options))
        raise UserError(f"decision '{name}' has when={when!r}: give a tuple of some of {allowed}")


def resolved(decisions: Mapping[str, Decision], given: Mapping[str, Value]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return all values, an inactive decision's its first, and the names of the active ones."""
    full: dict[str, Value] = {}
    active: list[str] = []
    for name, decision in decisions.items():
        when = decision.when
        full[name] = value_at(decision, 0)
        if when and not (when[0] in active and full[when[0]] in when[1]):
            continue
        if name not in given:
            raise UserError(f"decision '{name}' has no value: it is active here, so give it one")
        full[name] = given[name]
        active.append(name)
    return full, tuple(active)


def checked_scores(name: str, decision: Decision, score: ArrayLike) -> NDArray[np.float64]:
    """Return scores as (options,), (1,) for a Real, checked."""
    array = np.atleast_1d(np.asarray(score, dtype=np.float64))
    shape = (1,) if isinstance(decision, Real) else (len(decision.options),)
    if array.shape != shape or np.isnan(array).any():
        raise UserError(f"decision '{name}' cannot have scores {array.tolist()}: give {shape[0]}, none NaN")
    return array


def is_depth(name: str) -> bool:
    """Return whether a decision is how many blocks there are.

    >>> is_depth("depth1"), is_depth("depth.layers"), is_depth("depthwise.conv")
    (True, True, False)
    """
    return re.fullmatch(r"depth(\d*|\..+)", name) is not None

"""Arch: one architecture, a value of each decision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from renascent.core.decisions import Value
from renascent.core.errors import UserError
from renascent.core.text import short


class Arch(Mapping[str, Value]):
    """One architecture: an immutable, hashable mapping from decision name to value, equal by value.

    Raises UserError for a value that is no string, number or sequence of strings.

    >>> arch = Arch({"op": "conv", "width": 16})
    >>> arch.to_json()
    '{"op": "conv", "width": 16}'
    >>> Arch.from_json('{"op": "conv", "width": 16}') == arch
    True
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        for name, value in self._values.items():
            parts = value if isinstance(value, tuple) else ()
            if not isinstance(value, str | int | float | tuple) or not all(isinstance(p, str) for p in parts):
                raise UserError(f"decision '{name:.80}' cannot be {short(value)}: give a string, a number or strings")

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Arch({self._values!r})"

    def to_json(self) -> str:
        """Return a JSON object, decision name to value; a Subset's value is a list."""
        return json.dumps(self._values)

    @classmethod
    def from_json(cls, text: str) -> Arch:
        """Read what `to_json` wrote. Raises UserError if it is something else."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise UserError(f"{short(text)} is no architecture: give a JSON object of decision names and values")
        return cls(values)

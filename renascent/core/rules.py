"""Rules: decisions of which only some may be set together, such as the two inputs of a node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.core.decisions import Choice, Decision
from renascent.core.errors import UserError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Kept:
    """Of some decisions, exactly `count` have another option than `none`: a node that keeps two of its edges.

    decisions: names of Choices without conditions, each with the option `none` and another.

    >>> Kept(("0-2", "1-2"), 2).none
    'none'
    """

    decisions: tuple[str, ...]
    count: int
    none: str = "none"

    def check(self, decisions: Mapping[str, Decision], taken: Sequence[str]) -> None:
        """Raise UserError unless it fits the decisions of a space. taken: what other rules bind already."""
        bound, different = self.decisions, set(self.decisions) - set(taken)
        if not 0 <= self.count <= len(bound) or len(different) < len(bound):
            raise UserError(f"{self} cannot be used: give decisions that no other rule binds, and at most as many kept")
        for name in bound:
            decision = decisions.get(name)
            plain = isinstance(decision, Choice) and decision.when is None and len(decision.options) > 1
            if not plain or self.none not in decision.options:  # type: ignore[union-attr]
                raise UserError(f"{self} binds '{name}': give Choices without conditions, with '{self.none}' in each")
        if dependent := [name for name, d in decisions.items() if d.when and d.when[0] in bound]:
            raise UserError(f"{self} binds what '{dependent[0]}' depends on: give decisions that nothing depends on")

    def keeping(self, values: Mapping[str, Any]) -> int:
        """Return how many of its decisions have another option than `none`."""
        return sum(values[name] != self.none for name in self.decisions)

    def strongest(self, decisions: Mapping[str, Decision], scores: Mapping[str, NDArray[np.float64]]) -> dict[str, str]:
        """Return the values of its decisions of the largest scores, (options,) of each."""
        options = [_options(decisions, name) for name in self.decisions]
        table = np.full((len(options), max(map(len, options), default=0)), -np.inf)
        for row, name in zip(table, self.decisions, strict=True):
            row[: len(scores[name])] = scores[name]
        picks = Group.of(self, decisions).chosen(table).tolist()
        return {name: own[k] for name, own, k in zip(self.decisions, options, picks, strict=True)}

    def free(self, decisions: Mapping[str, Decision], values: Mapping[str, Any], name: str) -> list[str]:
        """Return what one of its decisions could be instead, kept; nothing where none is."""
        options = _options(decisions, name) if self.count else ()
        return [option for option in options if option not in (self.none, values[name])]

    def changed(
        self, decisions: Mapping[str, Decision], values: Mapping[str, Any], name: str, rng: np.random.Generator
    ) -> dict[str, str]:
        """Return what changes where one of its decisions is kept with another option.

        One that is not kept yet takes the place of one that is.
        """
        others = self.free(decisions, values, name)
        kept = [other for other in self.decisions if values[other] != self.none]
        gone = {} if name in kept else {kept[int(rng.integers(len(kept)))]: self.none}
        return gone | {name: others[int(rng.integers(len(others)))]}

    def refuse(self, values: Mapping[str, Any]) -> None:
        """Raise UserError unless the values keep to it."""
        if (kept := self.keeping(values)) != self.count:
            names = ", ".join(self.decisions)
            raise UserError(f"{kept} of {names:.200} are not '{self.none}': let {self.count} of them be something else")


@dataclass(frozen=True)
class Group:
    """A rule on rows of option indices. places: of its decisions, (edges,).  none: that option of each, (edges,).

    options: how many each decision has, (edges,).  count: how many keep another option than `none`.
    """

    places: Indices
    none: Indices
    options: Indices
    count: int

    @classmethod
    def of(cls, rule: Kept, decisions: Mapping[str, Decision]) -> "Group":
        order, found = list(decisions), [_options(decisions, name) for name in rule.decisions]
        places, none, options = (
            np.array(
                [
                    (order.index(name), own.index(rule.none), len(own))
                    for name, own in zip(rule.decisions, found, strict=True)
                ],
                dtype=np.int64,
            )
            .reshape(-1, 3)
            .T
        )
        return cls(places, none, options, rule.count)

    @property
    def size(self) -> int:
        """How many ways there are to set its decisions: the elementary symmetric polynomial of their other options."""
        ways = [1] + [0] * self.count
        for options in self.options.tolist():
            ways = [ways[0], *(ways[k] + ways[k - 1] * (options - 1) for k in range(1, len(ways)))]
        return ways[-1]

    def legal(self, rows: Indices) -> NDArray[np.bool_]:
        """Return which rows (..., decisions) keep to it, (...)."""
        return np.asarray((rows[..., self.places] != self.none).sum(-1) == self.count)

    def chosen(self, scores: NDArray[np.float64]) -> Indices:
        """Return the option of each of its decisions, (..., edges), by scores (..., edges, options).

        An edge is as important as the best of its options other than `none`; the most important keep that one, and of
        equals the earlier.
        """
        scores = scores.copy()
        scores[..., np.arange(len(self.none)), self.none] = -np.inf
        found, order = scores.argmax(-1), np.argsort(-scores.max(-1), axis=-1, kind="stable")
        left_out = order[..., self.count :]
        np.put_along_axis(found, left_out, self.none[left_out], axis=-1)
        return np.asarray(found)

    def swaps(self, row: Indices) -> Indices:
        """Return the rows in which another of its decisions is kept in the place of one that is, (n, decisions)."""
        kept = row[self.places] != self.none
        found = []
        for gone in np.flatnonzero(kept):
            for come in np.flatnonzero(~kept):
                others = np.delete(np.arange(self.options[come]), self.none[come])
                rows = np.repeat(row[None], len(others), axis=0)
                rows[:, self.places[gone]], rows[:, self.places[come]] = self.none[gone], others
                found.append(rows)
        return np.concatenate(found) if found else row[None][:0]


def _options(decisions: Mapping[str, Decision], name: str) -> tuple[str, ...]:
    decision = decisions[name]
    assert isinstance(decision, Choice)  # `check` saw to that
    return decision.options

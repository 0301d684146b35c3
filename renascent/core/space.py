"""All that can be decided together (Space)."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.core.arch import Arch
from renascent.core.codec import Codec, read_pairs, written_pairs
from renascent.core.decisions import (
    Choice,
    Decision,
    Integer,
    Real,
    Subset,
    Value,
    When,
    check_place,
    checked,
    checked_scores,
    count_values,
    favoured,
    index_of,
    noise_for,
    other_value,
    read_value,
    resolved,
    value_at,
    ways,
)
from renascent.core.errors import UserError, unknown
from renascent.core.flow import Alive, both
from renascent.core.rules import Group, Kept

__all__ = ["Arch", "Choice", "Codec", "Decision", "Integer", "Kept", "Real", "Space", "Subset", "Value", "When"]


@dataclass(frozen=True, eq=False)
class Space:
    """All architectures that can be chosen: decisions by name, in order. Raises UserError if they do not fit.

    codec: writes and reads architectures; without one they read `name=value,name=value`.
    rules: of which decisions only some are kept (a DARTS node has two inputs); indices know decisions only.
    alive: takes out of all values what no path uses, so that what differs in dead edges only is one architecture.

    >>> op = Choice(("skip", "conv", "pool"), when=("depth", (2,)))
    >>> space = Space({"depth": Integer((1, 2)), "op": op})
    >>> space.size, len(list(space))
    (4, 4)
    >>> space.sample(np.random.default_rng(0)) in set(space)
    True
    >>> arch = space.arch({"depth": 2, "op": "conv"})
    >>> space.index(arch), space.at(4) == arch, space.indices(arch).tolist()
    (4, True, [1, 1])
    >>> space.from_indices([1, 1]) == arch
    True
    >>> space.format(arch), space.parse("depth=2,op=conv") == arch
    ('depth=2,op=conv', True)
    >>> space.discretise({"depth": [1.0, 0.0], "op": [0.0, 0.0, 1.0]})
    Arch({'depth': 1, 'op': 'skip'})
    >>> space.active(space.arch({"depth": 1})), space.options("depth"), space.counts
    (('depth',), (1, 2), (2, 3))
    >>> space.mutate(arch, np.random.default_rng(0)) == arch
    False
    >>> space.join(Space({"lr": Real(0.0, 1.0)})).size
    inf
    """

    decisions: Mapping[str, Decision]
    name: str = ""
    codec: Codec | None = None
    rules: tuple[Kept, ...] = ()
    alive: Alive | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "decisions", MappingProxyType(dict(self.decisions)))
        earlier: dict[str, Decision] = {}
        for name, decision in self.decisions.items():
            check_place(name, decision, earlier)
            earlier[name] = decision
        for k, rule in enumerate(self.rules):
            rule.check(earlier, [name for other in self.rules[:k] for name in other.decisions])

    def __eq__(self, other: object) -> bool:
        """Equal when name, rules and decisions are, order included: indices must mean the same."""
        return isinstance(other, Space) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return self.name, self.rules, tuple(self.decisions.items())

    def __reduce__(self) -> tuple[Any, ...]:
        # a mapping proxy can be neither copied nor pickled, and networks that hold a space are
        return Space, (dict(self.decisions), self.name, self.codec, self.rules, self.alive)

    def __bool__(self) -> bool:
        return True  # or truth would ask __len__, which an infinite space refuses

    @cached_property
    def size(self) -> int | float:
        """How many architectures there are, dead edges told apart: an int, or infinity with a Real."""
        if any(isinstance(d, Real) for d in self.decisions.values()):
            return math.inf
        bound = [name for rule in self.rules for name in rule.decisions]
        free = (ways(self.decisions, n) for n, d in self.decisions.items() if not (d.when or n in bound))
        return math.prod(free) * math.prod(group.size for group in self.groups)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Its rules, on rows of option indices."""
        return tuple(Group.of(rule, self.decisions) for rule in self.rules)

    def legal(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows of option indices (..., decisions) keep to the rules, (...); all where there is none."""
        rows = np.asarray(indices)
        kept = [group.legal(rows) for group in self.groups]
        return np.asarray(np.all([np.ones(rows.shape[:-1], dtype=bool), *kept], axis=0))

    def strongest(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the option indices (..., decisions) of the largest scores (..., decisions, options), by the rules."""
        scores = np.where(np.arange(max(self.counts)) < np.array(self.counts)[:, None], scores, -np.inf)
        rows = np.asarray(scores.argmax(-1))
        for group in self.groups:
            rows[..., group.places] = group.chosen(scores[..., group.places, :])
        return rows

    @property
    def span(self) -> int:
        """The number of indices: over `size` if decisions have conditions. Raises UserError with a Real."""
        return math.prod(int(count_values(decision)) for _, decision in self._discrete("indices"))

    def __len__(self) -> int:
        if self.size > sys.maxsize:
            raise UserError(f"space '{self.name}' has {self.size} architectures, over len: read .size")
        return int(self.size)

    def __iter__(self) -> Iterator[Arch]:
        """Every architecture once, by increasing index. Raises UserError with a Real: there is no end."""
        values = [[value_at(d, k) for k in range(int(count_values(d)))] for _, d in self._discrete("list")]
        for row in itertools.product(*values):
            arch = Arch(dict(zip(self.decisions, row, strict=True)))
            if all(rule.keeping(arch) == rule.count for rule in self.rules) and self.arch(arch) == arch:
                yield arch

    def arch(self, values: Mapping[str, Any]) -> Arch:
        """Check and normalise: an inactive decision may be left out and is set to its first option, dead edges go.

        Raises UserError for a name or a value that is not in the space, for an active decision left out, and for values
        that break a rule.
        """
        found = self._resolve(values)[0]
        for rule in self.rules:
            rule.refuse(found)
        return Arch(found)

    def active(self, arch: Arch) -> tuple[str, ...]:
        """Return the names of the decisions that matter in `arch`. Raises UserError if not of this space."""
        return self._resolve(arch)[1]

    def _resolve(self, values: Mapping[str, Any]) -> tuple[dict[str, Value], tuple[str, ...]]:
        """Return all values, normalised, and the names of the active decisions."""
        given = {name: checked(name, self._decision(name), value) for name, value in values.items()}
        full, active = resolved(self.decisions, given)
        return full | (self.alive(full) if self.alive else {}), active

    def _decision(self, name: str) -> Decision:
        if name not in self.decisions:
            raise unknown("decision", name, self.decisions)
        return self.decisions[name]

    def options(self, name: str) -> tuple[Any, ...]:
        """Return the options of a decision. Raises UserError for a Real, and an unknown name."""
        decision = self._decision(name)
        if isinstance(decision, Real):
            raise UserError(
                f"decision '{name}' is a Real and has no options, so it cannot be gated: "
                "use Choice or Integer, or search it with an ask/tell strategy"
            )
        return decision.options

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many options each decision has, in order. Raises UserError with a Real."""
        return tuple(len(self.options(name)) for name in self.decisions)

    def _discrete(self, what: str) -> list[tuple[str, Choice | Integer | Subset]]:
        """Return the decisions by name, all of which must have countable values."""
        for name, decision in self.decisions.items():
            if isinstance(decision, Real):
                raise UserError(f"decision '{name}' is a Real, so there is no {what}: use an Integer")
        return [(name, d) for name, d in self.decisions.items() if not isinstance(d, Real)]

    def indices(self, arch: Arch) -> NDArray[np.int64]:
        """Return the option index of each decision, (decisions,); bit k stands for option k of a Subset.

        Raises UserError with a Real, and for an index over 63 bits (a Subset of more options).
        """
        values = self.arch(arch)
        found = [index_of(name, decision, values[name]) for name, decision in self._discrete("index")]
        if max(found, default=0) > np.iinfo(np.int64).max:
            raise UserError(f"a Subset of space '{self.name}' has over 63 options: an array cannot index it")
        return np.array(found, dtype=np.int64)

    def from_indices(self, indices: Iterable[int]) -> Arch:
        """Return the architecture of option indices, (decisions,), as `indices` gives them. Raises UserError."""
        picks = [int(k) for k in indices]
        found = self._discrete("index")
        if len(picks) != len(found) or any(
            not 0 <= k < count_values(d) for k, (_, d) in zip(picks, found, strict=False)
        ):
            raise UserError(f"{picks} are no option indices of space '{self.name}': give one for each decision")
        return self.arch({name: value_at(d, k) for k, (name, d) in zip(picks, found, strict=True)})

    def index(self, arch: Arch) -> int:
        """Return the position of `arch`, the last decision fastest. Raises UserError if not of this space."""
        values, place = self.arch(arch), 0
        for name, decision in self._discrete("index"):
            place = place * int(count_values(decision)) + index_of(name, decision, values[name])
        return place

    def at(self, index: int) -> Arch:
        """Return the architecture at an index. Raises UserError unless 0 <= index < span."""
        if not 0 <= index < self.span:
            raise UserError(f"index {index} is outside space '{self.name}': give 0 to {self.span - 1}")
        values, rest = {}, int(index)
        for name, decision in reversed(self._discrete("index")):
            rest, k = divmod(rest, int(count_values(decision)))
            values[name] = value_at(decision, k)
        return self.arch(values)

    def discretise(self, scores: Mapping[str, ArrayLike]) -> Arch:
        """Turn one score per option into an architecture, by the rules where the space has some.

        Choice, Integer: the first highest.  Subset: all above zero.  Real: one score, clipped to [0, 1], the
        place between low and high.  Raises UserError for a missing, unknown, misshapen or NaN score.
        """
        clean = {name: checked_scores(name, self._decision(name), score) for name, score in scores.items()}
        if missing := [name for name in self.decisions if name not in clean]:
            raise UserError(f"decision '{missing[0]}' has no scores: give one per option for every decision")
        found = {name: favoured(decision, clean[name]) for name, decision in self.decisions.items()}
        for rule in self.rules:
            found |= rule.strongest(self.decisions, clean)
        return self.arch(found)

    def sample(self, rng: np.random.Generator) -> Arch:
        """Discretise noise: uniform in every active decision, and in what a rule keeps."""
        return self.discretise({name: noise_for(decision, rng) for name, decision in self.decisions.items()})

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Change one active decision, or which of two a rule keeps. Raises UserError if there is nothing to change."""
        values, active = self._resolve(arch)
        bound = {name: rule for rule in self.rules for name in rule.decisions}
        free = [name for name in active if name not in bound and count_values(self.decisions[name]) > 1]
        free += [name for name in bound if bound[name].free(self.decisions, values, name)]
        if not free:
            raise UserError(f"space '{self.name}' has nothing to mutate: give a decision two options")
        found = before = Arch(values)
        while found == before:  # an edge that nothing feeds changes nothing: then one more
            name = free[int(rng.integers(len(free)))]
            if name in bound:
                values |= bound[name].changed(self.decisions, values, name, rng)
            else:
                values |= {name: other_value(self.decisions[name], values[name], rng)}
            found = self.arch(values)
        return found

    def join(self, other: Space) -> Space:
        """Return the space of both, without codecs. Raises UserError if they share a decision's name."""
        if shared := [name for name in self.decisions if name in other.decisions]:
            raise UserError(f"spaces '{self.name}' and '{other.name}' both decide '{shared[0]}': rename one")
        if not (self.decisions and other.decisions):
            return self if self.decisions else other
        name = "+".join(part.name for part in (self, other) if part.name)
        return Space(
            {**self.decisions, **other.decisions}, name, None, self.rules + other.rules, both(self.alive, other.alive)
        )

    def format(self, arch: Arch) -> str:
        """Write `arch` for exchange: by the codec, or as name=value of what is active. Raises UserError."""
        values, active = self._resolve(arch)
        if self.codec:
            return self.codec.format(Arch(values))
        return written_pairs({name: values[name] for name in active})

    def parse(self, text: str) -> Arch:
        """Read what `format` wrote. Raises UserError naming the part that cannot be read."""
        if self.codec:
            return self.arch(self.codec.parse(text))
        return self.arch({name: read_value(self._decision(name), value) for name, value in read_pairs(text).items()})

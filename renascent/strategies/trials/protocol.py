"""Ask and tell: how a multi-trial search proposes architectures and hears how they did."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Space

S = TypeVar("S")


class Proposal(NamedTuple):
    """One trial to run. picks: option index of each decision.  epochs: to train; 0 for all that the evaluator has.

    note: JSON value that the strategy wants back with the answer.
    """

    picks: tuple[int, ...]
    epochs: int = 0
    note: Any = None


class Outcome(NamedTuple):
    """How a trial ended. score: higher is better, minus infinity where it failed or broke a constraint.

    seconds: it took.  metrics: other figures by name.
    feasible: False when a constraint ruled the architecture out before it was evaluated.
    """

    score: float
    seconds: float
    metrics: dict[str, float] = {}  # noqa: RUF012 (a tuple's field; nothing writes to it)
    feasible: bool = True


class Trials(Protocol[S]):
    """A multi-trial strategy: a frozen dataclass of hyperparameters. All that changes is the state it returns."""

    def init(self, space: Space) -> S:
        """Return the state of a new search. Raises UserError for a space the strategy cannot search."""

    def ask(self, s: S, rng: np.random.Generator, pending: Sequence[Proposal]) -> Proposal:
        """Return the next proposal, changing nothing. pending: proposals without an answer yet."""

    def tell(self, s: S, proposal: Proposal, outcome: Outcome) -> S:
        """Return the state that knows one more answer."""


Evaluator = Callable[[Proposal, int], Outcome]
"""(proposal, seed) -> its outcome."""


def option_counts(space: Space) -> tuple[int, ...]:
    """Return how many options each decision has. Raises UserError with a Real, or where a rule or a condition binds.

    >>> option_counts(Space({"a": Choice(("x", "y"))}))
    (2,)
    """
    for name, decision in space.decisions.items():
        if not isinstance(decision, Choice | Integer) or decision.when or space.rules:
            raise UserError(f"decision '{name}' cannot be searched by trials: give unconditional Choices and Integers")
    return space.counts

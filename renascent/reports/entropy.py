"""The entropy of a policy at its end, beside that of the even one it began with: whether a search has decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from renascent.core.fields import AUTO
from renascent.core.space import Subset

if TYPE_CHECKING:
    from renascent.results.epochs import SearchEpoch
    from renascent.results.record import Record

HARDLY = 0.9
"""Share of its first entropy above which a policy is undecided at its end."""

NO_BETTER = "the strategy's own choice scored no better than random ones"

RATES = ("arch_lr", "controller_lr")
"""Settings by which the logits of a policy learn."""


@dataclass(frozen=True)
class Entropy:
    """Mean entropy of a policy's decisions, in nats. rate: the name of its learning rate, and that.  epochs: it had.

    learnt: whether an architecture step was taken at all.
    """

    start: float
    end: float
    rate: tuple[str, float]
    epochs: int
    learnt: bool = True

    def __str__(self) -> str:
        return f"{self.end:.3f} nats at the end, {self.start:.3f} at the start"

    @property
    def undecided(self) -> str:
        """One sentence where the logits hardly moved; empty where they did.

        >>> Entropy(1.371, 0.8, ("arch_lr", 0.01), 20).undecided
        ''
        """
        if self.end <= HARDLY * self.start:
            return ""
        if not self.learnt:
            return (
                "The search stayed undecided: it was too short for an architecture step, so nothing speaks for what "
                f"was chosen; more epochs than {self.epochs}, or a smaller batch, would take some."
            )
        name, lr = self.rate
        flag = f"--{name.replace('_', '-')}"
        return (
            f"The search stayed undecided: its policy's entropy is {self}, so the logits hardly moved and "
            f"little speaks for what was chosen; a larger {name} ({flag}) than {lr:g}, or more epochs than "
            f"{self.epochs}, would let them."
        )


def policy_entropy(result: Record) -> Entropy | None:
    """Return the entropy of a search's policy; None where it has no logits that learn, or no epoch was recorded.

    Logits begin even, but for a thousandth. Raises UserError where the events of the search are damaged.
    """
    epochs = result.epochs
    if not epochs:
        return None
    held, last, even = result.asked.strategy_config, epochs[-1], most(result)
    rates = [(name, rate) for name in RATES if (rate := _rate(held.get(name), last)) is not None]
    names = [name for name in last.entropy if name in even]
    if not rates or not names:
        return None
    start, end = (sum(of[name] for name in names) / len(names) for of in (even, last.entropy))
    return Entropy(start, end, rates[0], last.epochs, any("val_loss" in epoch.metrics for epoch in epochs))


def replaced(result: Record) -> str:
    """Return one sentence where the result is not what its strategy chose; "" where it is."""
    if not result.about.instead:
        return ""
    return f"Inside the budget {NO_BETTER}; {result.about.instead} took its place."


def _rate(given: object, last: SearchEpoch) -> float | None:
    """Return a learning rate as it was given, or as it was at the end where the strategy chose it itself."""
    return last.policy_lr if given == AUTO else float(given) if isinstance(given, int | float) else None


def counts(result: Record) -> dict[str, int]:
    """Return how many options each decision has; 0 for one of another kind."""
    return {name: len(getattr(decision, "options", ())) for name, decision in result.space.space.decisions.items()}


def subsets(result: Record) -> set[str]:
    """Return the decisions that keep any of their options."""
    return {name for name, decision in result.space.space.decisions.items() if isinstance(decision, Subset)}


def most(result: Record) -> dict[str, float]:
    """Return the largest entropy of each decision (nats): of a subset, that of as many coins as it has options."""
    several = subsets(result)
    return {n: k * math.log(2) if n in several else math.log(max(k, 1)) for n, k in counts(result).items()}

"""The learning rate of logits that fits the length of a search."""

from dataclasses import dataclass

from renascent.core.fields import AUTO

FASTEST = 10.0
"""By how much a rate is raised at most, whatever the length."""


@dataclass(frozen=True)
class Pace:
    """The learning rate of the logits in a paper, and the steps that it had.

    Adam moves a logit by about its rate in a step, so that rate times steps is how far it can come: a search a tenth as
    long needs a rate ten times as large to be as decided. A longer one keeps the paper's rate. What a short search
    thinks rests on young weights, which is why the rate has a bound. `FASTEST` is measured: in an epoch of FBNet-V2
    logits 30 times as fast as the paper's can jump over the budget and stay there (What bounds, in benchmarks/results).

    >>> pace = Pace(3e-4, 39_000)
    >>> [round(pace.rate("auto", steps), 6) for steps in (390_000, 39_000, 3_900, 39)], pace.rate(0.1, 39)
    ([0.0003, 0.0003, 0.003, 0.003], 0.1)
    """

    paper: float
    steps: int

    def rate(self, given: float | str, steps: int) -> float:
        """Return the rate that is given, or for `auto` that of a search of so many steps; 0: nobody says."""
        if isinstance(given, str):
            assert given == AUTO, given
            return self.paper * min(max(self.steps / steps, 1.0), FASTEST) if steps else self.paper
        return given

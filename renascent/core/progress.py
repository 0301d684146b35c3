"""Where a run stands, and the training that it is a part of."""

from dataclasses import dataclass


def linear(start: float, end: float, fraction: float) -> float:
    """Return where a value is that moves on a straight line over the search.

    >>> linear(10.0, 0.1, 0.0), round(linear(10.0, 0.1, 1.0), 6)
    (10.0, 0.1)
    """
    return start + (end - start) * fraction


@dataclass(frozen=True)
class Rest:
    """The rest of the training that a run is a part of. before: steps taken already.  epochs: of these.

    after: steps still to come behind the run.
    """

    before: int = 0
    epochs: int = 0
    after: int = 0


ALONE = Rest()
"""Of a run that is a whole training."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands. step: steps done before this one.  steps: in the whole run.

    rest: of the training that the run is a part of; its learning rate is on the schedule of the whole.
    """

    step: int
    steps: int
    steps_per_epoch: int
    rest: Rest = ALONE

    @property
    def fraction(self) -> float:
        """0 at the first step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    @property
    def epochs(self) -> float:
        """Passes over the training images before this step, broken ones too."""
        return self.step / self.steps_per_epoch

    @property
    def rate_fraction(self) -> float:
        """Where the schedule of the learning rate stands: 0 at the first step of the whole training, 1 at its last.

        >>> Progress(1, 2, 2).rate_fraction, Progress(1, 2, 2, Rest(before=1, after=2)).rate_fraction
        (1.0, 0.5)
        """
        steps = self.rest.before + self.steps + self.rest.after
        return (self.rest.before + self.step) / max(steps - 1, 1)

    @property
    def rate_epochs(self) -> float:
        """Passes over training images in the whole training before this step, broken ones too."""
        return self.rest.epochs + self.epochs

    def warmed(self, epochs: int) -> tuple[float, float, float]:
        """Return where a learning rate stands that first rises to its start for some epochs, on a straight line.

        Returns:
            The share of that start, then `rate_fraction` and `rate_epochs` of the schedule behind.

        >>> [Progress(step, 5, 1).warmed(2) for step in (0, 1, 2, 4)]
        [(0.5, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 2.0)]
        """
        warm, done = epochs * self.steps_per_epoch, self.rest.before + self.step
        if done < warm:
            return (done + 1) / warm, 0.0, 0.0
        steps = self.rest.before + self.steps + self.rest.after - warm
        return 1.0, (done - warm) / max(steps - 1, 1), self.rate_epochs - epochs

    @property
    def ends_epoch(self) -> bool:
        return (self.step + 1) % self.steps_per_epoch == 0

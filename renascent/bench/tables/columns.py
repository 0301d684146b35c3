"""What the columns of a benchmark table mean, and the search problems a table poses."""

import math
from dataclasses import dataclass
from itertools import pairwise

from renascent.core.errors import UserError, unknown
from renascent.core.text import short

METRICS = {
    **{f"{split}_accuracy": "%" for split in ("train", "val", "test", "valtest")},
    **{f"{split}_loss": "nats" for split in ("train", "val", "test", "valtest")},
    "seconds_per_epoch": "s",
    "params": "parameters",
    "macs": "multiply-accumulates",
    "latency_ms": "ms",
    "energy_mj": "mJ",
    "arithmetic_intensity": "operations a byte",
}
"""What a column can hold, and its unit. "valtest": on the validation and the test images together."""


@dataclass(frozen=True)
class Column:
    """One quantity of every architecture, an array of (architectures, [seeds], [at]).

    metric: one of `METRICS`.
    data: name of the data set, "" where it depends on none.
    epochs: length of the training schedule, 0 where none was trained.
    device: on which it was measured, "" for none.
    seeds: of the trainings, empty where the source tells only one value or a mean.
    at: epochs within the schedule that were recorded, counted from 1; empty for the last one only.
    measured: a time or an energy, which no repetition gives again.
    note: where it comes from, in words.
    """

    metric: str
    data: str = ""
    epochs: int = 0
    device: str = ""
    seeds: tuple[int, ...] = ()
    at: tuple[int, ...] = ()
    measured: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise unknown("metric", self.metric, METRICS)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "at", tuple(self.at))
        if self.epochs < 0 or min(self.seeds, default=0) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(
                f"column '{self.metric}' has {short(self.epochs)} epochs and the seeds {short(self.seeds)}: give whole "
                "numbers of at least 0, each seed once"
            )
        if self.at and not (
            self.at[0] >= 1 and all(a < b for a, b in pairwise(self.at)) and self.at[-1] <= self.epochs
        ):
            raise UserError(
                f"column '{self.metric}' has values at {short(self.at)}: give epochs from 1 to {short(self.epochs)}, "
                "each after the one before it"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest number that it can hold; none is infinite.

        >>> Column("val_accuracy").limits[1], Column("params").limits[0]
        (100.001, 0.0)
        """
        share = self.metric.endswith("_accuracy")
        # what is computed from rounded percentages may miss its range by as much
        return (-0.001, 100.001) if share else (0.0, math.inf)

    @property
    def key(self) -> str:
        """The column's name.

        >>> Column("val_accuracy", "cifar10", 12).key, Column("latency_ms", device="pixel3").key
        ('val_accuracy:cifar10:12', 'latency_ms:pixel3')
        """
        parts = (self.metric, self.data, str(self.epochs or ""), self.device)
        return ":".join(part for part in parts if part)


@dataclass(frozen=True)
class Problem:
    """A search problem that a table poses: find the architecture of the best result by its signal, within a time.

    name: of the data set.
    signal: column that a search may look at, higher is better; one trial is one training of its schedule.
    seconds: column of the seconds that an epoch of the signal's training takes.
    result: column that judges what a search returns.
    """

    name: str
    signal: str
    seconds: str
    result: str

"""What the events of a run say of its epochs, read and checked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from renascent.core.errors import UserError
from renascent.core.fields import Count
from renascent.core.schema import REST, checked
from renascent.loops.run import read_events

E = TypeVar("E", bound="Epoch")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The event of an epoch of any training. metrics: means over its steps, and what was judged after it."""

    event: str
    epoch: Count
    epochs: Count
    metrics: dict[str, float] = field(metadata=REST)
    seconds: float = 0.0
    time: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SearchEpoch(Epoch):
    """The event of an epoch of a search: what the strategy then thinks.

    entropy: of each decision (nats).  likeliest: the mode.  truth: of that, in percent.  costs: expected, in times the
    budget's limit.  sizes: mean and standard deviation of each.  policy_lr: then, of the strategy's optimiser.
    """

    entropy: dict[str, float]
    likeliest: str
    truth: float | None = None
    costs: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    policy_lr: float | None = None


def read_epochs(kind: type[E], folder: Path) -> list[E]:
    """Return the events of all epochs of a run. Raises UserError where one is damaged, or lacks what the others say."""
    path, advice = Path(folder) / "events.jsonl", "it was edited; repeat the run"
    found = [checked(kind, event, path, advice) for event in read_events(folder) if event["event"] == "epoch"]
    for name in ("entropy", "costs", "sizes"):
        if len({frozenset(getattr(epoch, name, ())) for epoch in found}) > 1:
            raise UserError(f"{path} is damaged ({name} differs in its keys between epochs): repeat the run")
    return found

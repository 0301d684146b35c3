"""What the files of a run folder say: one frozen dataclass for each object, its fields in the order of the keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from renascent.core.fields import Count, NonNegative, Range, Whole
from renascent.core.preparation import Preparation
from renascent.core.schema import ABSENT, REST
from renascent.costs import Latency
from renascent.loops.evaluate import ByClass
from renascent.loops.fit import Fit
from renascent.tasks.distill import Distillation

KINDS: Mapping[str, type] = {"settings": Fit, "distillation": Distillation}
"""What is under some keys of the configuration of a training."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a benchmark table knows, in percent. accuracy: of what was found; best, mean: of all architectures."""

    accuracy: float | None = None
    table: str
    problem: str
    column: str = ""
    best: float
    mean: float
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One bounded cost. promised: as predicted.  by: of a latency: whose table predicted it.

    network: of a latency: what that table prices in place of the network that was searched, of the same decisions.
    """

    limit: Annotated[float, Range(1e-12)]
    promised: float
    measured: float | None
    by: str = field(default="", metadata=ABSENT)
    network: str = field(default="", metadata=ABSENT)

    @property
    def used(self) -> float:
        """Share of the limit that it takes: as measured, where it was."""
        return (self.promised if self.measured is None else self.measured) / self.limit


@dataclass(frozen=True, kw_only=True)
class Point:
    """An architecture in the plane of accuracy and cost. costs: by name.  score: inside the supernet."""

    name: str
    costs: dict[str, float] = field(metadata=REST)
    score: float


@dataclass(frozen=True, kw_only=True)
class Original:
    """The reference of a size space, or the user's model as given, beside what was found, on the same images.

    given: it has the weights it came with, not those of the search.  score: its accuracy on `split`.  found: that of
    what was found, with the search's weights.
    """

    params: Whole
    macs: Whole
    latency_ms: Latency | None = None
    given: bool = False
    split: str
    score: float
    found: float


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A decision about a user's model. when: another decision, and its values where this one matters."""

    options: tuple[int, ...]
    when: tuple[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """The reference scaled uniformly to the budget of a search. costs: counted, and as predicted of what is bounded.

    way: the settings of the strategy `uniform` that give it; None where an earlier version did not say.
    """

    arch: str
    way: Mapping[str, bool] | None = field(default=None, metadata=ABSENT)
    costs: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class About:
    """arch.json: what a search found, and what it costs.

    not_counted: operations that are not among the macs.  decisions: of a user's model, which only its code could tell.
    preparation: how the images of the search became inputs; None where its task, or an earlier version, did not say.
    cited: what a strategy of another package names as its source, since a report does not import it.
    scored_by: what `search_score` and those of `plane` are: accuracy, or agreement (nats).
    uniform: of a search of sizes inside a budget, what scaling alone gives there.
    instead: what was taken where the strategy's own choice scored no better than random ones; "": that choice.
    """

    space: str
    arch: str
    strategy: str
    seed: Whole
    task: str
    space_config: dict[str, Any]
    channels: Count
    size: tuple[Count, Count]
    classes: Count
    search_score: float
    scored_by: str = field(default="accuracy", metadata=ABSENT)
    search_seconds: NonNegative
    truth: Truth | None = field(default=None, metadata=ABSENT)
    params: Whole
    macs: Whole
    not_counted: tuple[str, ...] = field(default=(), metadata=ABSENT)
    latency_ms: Latency
    costs: dict[str, Cost] = field(default_factory=dict, metadata=ABSENT)
    plane: list[Point] = field(default_factory=list, metadata=ABSENT)
    decisions: dict[str, Decided] = field(default_factory=dict, metadata=ABSENT)
    preparation: Preparation | None = field(default=None, metadata=ABSENT)
    original: Original | None = field(default=None, metadata=ABSENT)
    cited: tuple[str, ...] = field(default=(), metadata=ABSENT)
    uniform: Scaled | None = field(default=None, metadata=ABSENT)
    instead: str = field(default="", metadata=ABSENT)

    @property
    def beside(self) -> Scaled | None:
        """What scaling alone gives, where the result is another network."""
        return self.uniform if self.uniform and self.uniform.arch != self.arch else None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What of a task's augmentation is cited. cutout: side of the square; 0 for none."""

    cutout: int = 0


@dataclass(frozen=True, kw_only=True)
class Data:
    """The task of a search. A task of the user's own need not say how it augments."""

    name: str
    source: str = "given by the user"
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """config.json: what a search was asked for, as far as it is read again."""

    space: str
    space_config: dict[str, Any]
    strategy: str
    strategy_config: dict[str, Any]
    task: Data
    weights: dict[str, Any]
    seed: int
    truth: Truth | None = None
    budget: str | None = None
    finish: Whole = 0
    sandwich: Whole = 0
    score: str = "accuracy"
    model: Any = None


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who taught, by name and by the weights' fingerprint."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference trained identically. given: it was trained before, by the user."""

    arch: str
    scores: dict[str, float]
    given: bool = field(default=False, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A random architecture trained identically. costs: of what is bounded.  scores: of each split."""

    arch: str
    costs: dict[str, float] = field(default_factory=dict, metadata=ABSENT)
    scores: dict[str, float] = field(metadata=REST)


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """What scaling or pruning gives, trained identically.

    init: where its weights began.  costs: as in `Scaled`.  scores: of each split.
    """

    arch: str
    init: str
    costs: dict[str, float] = field(default_factory=dict, metadata=ABSENT)
    scores: dict[str, float] = field(metadata=REST)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Another network of the space that was searched, with the same decisions, and the shape of its data."""

    space_config: dict[str, Any]
    channels: Count
    size: tuple[Count, Count]
    classes: Count


@dataclass(frozen=True, kw_only=True)
class Training:
    """fit/result.json: what the last `fit` reached, how, and beside what. seconds: of training alone.

    network: what was trained, where that is larger than what was searched, say.
    searched_epochs: of the search that was the first part of this training; 0: it is one of its own.
    preparation: as in `About`, of the images of the training.  given_scores: of the user's model as it was given.
    by_class: of each split.  metrics: of each split, by the user's own metric.
    """

    task: str = ""
    same_data: bool = True
    scores: dict[str, float]
    seconds: NonNegative
    settings: Fit
    seed: Whole
    prune: bool
    params: Whole
    macs: Whole
    teacher: Teacher | None = None
    distillation: Distillation | None = None
    init: str = "fresh"
    random_init: str = ""
    reference: Reference | None = None
    random_cells: list[Cell]
    random_within: str | None = field(default=None, metadata=ABSENT)
    network: Network | None = field(default=None, metadata=ABSENT)
    searched_epochs: Whole = field(default=0, metadata=ABSENT)
    preparation: Preparation | None = field(default=None, metadata=ABSENT)
    given_scores: dict[str, float] = field(default_factory=dict, metadata=ABSENT)
    uniform: Uniform | None = field(default=None, metadata=ABSENT)
    magnitude: Uniform | None = field(default=None, metadata=ABSENT)
    by_class: dict[str, ByClass] = field(default_factory=dict, metadata=ABSENT)
    metrics: dict[str, float] = field(default_factory=dict, metadata=ABSENT)

    def __post_init__(self) -> None:
        for split in self.scores:
            if any(split not in cell.scores for cell in self.random_cells):
                raise ValueError(f"random_cells: a score of {split} is missing")
            for name, made in (("uniform", self.uniform), ("magnitude", self.magnitude)):
                if made and split not in made.scores:
                    raise ValueError(f"{name}.{split} is missing")
            if self.reference and split not in self.reference.scores:
                raise ValueError(f"reference.scores.{split} is missing")
        if not self.scores:
            raise ValueError("scores is {}, no score")
        if self.teacher and not self.distillation:
            raise ValueError("distillation is missing")


@dataclass(frozen=True, kw_only=True)
class Git:
    """The state of a checkout. changed: files differ from the commit."""

    commit: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Session:
    """Where and by what command one session worked, of environment.json."""

    time: str
    command: list[str]
    python: str
    platform: str
    processor: str
    device: str
    threads: int
    versions: dict[str, str]
    git: Git | None

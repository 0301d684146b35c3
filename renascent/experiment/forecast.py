"""What a search will cost, said before it begins, and where what was measured speaks for uniform scaling."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.bounds import LATENCY
from renascent.core.errors import UserError
from renascent.core.gates import ONE_HOT_DECISIONS
from renascent.core.names import name_of
from renascent.core.protocols import Family, Goal, OneShot, SpaceConfig, Task
from renascent.core.text import counted, number
from renascent.core.thin import has_subsets
from renascent.core.within import uniform
from renascent.costs.budget import Budget
from renascent.costs.counts import cost_of
from renascent.costs.scaling import flags, has_depths, is_size_space, scaled
from renascent.experiment.defaults import default_strategy
from renascent.nets import RECORDED
from renascent.nets.sizes.sized import has_depthwise
from renascent.strategies import FAMILIES, NAMED
from renascent.strategies.uniform import Uniform

DRAWS = 1000
"""Architectures drawn evenly, over which multiply-accumulates are averaged."""

SAMPLED, LARGER, WIDEST = "drawn evenly", "the larger of two drawn evenly", "the largest at a drawn resolution"
"""Of which networks a strategy's steps have the cost, in a search that has not learnt yet."""


class Steps(NamedTuple):
    """The measured cost of a strategy's steps. weight, architecture: in training steps of the network `of`."""

    weight: float
    architecture: float
    of: str = SAMPLED


STEPS: Mapping[str, Steps] = {
    "rsps": Steps(1.03, 0.0),
    "tunas": Steps(1.03, 0.39),
    "tas": Steps(1.22, 1.07, LARGER),
    "fbnetv2": Steps(1.02, 0.74, WIDEST),
}
"""In spaces of sizes, of ResNet-20: `A search costs what it samples` in benchmarks/results. RSPS's is NES's and TuNAS's
weight step; TuNAS evaluates once a step beside it. How much NES evaluates goes by its settings and its length."""

CELL_STEPS: Mapping[str, Steps] = {
    "rsps": Steps(1.01, 0.0),
    "gdas": Steps(1.01, 0.89),
    "setn": Steps(1.01, 3.86),
    "darts": Steps(4.78, 3.86),
    "darts-second-order": Steps(4.78, 17.18),
}
"""In nats-topology: `Cost of a step` in benchmarks/results. Other spaces of operations were not measured alike."""


class Compared(NamedTuple):
    """A search beside scaling without one, measured. share: of the reference's cost.  accuracies in percent."""

    cost: str
    share: float
    searched: float
    scaled: float


class Measured(NamedTuple):
    """What was measured on one kind of network. of: which, and how many seeds.  how, way: it was scaled."""

    of: str
    how: str
    way: Mapping[str, bool]
    cases: tuple[Compared, ...]


PLAIN = Measured(
    "ResNet-20 (three seeds)",
    "widths and depths scaled by one factor",
    {"depth": True},
    (Compared("the MACs", 0.25, 80.8, 80.9), Compared("the MACs", 0.1, 78.2, 78.7)),
)
"""On CIFAR-10: an epoch of FBNet-V2 and 5 of training, 0.8 to 0.9 trainings of the given network, beside 6 epochs of
what was scaled, 0.6 to 0.8. `The curve` in benchmarks/results, as the next."""

MOBILE = Measured(
    "MobileNet-V2 (three seeds)",
    "blocks left out, then widths scaled",
    {"depth_first": True},
    (Compared("the MACs", 0.1, 68.1, 67.0),),
)
"""The same, 0.8 trainings beside 0.6."""

TIMED = Measured(
    "MobileNet-V2 (three seeds)", "blocks left out", {"depth_first": True}, (Compared("the latency", 0.5, 72.1, 72.8),)
)
"""The same, 0.9 trainings beside 0.8."""


def forecast(
    space: SpaceConfig,
    strategy: OneShot | Family,
    task: Task,
    steps: int,
    batch: int,
    goals: Sequence[Goal] = (),
    sandwich: int = 0,
) -> str:
    """Say in a line what a search trains and how much that is, and in another what was measured of such searches.

    steps: of the weights.  Empty for a family, which trains nothing.
    """
    if isinstance(strategy, Family):
        return ""
    name, shape = name_of(strategy, NAMED), (task.channels, *task.size)
    work = _work(space, name, shape, task.classes, getattr(strategy, "arch_every", None), sandwich)
    lines = [f"{name} will take {counted(steps, 'step')} of {batch} images{work}"]
    if goals and is_size_space(space):
        lines.append(_advice(space, shape, task.classes, [goal.name for goal in goals], goals))
    return "\n".join(lines)


def shrinking(
    space: SpaceConfig, budget: str | None, shape: tuple[int, int, int], classes: int
) -> tuple[OneShot | Family, str]:
    """Return what makes a network smaller where no strategy is named, and why, in a line, where nothing is searched.

    Uniform scaling where no search was measured to do better at equal time: inside a latency alone, blocks first;
    inside counted costs of widths and depths, where there are no depthwise convolutions and the budget can be kept so.
    Else the default for sizes.
    shape: (channels, h, w) of the data.
    """
    search, limits = default_strategy(space), Budget.parse(budget) if budget else None
    reference = space.reference
    if limits is None or reference is None:
        return search, ""
    measured = _measured(space, shape[0], classes, [bound.name for bound in limits.bounds])
    if measured is TIMED:
        return Uniform(**TIMED.way), _unsearched(TIMED, search)
    if measured is MOBILE or limits.timed:
        return search, ""
    found = scaled(space, limits.goals(space, shape, classes), shape, classes)
    return (Uniform(**found.way), _unsearched(PLAIN, search)) if found else (search, "")


def _unsearched(measured: Measured, search: OneShot) -> str:
    return f"nothing is searched: {_told(measured)}; --strategy {name_of(search, NAMED)} searches"


def outlook(
    space: SpaceConfig,
    strategy: str,
    shape: tuple[int, int, int],
    classes: int,
    budget: str | None = None,
    sandwich: int = 0,
) -> list[str]:
    """Say before anything is begun what a search by a strategy costs, and what was measured of such searches.

    shape: (channels, h, w) of the data.  budget: inside which.  sandwich: networks between the largest and the smallest
    in a weight step.  No line where nothing was measured, or nothing is searched.
    """
    lines: list[str] = []
    with suppress(UserError):  # not of every model it is known what it multiplies
        if strategy in FAMILIES:
            return lines
        if (times := trainings(space, strategy, shape, classes, sandwich=sandwich)) is not None:
            lines.append(f"a search by {strategy} costs {_times(space, times)}")
        if is_size_space(space) and space.reference is not None:
            limits = Budget.parse(budget) if budget else None
            goals = limits.goals(space, shape, classes) if limits and not limits.timed else ()
            bounded = [bound.name for bound in limits.bounds] if limits else []
            lines.append(_advice(space, shape, classes, bounded, goals))
    return lines


def trainings(
    space: SpaceConfig,
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    every: int | None = None,
    sandwich: int = 0,
) -> float | None:
    """Return the cost of a search by a strategy in trainings of the reference for as many epochs; None if not measured.

    From multiply-accumulates of the networks that it draws before it has learnt, and the measured cost of its steps.
    Of nats-topology, which has no reference, in trainings of a cell of average cost.
    every: weight steps to one architecture step; None for the strategy's default.  sandwich: what a weight step learns
    from beside the strategy's own network, as in `search`: the largest, the smallest, and all but one of so many.
    """
    if not is_size_space(space):
        cell = CELL_STEPS.get(name) if space.space.name == "nats-topology" else None
        return cell and cell.weight + cell.architecture
    steps, reference = STEPS.get(name), space.reference
    if steps is None or reference is None:
        return None
    every = getattr(NAMED[name], "arch_every", 1) if every is None else every
    exact = cost_of("macs", space, shape, classes).exact
    counts = np.array(space.space.counts)
    own, drawn, ends = map(exact, (_drawn(space, steps.of), _drawn(space, SAMPLED), np.stack([counts - 1, 0 * counts])))
    beside = ends.sum() + (sandwich - 1) * drawn.mean() if sandwich else 0.0
    spent = (steps.weight + steps.architecture / every) * own.mean() + STEPS["rsps"].weight * beside
    return float(spent / exact(space.space.indices(reference)[None])[0])


def _work(
    space: SpaceConfig, name: str, shape: tuple[int, int, int], classes: int, every: int | None, sandwich: int
) -> str:
    """Say how much a step multiplies, where that is known."""
    if has_subsets(space.space) or name_of(space, RECORDED) not in RECORDED:
        return ""  # a draw of subsets says nothing, and to count a space of one's own may take long
    with suppress(UserError):  # not of every model it is known what it multiplies
        exact, reference = cost_of("macs", space, shape, classes).exact, space.reference
        mean = float(exact(_drawn(space, SAMPLED)).mean())
        text = f"; a network drawn evenly has {number(mean, short=True)} MACs an image"
        if reference is not None:
            text += f", {mean / float(exact(space.space.indices(reference)[None])[0]):.2f} times the reference's"
        if (times := trainings(space, name, shape, classes, every, sandwich)) is not None:
            text += f"; by its measured steps {_times(space, times)}"
        return text
    return ""


def _times(space: SpaceConfig, times: float) -> str:
    of = "the reference" if is_size_space(space) else "such a network"
    return f"about {times:.2g} times a training of {of} for as many epochs"


def _drawn(space: SpaceConfig, of: str) -> NDArray[np.int64]:
    """Return option indices (n, decisions) of the networks of which a strategy's steps have the cost."""
    rng = np.random.default_rng(0)
    rows = uniform(space.space, rng, DRAWS)
    if of == LARGER:
        return np.maximum(rows, uniform(space.space, rng, DRAWS))
    if of == WIDEST:
        sizes = [place for place, name in enumerate(space.space.decisions) if name not in ONE_HOT_DECISIONS]
        rows[:, sizes] = np.array(space.space.counts)[sizes] - 1
    return rows


def _advice(
    space: SpaceConfig, shape: tuple[int, int, int], classes: int, bounded: Sequence[str], goals: Sequence[Goal]
) -> str:
    """Say what was measured of searches beside scaling, of networks like the reference, and how it is scaled.

    bounded: names of costs.  goals: the same, where they are known by now.
    """
    measured, found = _measured(space, shape[0], classes, bounded), scaled(space, goals, shape, classes)
    if goals and not found:
        return f"{_told(measured)}; nothing that is scaled keeps this budget"
    usual = measured.way if has_depths(space) else {}
    way = found.way if found else usual
    other = "" if way == usual else " (in another way, which leaves more here)"
    return f"{_told(measured)}; --strategy uniform{flags(way)} scales in seconds{other}"


def _measured(space: SpaceConfig, channels: int, classes: int, bounded: Sequence[str]) -> Measured:
    """Return what was measured on a network like the reference, bounded alike."""
    if set(bounded) == {LATENCY} and has_depths(space):
        return TIMED
    assert space.reference is not None
    return MOBILE if has_depthwise(space.network(space.reference, channels, classes)) else PLAIN


def _told(measured: Measured) -> str:
    told = (f"{c.searched:g} % beside {c.scaled:g} % at {100 * c.share:g} % of {c.cost}" for c in measured.cases)
    what = f"search beside {measured.how}, in less time"
    return f"measured on {measured.of}, test accuracy on CIFAR-10, {what}: {', '.join(told)}"

"""Networks measured in turns, some at a time, each in proportion to the first; what was measured is kept in a file."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from renascent.core.errors import BudgetError
from renascent.core.files import Json, whole_lines, writing
from renascent.core.space import Arch
from renascent.costs.latency.measure import measure_all, quiet

TOGETHER = 10
"""Networks that are held and measured in turns, beside one more."""

Case = tuple[nn.Module, tuple[int, int, int]]
"""A network and the shape (channels, h, w) of one input."""

Refuse = Callable[[float, float], None]
"""Called with the milliseconds of the second network and of the first; raises BudgetError for a bound they tell of."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What goes on beside a measurement.

    path: of the file that keeps what was measured; None: nothing is kept.
    refuse: see `Refuse`.  show: called with the number of networks measured, and of all.
    """

    path: Path | None = None
    refuse: Refuse = lambda second_ms, first_ms: None
    show: Callable[[int, int], object] = lambda done, of: None


WATCH = Watch()
"""Of a measurement that nobody looks at."""


def in_turns(
    archs: Sequence[Arch],
    built: Callable[[Arch], Case],
    about: Json,
    watch: Watch = WATCH,
    *,
    runtime: str,
    device: torch.device,
) -> NDArray[np.float64]:
    """Return the milliseconds (n,) of networks, measured some at a time, each in proportion to the first beside it.

    So a phase in which the machine is slow says nothing of those that were measured in it. The second one comes first,
    alone with the first: whether a bound can be kept is known in seconds.

    about: equal for equal networks and machines: what `watch.path` keeps of others is not taken.
    """
    found, first, done = np.ones(len(archs)), [], 1
    kept = _kept(watch.path, about)

    def measured(picks: Sequence[int]) -> Json:
        def seen(rounds: int, of: int) -> None:
            watch.show(done + len(picks) * rounds // of, len(archs))

        cases = [built(archs[0]), *(built(archs[i]) for i in picks)]
        settings = {"runtime": runtime, "device": device, "show": seen}
        beside, *others = measure_all(cases, rounds=10, passes=3, warmup=1, **settings)  # type: ignore[arg-type]
        return {"first_ms": beside.median_ms, "shares": [one.median_ms / beside.median_ms for one in others]}

    for number, picks in enumerate(_groups(len(archs))):
        held = kept.get(number) or measured(picks)
        held = _refused(held, lambda: measured(picks), watch.refuse) if number == 0 else held  # noqa: B023
        if number not in kept and all(map(_usable, [held["first_ms"], *held["shares"]])):
            _keep(watch.path, {"group": number, **held}, None if kept or number else about)
        first.append(held["first_ms"])
        found[list(picks)] = held["shares"]
        done += len(picks)
    return found * quiet(first)


def _groups(count: int) -> Iterator[Sequence[int]]:
    """Give the numbers of the networks that are measured together, beside the first."""
    if count > 1:
        yield range(1, 2)
    groups = -(-(count - 2) // TOGETHER)
    for k in range(groups):
        yield range(2 + k, count, groups)


def _refused(held: Json, again: Callable[[], Json], refuse: Refuse) -> Json:
    """Return the first measurement; where it tells of a bound that cannot be kept, the smaller share of two counts."""
    try:
        refuse(held["first_ms"] * held["shares"][0], held["first_ms"])
    except BudgetError:
        held = min(held, again(), key=lambda one: float(one["shares"][0]))
        refuse(held["first_ms"] * held["shares"][0], held["first_ms"])
    return held


def _usable(number: float) -> bool:
    return math.isfinite(number) and number > 0


def _kept(path: Path | None, about: Json) -> dict[int, Json]:
    """Return what a file keeps of these networks, by group; one that is of others is removed."""
    if path is None:
        return {}
    head, *records = whole_lines(path) or [{}]
    if head == json.loads(json.dumps(about)):
        return {record["group"]: record for record in records}
    with writing(path):
        path.unlink(missing_ok=True)
    return {}


def _keep(path: Path | None, record: Json, about: Json | None) -> None:
    """Write down what was measured together. about: put before it, as the first line."""
    if path is None:
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in (about, record) if line is not None)

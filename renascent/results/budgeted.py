"""A budget before, during and after a search: refused when it cannot be kept, aimed at, and made sure of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from renascent.core.bounds import LATENCY
from renascent.core.errors import BudgetError
from renascent.core.files import is_there, write_json, writing
from renascent.core.protocols import Family, Goal, OneShot, Priced, Say, SpaceConfig, Task
from renascent.core.schema import read_as, written
from renascent.core.space import Arch
from renascent.core.within import cheapest
from renascent.costs import Latency, macs, params
from renascent.costs.budget import Budget, Feasible, feasibility_text, feasible, keepable, keeps_already, tightened
from renascent.costs.latency import clock as timing
from renascent.costs.latency.blocks import BlockLatency, device_of
from renascent.costs.latency.clock import EAGER, Clock, confirmed_latency
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.fitted import FittedLatency, Stored, restored
from renascent.costs.latency.runtimes import check_runtime
from renascent.costs.latency.sources import read_latency
from renascent.costs.latency.table import Lut
from renascent.costs.scaling import scaled
from renascent.loops.derive import derived
from renascent.loops.share import Scorer, SearchOutcome
from renascent.nets.sizes.resolution import input_shape
from renascent.results.facts import Cost
from renascent.results.measuring import MEASURED_FILE, forget, measured, measured_file

LATENCY_FILE = "latency.json"
"""In a run folder: the latency that was fitted when the search began, so that a resume aims at the same."""

TABLE_FILE = "latency-table.json"
"""In a run folder: the table that predicted latency, where one was given."""

ATTEMPTS = 5
"""How often a network is derived again, under a tighter bound on latency or a looser one."""

KEPT = "the reference (the network as published, or your model as given) keeps this budget already: it needs no search"
"""What is said before a search for a budget that nothing has to be given up for."""

USED = 0.9
"""Share of a bound from which on it counts as used."""


@dataclass(frozen=True)
class Budgeted:
    """A budget made ready for one space and task. start: the reference, uniformly scaled to it, or the
    cheapest architecture.

    clock: how its latency is measured, where that is bounded.  fitted: the measured networks that then predict it,
    where no table does.  table: what predicts it, where a table does.
    """

    budget: Budget
    goals: tuple[Goal, ...]
    rows: Sequence[Feasible]
    start: Arch
    clock: Clock
    fitted: Stored | None = None
    table: Lut | BlockLatency | None = None

    def __str__(self) -> str:
        return feasibility_text(self.rows) + f"\n{KEPT}" * keeps_already(self.rows)

    def keep(self, folder: Path) -> None:
        """Write down what predicts its latency, so that the folder needs no other."""
        if self.fitted is not None:
            write_json(folder / LATENCY_FILE, written(self.fitted))
            with writing(folder):
                (folder / MEASURED_FILE).unlink(missing_ok=True)
        if self.table is not None:
            self.table.save(folder / TABLE_FILE)


def prepare(
    config: SpaceConfig,
    task: Task,
    budget: Budget,
    *,
    latency: Priced | None = None,
    runtime: str = "eager",
    folder: Path,
    resume: bool,
    say: Say = lambda event: None,
) -> Budgeted:
    """Return a budget as goals. Raises UserError or BudgetError before anything is trained or written.

    latency: predicts latency_ms; unless given where it is bounded, random networks are measured, or the table of the
    run that is resumed is read. What was not measured here may be of any device: no measurement checks its prediction.
    runtime: what runs them, and in the end what was found.  say: hears how many are measured.
    """
    shape, fitted = (task.channels, *task.size), None
    if resume and budget.timed and latency is None and is_there(folder / TABLE_FILE):
        latency = read_latency(folder / TABLE_FILE, config, shape, task.classes)
    table = table_of(latency)
    if isinstance(latency, BlockLatency):
        latency.check(config.space)
        clock = Clock(runtime, latency.lut, known=latency.lut is not None, twin=latency.twin)
    else:
        clock = Clock(runtime, table if isinstance(table, Lut) else None)
    if budget.timed and latency is None:
        check_runtime(runtime, task.device)
        path = measured_file(folder, resume)
        fitted = (stored_latency(folder) if resume else None) or measured(config, task, clock, budget, path, say)
        latency = restored(config, shape, task.classes, fitted)
    if not isinstance(latency, LatencyCost | FittedLatency | BlockLatency | None):
        clock = replace(clock, known=False)
    reference = config.reference
    reference_ms = latency.reference_ms if isinstance(latency, FittedLatency) else None
    goals = budget.goals(config, shape, task.classes, latency, reference_ms)
    if latency and reference and any(bound.relative for bound in budget.bounds if bound.name == LATENCY):
        predicted_ms = float(latency.exact(config.space.indices(reference)[None])[0])
        clock = replace(clock, beside=(reference, reference_ms or predicted_ms))
    try:
        rows = feasible(config, goals)
    except BudgetError:
        forget(folder)
        raise
    even = scaled(config, goals, shape, task.classes)
    start = even.arch if even else config.space.from_indices(cheapest(config.space, goals))
    if clock.table is not None and not resume:
        timing.latency_of(config, start, task, clock)  # a runtime that is not here must not be missed at the end
    return Budgeted(budget, goals, rows, start, clock, fitted, table)


def table_of(latency: Priced | None) -> Lut | BlockLatency | None:
    """Return the table by which a latency is predicted; None where none is."""
    if isinstance(latency, BlockLatency):
        return latency
    return latency.table if isinstance(latency, LatencyCost) else None


def settle(
    config: SpaceConfig,
    task: Task,
    strategy: OneShot | Family,
    found: SearchOutcome,
    goals: Sequence[Goal],
    *,
    clock: Clock = EAGER,
    truth: Callable[[Arch], float | None] | None = None,
) -> tuple[SearchOutcome, Latency | None]:
    """Return what was found, and its latency: None where none is bounded, or it cannot be measured here.

    If the measured latency exceeds the limit, tighten the predicted limit and derive again. If the prediction uses the
    limit but the measurement does not, loosen it and derive again; the slower of the two feasible networks is returned.

    truth: what is known of an architecture from elsewhere.
    Raises BudgetError where the bound is missed each time, or no tighter one can be kept.
    """
    limits = [goal.limit for goal in goals if goal.name == LATENCY]
    if not limits:
        return found, None
    limit = limits[0]
    scorer, aimed = Scorer(found.state), tuple(goals)
    kept: tuple[SearchOutcome, Latency] | None = None
    attempt = 0
    while True:
        attempt += 1
        seen = confirmed_latency(config, found.arch, task, clock, limit)
        if seen is None:
            return found, None
        row = config.space.indices(found.arch)[None]
        used = {goal.name: float(goal.exact(row)[0]) / goal.limit for goal in aimed}
        predicted, share = used.pop(LATENCY), seen.median_ms / limit
        if share <= 1 and kept:
            return max(kept, (found, seen), key=lambda one: one[1].median_ms)
        if share <= 1:
            kept = found, seen
            if max([share, *used.values()]) >= USED or predicted < USED:
                return kept
        # the predicted limit moves by the measured error: after a miss this excludes the present network
        aimed = tightened(aimed, LATENCY, predicted / share)
        if attempt > ATTEMPTS or not keepable(config, aimed):
            if kept:
                return kept
            raise BudgetError(
                f"{LATENCY}<={limit:g} was missed {attempt} times: the last network takes {seen.median_ms:.3g} ms "
                f"({seen.p10_ms:.3g} to {seen.p90_ms:.3g}); the search is kept: resume it on a quieter machine, "
                "or search again with a larger budget"
            )
        arch, instead = derived(strategy, found.state, scorer, aimed)
        if kept and arch == kept[0].arch:
            return kept
        known = truth(arch) if truth is not None else None
        found = replace(found, arch=arch, score=scorer(arch), truth=known, instead=instead)


def costs_of(
    config: SpaceConfig,
    arch: Arch,
    task: Task,
    goals: Sequence[Goal],
    latency: Latency | None,
    table: Lut | BlockLatency | None = None,
) -> dict[str, Cost]:
    """Return limit, predicted and measured value of each bounded cost, by name.

    latency: as measured, None if that was not possible. table: the table that predicted it, if any.
    """
    row = config.space.indices(arch)[None]
    net = config.network(arch, task.channels, task.classes)
    shape = input_shape(arch, (task.channels, *task.size))
    counted: dict[str, Callable[[], float]] = {
        "macs": lambda: macs(net, shape),
        "params": lambda: params(net),
        **({LATENCY: lambda: latency.median_ms} if latency is not None else {}),
    }
    by, network = "", ""
    if isinstance(table, BlockLatency):
        by, network = table.origin.device, table.origin.network
    elif table is not None:
        by = device_of(table)
    return {
        goal.name: Cost(
            limit=goal.limit,
            promised=float(goal.exact(row)[0]),
            measured=float(counted[goal.name]()) if goal.name in counted else None,
            by=by if goal.name == LATENCY else "",
            network=network if goal.name == LATENCY else "",
        )
        for goal in goals
    }


def stored_latency(folder: Path) -> Stored | None:
    """Return the latency that was fitted when the search of a folder began; None where none was."""
    path = folder / LATENCY_FILE
    return read_as(Stored, path, "repeat the search") if path.exists() else None

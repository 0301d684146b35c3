"""What `renascent cost` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from renascent.cli.commands.command import Machine, Outcome, shape_of
from renascent.cli.commands.cost import CostFlags
from renascent.cli.work.running import latency_from, ready, task_on
from renascent.core.bounds import LATENCY
from renascent.core.errors import UserError
from renascent.core.names import name_of
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import aligned, number
from renascent.costs import COSTS, Latency, cost_of, measure
from renascent.costs.budget import Budget, Feasible, feasibility_text, feasible
from renascent.nets import SPACES
from renascent.nets.sizes.resolution import input_shape
from renascent.tasks.prepare import ImageOptions


@dataclass(frozen=True)
class Case:
    """A space, the data and the architecture to price. given: whether that was named, or is the reference."""

    config: SpaceConfig
    shape: tuple[int, int, int]
    classes: int
    arch: Arch | None
    given: bool


def run(word: str | None, arch: str | None, *, flags: CostFlags, space: SpaceConfig, machine: Machine) -> Outcome:
    """Price an architecture, beside the ends of its space."""
    case = _case(space, flags, machine, arch)
    latency = _latency(case, flags)
    measured = _measured(case, machine) if flags.measure else None
    goals, bounds = _bounds(case, flags, latency)
    rows = _rows(case, latency)
    facts = {
        "space": name_of(space, SPACES),
        "arch": space.space.format(case.arch) if case.arch else None,
        "input": list(case.shape),
        "classes": case.classes,
        "costs": {row.name: _priced(row, case) for row in rows},
        "latency_ms": asdict(measured) if measured else None,
        "budget": {row.name: row._asdict() for row in bounds},
        "inside": _inside(case, goals),
    }
    return Outcome(facts, "\n".join([*_table(case, rows, measured), *_verdict(case, goals, bounds)]))


def _case(config: SpaceConfig, flags: CostFlags, machine: Machine, given: str | None) -> Case:
    """Return what is asked. Raises UserError for an architecture that is none of the space, and for unfit data."""
    if flags.data is not None:
        task = task_on(machine, flags.data, ImageOptions())
        shape, classes = (task.channels, *task.size), task.classes
    else:
        shape, classes = shape_of(flags.input or "3,32,32"), flags.classes or 10
    named = given is not None and given != "reference"
    arch = config.space.parse(given) if named and given is not None else config.reference
    if given == "reference" and arch is None:
        raise UserError(f"space '{config.space.name}' has no reference network: give an architecture of it")
    return Case(config, shape, classes, arch, named)


def _latency(case: Case, flags: CostFlags) -> Priced | None:
    if flags.latency_table is None:
        if flags.budget and Budget.parse(flags.budget).timed:
            raise UserError(f"a bound on {LATENCY} needs something that predicts it: give --latency-table TABLE")
        return None
    return latency_from(flags.latency_table, case.config, case.shape, case.classes)


def _rows(case: Case, latency: Priced | None) -> list[Feasible]:
    """Return, of each cost, that of the architecture as its limit, and what the space can have."""
    names = COSTS if case.config.layered else COSTS[:2]
    costs: dict[str, Priced] = {name: cost_of(name, case.config, case.shape, case.classes) for name in names}
    costs |= {LATENCY: latency} if latency else {}
    space, found = case.config.space, []
    some = case.arch or space.from_indices([0] * len(space.decisions))
    for name, cost in costs.items():
        limit = float(cost.exact(space.indices(some)[None])[0])
        # a hair more, since a sum over many architectures may differ in its last digit
        goal = Goal(name, limit * (1 + 1e-6), cost, cost.exact, getattr(cost, "terms", None))
        found += [row._replace(limit=limit) for row in feasible(case.config, [goal])]
    return found


def _priced(row: Feasible, case: Case) -> dict[str, float | None]:
    ends = {"smallest": row.smallest, "reference": row.reference, "largest": row.largest}
    return {"arch": row.limit if case.arch else None, **ends}


def _measured(case: Case, machine: Machine) -> Latency:
    if case.arch is None:
        raise UserError("--measure needs a network: give an architecture of the space")
    net = case.config.network(case.arch, case.shape[0], case.classes).to(ready(machine))
    return measure(net, input_shape(case.arch, case.shape))


def _bounds(case: Case, flags: CostFlags, latency: Priced | None) -> tuple[Sequence[Goal], Sequence[Feasible]]:
    """Return the budget and what the space can cost. Raises BudgetError when none of its architectures keeps it."""
    if flags.budget is None:
        return (), ()
    goals = Budget.parse(flags.budget).goals(case.config, case.shape, case.classes, latency)
    return goals, feasible(case.config, goals)


def _inside(case: Case, goals: Sequence[Goal]) -> bool | None:
    return not _over(case, goals) if case.arch and goals else None


def _over(case: Case, goals: Sequence[Goal]) -> list[str]:
    """Name the bounds that the architecture does not keep."""
    if case.arch is None:
        return []
    row = case.config.space.indices(case.arch)[None]
    costs = [(goal, float(goal.exact(row)[0])) for goal in goals]
    return [f"{goal.name} {number(cost)} > {number(goal.limit)}" for goal, cost in costs if cost > goal.limit]


def _table(case: Case, rows: Sequence[Feasible], measured: Latency | None) -> list[str]:
    name, size = name_of(case.config, SPACES), "x".join(map(str, case.shape))
    lines = [f"{name}, one input of {size}, {case.classes} classes"]
    if case.arch and case.given:
        lines.append(case.config.space.format(case.arch))
    head = ("cost", *(("architecture",) if case.given else ()), "smallest", "reference", "largest")
    own = [(r.limit,) if case.given else () for r in rows]
    body = [(r.name, *map(number, (*o, r.smallest, r.reference, r.largest))) for r, o in zip(rows, own, strict=True)]
    lines += ["", aligned([head, *body], "<>")]
    if measured:
        spread = f"{number(measured.p10_ms, 3)} to {number(measured.p90_ms, 3)} ms in 8 of 10 passes"
        what = "the architecture" if case.given else "the reference"
        lines += ["", f"measured: {what} takes {number(measured.median_ms, 3)} ms ({spread}; {measured.runtime})"]
    return lines


def _verdict(case: Case, goals: Sequence[Goal], bounds: Sequence[Feasible]) -> list[str]:
    if not bounds:
        return []
    what, over = "the architecture" if case.given else "the reference", _over(case, goals)
    told = [f"{what} is outside: {', '.join(over)}" if over else f"{what} is inside the budget"]
    return ["", feasibility_text(bounds), *(told if case.arch else [])]

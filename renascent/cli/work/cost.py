"""What `renascent cost` does."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from renascent.cli.commands.command import Machine, Outcome, shape_of
from renascent.cli.commands.cost import CostFlags
from renascent.cli.work.running import latency_from, ready, task_on
from renascent.core.bounds import LATENCY
from renascent.core.errors import UserError
from renascent.core.names import name_of
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import aligned, number
from renascent.costs import Latency, cost_of, measure
from renascent.costs.budget import Budget, Feasible, feasibility_text, feasible
from renascent.experiment.defaults import default_strategy
from renascent.experiment.forecast import outlook
from renascent.nets import SPACES
from renascent.nets.sizes.resolution import input_shape
from renascent.strategies import STRATEGIES
from renascent.tasks.prepare import ImageOptions


@dataclass(frozen=True)
class Case:
    """A space, the data and the architecture to price. given: whether that was named, or is the reference."""

    config: SpaceConfig
    shape: tuple[int, int, int]
    classes: int
    arch: Arch | None
    given: bool

    @property
    def label(self) -> str:
        """What the architecture is called."""
        return "the architecture" if self.given else "the reference"


def run(word: str | None, arch: str | None, *, flags: CostFlags, space: SpaceConfig, machine: Machine) -> Outcome:
    """Price an architecture, beside the ends of its space."""
    case = _case(space, flags, machine, arch)
    latency = latency_from(flags.latency_table, space, case.shape, case.classes)
    measured = _measured(case, machine) if flags.measure else None
    goals = Budget.parse(flags.budget).goals(space, case.shape, case.classes, latency) if flags.budget else ()
    bounds = feasible(space, goals) if goals else ()
    rows, over = _rows(case, latency), _over(case, goals)
    facts = {
        "space": name_of(space, SPACES),
        "arch": space.space.format(case.arch) if case.arch else None,
        "input": list(case.shape),
        "classes": case.classes,
        "costs": {
            row.name: {
                "arch": row.limit if case.arch else None,
                "smallest": row.smallest,
                "reference": row.reference,
                "largest": row.largest,
            }
            for row in rows
        },
        "latency_ms": asdict(measured) if measured else None,
        "latency_busy": (measured.busy or None) if measured else None,
        "budget": {row.name: row._asdict() for row in bounds},
        "inside": not over if case.arch and goals else None,
        "expected": (expected := _expected(case, flags.budget)),
    }
    lines = _table(case, rows, measured)
    if goals:
        lines += ["", feasibility_text(bounds)]
    if goals and case.arch:
        lines.append(f"{case.label} is outside: {', '.join(over)}" if over else f"{case.label} is inside the budget")
    return Outcome(facts, "\n".join([*lines, *([""] * bool(expected)), *expected]))


def _expected(case: Case, budget: str | None) -> list[str]:
    """Say what a search by the default strategy would cost, where that was measured."""
    strategy = name_of(default_strategy(case.config), STRATEGIES)
    return outlook(case.config, strategy, case.shape, case.classes, budget)


def _case(config: SpaceConfig, flags: CostFlags, machine: Machine, given: str | None) -> Case:
    """Return what is asked. Raises UserError for an architecture that is none of the space, and for unfit data."""
    shape, classes = shape_of(flags.input or "3,32,32"), flags.classes or 10
    if flags.data is not None:
        task = task_on(machine, flags.data, ImageOptions())
        shape, classes = (task.channels, *task.size), task.classes
    if given is not None and given != "reference":
        return Case(config, shape, classes, config.space.parse(given), given=True)
    if given is not None and config.reference is None:
        raise UserError(f"space '{config.space.name}' has no reference network: give an architecture of it")
    return Case(config, shape, classes, config.reference, given=False)


def _rows(case: Case, latency: Priced | None) -> list[Feasible]:
    """Return, of each cost, that of the architecture as its limit, and what the space can have."""
    costs: dict[str, Priced] = {
        name: cost_of(name, case.config, case.shape, case.classes) for name in case.config.costs
    }
    costs |= {LATENCY: latency} if latency else {}
    space, found = case.config.space, []
    row = space.indices(case.arch) if case.arch else space.strongest(np.zeros((len(space.counts), max(space.counts))))
    for name, cost in costs.items():
        limit = float(cost.exact(row[None])[0])
        # a hair more, since a sum over many architectures may differ in its last digit
        goal = Goal(name, limit * (1 + 1e-6), cost, cost.exact, getattr(cost, "terms", None))
        found += [row._replace(limit=limit) for row in feasible(case.config, [goal])]
    return found


def _measured(case: Case, machine: Machine) -> Latency:
    if case.arch is None:
        raise UserError("--measure needs a network: give an architecture of the space")
    net = case.config.network(case.arch, case.shape[0], case.classes).to(ready(machine))
    return measure(net, input_shape(case.arch, case.shape))


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
        lines += ["", f"measured: {case.label} takes {number(measured.median_ms, 3)} ms ({spread}; {measured.runtime})"]
        lines += [measured.busy] if measured.busy else []
    return lines

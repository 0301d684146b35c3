"""`renascent cost`: what an architecture of a space costs, and what the space can cost."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from renascent.cli.commands.command import Command, Machine, Outcome, Output
from renascent.cli.commands.latency_measure import MeasureFlags
from renascent.cli.flags import Part, glance, switches
from renascent.core.errors import UserError, unknown
from renascent.core.names import name_of
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import aligned, number
from renascent.costs import COSTS, Latency, LatencyCost, Lut, cost_of, measure
from renascent.costs.budget import LATENCY, Budget, Feasible, feasibility_text, feasible
from renascent.nets import SPACES
from renascent.nets.sizes.resolution import input_shape
from renascent.tasks.prepare import ImageOptions

EXAMPLE = "renascent cost resnet20"

ABOUT = f"""Show what an architecture costs, beside the smallest, the reference and the largest of its space.

Without ARCH it is the reference network. `--budget` says whether a budget can be kept, and whether ARCH keeps it.

For example: `{EXAMPLE} --budget "macs<=0.5x"`"""


@dataclass(frozen=True, kw_only=True)
class CostFlags:
    """What to price, and for which data.

    data: name of a data set, or a folder of images, whose input and classes are taken.
    input: channels, height and width of the data; 3,32,32 unless given.
    classes: of the data; 10 unless given.
    budget: bounds to check, such as "macs<=0.5x,params<=2M"; x: times the space's reference network.
    latency_table: predicts latency_ms (`renascent latency measure`).
    measure: measure the latency of the architecture on this device, too.
    """

    data: str | None = None
    input: tuple[str, ...] | None = None
    classes: int | None = None
    budget: str | None = None
    latency_table: str | None = None
    measure: bool = False


@dataclass(frozen=True)
class Plan:
    """The groups of flags. space: None before it is named."""

    main: Part[CostFlags]
    space: Part[SpaceConfig] | None
    machine: Part[Machine]

    @property
    def parts(self) -> list[Part[Any]]:
        found = (self.main, self.space, self.machine)
        return [*(part for part in found if part is not None), Part("Output", Output())]


@dataclass(frozen=True)
class Case:
    """A space, the data and the architecture to price. given: whether that was named, or is the reference."""

    config: SpaceConfig
    shape: tuple[int, int, int]
    classes: int
    arch: Arch | None
    given: bool


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space that `words` name. Raises UserError for an unknown one."""
    others = [Part("", make()) for make in SPACES.values()]
    alone, _ = glance(words, switches([*_plan(None).parts, *others]))
    if alone and alone[0] not in SPACES:
        raise unknown("space", alone[0], SPACES)
    plan = _plan(SPACES[alone[0]]() if alone else None)
    places = f"The space: {', '.join(SPACES)}.", "The architecture as an exchange string; the reference if not given."
    return Command(
        ABOUT, plan.parts, functools.partial(_run, plan), "space", places[0], tuple(alone[:1]), "arch", places[1]
    )


def _plan(space: SpaceConfig | None) -> Plan:
    named = Part(f"Space {name_of(space, SPACES)}", space) if space else None
    return Plan(Part("Cost", CostFlags()), named, Part("Machine", Machine()))


def _run(plan: Plan, word: str | None, values: Mapping[str, Any]) -> Outcome:
    if plan.space is None:
        raise UserError(f"which space? name one of {', '.join(SPACES)}, as in: {EXAMPLE}")
    flags, machine, config = plan.main.build(values), plan.machine.build(values), plan.space.build(values)
    case = _case(config, flags, machine, values.get("arch"))
    latency = _latency(case, flags)
    measured = _measured(case, machine) if flags.measure else None
    goals, bounds = _bounds(case, flags, latency)
    rows = _rows(case, latency)
    facts = {
        "space": name_of(config, SPACES),
        "arch": config.space.format(case.arch) if case.arch else None,
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
        if flags.input is not None or flags.classes is not None:
            raise UserError("--data brings input and classes with it: leave --input and --classes out, or --data")
        task = machine.task(flags.data, ImageOptions())
        shape, classes = (task.channels, *task.size), task.classes
    else:
        defaults = MeasureFlags()
        shape = replace(defaults, input=flags.input or defaults.input).shape()
        classes = defaults.classes if flags.classes is None else flags.classes
        if classes < 1:
            raise UserError(f"--classes is '{classes}': give a whole number of at least 1")
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
    if not case.config.layered:
        raise UserError(f"--latency-table is for spaces of sizes, not for {name_of(case.config, SPACES)}: leave it out")
    return LatencyCost(case.config, Lut.load(flags.latency_table), case.shape, case.classes)


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
    net = case.config.network(case.arch, case.shape[0], case.classes).to(machine.ready())
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

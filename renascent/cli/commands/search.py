"""`renascent search`: find the best architecture of a space."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from renascent.bench.importers import open_table
from renascent.cli.commands.command import Command, Machine, Outcome, Output, facts_of, recipe_of
from renascent.cli.commands.searching import MEASURING, check_clock, chosen, hear, lasting, resumable
from renascent.cli.flags import Part, glance, keys, switches
from renascent.cli.live import Live
from renascent.core.errors import UserError
from renascent.core.names import name_of
from renascent.core.protocols import OneShot, SpaceConfig, Task, WeightRule
from renascent.costs.budget import Budget
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.table import Lut
from renascent.experiment.recipes.recipe import SearchPart
from renascent.experiment.search import search
from renascent.loops.weightsfile import read_weights
from renascent.nets import SPACES
from renascent.reports.summary import summary
from renascent.strategies import STRATEGIES
from renascent.tasks import DATASETS
from renascent.tasks.prepare import ImageOptions

EXAMPLE = "renascent search nats-topology --strategy gdas --data digits"

ABOUT = f"""Search a space for the best architecture on your data, by weights that all architectures share.

Strategies: {", ".join(STRATEGIES)}.

Data sets: {", ".join(DATASETS)}; or a folder of images, one folder in it for each class.

First try, nothing to download: `{EXAMPLE} --epochs 10`

Spaces and strategies have flags of their own, shown once they are named: `{EXAMPLE} --help`"""


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """What to search, and for how long.

    strategy: how to search.
    data: name of a data set, or a folder of images.
    epochs: passes over the training images.
    batch: images a step draws, of each stream.
    seed: of everything random.
    out: the run folder; runs/SPACE-STRATEGY-DATA-SEED if not given.
    resume: go on with the run in that folder.
    recipe: take a paper's settings (`renascent list`); flags given beside it come first.
    truth: benchmark table that tells what the likeliest architecture is worth after every epoch; the search ignores it.
    truth_problem: which of that table's problems; the one named as the data set if not given.
    budget: what the network has to keep, such as "macs<=0.5x,latency_ms<=8"; x: times the space's reference network.
    latency_table: predicts latency_ms (`renascent latency measure`); else networks of the space are measured.
    runtime: what they then run with: eager, compiled or onnxruntime; measure with the one that you deploy with.
    pretrained: safetensors file of a trained network of the space; shared weights start from it.
    """

    strategy: str | None = None
    data: str | None = None
    epochs: int = 100
    batch: int = 64
    seed: int = 0
    out: str | None = None
    resume: bool = False
    recipe: str | None = None
    truth: str | None = None
    truth_problem: str | None = None
    budget: str | None = None
    latency_table: str | None = None
    runtime: str = "eager"
    pretrained: str | None = None


@dataclass(frozen=True)
class Plan:
    """The groups of flags of one search. space, strategy: None before they are named."""

    main: Part[SearchFlags]
    strategy: Part[OneShot] | None
    space: Part[SpaceConfig] | None
    weights: Part[WeightRule]
    options: Part[ImageOptions]
    machine: Part[Machine]

    @property
    def parts(self) -> list[Part[Any]]:
        found = (self.main, self.strategy, self.space, self.weights, self.options, self.machine)
        return [*(part for part in found if part is not None), Part("Output", Output())]


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space and strategy that `words` name.

    Raises UserError for names that are in no table.
    """
    alone, given = glance(words, switches(part for parts in owned().values() for part in parts))
    recipe = recipe_of(given.get("--recipe"), "search")
    base = recipe.search if recipe else None
    space = chosen("space", SPACES, alone[0] if alone else None, base and base.space)
    strategy = chosen("strategy", STRATEGIES, given.get("--strategy"), base and base.strategy)
    plan = _plan(space, strategy, base)
    place_help = f"The space to search: {', '.join(SPACES)}. A recipe names one."
    words_chosen = [name_of(space, SPACES)] if space else []
    words_chosen += ["--strategy", name_of(strategy, STRATEGIES)] if strategy else []
    return Command(ABOUT, plan.parts, functools.partial(_run, plan), "space", place_help, tuple(words_chosen))


def owned() -> dict[str, list[Part[Any]]]:
    """Return every group of flags that some search has, by the choice that brings it; "" brings what all have."""
    found: dict[str, list[Part[Any]]] = {"": _plan(None, None, None).parts}
    for name, space in SPACES.items():
        found[name] = [_space_part(space())]
        for other, strategy in STRATEGIES.items():
            part = _plan(space(), strategy(), None).strategy
            found[f"--strategy {other}"] = [part] if part else []
    return found


def _plan(space: SpaceConfig | None, strategy: OneShot | None, base: SearchPart | None) -> Plan:
    name = name_of(strategy, STRATEGIES) if strategy else None
    main = SearchFlags(strategy=name)
    if base:
        main = SearchFlags(strategy=name, data=base.data, epochs=base.epochs, batch=base.batch)
    options, weights = base.options if base else ImageOptions(), base.weights if base else WeightRule()
    others = [main, Machine(), Output(), options, weights, *([space] if space else [])]
    taken = frozenset[str]().union(*(keys(settings) for settings in others))
    return Plan(
        main=Part("Search", main),
        strategy=Part(f"Strategy {name}", strategy, name or "", taken) if strategy else None,
        space=_space_part(space) if space else None,
        weights=Part("Shared weights (SGD)", weights),
        options=Part("Data", options),
        machine=Part("Machine", Machine()),
    )


def _space_part(space: SpaceConfig) -> Part[SpaceConfig]:
    return Part(f"Space {name_of(space, SPACES)}", space)


def _run(plan: Plan, word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = plan.main.build(values)
    _check(plan, flags)
    assert plan.space and plan.strategy and flags.data
    space, strategy = plan.space.build(values), plan.strategy.build(values)
    _ = space.space  # an impossible space is refused before anything is read or written
    truth = open_table(flags.truth) if flags.truth else None
    options = plan.options.build(values)
    task = plan.machine.build(values).task(flags.data, options)
    folder = Path(flags.out or f"runs/{name_of(space, SPACES)}-{flags.strategy}-{task.name}-{flags.seed}")
    if flags.resume and not (folder / "config.json").exists():
        raise UserError(f"there is no run in {folder} to resume: check --out, or leave --resume out")
    source = {"data": lasting(flags.data), "options": asdict(options)}
    with resumable(folder), Live(["search"]) as live:
        live.say(f"searching {name_of(space, SPACES)} with {flags.strategy} on {task}; run folder {folder}")
        if flags.budget and Budget.parse(flags.budget).timed and not (flags.latency_table or flags.resume):
            live.say(MEASURING.format(flags.runtime))
        result = search(
            space,
            strategy,
            task,
            epochs=flags.epochs,
            batch=flags.batch,
            seed=flags.seed,
            weights=plan.weights.build(values),
            out=folder,
            resume=flags.resume,
            truth=truth,
            truth_problem=flags.truth_problem,
            budget=flags.budget,
            latency=latency_from(flags.latency_table, space, task),
            runtime=flags.runtime,
            pretrained=read_weights(Path(flags.pretrained)) if flags.pretrained else None,
            say=functools.partial(hear, live, folder, source),
        )
        page = result.report()
    following = f"next: renascent fit {folder} (trains this network alone); the report is {page}"
    return Outcome(facts_of(result, page), f"{summary(result)}\n\n{following}")


def _check(plan: Plan, flags: SearchFlags) -> None:
    """Refuse what is missing, and what says nothing on its own."""
    if plan.space is None:
        raise UserError(f"which space? name one of {', '.join(SPACES)}, as in: {EXAMPLE}")
    if plan.strategy is None:
        raise UserError(f"--strategy is missing: give one of {', '.join(STRATEGIES)}, as in: {EXAMPLE}")
    if flags.data is None:
        raise UserError(f"--data is missing: give one of {', '.join(DATASETS)}, or a folder of images")
    if flags.truth_problem and flags.truth is None:
        raise UserError("--truth-problem says nothing without a table: give --truth TABLE too, or leave it out")
    budget = Budget.parse(flags.budget) if flags.budget is not None else None  # before the data are read
    check_clock(flags.runtime, budget)
    if flags.latency_table and flags.runtime != "eager":
        raise UserError(
            "--runtime and --latency-table exclude each other: a table has the runtime it was measured with"
        )
    if flags.latency_table and not (budget and budget.timed):
        raise UserError("--latency-table says nothing without a bound on it: give --budget latency_ms<=NUMBER too")


def latency_from(table: str | None, space: SpaceConfig, task: Task) -> LatencyCost | None:
    """Return what a look-up table says of a space; None without one. Raises UserError where the two do not fit."""
    if table is None:
        return None
    if not space.layered:
        raise UserError(f"--latency-table is for spaces of sizes, not for {name_of(space, SPACES)}: leave it out")
    return LatencyCost(space, Lut.load(table), (task.channels, *task.size), task.classes)

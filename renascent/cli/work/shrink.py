"""What `renascent shrink` does."""

import dataclasses
import functools
from dataclasses import asdict
from pathlib import Path

from renascent.cli.commands.command import Machine, Outcome, shape_of
from renascent.cli.commands.shrink import ShrinkFlags
from renascent.cli.work.models import hear_threads, remember
from renascent.cli.work.running import task_on
from renascent.cli.work.search import next_step, searched
from renascent.core.errors import UserError
from renascent.core.files import Json, write_text
from renascent.core.names import name_of
from renascent.core.protocols import Family, OneShot, WeightRule
from renascent.costs.budget import Budget, feasibility_text, feasible, keeps_already
from renascent.experiment.forecast import outlook, shrinking
from renascent.experiment.result import Result
from renascent.nets.adapt import Adapted, NothingToSearch, Untraceable, all_smaller, smaller_sizes
from renascent.reports.live import Counted
from renascent.results.budgeted import KEPT
from renascent.strategies import NAMED
from renascent.tasks.prepare import ImageOptions

CODE_FILE = "shrink_model.py"
"""In a run folder: code that shrinks the model without renascent."""


def run(
    factory: str,
    *,
    flags: ShrinkFlags,
    strategy: OneShot | Family | None = None,
    weights: WeightRule,
    options: ImageOptions,
    machine: Machine,
) -> Outcome:
    """Search the sizes of a model, or scale it, or show what of it can be searched.

    strategy: None to take what was measured to be best for such a model.
    """
    hear_threads()
    if flags.dry_run and flags.input is not None:
        return _shown(_space(factory, flags, shape_of(flags.input)), flags, strategy)
    task = task_on(machine, str(flags.data), options)
    shape = (task.channels, *task.size)
    space = _space(factory, flags, shape_of(flags.input) if flags.input else shape)
    if flags.dry_run:
        return _shown(space, flags, strategy)
    space.check(task.channels, task.classes)
    if shape != space.shape and not space.resolutions:
        found = ",".join(map(str, shape))
        raise UserError(f"the data are {found} and --input is {flags.input}: give the same, or resize the images")
    strategy, why = (strategy, "") if strategy else shrinking(space, flags.budget, shape, task.classes)
    return searched(
        space,
        strategy,
        task,
        dataclasses.replace(flags, strategy=name_of(strategy, NAMED)),
        options,
        name="shrink",
        first="\n".join(filter(None, [str(space.coverage), why, f"shrinking {factory}"])),
        following=functools.partial(_written, space),
        weights=weights,
    )


def _written(space: Adapted, result: Result) -> str:
    """Write the code that shrinks the model, and say what to do with it."""
    remember(result.folder, space.factory)
    code = result.folder / CODE_FILE
    write_text(code, space.recipe(result.arch))
    step = next_step(result, "--init shared (trains it on)")
    return f"{step}; {code} shrinks your model without renascent"


def _space(factory: str, flags: ShrinkFlags, shape: tuple[int, int, int]) -> Adapted:
    """Return the model's search space, which is analysed here. Raises UserError when nothing of it can be searched."""
    space = Adapted(
        factory=factory,
        weights=str(Path(flags.weights).resolve()) if flags.weights else "",
        shape=shape,
        multiple=flags.multiple,
        least=flags.least,
        depth=flags.depth,
        order=flags.order,
    )
    if flags.resolution:
        space = dataclasses.replace(space, resolutions=all_smaller(space, "--resolution"))
    try:
        _ = space.plan
    except (Untraceable, NothingToSearch):
        Counted().say(str(space.coverage))
        raise
    return space


def _shown(space: Adapted, flags: ShrinkFlags, strategy: OneShot | Family | None) -> Outcome:
    """Show what can be searched, which sizes of the input could be, what a search would cost, and what a budget leaves.

    Raises BudgetError for one that nothing keeps, where it is of counted costs.
    """
    coverage, (channels, height, width) = space.coverage, space.shape
    shape = (channels, height, width)
    rows: list[Json] = [asdict(row) for row in coverage.rows]
    smaller = () if flags.resolution else smaller_sizes(space.source, shape)
    hint = f"\nthe input could be {', '.join(map(str, smaller))}, too: add --resolution" if smaller else ""
    strategy, why = (strategy, "") if strategy else shrinking(space, flags.budget, shape, space.plan.outputs)
    name = name_of(strategy, NAMED)
    limits = Budget.parse(flags.budget) if flags.budget else None
    bounds = feasible(space, limits.goals(space, shape, space.plan.outputs)) if limits and not limits.timed else []
    if keeps_already(bounds):
        expected = [KEPT]
    else:
        expected = [why] if why else outlook(space, name, shape, space.plan.outputs, flags.budget, flags.sandwich)
    facts = {"searchable_macs": coverage.share, "rows": rows, "smaller_inputs": smaller, "expected": expected}
    facts |= {"not_counted": coverage.unknown, "budget": {row.name: row._asdict() for row in bounds}}
    return Outcome(facts, "\n".join([f"{coverage}{hint}", *([feasibility_text(bounds)] if bounds else []), *expected]))

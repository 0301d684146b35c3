"""`renascent fit`: train the network that a search found."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renascent.cli.commands.command import Command, Machine, Outcome, Output, facts_of, finished, recipe_of, remembered
from renascent.cli.commands.searching import lasting
from renascent.cli.flags import Part, glance, switches
from renascent.cli.live import Live
from renascent.core.errors import UserError
from renascent.experiment.result import Result
from renascent.loops.fit import Fit
from renascent.reports.summary import summary
from renascent.results.retrain import REFERENCE
from renascent.tasks.distill import Distillation
from renascent.tasks.images import ImageTask
from renascent.tasks.prepare import ImageOptions

ABOUT = """Train the network that a search found on all training images, and test it.

The data are those of the search, with the same options, unless flags say otherwise."""


@dataclass(frozen=True, kw_only=True)
class FitFlags:
    """What to train.

    data: name of a data set, or a folder of images; that of the search if not given.
    teacher: folder of a trained search whose network teaches too, or `reference`: the space's reference network,
    trained first with the same settings.
    init: where weights start: `fresh`, `shared` (those of the search), or `reference` (leading slices of its weights).
    random_cells: so many random architectures are trained alike, for comparison; inside the search's budget.
    prune: leave out operations that no path from input to output uses.
    seed: of everything random.
    resume: go on with an interrupted training.
    recipe: take a paper's settings (`renascent list`); flags given beside it come first.
    """

    data: str | None = None
    teacher: str | None = None
    init: str = "fresh"
    random_cells: int = 0
    prune: bool = False
    seed: int = 0
    resume: bool = False
    recipe: str | None = None


@dataclass(frozen=True)
class Plan:
    """The groups of flags of a training."""

    main: Part[FitFlags]
    settings: Part[Fit]
    distillation: Part[Distillation]
    options: Part[ImageOptions]
    machine: Part[Machine]

    @property
    def parts(self) -> list[Part[Any]]:
        return [self.main, self.settings, self.distillation, self.options, self.machine, Part("Output", Output())]


def command(words: Sequence[str]) -> Command:
    """Return the command, its defaults those of the recipe that `words` name. Raises UserError for an unknown one."""
    _, given = glance(words, switches(_plan(Fit()).parts))
    recipe = recipe_of(given.get("--recipe"), "fit")
    plan = _plan(recipe.fit if recipe and recipe.fit else Fit(), recipe.distillation if recipe else None)
    return Command(ABOUT, plan.parts, functools.partial(_run, plan), "dir", "The folder of a finished search.")


def owned() -> dict[str, list[Part[Any]]]:
    """Return every group of flags of a training, as `commands.search.owned`."""
    return {"": _plan(Fit()).parts}


def _plan(settings: Fit, distillation: Distillation | None = None) -> Plan:
    """Return the flags, with defaults. distillation: of a recipe, which then has the reference as teacher."""
    return Plan(
        main=Part("Fit", FitFlags(teacher=REFERENCE if distillation else None)),
        settings=Part("Training", settings),
        distillation=Part("Distillation (with a teacher)", distillation or Distillation()),
        options=Part("Data (as in the search, unless given)", ImageOptions(), blank=True),
        machine=Part("Machine", Machine()),
    )


def _run(plan: Plan, word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = plan.main.build(values)
    result = Result.load(finished(word, "fit"))
    if (result.folder / "fit" / "config.json").exists() and not flags.resume:
        raise UserError(
            f"{result.folder / 'fit'} holds a training already: add --resume to go on with it, or remove it"
        )
    teacher, distillation = _teacher(plan, flags, values)
    task = _task(plan, flags, result, values)
    first = [f"{REFERENCE} network"] if REFERENCE in (flags.teacher, flags.init) else []
    cells = [f"random cell {number + 1} of {flags.random_cells}" for number in range(flags.random_cells)]
    with Live([*first, "training", *cells]) as live:
        live.say(f"training {result.facts['arch']} on {task}; folder {result.folder / 'fit'}")
        result.fit(
            task,
            plan.settings.build(values),
            teacher=teacher,
            distillation=distillation,
            init=flags.init,
            seed=flags.seed,
            prune=flags.prune,
            random_cells=flags.random_cells,
            resume=flags.resume,
            say=live,
        )
        page = result.report()
    following = f"next: renascent export {result.folder} --to onnx; the report is {page}"
    return Outcome(facts_of(result, page), f"{summary(result)}\n\n{following}")


def _teacher(plan: Plan, flags: FitFlags, values: Mapping[str, Any]) -> tuple[Result | str | None, Distillation | None]:
    """Return the teacher and how much it counts. Raises UserError for flags of distillation without a teacher."""
    if flags.teacher is not None:
        teacher = flags.teacher if flags.teacher == REFERENCE else Result.load(flags.teacher)
        return teacher, plan.distillation.build(values)
    if given := [flag.name for flag in plan.distillation.flags() if values.get(flag.key) is not None]:
        raise UserError(f"{', '.join(given)} without a teacher: add --teacher DIR or --teacher {REFERENCE}")
    return None, None


def _task(plan: Plan, flags: FitFlags, result: Result, values: Mapping[str, Any]) -> ImageTask:
    """Return what to train on. Raises UserError when the search's own data have changed since."""
    machine = plan.machine.build(values)
    if flags.data is not None:
        options = ImageOptions()
        with contextlib.suppress(UserError):  # of a search from Python nothing is remembered
            held, known = remembered(result.folder)
            options = known if held == lasting(flags.data) else options
        return machine.task(flags.data, dataclasses.replace(plan.options, settings=options).build(values))
    data, options = remembered(result.folder)
    task = machine.task(data, dataclasses.replace(plan.options, settings=options).build(values))
    changed = any(values.get(flag.key) is not None for flag in plan.options.flags())
    if not changed and not result.searched_on(task):
        raise UserError(
            f"the images of '{data}' are no longer those of the search: put them back, "
            f"or give --data {data} to train on them as they are"
        )
    return task

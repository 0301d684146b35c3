"""What `renascent fit` does."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Machine, Outcome, lasting, recipe_of
from renascent.cli.commands.fit import FitFlags
from renascent.cli.work.models import loaded
from renascent.cli.work.running import remembered, task_on, told
from renascent.core.errors import UserError
from renascent.core.files import read_json
from renascent.core.protocols import SpaceConfig
from renascent.core.text import cut
from renascent.experiment.result import Result
from renascent.loops.fit import Fit
from renascent.reports.live import Counted
from renascent.results.baselines import Baselines, pruned_of, uniform_of
from renascent.results.retrain import REFERENCE
from renascent.results.trainings import SEVERAL, training_folder
from renascent.tasks.distill import Distillation
from renascent.tasks.images import ImageTask
from renascent.tasks.prepare import ImageOptions


def run(
    folder: str,
    *,
    flags: FitFlags,
    training: Fit,
    distillation: Distillation,
    options: Mapping[str, Any],
    machine: Machine,
    network: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train the network of a search, and those beside it."""
    result = loaded(folder, flags.factory, flags.space)
    taught = flags.teacher is not None
    teacher = flags.teacher if flags.teacher in (None, REFERENCE) else _teacher(Path(str(flags.teacher)), flags, result)
    recipe = recipe_of(flags.recipe, "fit")
    task = _task(flags, result, {**({"cutout": recipe.cutout} if recipe and recipe.cutout else {}), **options}, machine)
    larger = recipe.network_for(result, task, **(network or {})) if recipe else _changed(result, network or {})
    larger = result.widened(flags.widen, task, larger) if flags.widen else larger
    place = training_folder(result.folder, flags.name)
    Counted().say(f"training {cut(str(result.facts['arch']))} on {task}; folder {place}")
    families = (flags.uniform, uniform_of, "uniform scaling"), (flags.magnitude, pruned_of, "magnitude pruning")
    for asked, made, name in families:
        if asked and made(result) is None:
            Counted().say(f"the result is the network that {name} gives: no other is trained beside it")
    if (few := len(Baselines.of(result, flags.seed, flags.random_cells).archs)) < flags.random_cells:
        Counted().say(f"{few} random baselines for the {flags.random_cells} asked for: no others were found")
    result.fit(
        task,
        training,
        teacher=teacher,
        distillation=distillation if taught else None,
        init=flags.init,
        seed=flags.seed,
        prune=flags.prune,
        network=larger,
        random_cells=flags.random_cells,
        uniform=flags.uniform,
        magnitude=flags.magnitude,
        name=flags.name,
        resume=flags.resume,
    )
    named = f" --name {flags.name}" if flags.name else ""
    return told(result.named(flags.name), f"renascent export {result.folder} --to onnx{named}")


def _teacher(folder: Path, flags: FitFlags, result: Result) -> Result:
    """Return the trained search in a folder, which may be of the same space of the user's own.

    Of DIR/fits/NAME that in DIR, with the training of that name.
    """
    of_several = folder.parent.name == SEVERAL and not (folder / "arch.json").exists()
    search, same = folder.parents[1] if of_several else folder, False
    with contextlib.suppress(UserError, AttributeError):
        same = read_json(search / "arch.json").get("space") == result.about.space
    found = loaded(str(search), None, flags.space if same else None)
    return found.named(folder.name) if of_several else found


def _changed(result: Result, changes: Mapping[str, Any]) -> SpaceConfig | None:
    """Return the space of the search with other settings; None where there are none."""
    return dataclasses.replace(result.space, **changes) if changes else None  # type: ignore[type-var]


def _task(flags: FitFlags, result: Result, changes: Mapping[str, Any], machine: Machine) -> ImageTask:
    """Return what to train on. Raises UserError when the search's own data have changed since."""
    if flags.data is not None:
        options = ImageOptions()
        with contextlib.suppress(UserError):  # a search that Python started has no data file
            held = remembered(result.folder)
            options = held.options if held.data == lasting(flags.data) else options
        return task_on(machine, flags.data, dataclasses.replace(options, **changes))
    source = remembered(result.folder)
    task = task_on(machine, source.data, dataclasses.replace(source.options, **changes))
    if not changes and not result.searched_on(task):
        raise UserError(
            f"the images of '{source.data}' are no longer those of the search: put them back, "
            f"or give --data {source.data} to train on them as they are"
        )
    return task

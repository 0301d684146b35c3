"""The trainings of one result beside each other: what was set otherwise, and what each reached."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from renascent.core.files import Json
from renascent.core.schema import written
from renascent.core.text import aligned, number, percent
from renascent.results.epochs import Epoch, read_epochs
from renascent.results.facts import Training
from renascent.results.record import Record
from renascent.results.trainings import begun, ended, training_folder

UNNAMED = "(no name)"
"""How the training without a name is called in a table."""

TOLD = ("task", "seed", "prune", "init", "network", "searched_epochs")
"""What of a training is set beside its settings, and can differ between two."""

Columns = list[tuple[str, ...]]
"""The rows of a table that has one column for each training; a head first."""


def compared(result: Record) -> Columns:
    """Return a table of all trainings: scores, costs, seconds, and the settings that differ; none of fewer than two."""
    found = result.trainings
    if len(found) < 2:
        return []
    trainings, others = list(found.values()), differing(found)
    splits = dict.fromkeys(split for training in trainings for split in training.scores)
    rows = [(f"accuracy on {split}", *(_score(t, split) for t in trainings)) for split in splits]
    rows += [("parameters", *(number(t.params) for t in trainings)), ("MACs", *(number(t.macs) for t in trainings))]
    rows += [("seconds", *(number(t.seconds) for t in trainings))]
    rows += [(key.replace("_", " "), *map(_shown, values)) for key, values in others.items()]
    return [("", *(name or UNNAMED for name in found)), *rows]


def comparison_table(result: Record) -> list[str]:
    """Return the lines of `compared`; none of fewer than two trainings."""
    rows = compared(result)
    return ["trainings of this network", *(f"  {line}" for line in aligned(rows, "<>").splitlines())] if rows else []


def comparison_facts(result: Record) -> list[Json]:
    """Return what JSON says of each training: name, folder, scores, costs, and of its settings those that differ."""
    found = result.trainings
    others = differing(found)
    return [
        {
            "name": name,
            "folder": str(training_folder(result.folder, name)),
            "scores": training.scores,
            "params": training.params,
            "macs": training.macs,
            "seconds": training.seconds,
            "differs": {key: values[column] for key, values in others.items()},
        }
        for column, (name, training) in enumerate(found.items())
    ]


def differing(found: Mapping[str | None, Training]) -> dict[str, list[Any]]:
    """Return each setting that is not the same in all trainings: its value in each, None where it is not there."""
    settings = [_settings(training) for training in found.values()]
    keys = dict.fromkeys(key for each in settings for key in each)
    values = {key: [each.get(key) for each in settings] for key in keys}
    return {key: several for key, several in values.items() if any(value != several[0] for value in several)}


def unfinished(result: Record) -> Iterator[str]:
    """Say of each training that was begun and has not ended how far it is, and how to go on with it."""
    again = shlex.join(["renascent", "fit", str(result.folder)])
    names = begun(result.folder)
    names = names if None in names or not result.asked.finish else [None, *names]
    for name in names:
        if ended(result.folder, name):
            continue
        done = read_epochs(Epoch, training_folder(result.folder, name))
        reached = f"epoch {done[-1].epoch} of {done[-1].epochs}" if done else "no epoch yet"
        which, flag = (f" '{name}'", f" --name {name}") if name else ("", "")
        first = name is None and result.asked.finish
        command = "repeat the search's command with --resume" if first else f"{again}{flag} --resume"
        yield f"The training{which} of the found network has reached {reached}; to go on with it: {command}"


def _settings(training: Training) -> dict[str, Any]:
    told: Json = written(training)
    held = {key: told.get(key) for key in TOLD} | told["settings"]
    held |= {"teacher": training.teacher and training.teacher.name, "distillation": told["distillation"]}
    return dict(_flat(held))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _score(training: Training, split: str) -> str:
    return percent(training.scores[split]) if split in training.scores else "-"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

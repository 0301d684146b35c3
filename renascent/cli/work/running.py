"""What the commands that train have in common: the machine, the data, and what is told of a result."""

from __future__ import annotations

from pathlib import Path

import torch

from renascent.cli.commands.command import Machine, Outcome
from renascent.core.errors import UserError
from renascent.core.files import read_json
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.table import Lut
from renascent.experiment.result import Result
from renascent.nets import SPACES
from renascent.reports.summary import summary
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

DATA_FILE = "data.json"
"""In a run folder: which data the search was on, so that `fit` and `export` find the same."""


def ready(machine: Machine) -> torch.device:
    """Set the threads, and return the device. Raises UserError when it cannot be used."""
    torch.set_num_threads(machine.threads)
    try:
        return torch.empty(1, device=machine.device).device
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        reason = str(e).strip().partition("\n")[0]
        usable = ", ".join(["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
        raise UserError(f"--device {machine.device} cannot be used ({reason}): here there is {usable}") from None


def task_on(machine: Machine, data: str, options: ImageOptions) -> ImageTask:
    """Return the task of a data set or folder. Raises UserError when data or device cannot be used."""
    return load(data, options=options, device=ready(machine), download=machine.download)


def remembered(folder: Path) -> tuple[str, ImageOptions]:
    """Return the data of the search in a folder, by name or folder, and their options.

    Raises UserError when the search was not started by the command line.
    """
    if not (folder / DATA_FILE).exists():
        raise UserError(f"{folder} does not say which data it searched on: give --data NAME_OR_FOLDER")
    held = read_json(folder / DATA_FILE)
    try:
        return str(held["data"]), ImageOptions(**held["options"])
    except (KeyError, TypeError) as e:
        raise UserError(f"{folder / DATA_FILE} cannot be read ({e}): repeat the search, or give --data") from None


def latency_from(
    table: str | None, space: SpaceConfig, shape: tuple[int, int, int], classes: int
) -> LatencyCost | None:
    """Return what a look-up table says of a space; None without one. Raises UserError where the two do not fit."""
    if table is None:
        return None
    if not space.layered:
        raise UserError(f"--latency-table is for spaces of sizes, not for {name_of(space, SPACES)}: leave it out")
    return LatencyCost(space, Lut.load(table), shape, classes)


def told(result: Result, following: str = "") -> Outcome:
    """Write the report of a result, and return what is said of it. following: what can be done next."""
    page = result.report()
    facts = {"folder": str(result.folder), "report": str(page), **result.facts, "fit": result.fitted}
    last = f"next: {following}; the report is {page}" if following else f"report: {page}"
    return Outcome(facts, f"{summary(result)}\n\n{last}")

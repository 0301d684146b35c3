"""What the commands that train have in common: the machine, the data, and what is told of a result."""

from dataclasses import dataclass
from pathlib import Path

import torch

from renascent.cli.commands.command import Machine, Outcome
from renascent.core.devices import usable_device
from renascent.core.errors import UserError
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig
from renascent.core.schema import read_as
from renascent.costs.latency.blocks import BlockLatency
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.sources import is_of_blocks, latency_named
from renascent.experiment.result import Result
from renascent.nets import SPACES
from renascent.reports.entropy import policy_entropy
from renascent.reports.gain import gain_facts
from renascent.reports.live import Counted
from renascent.reports.summary import summary
from renascent.reports.trainings import comparison_facts
from renascent.reports.uniform import pruned_facts, uniform_facts
from renascent.reports.verdict import verdict
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

DATA_FILE = "data.json"
"""In a run folder: `Source` of the search, so that `fit` finds the same."""


@dataclass(frozen=True)
class Source:
    """Which data a search was on: their name or folder."""

    data: str
    options: ImageOptions


def ready(machine: Machine) -> torch.device:
    """Set the threads, and return the device. Raises UserError when it cannot be used."""
    torch.set_num_threads(machine.threads)
    return usable_device(machine.device)


def task_on(machine: Machine, data: str, options: ImageOptions) -> ImageTask:
    """Return the task of a data set or folder, and say what of it was skipped, if that was asked for.

    Raises UserError when data or device cannot be used.
    """
    task = load(data, options=options, device=ready(machine), download=machine.download)
    if options.skip_bad:
        Counted().say(f"data: {task.source}")
    return task


def remembered(folder: Path) -> Source:
    """Return the data of the search in a folder. Raises UserError when the command line did not start it."""
    if not (folder / DATA_FILE).exists():
        raise UserError(f"{folder} does not say which data it searched on: give --data NAME_OR_FOLDER")
    return read_as(Source, folder / DATA_FILE, "repeat the search, or give --data")


def latency_from(
    table: str | None, space: SpaceConfig, shape: tuple[int, int, int], classes: int
) -> LatencyCost | BlockLatency | None:
    """Return what a table says of a space; None without one. Raises UserError where the two do not fit.

    table: a file, "pixel1", or "fbnet:DEVICE".
    """
    if table is None:
        return None
    if not (space.layered or is_of_blocks(Path(table))):
        raise UserError(
            f"--latency-table is for spaces of sizes and of blocks, not for {name_of(space, SPACES)}: leave it out"
        )
    return latency_named(table, space, shape, classes)


def weights_of(result: Result) -> str:
    """Return where the weights of the network of a result are from: "search", "fit", or "fit NAME"."""
    return " ".join(["fit", *filter(None, [result.training_name])]) if result.training else "search"


def told(result: Result, following: str = "") -> Outcome:
    """Write the report of a result, and return what is said of it. following: what can be done next."""
    page = result.report()
    facts = {"folder": str(result.folder), "report": str(page), **result.facts, "fit": result.fitted}
    if moved := policy_entropy(result):
        facts["policy"] = {"entropy": {"start": moved.start, "end": moved.end}, "undecided": moved.undecided}
    facts["verdict"] = verdict(result) or None
    facts["latency_busy"] = result.latency.busy or None
    if gained := gain_facts(result):
        facts["gain"] = gained
    if any(name is not None for name in result.trainings):
        facts["trainings"] = comparison_facts(result)
    if beside := uniform_facts(result):
        facts["beside_uniform"] = beside
    if beside := pruned_facts(result):
        facts["beside_magnitude"] = beside
    last = f"next: {following}; the report is {page}" if following else f"report: {page}"
    return Outcome(facts, f"{summary(result)}\n\n{last}")

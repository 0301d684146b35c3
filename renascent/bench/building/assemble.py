"""From the records of a finished build to a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.bench.building.journal import Journal
from renascent.bench.building.plan import Plan
from renascent.bench.building.work import ROUNDS, machine
from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.core.files import Json
from renascent.loops.trained import MEASURES, splits_of
from renascent.tasks.images import ImageTask

NOTES = {
    "train": "mean over the augmented batches of the epoch, while it was trained",
    "val": "after the epoch, on images held out of the training images",
    "test": "after the epoch, on the test images",
}


def assemble(name: str, plan: Plan, task: ImageTask, journal: Journal, about: Mapping[str, str]) -> Table:
    """Return the table of every training and price in the journal; a training that failed is NaN."""
    space, epochs, splits = plan.space.space, plan.settings.epochs, splits_of(task)
    judged = f"{'test' if 'test' in splits else 'val'}_accuracy:{task.name}:{epochs}"
    problem = Problem(task.name, f"val_accuracy:{task.name}:{epochs}", f"seconds_per_epoch:{task.name}", judged)
    archs = np.array([space.indices(space.parse(arch)) for arch in plan.archs])
    archs = archs.astype(np.uint8 if archs.max() < 256 else np.int32)
    columns = {**_curves(plan, task, journal), **_seconds(plan, task, journal), **_prices(plan, task, journal)}
    return Table.of(name, space, archs, columns, [problem], {**about, **_failures(journal)})


def _curves(plan: Plan, task: ImageTask, journal: Journal) -> dict[Column, NDArray[Any]]:
    epochs, seeds = plan.settings.epochs, tuple(range(plan.seeds))
    columns = {}
    for split in ("train", *splits_of(task)):
        for measure in MEASURES:
            metric = f"{split}_{measure}"
            column = Column(metric, task.name, epochs, "", seeds, tuple(range(1, epochs + 1)), note=NOTES[split])
            missing = {"values": {metric: [None] * epochs}}
            found = [[journal.trained[arch, seed] for seed in seeds] for arch in plan.archs]
            values = [[record.get("values", missing["values"])[metric] for record in row] for row in found]
            columns[column] = np.array(values, dtype=np.float32)  # None becomes NaN
    return columns


def _seconds(plan: Plan, task: ImageTask, journal: Journal) -> dict[Column, NDArray[Any]]:
    kind = "of one thread of the processor" if task.device.type == "cpu" else "of the clock"
    note = f"{kind}, for the training steps alone; {machines(journal)}"
    column = Column("seconds_per_epoch", task.name, seeds=tuple(range(plan.seeds)), measured=True, note=note)
    found = [[journal.trained[arch, seed].get("seconds") for seed in column.seeds] for arch in plan.archs]
    return {column: np.array(found, dtype=np.float32) / np.float32(plan.settings.epochs)}


def _prices(plan: Plan, task: ImageTask, journal: Journal) -> dict[Column, NDArray[Any]]:
    found = [journal.priced[arch] for arch in plan.archs]
    note = f"one input, one thread, eager; the least of {ROUNDS} medians; {machine(task)}"
    return {
        Column("params", task.name): np.array([record["params"] for record in found], dtype=np.int64),
        Column("macs", task.name): np.array([record["macs"] for record in found], dtype=np.int64),
        Column("latency_ms", task.name, device=task.device.type, measured=True, note=note): np.array(
            [record["latency_ms"] for record in found], dtype=np.float32
        ),
    }


def machines(journal: Journal) -> str:
    """Return the names of all processors or GPUs that trained."""
    return ", ".join(sorted({record["machine"] for record in journal.trained.values() if "machine" in record}))


def _failures(journal: Journal) -> Json:
    told = [{key: record[key] for key in ("arch", "seed", "error")} for record in journal.failed]
    return {"failed": json.dumps(told)} if told else {}

"""Build a table: train, price, assemble."""

import itertools
import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from renascent.bench.building.journal import Journal, open_journal
from renascent.bench.building.plan import Plan
from renascent.bench.building.ray import on_ray
from renascent.bench.building.work import ROUNDS, machine, price
from renascent.bench.building.workers import on_this_machine
from renascent.bench.stopping import shielded, stoppable
from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.core.environment import environment
from renascent.core.errors import Interrupted, UserError
from renascent.core.processes import check_processes, cores
from renascent.core.protocols import Say
from renascent.loops.fit import check_fit
from renascent.loops.trained import MEASURES, splits_of
from renascent.tasks.images import ImageTask

NOTES = {
    "train": "mean over the augmented batches of the epoch, while it was trained",
    "val": "after the epoch, on images held out of the training images",
    "test": "after the epoch, on the test images",
}


@dataclass(frozen=True)
class Built:
    """A finished build. trainings: in the table.  failed: of them.  seconds: of this session, on the clock."""

    table: Table
    path: Path
    trainings: int
    failed: int
    seconds: float


def build(
    plan: Plan,
    out: str | Path,
    *,
    workers: int = 0,
    ray: str | None = None,
    resume: bool = False,
    command: str = "",
    say: Say = lambda event: None,
) -> Built:
    """Train every architecture of `plan` with every seed, and write the table.

    workers: trainings at a time, 0 means one for each processor.  ray: address of a cluster to train on.
    resume: go on with the build that was begun at `out`.  command: to be noted in the table.
    say: hears of every training and every price as it is done.

    What is finished lies in OUT.parts until the table is written. Only measured columns differ in a repetition on the
    same processor and torch, however many workers there are. A script of your own calls this below
    `if __name__ == "__main__":`, for its workers import it.

    Raises UserError for data or a path that cannot be used, when every training failed, and when processes die before
    one training is done; Interrupted after Ctrl-C or SIGTERM.
    """
    began, out = time.monotonic(), Path(out)
    check_processes("workers", 0 if ray else workers)
    with stoppable():
        task = plan.task()
        _check(plan, task, out)
        if ray and task.device.type != "cpu":
            raise UserError(f"`ray` trains on processors, not on {plan.device}: give `device` cpu, or leave `ray` out")
        # the numbers of a table must come from one version of torch
        config = {**plan.summary(), "task": task.describe(), "torch": torch.__version__}
        with open_journal(out, config, resume=resume) as journal:
            journal.check(plan.jobs, _metrics(task), plan.settings.epochs)
            try:
                _train(plan, journal, workers, ray, say)
                _price(plan, task, journal, say)
                table, failed = _table(out.stem, plan, task, journal, command), len(journal.failed)
                with shielded():  # once the table is there, nothing is left to go on with
                    table.save(out)
                    journal.remove()
            except KeyboardInterrupt:
                done, of = len(journal.trained), len(plan.jobs)
                if journal.run.folder.exists():
                    raise Interrupted(f"interrupted after {done} of {of} trainings; to go on") from None
                failed = len(journal.failed)
    return Built(Table.open(out), out, len(plan.jobs), failed, time.monotonic() - began)


def _train(plan: Plan, journal: Journal, workers: int, ray: str | None, say: Say) -> None:
    text, jobs = json.dumps(plan.to_json()), [job for job in plan.jobs if job not in journal.trained]
    count = workers or (0 if ray else cores())
    records = on_ray(text, jobs, count, ray) if ray and jobs else on_this_machine(text, jobs, count)
    with closing(records):  # type: ignore[type-var]
        for record in records:
            journal.add("trained", record)
            say({"event": "trained", "done": len(journal.trained), "of": len(plan.jobs), **record})
    if len(journal.failed) == len(plan.jobs):
        raise UserError(
            f"every training failed, the first by {journal.failed[0]['error']}: "
            f"remove {journal.run.folder} and build with other settings"
        )


def _price(plan: Plan, task: ImageTask, journal: Journal, say: Say) -> None:
    """Count and time every architecture: here, one after the other, with no training beside it to disturb."""
    for arch in plan.archs:
        if arch not in journal.priced:
            record = price(plan, task, arch)
            journal.add("priced", record)
            say({"event": "priced", "done": len(journal.priced), "of": len(plan.archs), **record})


def _check(plan: Plan, task: ImageTask, out: Path) -> None:
    """Refuse what would fail in every training, before anything is written."""
    if out.suffix == ".npz":
        raise UserError(f"`out` {out} ends in .npz, which stands for other tables: name it {out.stem}.safetensors")
    task.stream("train", 0, plan.settings.batch)
    first = plan.space.space.parse(plan.archs[0])
    check_fit(plan.space.network(first, task.channels, task.classes), plan.settings, task)


def _table(name: str, plan: Plan, task: ImageTask, journal: Journal, command: str) -> Table:
    """Return the table of every training and price in the journal; a training that failed is NaN."""
    space, epochs, splits = plan.space.space, plan.settings.epochs, splits_of(task)
    judged = f"{'test' if 'test' in splits else 'val'}_accuracy:{task.name}:{epochs}"
    problem = Problem(task.name, f"val_accuracy:{task.name}:{epochs}", f"seconds_per_epoch:{task.name}", judged)
    archs = np.array([space.indices(space.parse(arch)) for arch in plan.archs])
    archs = archs.astype(np.uint8 if archs.max() < 256 else np.int32)
    columns = {**_trained(plan, task, journal), **_priced(plan, task, journal)}
    return Table.of(name, space, archs, columns, [problem], _about(plan, task, journal, command))


def _metrics(task: ImageTask) -> list[str]:
    """Return what a training tells after every epoch."""
    return [f"{split}_{measure}" for split, measure in itertools.product(("train", *splits_of(task)), MEASURES)]


def _trained(plan: Plan, task: ImageTask, journal: Journal) -> dict[Column, NDArray[Any]]:
    epochs, seeds, columns = plan.settings.epochs, tuple(range(plan.seeds)), {}
    found = [[journal.trained[arch, seed] for seed in seeds] for arch in plan.archs]
    for metric in _metrics(task):
        split, missing = metric.partition("_")[0], [None] * epochs
        column = Column(metric, task.name, epochs, "", seeds, tuple(range(1, epochs + 1)), note=NOTES[split])
        values = [[(record.get("values") or {}).get(metric, missing) for record in row] for row in found]
        columns[column] = np.array(values, dtype=np.float32)  # None becomes NaN
    kind = "of one thread of the processor" if task.device.type == "cpu" else "of the clock"
    note = f"{kind}, for the training steps alone; {_machines(journal)}"
    seconds = np.array([[record.get("seconds") for record in row] for row in found], dtype=np.float32)
    columns[Column("seconds_per_epoch", task.name, seeds=seeds, measured=True, note=note)] = seconds / np.float32(
        epochs
    )
    return columns


def _priced(plan: Plan, task: ImageTask, journal: Journal) -> dict[Column, NDArray[Any]]:
    note = f"one input, one thread, eager; the least of {ROUNDS} medians; {machine(task)}"
    kinds: dict[Column, Any] = {
        Column("params", task.name): np.int64,
        Column("macs", task.name): np.int64,
        Column("latency_ms", task.name, device=task.device.type, measured=True, note=note): np.float32,
    }
    found = [journal.priced[arch] for arch in plan.archs]
    return {column: np.array([record[column.metric] for record in found], kind) for column, kind in kinds.items()}


def _machines(journal: Journal) -> str:
    """Return the names of all processors or GPUs that trained."""
    return ", ".join(sorted({record["machine"] for record in journal.trained.values() if "machine" in record}))


def _about(plan: Plan, task: ImageTask, journal: Journal, command: str) -> dict[str, str]:
    told = environment(0, task.device)
    versions = {"python": told["python"], **told["versions"]}
    about = {
        "source": f"built by renascent on {task.source}",
        "command": command,
        "settings": json.dumps(plan.summary()),
        "processor": _machines(journal),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "protocol": "every architecture trained from scratch on the train split with one thread, judged every epoch",
    }
    if failed := [{key: record[key] for key in ("arch", "seed", "error")} for record in journal.failed]:
        about["failed"] = json.dumps(failed)
    return about

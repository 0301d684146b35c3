"""Build a table: train, price, assemble."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from renascent.bench.building.assemble import assemble, machines
from renascent.bench.building.journal import Journal, open_journal
from renascent.bench.building.plan import Plan
from renascent.bench.building.ray import on_ray
from renascent.bench.building.work import price
from renascent.bench.building.workers import on_this_machine
from renascent.bench.tables.table import Table
from renascent.core.environment import environment
from renascent.core.errors import Interrupted, UserError
from renascent.core.files import Json
from renascent.core.protocols import Say
from renascent.loops.fit import _check_drop_path
from renascent.tasks.images import ImageTask


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
    one training is done; Interrupted after Ctrl-C.
    """
    began, out, task = time.monotonic(), Path(out), plan.task()
    _check(plan, task, out)
    if ray and task.device.type != "cpu":
        raise UserError(f"`ray` trains on processors, not on {plan.device}: leave `device` out, or `ray`")
    # the numbers of a table must come from one version of torch
    config = {**plan.summary(), "task": task.describe(), "torch": torch.__version__}
    with open_journal(out, config, resume=resume) as journal, _stoppable(plan, journal):
        _train(plan, journal, workers, ray, say)
        _price(plan, task, journal, say)
        table = assemble(out.stem, plan, task, journal, _about(plan, task, journal, command))
        table.save(out)
        failed = len(journal.failed)
        journal.remove()
    return Built(Table.open(out), out, len(plan.jobs), failed, time.monotonic() - began)


def _train(plan: Plan, journal: Journal, workers: int, ray: str | None, say: Say) -> None:
    text, jobs = json.dumps(plan.to_json()), [job for job in plan.jobs if job not in journal.trained]
    count = workers or (0 if ray else os.cpu_count() or 1)
    records = on_ray(text, jobs, count, ray) if ray and jobs else on_this_machine(text, jobs, count)
    with closing(records):  # type: ignore[type-var]
        for record in records:
            journal.add("trained", record)
            say(_progress("trained", len(journal.trained), len(plan.jobs), record))
    if len(journal.failed) == len(plan.jobs):
        raise UserError(
            f"every training failed, the first by {journal.failed[0]['error']}: "
            f"remove {journal.run.folder} and build with other settings"
        )


def _price(plan: Plan, task: ImageTask, journal: Journal, say: Say) -> None:
    """Count and time every architecture: here, one after the other, with no training beside it to disturb."""
    for arch in plan.archs:
        if arch not in journal.priced:
            journal.add("priced", price(plan, task, arch))
            say(_progress("priced", len(journal.priced), len(plan.archs), journal.priced[arch]))


def _progress(kind: str, done: int, of: int, record: Json) -> Json:
    return {"event": kind, "done": done, "of": of, **record}


def _check(plan: Plan, task: ImageTask, out: Path) -> None:
    """Refuse what would fail in every training, before anything is written."""
    if out.suffix == ".npz":
        raise UserError(f"`out` {out} ends in .npz, which stands for other tables: name it {out.stem}.safetensors")
    task.stream("train", 0, plan.settings.batch)
    first = plan.space.space.parse(plan.archs[0])
    _check_drop_path(plan.space.network(first, task.channels, task.classes), plan.settings)


def _about(plan: Plan, task: ImageTask, journal: Journal, command: str) -> dict[str, str]:
    told = environment(0, task.device)
    versions = {"python": told["python"], **told["versions"]}
    return {
        "source": f"built by renascent on {task.source}",
        "command": command,
        "settings": json.dumps(plan.summary()),
        "processor": machines(journal),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "protocol": "every architecture trained from scratch on the train split with one thread, judged every epoch",
    }


@contextmanager
def _stoppable(plan: Plan, journal: Journal) -> Iterator[Any]:
    """Let whoever interrupts know how far it is, and that it can be gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        done, of = len(journal.trained), len(plan.jobs)
        raise Interrupted(f"interrupted after {done} of {of} trainings; to go on") from None

"""The progress of a build: a folder beside the table, from which a killed build goes on.

It is a run folder (see `renascent.loops.run`): config.json says what is built, and each line of events.jsonl is one
training or one price that is finished. A line is written at once and by one process, so that a kill costs what was
under way.
"""

import math
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from renascent.bench.building.plan import Job
from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, Whole, settings
from renascent.core.files import Json, whole_lines, writing
from renascent.core.schema import checked
from renascent.core.text import short
from renascent.loops.fit import Fit
from renascent.loops.lock import locked
from renascent.loops.run import Run
from renascent.tasks.prepare import ImageOptions


@dataclass(frozen=True)
class _Trained:
    """One training: its values and seconds, or why it failed. Raises ValueError for neither."""

    arch: str
    seed: int
    values: dict[str, list[float | None]] | None = None
    seconds: NonNegative | None = None
    machine: str = ""
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.values is None or self.seconds is None) == (self.error is None):
            raise ValueError(f"the training of {short(self.arch)} has neither values nor an error, or both")
        for values in (self.values or {}).values():
            if not all(value is None or math.isfinite(value) for value in values):
                raise ValueError(f"the training of {short(self.arch)} has a value that is no number")


@settings
class _Priced:
    """One price."""

    arch: str
    params: Whole
    macs: Whole
    latency_ms: NonNegative


class Journal:
    """The records of one build. trained: by architecture and seed.  priced: by architecture."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.trained: dict[Job, Json] = {}
        self.priced: dict[str, Json] = {}
        for record in whole_lines(run.events_file):
            kind = _Trained if record.get("event") == "trained" else _Priced
            checked(kind, record, run.events_file, f"remove {run.folder} and start again")
            self._keep(record)

    def add(self, kind: str, record: Json) -> None:
        """Write down one record. kind: "trained" or "priced"."""
        self._keep(self.run.event(kind, **record))

    @property
    def failed(self) -> list[Json]:
        return [record for record in self.trained.values() if "error" in record]

    def check(self, jobs: Sequence[Job], metrics: Collection[str], epochs: int) -> None:
        """Raise UserError for a record of no such training, each of which tells so many epochs of all metrics."""
        known, archs = set(jobs), {arch for arch, _ in jobs}
        strange = [job for job in self.trained if job not in known] + [
            arch for arch in self.priced if arch not in archs
        ]
        strange += [
            job
            for job, record in self.trained.items()
            if "error" not in record
            and (record["values"].keys() != set(metrics) or {len(v) for v in record["values"].values()} != {epochs})
        ]
        if strange:
            raise UserError(
                f"{self.run.events_file} is damaged (a record of {short(strange[0])} is not of this build): "
                f"remove {self.run.folder} and start again"
            )

    def _keep(self, record: Json) -> None:
        if record["event"] == "trained":
            self.trained[record["arch"], record["seed"]] = record
        else:
            self.priced[record["arch"]] = record

    def remove(self) -> None:
        """Remove the folder at one stroke: half of a journal would be taken for a build hardly begun."""
        gone = _gone(self.run.folder)
        with writing(self.run.folder):
            self.run.folder.rename(gone)
            shutil.rmtree(gone)


@contextmanager
def open_journal(table: Path, config: Json, *, resume: bool) -> Iterator[Journal]:
    """Open the journal of a table, new or to be gone on with.

    To resume where there is none is to begin: a build may have been killed before it had one.
    Raises UserError when there is one already and `resume` is not asked for, when it is of another configuration or
    damaged, when another build is at work on it, and when the table is there and so finished.
    """
    folder = table.with_name(table.name + ".parts")
    shutil.rmtree(_gone(folder), ignore_errors=True)
    there = (folder / "config.json").exists()
    if table.exists() and not (there and resume):
        raise UserError(f"{table} is there already: nothing is left to build; remove it, or use another `out`")
    kinds = {"settings": Fit, "options": ImageOptions}
    run = Run.start(folder, config, resume=resume, instead=f"remove {folder}", kinds=kinds)
    with locked(folder):
        yield Journal(run)


def _gone(folder: Path) -> Path:
    return folder.with_name(folder.name + ".gone")

"""The progress of a build: a folder beside the table, from which a killed build goes on.

It is a run folder (see `renascent.loops.run`): config.json says what is built, and each line of events.jsonl is one
training or one price that is finished. A line is written at once and by one process, so that a kill costs what was
under way.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renascent.bench.building.plan import Job
from renascent.core.errors import UserError
from renascent.core.files import Json, whole_lines, writing
from renascent.loops.run import Run, locked


class Journal:
    """The records of one build. trained: by architecture and seed.  priced: by architecture."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.trained: dict[Job, Json] = {}
        self.priced: dict[str, Json] = {}
        for record in whole_lines(run.events_file):
            self._keep(record)

    def add(self, kind: str, record: Json) -> None:
        """Write down one record. kind: "trained" or "priced"."""
        self._keep(self.run.event(kind, **record))

    @property
    def failed(self) -> list[Json]:
        return [record for record in self.trained.values() if "error" in record]

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

    Raises UserError when there is one already and `resume` is not asked for, or none and it is, when it is of another
    configuration or damaged, when another build is at work on it, and when the table is there and so finished.
    """
    folder = table.with_name(table.name + ".parts")
    shutil.rmtree(_gone(folder), ignore_errors=True)
    there = (folder / "config.json").exists()
    if table.exists() and not (there and resume):
        raise UserError(f"{table} is there already: nothing is left to build; remove it, or use another `out`")
    if resume and not there:
        raise UserError(f"there is no unfinished build {folder} to resume: check `out`, or leave `resume=True` out")
    run = Run.start(folder, config, resume=resume, instead=f"remove {folder}")
    with locked(folder):
        yield Journal(run)


def _gone(folder: Path) -> Path:
    return folder.with_name(folder.name + ".gone")

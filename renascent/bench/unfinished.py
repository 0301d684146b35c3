"""What a comparison has so far: runs.jsonl in its folder, from which it goes on; it is gone once the page is written.

The first line says what is compared. Each other line holds the runs of one strategy that one process took on, and is
written as soon as they have ended.
"""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from renascent.bench.compare import Job, Runs
from renascent.core.errors import UserError
from renascent.core.files import Json, whole_lines, writing
from renascent.core.schema import checked

FILE = "runs.jsonl"


@dataclass(frozen=True)
class _Part:
    """One line. NaN is null. Raises ValueError where its lists are not of as many runs, or not of numbers."""

    problem: str
    strategy: str
    first: int
    results: list[float]
    trials: list[float]
    curves: list[list[float | None]]
    hypervolumes: list[float]

    def __post_init__(self) -> None:
        every = [
            *self.results,
            *self.trials,
            *self.hypervolumes,
            *(v for row in self.curves for v in row if v is not None),
        ]
        lengths = {len(self.results), len(self.trials), len(self.curves), len(self.hypervolumes) or len(self.results)}
        if len(lengths) > 1 or len({len(row) for row in self.curves}) != 1 or not all(map(math.isfinite, every)):
            raise ValueError("runs that do not fit each other")

    def runs(self) -> Runs:
        curves = np.array(self.curves, dtype=np.float64)  # None becomes NaN
        return Runs(np.array(self.results), np.array(self.trials), curves, np.array(self.hypervolumes))


class Unfinished:
    """The file of one comparison. parts: what it has, by job."""

    def __init__(self, folder: Path, identity: Json, jobs: Iterable[Job], *, resume: bool) -> None:
        """Open it, new or to be gone on with; to resume where there is none is to begin.

        identity: JSON values that tell this comparison from another.
        Raises UserError when there is one already and `resume` is not asked for, when it is of another comparison, and
        when it is damaged or cannot be written.
        """
        self.path, self.parts = folder / FILE, dict[Job, Runs]()
        said = json.loads(json.dumps({"identity": identity}))
        lines = whole_lines(self.path)
        if lines and not resume:
            raise UserError(f"{folder} holds an unfinished comparison: go on with `resume=True`, or remove that folder")
        if not lines:
            with writing(self.path):
                folder.mkdir(parents=True, exist_ok=True)
            self._add(said)
        elif lines[0] != said:
            raise UserError(
                f"{folder} holds an unfinished comparison of other settings or another table: "
                "resume with those, or remove it"
            )
        known = {(job[1].problem, job[0], job[2].start): job for job in jobs}
        for line in lines[1:]:
            part = checked(_Part, line, self.path, f"remove {folder} and start again")
            job = known.get((part.problem, part.strategy, part.first))
            if job is None or len(job[2]) != len(part.results):
                raise UserError(f"{self.path} is damaged (runs of another comparison): remove {folder} and start again")
            self.parts[job] = part.runs()

    def keep(self, job: Job, runs: Runs) -> None:
        """Write down the runs of a job. Raises UserError when that cannot be."""
        name, contest, seeds = job
        curves = [[None if math.isnan(v) else v for v in row] for row in runs.curves.tolist()]
        lists = {key: value.tolist() for key, value in vars(runs).items()}
        self.parts[job] = runs
        self._add(asdict(_Part(contest.problem, name, seeds.start, **{**lists, "curves": curves})))

    def remove(self) -> None:
        """Remove it."""
        with writing(self.path):
            self.path.unlink()

    def give_up(self) -> None:
        """Remove it where it holds no runs, and its folder where that holds nothing else."""
        if not self.parts:
            with suppress(OSError):
                self.path.unlink()
                self.path.parent.rmdir()

    def _add(self, record: Mapping[str, Any]) -> None:
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

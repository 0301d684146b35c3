"""The runs below a folder at a glance, read without torch: what was searched, what it costs and reaches, its state.

Files are checked as `Record` checks them, so that a run that cannot be reported is damaged here; weights are not read.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from renascent.core.errors import UserError
from renascent.core.fields import Count, Whole
from renascent.core.files import is_there, parsed, read_bytes, read_json
from renascent.core.schema import checked, read_as
from renascent.loops.lock import is_locked
from renascent.results.seal import EVENTS, check_seal
from renascent.results.trainings import RESULT, begun, shown, training_folder

T = TypeVar("T")

RUNNING, STOPPED, FINISHED, DAMAGED = "running", "stopped", "finished", "damaged"
"""A process holds the folder's lock; none does, and the result is not there; it is; or a file cannot be what it was."""

AGAIN = "repeat the search"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Of the data of a search, the name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Of config.json, what an overview shows."""

    space: str
    strategy: str
    task: Data
    seed: int
    epochs: Whole = 0
    budget: str | None = None
    finish: Whole = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """Of arch.json, what an overview shows."""

    arch: str
    search_score: float
    params: Whole
    macs: Whole


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the settings of a training, its length."""

    epochs: Count


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Of a training's result, what an overview shows."""

    scores: dict[str, float]
    params: Whole
    macs: Whole
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class At:
    """Of an epoch's event, where the run stood."""

    epoch: Count
    epochs: Count


@dataclass(frozen=True, kw_only=True)
class Work:
    """A search or a training.  state: one of the four.  why: how that is known.  at: its last epoch, if any."""

    state: str
    why: str
    at: At | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One training of a result.  name: None where it has none.  reached: once it has ended."""

    name: str | None
    work: Work
    reached: Reached | None = None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One run.  asked, found: None where its file is not there, or damaged.  time: of the last work, since 1970."""

    folder: Path
    search: Work
    asked: Asked | None = None
    found: Found | None = None
    trainings: tuple[Trained, ...] = ()
    time: float = 0.0

    @property
    def reached(self) -> Reached | None:
        """What the training reached that a report is about; None before any."""
        name = shown(self.folder)
        return next((one.reached for one in self.trainings if one.name == name), None)


def overviews(folder: Path) -> list[Overview]:
    """Return all runs in and below a folder, the newest last."""
    return sorted(map(_overview, _runs(folder)), key=lambda one: (one.time, str(one.folder)))


def _runs(folder: Path) -> Iterator[Path]:
    """Give the run folders below a folder; what lies in one of them belongs to it."""
    for root, folders, names in os.walk(folder):
        if "arch.json" in names or ("config.json" in names and _is_search(Path(root))):
            folders.clear()
            yield Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _is_search(folder: Path) -> bool:
    """Return whether a config.json is that of a search: others have files of this name, too."""
    with suppress(UserError):
        return {"space", "strategy", "task"} <= read_json(folder / "config.json").keys()
    return is_there(folder / "environment.json")  # damaged, then


def _overview(folder: Path) -> Overview:
    """Read one run. Whatever is wrong with it becomes its state."""
    found: dict[str, Any] = {}
    try:
        found["asked"] = asked = read_as(Asked, folder / "config.json", AGAIN)
        at = _last(folder)
        if is_there(folder / "arch.json"):
            found["found"] = _sealed(Found, folder / "arch.json", AGAIN)
    except UserError as e:
        return Overview(folder=folder, search=Work(state=DAMAGED, why=str(e)), time=_touched(folder), **found)
    trainings = tuple(_trained(folder, name) for name in begun(folder))
    first = next((one for one in trainings if one.name is None), None)
    lasting = asked.finish and (first is None or first.work.state == STOPPED)
    search = _work(folder, at, ended="found" in found, unfinished="its training has not ended" if lasting else "")
    times = [_touched(folder), *(_touched(training_folder(folder, one.name)) for one in trainings)]
    return Overview(folder=folder, search=search, trainings=trainings, time=max(times), **found)


def _trained(run: Path, name: str | None) -> Trained:
    folder = training_folder(run, name)
    try:
        at = _last(folder)
        reached = _sealed(Reached, folder / RESULT, "repeat the fit") if is_there(folder / RESULT) else None
    except UserError as e:
        return Trained(name=name, work=Work(state=DAMAGED, why=str(e)))
    return Trained(name=name, work=_work(folder, at, ended=reached is not None), reached=reached)


def _work(folder: Path, at: At | None, *, ended: bool, unfinished: str = "") -> Work:
    if is_locked(folder):
        return Work(state=RUNNING, why="a process holds the folder's lock", at=at)
    if ended and not unfinished:
        return Work(state=FINISHED, why="its result is there, and whole", at=at)
    missing = unfinished or "its result is not there"
    again = "goes on" if is_there(folder / "checkpoint.safetensors") else "begins again, for there is no checkpoint"
    return Work(state=STOPPED, why=f"{missing}, and no process holds the folder's lock; --resume {again}", at=at)


def _sealed(kind: type[T], path: Path, advice: str) -> T:
    facts = read_json(path)
    held = checked(kind, facts, path, advice)
    check_seal(path, facts, advice)
    return held


def _last(folder: Path) -> At | None:
    """Return the last epoch that the events of a run tell of; None before any."""
    path = folder / EVENTS
    lines = read_bytes(path).split(b"\n")[:-1] if is_there(path) else []
    line = next((line for line in reversed(lines) if line.startswith(b'{"event": "epoch"')), None)
    try:
        return None if line is None else checked(At, parsed(line), path, AGAIN)
    except ValueError as e:
        raise UserError(f"{path} cannot be read ({e}): {AGAIN}") from None


def _touched(folder: Path) -> float:
    """Return when a run last wrote, in seconds since 1970."""
    paths = [folder / name for name in ("config.json", EVENTS, "arch.json", RESULT)]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)

"""The run folder: what was asked, where it ran, what happened, and where to go on.

config.json              the resolved configuration; a resume must ask for the same
environment.json         versions, device, git state and seed of every session that worked here
events.jsonl             one JSON object a line, append-only
checkpoint.safetensors   the newest state, written atomically

A search's folder holds besides, once there is one:

arch.json                the chosen architecture and what it costs
shared.safetensors       the weights it has from the search
momentum.safetensors     the momentum of these, where the search was the first part of a training
data.json                which data, when the command line started the search; `fit` finds the same
fit/                     a run folder of its own, of the training, with result.json and weights.safetensors;
                         random cells trained identically are runs in fit/random-1, fit/random-2 and so on
fits/NAME/               the same of each training that was given a name
report.html              the page about it all
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from renascent.core.environment import environment
from renascent.core.errors import UserError
from renascent.core.files import Json, is_there, parsed, read_bytes, read_json, write_json, writing
from renascent.core.schema import with_defaults
from renascent.core.signals import heard
from renascent.loops.lock import locked
from renascent.loops.weightsfile import load_tree, save_tree

AGAIN = "put back the files of one run, or remove its folder and start again"

CLOCK_FIELDS = frozenset({"time", "seconds"})
"""Fields of an event that a repetition may change; all others are the same bit for bit on the same CPU."""


class Run:
    """One folder of one run. Make it with `Run.start`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], kinds: Mapping[str, type] | None = None) -> None:
        self.folder, self.config, self._is_alone, self._kinds = folder, dict(config), False, kinds or {}

    @classmethod
    def start(
        cls,
        folder: Path,
        config: Mapping[str, Any],
        *,
        resume: bool = False,
        seed: int = 0,
        device: torch.device | None = None,
        instead: str = "use another folder",
        kinds: Mapping[str, type] | None = None,
    ) -> Run:
        """Open a new run folder, or with `resume` go on in one of the same configuration, if there is one.

        device: where the work is done, to be noted.  instead: what an error tells the user to do if not to resume.
        kinds: dataclasses of what is under some keys of the configuration: a setting that a folder was written without
        is its default there.
        Raises UserError when the folder holds a run already and `resume` is not asked for, when the configuration
        differs, when the folder holds something else or is a file, or when it cannot be written.
        """
        run = cls(Path(folder), config, kinds)
        if not run._is_begun(resume, instead):
            with writing(run.folder):
                run.folder.mkdir(parents=True, exist_ok=True)
        with run.alone():
            there = run._is_begun(resume, instead)  # once more: another process may have come first
            sessions = read_sessions(run.folder) if there else []
            if not there:
                write_json(run.folder / "config.json", run.config)
            write_json(run.folder / "environment.json", {"sessions": [*sessions, environment(seed, device)]})
        return run

    def _is_begun(self, resume: bool, instead: str) -> bool:
        """Return whether the folder holds this run already. Raises UserError where it cannot be used."""
        with writing(self.folder):  # a folder that may not be read fails here already
            there = (self.folder / "config.json").exists()
            if os.path.lexists(self.folder) and not self.folder.is_dir():
                raise UserError(f"{self.folder} is a file, and a run needs a folder: {instead}")
            filled = self.folder.exists() and any(file.suffix != ".part" for file in self.folder.iterdir())
        if there and not resume:
            raise UserError(f"{self.folder} already holds a run: resume it (`resume=True`), or {instead}")
        if there:
            self._check_same(instead)
        elif filled:
            raise UserError(f"{self.folder} is not empty and holds no run: {instead}")
        return there

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the folder inside, as `locked`; within another such block this is part of it."""
        outermost, self._is_alone = not self._is_alone, True
        try:
            with locked(self.folder) if outermost else contextlib.nullcontext():
                yield
        finally:
            self._is_alone = not outermost

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    def event(self, kind: str, **values: Any) -> Json:
        """Append one event and return it."""
        event = {"event": kind, **values, "time": round(time.time(), 3)}
        with writing(self.events_file), self.events_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        return event

    def save(self, tree: Mapping[str, Any]) -> None:
        """Write the checkpoint, with the length of the events it covers, and what it belongs to."""
        covered = 0
        if self.events_file.exists():
            # events first: after a power cut a checkpoint must not cover what never reached the disk
            with writing(self.events_file), self.events_file.open("rb+") as file:
                os.fsync(file.fileno())
                covered = self.events_file.stat().st_size
        save_tree(self.checkpoint, {**tree, "events_bytes": covered, "belongs": self._belongs(covered)})

    def restore(self, use: Callable[[Json], None] = lambda tree: None) -> Json | None:
        """Return the newest checkpoint, None when there is none yet; forget events that came after it.

        use: takes the checkpoint up, before anything is forgotten: it may raise.
        Raises UserError when the checkpoint is damaged or of another run, or the events before it are not those that
        it was written with.
        """
        tree = load_tree(self.checkpoint) if is_there(self.checkpoint) else None
        covered = tree.get("events_bytes") if tree else 0
        there = len(read_bytes(self.events_file)) if is_there(self.events_file) else 0
        if not isinstance(covered, int) or covered < 0:
            raise UserError(f"the checkpoint {self.checkpoint} says nothing of events: {AGAIN}")
        if there < covered:
            raise UserError(f"{self.events_file} is cut short or gone: {AGAIN}")
        belongs = tree.get("belongs") if tree else None  # older ones say nothing
        for name, digest in self._belongs(covered).items() if belongs is not None else ():
            if not isinstance(belongs, dict) or belongs.get(name) != digest:
                raise UserError(f"the checkpoint {self.checkpoint} was written beside another {name}: {AGAIN}")
        if tree is not None:
            use(tree)
        if there > covered:
            with writing(self.events_file):
                os.truncate(self.events_file, covered)
        return tree

    def _belongs(self, covered: int) -> Json:
        """Return the digests of the configuration and of the first bytes of the events."""
        config = self.folder / "config.json"
        files = {"config.json": read_bytes(config) if is_there(config) else b""}
        files["events.jsonl"] = read_bytes(self.events_file)[:covered] if covered else b""
        return {name: hashlib.sha256(held).hexdigest() for name, held in files.items()}

    def _check_same(self, instead: str) -> None:
        held, asked = read_json(self.folder / "config.json"), json.loads(json.dumps(self.config))
        if isinstance(held.get("task"), dict) and "class_names" not in held["task"]:
            asked.get("task", {}).pop("class_names", None)  # once they were not kept; the images say the same
        for key, kind in self._kinds.items():
            for config in (held, asked):
                if isinstance(config.get(key), dict):
                    config[key] = with_defaults(kind, config[key])
        if held != asked:
            changes = ", ".join(_differences(held, asked))
            raise UserError(
                f"{self.folder} was started with another configuration ({changes}): "
                f"resume with the same settings, or {instead}"
            )


def read_events(folder: Path) -> list[Json]:
    """Return the events of a run, in order, without a last line that a kill cut short. Raises UserError if edited."""
    path = Path(folder) / "events.jsonl"
    try:
        lines = read_bytes(path).split(b"\n")[:-1] if is_there(path) else []
        events = [parsed(line) for line in lines]
        if not all(isinstance(event, dict) and isinstance(event.get("event"), str) for event in events):
            raise ValueError("a line is no event")
    except ValueError as e:
        raise UserError(f"{path} cannot be read ({e}): it was edited; repeat the run") from None
    return events


def read_sessions(folder: Path) -> list[Json]:
    """Return the environments of all sessions that worked in a folder, none if there is no list of them.

    Raises UserError when the list is damaged.
    """
    path = Path(folder) / "environment.json"
    sessions = read_json(path).get("sessions") if is_there(path) else []
    if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
        raise UserError(f"{path} is damaged (it has no list of sessions): remove that file to begin the list again")
    return sessions


def check_seed(seed: int) -> None:
    """Raise UserError for a number that cannot be a seed."""
    if not 0 <= seed < 2**63:
        raise UserError(f"the seed is {seed}: give a whole number of at least 0 and below 2**63")


class Interrupt:
    """Whether the user asked to stop. The first signal of `STOPS` waits for the step to end, the second does not."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if number == signal.SIGINT and sys.stderr is not None:
            # a stream that is gone, or interrupted while it writes, is no reason to stop a search
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                print("finishing this step; Ctrl-C again to stop at once", file=sys.stderr, flush=True)


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Listen for `STOPS` inside. Outside the main thread, where Python has no signals, it never asks."""
    interrupt = Interrupt()
    with heard(interrupt):
        yield interrupt


def _differences(held: Json, asked: Json, prefix: str = "") -> Iterator[str]:
    for key in sorted(held.keys() | asked.keys()):
        old, new = held.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} was {old!r:.80}, now {new!r:.80}"

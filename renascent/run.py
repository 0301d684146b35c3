"""The run folder: what was asked, where it ran, what happened, and where to go on.

config.json              the resolved configuration; a resume must ask for the same
environment.json         versions, device, git state and seed of every session that worked here
events.jsonl             one JSON object a line, append-only
checkpoint.safetensors   the newest state, written atomically
arch.json                the chosen architecture, once there is one
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from renascent.checkpoint import load_tree, save_tree
from renascent.errors import UserError

Json = dict[str, Any]

CLOCK_FIELDS = frozenset({"time", "seconds"})
"""Fields of an event that a repetition may change; all others are the same bit for bit on the same CPU."""

PACKAGES = ("renascent", "torch", "numpy", "scikit-learn", "safetensors", "Pillow")


class Run:
    """One folder of one run. Make it with `Run.start`."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self.config = folder, dict(config)

    @classmethod
    def start(cls, folder: Path, config: Mapping[str, Any], *, resume: bool = False, seed: int = 0) -> Run:
        """Open a new run folder, or with `resume` go on in one of the same configuration, if there is one.

        Raises UserError when the folder holds a run already and `resume` is not asked for, when the configuration
        differs, when the folder holds something else, or when it cannot be written.
        """
        run = cls(Path(folder), config)
        there = (run.folder / "config.json").exists()
        if there and not resume:
            raise UserError(f"{folder} already holds a run: add --resume to go on with it, or choose another --out")
        if there:
            run._check_same()
        elif run.folder.exists() and any(file.suffix != ".part" for file in run.folder.iterdir()):
            raise UserError(f"{folder} is not empty and holds no run: choose another --out")
        with writing(run.folder):
            run.folder.mkdir(parents=True, exist_ok=True)
        if not there:
            write_json(run.folder / "config.json", run.config)
        run._note_session(seed)
        return run

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
        """Write the checkpoint, with the length of the events it covers."""
        covered = self.events_file.stat().st_size if self.events_file.exists() else 0
        save_tree(self.checkpoint, {**tree, "events_bytes": covered})

    def restore(self) -> dict[str, Any] | None:
        """Return the newest checkpoint, None when there is none yet; forget events that came after it.

        Raises UserError when the checkpoint is damaged, or the events before it are not all there.
        """
        tree = load_tree(self.checkpoint) if self.checkpoint.exists() else None
        covered = tree["events_bytes"] if tree else 0
        there = self.events_file.stat().st_size if self.events_file.exists() else 0
        if there < covered:
            raise UserError(f"{self.events_file} is cut short or gone: remove its folder and start again")
        if there > covered:
            with writing(self.events_file):
                os.truncate(self.events_file, covered)
        return tree

    def _check_same(self) -> None:
        held, asked = read_json(self.folder / "config.json"), json.loads(json.dumps(self.config))
        if held != asked:
            changes = ", ".join(_differences(held, asked))
            raise UserError(
                f"{self.folder} was started with another configuration ({changes}): "
                "resume with the same flags, or choose another --out"
            )

    def _note_session(self, seed: int) -> None:
        path = self.folder / "environment.json"
        sessions = read_json(path)["sessions"] if path.exists() else []
        write_json(path, {"sessions": [*sessions, environment(seed)]})


def environment(seed: int) -> Json:
    """Return what a reader needs to repeat a run: versions, device, git state, seed and command."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in PACKAGES},
        "git": _git_state(),
    }


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def read_events(folder: Path) -> list[Json]:
    """Return the events of a run, in order. A last line cut short by a kill is left out."""
    path = Path(folder) / "events.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines[:-1]]


def read_json(path: Path) -> Json:
    """Read one JSON object. Raises UserError when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError(f"there is no {path}: is {Path(path).parent} the folder of a finished search?") from None
    except (ValueError, OSError) as e:
        raise UserError(f"{path} cannot be read ({e}): remove its folder and start again") from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object, whole or not at all. Raises UserError when it cannot be written."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises UserError when it cannot be written."""
    scratch = path.with_name(path.name + ".part")
    with writing(path):
        try:
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the disk into one line for the user."""
    try:
        yield
    except OSError as e:
        reason = e.strerror or str(e)
        raise UserError(f"cannot write {path}: {reason}; free some space or choose another --out") from None


class Interrupt:
    """Whether the user asked to stop. The first Ctrl-C (or SIGTERM) waits for the step to end, the second does not."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Listen for Ctrl-C and SIGTERM inside. Outside the main thread, where Python has no signals, it never asks."""
    interrupt = Interrupt()
    try:
        held = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        held = {}
    try:
        yield interrupt
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)


def _differences(held: Json, asked: Json, prefix: str = "") -> Iterator[str]:
    for key in sorted(held.keys() | asked.keys()):
        old, new = held.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} was {old!r}, now {new!r}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_state() -> Json | None:
    """Return commit and whether files differ from it, of the working folder; None outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None

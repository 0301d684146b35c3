"""Searches in processes of their own, killed at random moments and resumed: the same in the end, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file

from renascent.core.errors import Interrupted
from renascent.experiment.search import search
from renascent.loops import _drive
from renascent.loops.run import CLOCK_FIELDS, read_events
from renascent.nets.cells.nats import NatsTopology
from renascent.strategies import STRATEGIES
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

pytestmark = pytest.mark.xdist_group("processes")  # on one worker: what they share is made once

QUICK = {"controller_steps": 2, "controller_samples": 3, "candidates": 10}
"""Used where a strategy has such a hyperparameter."""

EPOCHS = 4
KILLS = 3
CHECKPOINT_SECONDS = 0.05

NURSERY = """
import runpy, sys
runpy.run_path(sys.argv[1])["nursery"]()
"""


def go(name: str, folder: Path, **about):
    """Run or resume a small search in this process."""
    fields = {field.name for field in dataclasses.fields(STRATEGIES[name])}
    strategy = STRATEGIES[name](**{key: value for key, value in QUICK.items() if key in fields})
    space = NatsTopology(channels=2, cells=1, nodes=3)
    task = load("digits", options=ImageOptions(limit=200))
    # threads share sums out among themselves, so that their number is part of the result
    threads, held = torch.get_num_threads(), _drive.CHECKPOINT_SECONDS
    torch.set_num_threads(1)
    _drive.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS
    try:
        return search(space, strategy, task, epochs=EPOCHS, batch=8, out=folder, resume=True, **about)
    finally:
        torch.set_num_threads(threads)
        _drive.CHECKPOINT_SECONDS = held


def nursery() -> None:
    """Import everything once; then make a process for every search asked for, and tell, when asked, how it ended."""
    load("digits")  # brings scikit-learn
    while line := sys.stdin.readline():
        name, folder, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(name, Path(folder), Path(log))
        print(pid, flush=True)
        sys.stdin.readline()  # until then its number stays its own, even if it has ended
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def child(name: str, folder: Path, log: Path) -> NoReturn:
    """Search, and exit as the command line would: 130 when interrupted."""
    code = 1
    try:
        go(name, folder)
        code = 0
    except Interrupted as e:
        log.write_text(str(e))
        code = e.exit_code
    except BaseException:
        log.write_text(traceback.format_exc())
    finally:
        os._exit(code)


class Searches:
    """Processes of their own, one after the other. They share one import of torch, which takes longer than a search."""

    def __init__(self, source: subprocess.Popen[str]) -> None:
        self.source = source

    def start(self, name: str, folder: Path) -> int:
        """Start a search and return its process's number."""
        self.log = folder.with_suffix(".log")
        self._say(json.dumps([name, str(folder), str(self.log)]))
        return int(self._line())

    def end(self) -> int:
        """Wait until it has ended, and return its exit status: minus the signal, if it was killed."""
        self._say("")
        return int(self._line())

    def _say(self, line: str) -> None:
        assert self.source.stdin is not None
        self.source.stdin.write(line + "\n")
        self.source.stdin.flush()

    def _line(self) -> str:
        assert self.source.stdout is not None
        return self.source.stdout.readline()


@pytest.fixture(scope="module")
def searches():
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-c", NURSERY, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, text=True, env=environment, **pipes) as source:
        yield Searches(source)
        source.stdin.close()


def wait_for(file: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.002)


def outcome(folder: Path):
    """Return everything that must be the same: events but for the clock, the choice, and the weights."""
    events = [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in read_events(folder)]
    chosen = json.loads((folder / "arch.json").read_text())
    facts = {k: v for k, v in chosen.items() if k not in {"latency_ms", "search_seconds"}}
    return events, facts


def assert_same(folder: Path, other: Path) -> None:
    assert outcome(folder) == outcome(other)
    one, two = (load_file(place / "shared.safetensors") for place in (folder, other))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", ["darts", "gdas", "enas"])
def test_killed_at_random_moments_and_resumed_it_is_the_same(name: str, tmp_path: Path, searches: Searches) -> None:
    """One of each kind: soft, sampled, with a controller. The conformance suite kills all, in its own process."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    go(name, whole)
    lasts = read_events(whole)[-2]["seconds"]
    moments = random.Random(name)
    endings = []
    for share in (0.15, *[0.7] * (KILLS - 1)):  # the first early: the machine may be faster now
        pid = searches.start(name, torn)
        wait_for(torn / "config.json")
        time.sleep(moments.uniform(0, share * lasts))
        os.kill(pid, signal.SIGKILL)  # one that has ended by itself is not reaped yet, and does not mind
        endings.append(searches.end())
    assert set(endings) <= {0, -signal.SIGKILL}, searches.log.read_text()
    assert -signal.SIGKILL in endings, "every process had finished before it was to be killed"
    go(name, torn)
    assert_same(torn, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_says_how_to_go_on_and_can(
    number: signal.Signals, tmp_path: Path, searches: Searches
) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    go("gdas", whole)
    pid = searches.start("gdas", torn)
    wait_for(torn / "checkpoint.safetensors")
    os.kill(pid, number)
    assert searches.end() == 130
    said = searches.log.read_text()
    assert said.startswith("interrupted after step ")
    assert said.endswith("add `resume=True` to go on from here")
    assert 0 < int(said.split("step ")[1].split()[0]) < EPOCHS * 12
    go("gdas", torn)
    assert_same(torn, whole)

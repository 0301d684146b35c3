"""Searches in processes of their own, killed at random moments and resumed: the same in the end, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from renascent.costs import Latency
from renascent.experiment.search import search
from renascent.loops.run import CLOCK_FIELDS, read_events
from renascent.nets.cells.nats import NatsTopology
from renascent.strategies import STRATEGIES
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

QUICK = {"controller_steps": 2, "controller_samples": 3, "candidates": 10}
"""Used where a strategy has such a hyperparameter."""

EPOCHS = 3
KILLS = 3
CHECKPOINT_SECONDS = 0.05


def go(name: str, folder: Path | str) -> None:
    """Run or resume a small search in this process."""
    fields = {field.name for field in dataclasses.fields(STRATEGIES[name])}
    strategy = STRATEGIES[name](**{key: value for key, value in QUICK.items() if key in fields})
    space = NatsTopology(channels=2, cells=1, nodes=3)
    task = load("digits", options=ImageOptions(limit=200))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # they share sums out among themselves, so that their number is part of the result
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("renascent.loops._drive.CHECKPOINT_SECONDS", CHECKPOINT_SECONDS)
        patch.setattr("renascent.experiment.result.measure", lambda net, shape: Latency(1.0, 1.0, 1.0, "not measured"))
        # of the fixtures that keep a search in single precision a process knows nothing
        search(space, strategy, task, epochs=EPOCHS, batch=8, out=folder, resume=True, bf16=False)
    torch.set_num_threads(threads)


def run(name: str, folder: str) -> None:
    """The same, in a process to kill."""
    go(name, folder)


def wait_for(file: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.002)


def outcome(folder: Path):
    """Return everything that must be the same: events but for the clock, the choice, and the weights."""
    events = [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in read_events(folder)]
    chosen = json.loads((folder / "arch.json").read_text())
    facts = {k: v for k, v in chosen.items() if k not in {"latency_ms", "search_seconds", "sha256"}}
    return events, facts


def assert_same(folder: Path, other: Path) -> None:
    assert outcome(folder) == outcome(other)
    one, two = (load_file(place / "shared.safetensors") for place in (folder, other))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", ["gdas", "enas"])
def test_killed_at_random_moments_and_resumed_it_is_the_same(name: str, tmp_path: Path, processes: Any) -> None:
    """Sampled, and with a controller. The conformance suite kills all, in its own process."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    go(name, whole)
    lasts = read_events(whole)[-2]["seconds"]
    moments = random.Random(name)
    endings = []
    for share in (0.15, *[0.7] * (KILLS - 1)):  # the first early: the machine may be faster now
        pid = processes.start(run, tmp_path / "log", name, str(torn))
        wait_for(torn / "config.json")
        time.sleep(moments.uniform(0, share * lasts))
        os.kill(pid, signal.SIGKILL)  # one that has ended by itself is not reaped yet, and does not mind
        endings.append(processes.end())
    assert set(endings) <= {0, -signal.SIGKILL}, processes.log.read_text()
    assert -signal.SIGKILL in endings, "every process had finished before it was to be killed"
    go(name, torn)
    assert_same(torn, whole)


def test_asked_to_stop_it_saves_says_how_to_go_on_and_can(tmp_path: Path, processes: Any) -> None:
    """By SIGTERM; of Ctrl-C, see the command line's tests."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    go("gdas", whole)
    pid = processes.start(run, tmp_path / "log", "gdas", str(torn))
    wait_for(torn / "checkpoint.safetensors")
    os.kill(pid, signal.SIGTERM)
    assert processes.end() == 130
    said = processes.log.read_text().splitlines()[-1]
    assert said.startswith("interrupted after step ")
    assert said.endswith("add `resume=True` to go on from here")
    assert 0 < int(said.split("step ")[1].split()[0]) < EPOCHS * 12
    go("gdas", torn)
    assert_same(torn, whole)

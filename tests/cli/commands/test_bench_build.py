"""`renascent bench build`: its flags reach the table, what it prints, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from renascent.bench.building.plan import Job
from renascent.bench.building.work import train
from renascent.bench.tables.table import Table
from renascent.cli.work.bench_build import BuildProgress
from renascent.core.files import Json
from renascent.reports.live import Counted

BARE = "bench build nats-topology --data digits"
SMALL = "--nodes 2 --channels 2 --cells 1 --operations none,skip_connect --limit 200 --batch 32 --epochs 1 --seeds 1"
BUILD = f"{BARE} {SMALL} --out t.safetensors"


@pytest.fixture
def say(say: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trainings in this process."""

    def in_process(text: str, jobs: Sequence[Job], workers: int) -> Iterator[Json]:
        yield from (train(text, *job) for job in jobs)

    monkeypatch.setattr("renascent.bench.building.builder.on_this_machine", in_process)
    return say


def test_it_builds_tells_and_can_be_queried(say: Any, tmp_path: Path) -> None:
    completed = say(BUILD)
    assert completed.code == 0
    assert completed.out.splitlines()[0] == "t.safetensors: 2 architectures, 2 trainings, 0 failed"
    assert "best by val_accuracy:digits:1: " in completed.out
    assert completed.err.splitlines()[0] == "2 trainings of 2 architectures on digits, cpu; table t.safetensors"
    assert "trained 2/2" in completed.err
    assert completed.err.splitlines()[-1] == "measured 2/2"
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]
    assert say("bench query --table t.safetensors '|skip_connect~0|' --column params --json").code == 0


def test_json_is_one_object(say: Any) -> None:
    completed = say(f"{BUILD} --json")
    facts = completed.facts
    assert facts.pop("seconds") > 0
    assert facts == {"table": "t", "rows": 2, "trainings": 2, "failed": 0, "path": "t.safetensors"}


def test_flags_reach_the_table(say: Any) -> None:
    more = "--lr 0.03 --no-nesterov --label-smoothing 0.1 --val 0.25 --split-seed 3 --cutout 2"
    assert say(f"{BUILD} {more}").code == 0
    table = Table.open("t.safetensors")
    told = json.loads(table.about["settings"])
    assert (told["settings"]["weights"]["lr"], told["settings"]["weights"]["nesterov"]) == (0.03, False)
    assert (told["settings"]["label_smoothing"], told["options"]["val"], told["options"]["split_seed"]) == (
        0.1,
        0.25,
        3,
    )
    assert told["space_config"] == {"channels": 2, "cells": 1, "nodes": 2, "operations": ["none", "skip_connect"]}
    assert table.about["command"] == f"renascent {BUILD} {more}"


def test_a_list_and_a_sample(say: Any, tmp_path: Path) -> None:
    assert say(f"{BUILD} --archs '|skip_connect~0|'").code == 0
    table = Table.open("t.safetensors")
    assert [table.space.format(table.arch(row)) for row in range(len(table))] == ["|skip_connect~0|"]
    (tmp_path / "cells.txt").write_text("|none~0|\n")
    assert say(f"{BARE} {SMALL} --archs cells.txt --out a --json").facts["rows"] == 1
    assert say(f"{BARE} {SMALL} --sample 1 --sample-seed 2 --out b --json").facts["rows"] == 1


def test_stopped_and_gone_on_with(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: Any, task: Any, arch: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("renascent.bench.building.builder.price", interrupted)
        completed = say(BUILD)
    assert completed.code == 130
    last = completed.err.splitlines()[-1]
    assert last == f"renascent: interrupted after 2 of 2 trainings; to go on: renascent {BUILD} --resume"
    assert "add" not in last
    assert "t.safetensors.parts already holds a run: resume it (--resume)" in say(BUILD).refusal
    assert "seeds was 1, now 2" in say(f"{BUILD} --resume".replace("--seeds 1", "--seeds 2")).refusal
    assert say(f"{BUILD} --resume").code == 0
    assert Table.open("t.safetensors").about["command"] == f"renascent {BUILD}"


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("bench build", ["which space?", "nats-topology"]),
        ("bench build nats-topolgy", ["unknown space", "did you mean 'nats-topology'?"]),
        ("bench build nats-topology --out t", ["--data is missing", "digits"]),
        (BARE, ["--out is missing", "--out mine.safetensors"]),
        (f"{BARE} {SMALL} --out t.npz", ["ends in .npz", "name it t.safetensors"]),
        (BUILD.replace("digits", "digit"), ["unknown data set", "did you mean 'digits'?"]),
        (BUILD.replace("--epochs 1", "--epochs 0"), ["--epochs is '0'", "at least 1"]),
        (BUILD.replace("--seeds 1", "--seeds 0"), ["--seeds is '0'", "at least 1"]),
        (BUILD.replace("--limit 200", "--limit 3"), ["the limit is 3"]),
        (f"{BUILD} --archs '|none~0|,|none~0|'", ["|none~0| is given twice"]),
        (f"{BUILD} --archs cells.txt", ["cells.txt"]),
        (f"{BUILD} --workers 9999", ["workers is 9999", "give at most"]),
        (f"{BUILD} --sample 3", ["the sample is 3: give 1 to 2"]),
        (f"{BUILD} --sample 1 --archs '|none~0|'", ["give one of --archs and --sample"]),
        (f"{BUILD} --device warp", ["--device is 'warp': give auto, cpu, cuda"]),
        (f"{BUILD} --epochz 3", ["unknown flag --epochz", "did you mean --epochs?"]),
        (f"{BUILD} --candidates 3", ["--candidates"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(refused: Any, line: str, fragments: list[str]) -> None:
    refused(line, *fragments)


def test_every_training_failed(say: Any) -> None:
    message = say(f"{BUILD} --lr 1e30".replace("--epochs 1", "--epochs 3")).refusal
    assert "every training failed, the first by Diverged: " in message
    assert "remove t.safetensors.parts and build with other settings" in message


def test_help_shows_the_flags_of_the_space_and_of_a_training(say: Any) -> None:
    text = say("bench build nats-topology --help").out
    flags = ("--data", "--seeds", "--archs", "--sample", "--nodes", "--lr-end", "--val", "--workers", "--ray", "--json")
    assert all(flag in text for flag in flags)
    assert "[default: 12]" in text
    assert "--operations" in text
    assert "--operations" not in say("bench build --help").out


def test_bench_build_failed_training_is_shown_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Counted() as bar:
        told = BuildProgress(bar)
        for done in range(1, 4):
            told({"event": "trained", "done": done, "of": 4, "arch": "a", "seed": 0})
        told({"event": "trained", "done": 4, "of": 4, "arch": "b", "seed": 1, "error": "Diverged: nan"})
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["failed: b seed 1: Diverged: nan", "trained 4/4, 1 failed"]

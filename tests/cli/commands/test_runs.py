"""`renascent runs`: what is listed of running, stopped, finished and damaged runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from renascent.loops.lock import locked

BEFORE = Path(__file__).parents[2] / "data" / "before"

LONG = "a-run-with-a-name-that-is-far-too-long-for-its-column"


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Six runs, of which the one without events was begun last, and two folders that are none."""
    root = tmp_path / "runs"
    for name in ("finished", "stopped", "running", "damaged", LONG, "in/cut"):
        shutil.copytree(BEFORE / "cell", root / name)
    for name in ("stopped", "running"):
        (root / name / "arch.json").unlink()
        shutil.rmtree(root / name / "fit")
    edited(root / "damaged" / "arch.json", params=-3)
    (root / LONG / "fit" / "result.json").unlink()
    (root / "in" / "cut" / "config.json").write_text("{")
    shutil.copytree(BEFORE / "cell" / "fit", root / "finished" / "fits" / "again")
    edited(root / "finished" / "fits" / "again" / "result.json", scores={"test": 0.5})
    (root / "empty").mkdir()
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text('{"space": 3}')
    return root


def test_each_run_has_its_state(say: Any, runs: Path) -> None:
    with locked(runs / "running"):
        facts = say("runs --json").facts
    found = {Path(run["folder"]).name: run for run in facts["runs"]}
    assert {name: run["state"] for name, run in found.items()} == {
        "finished": "finished",
        "stopped": "stopped",
        "running": "running",
        "damaged": "damaged",
        LONG: "finished",
        "cut": "damaged",
    }
    assert found["stopped"]["at"] == {"epoch": 2, "epochs": 2}
    assert found["stopped"]["why"].endswith("--resume begins again, for there is no checkpoint")
    assert "params is -3" in found["damaged"]["why"]
    assert "config.json cannot be read" in found["cut"]["why"]
    whole = found["finished"]
    assert (whole["space"], whole["strategy"], whole["task"], whole["params"]) == (
        "nats-topology",
        "gdas",
        "digits",
        2192,
    )
    assert [(t["name"], t["state"], t["scores"]["test"]) for t in whole["trainings"]] == [
        (None, "finished", 0.10027854889631271),
        ("again", "finished", 0.5),
    ]
    assert [t["state"] for t in found[LONG]["trainings"]] == ["stopped"]


def test_a_result_that_is_not_what_it_was_is_damaged(say: Any, runs: Path) -> None:
    facts = json.loads((runs / "finished" / "arch.json").read_text())
    seal = {"arch.json": "0" * 64, "config.json": "0" * 64}
    (runs / "finished" / "arch.json").write_text(json.dumps(facts | {"sha256": seal}))
    (found,) = say(f"runs {runs / 'finished'} --json").facts["runs"]
    assert (found["state"], "damaged (edited, or cut short)" in found["why"]) == ("damaged", True)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits_the_terminal_and_has_the_newest_last(
    say: Any, runs: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    for path in (runs / "stopped").iterdir():
        os.utime(path, (4e9, 4e9))
    monkeypatch.setenv("COLUMNS", str(width))
    done = say("runs")
    lines = done.out.splitlines()
    assert all(len(line) <= width for line in lines), done.out
    heads = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert (heads[0], heads[-1]) == ("run", "stopped")
    assert {"finished", "running", "damaged", LONG, "in/cut"} < set(heads)
    assert "  fit --name again: test 50.00 % after 1 epoch" in lines
    assert "  nats-topology by gdas on digits, seed 0" in lines


def test_where_nothing_is_listed(say: Any, tmp_path: Path) -> None:
    assert say("runs").refusal.endswith(
        "there is no folder runs: name one that has runs in it, as in `renascent runs DIR`"
    )
    (tmp_path / "runs").mkdir()
    assert say("runs").out == "there are no runs in runs yet\n"

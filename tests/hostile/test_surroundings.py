"""Where a command finds itself: closed streams, full disks, odd environments, signals at odd moments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from renascent.cli.streams import output_is_ours
from renascent.core.errors import Diverged, UserError
from renascent.core.files import is_there, read_bytes, write_json, write_text
from renascent.core.protocols import WeightRule
from renascent.core.signals import STOPS
from renascent.experiment.search import search
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run, interruptible
from renascent.nets.toy import ToySpace
from renascent.strategies.rsps import RSPS
from renascent.tasks.toy import ToyTask

SEARCH = (
    "search nats-topology --strategy rsps --candidates 2 --data digits --channels 2 --cells 1 --limit 60 --epochs 1"
)

ODD: dict[str, dict[str, str | None]] = {
    "columns-0": {"COLUMNS": "0"},
    "columns-negative": {"COLUMNS": "-5"},
    "columns-huge": {"COLUMNS": "1000000000"},
    "columns-text": {"COLUMNS": "wide"},
    "columns-power": {"COLUMNS": "²"},
    "lines-text": {"LINES": "²"},
    "term": {"TERM": "nonsense"},
    "no-term": {"TERM": ""},
    "no-color": {"NO_COLOR": "1"},
    "color": {"FORCE_COLOR": "1"},
    "ascii": {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
    "no-home": {"HOME": None},
    "home-nowhere": {"HOME": "/nowhere/at/all"},
    "tmpdir-nowhere": {"TMPDIR": "/nowhere/at/all"},
    "backend": {"MPLBACKEND": "nonsense"},
    "threads": {"OMP_NUM_THREADS": "²"},
    "data-nowhere": {"RENASCENT_DATA": "/nowhere"},
    "data-file": {"RENASCENT_DATA": "/etc/hostname"},
}

ASKS = ["--help", "list", "--version", "search nats-topology --strategy gdas --help", "bench query 5 --json"]

CHILD = """
import json, os, sys
import renascent.cli.parsing
from renascent.cli.entry import main
for number, (changes, closed, full, line) in enumerate(json.loads(sys.stdin.read())):
    if (pid := os.fork()) == 0:
        log = os.open(f"{number}.txt", os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(log, stream)
        for stream in closed:
            os.close(stream)
            name = ("stdin", "stdout", "stderr")[stream]
            setattr(sys, name, None)
        if full:
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        for name, value in changes.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        code = 99
        try:
            code = main(line.split())
            sys.stdout.flush()
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_odd_surroundings_change_nothing_that_is_asked(tmp_path: Path) -> None:
    # three of five for each change, and every one for as many changes
    asked = [[ASKS[(k + step) % len(ASKS)] for step in range(3)] for k in range(len(ODD))]
    cases: list[Any] = [(c, [], False, line) for c, lines in zip(ODD.values(), asked, strict=True) for line in lines]
    cases += [({}, closed, False, line) for closed in ([0], [1], [2], [0, 1, 2]) for line in ASKS]
    full = [({}, [], True, line) for line in ASKS]
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(cases + full), capture_output=True, text=True, cwd=tmp_path
    )
    codes = [int(line) for line in done.stdout.splitlines()]
    assert codes == [0] * len(cases) + [2] * len(full), done.stderr
    assert not [path for path in tmp_path.iterdir() if "Traceback" in path.read_text(errors="replace")]


def test_what_others_print_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """By Python, by a process that is begun, and by the descriptor itself."""
    with output_is_ours():
        print("of a model")
        subprocess.run(["echo", "of a process"], check=True)
        os.write(1, b"of a library\n")
    print("ours")
    out, err = capfd.readouterr()
    assert out == "ours\n"
    assert sorted(err.splitlines()) == ["of a library", "of a model", "of a process"]


def test_a_solver_that_prints_from_c_leaves_json_alone(tmp_path: Path) -> None:
    """What C holds back is written before the descriptor leads back."""
    lines = "import ctypes; from renascent.cli.streams import output_is_ours\n"
    lines += "with output_is_ours(): ctypes.CDLL(None).printf(b'of C\\n')\nprint('{}')"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{}\n", "of C\n")


# --- signals


@pytest.fixture(autouse=True)
def _nobody_ignores_signals() -> Iterator[None]:
    """As tests that are started with nohup do."""
    held = {number: signal.signal(number, signal.default_int_handler) for number in STOPS}
    yield
    for number, handler in held.items():
        signal.signal(number, handler)


def shouted(number: int) -> list[Any]:
    signal.raise_signal(number)
    return []


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_a_command_works_is_130(say: Any, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    held = [signal.getsignal(each) for each in STOPS]
    monkeypatch.setattr("renascent.cli.commands.listing._named", lambda table: shouted(number))
    done = say("list --json")
    assert (done.code, done.err) == (130, "renascent: interrupted\n")
    assert json.loads(done.out) == {"error": "interrupted", "exit_code": 130}
    assert [signal.getsignal(each) for each in STOPS] == held


def test_what_a_library_makes_of_a_signal_is_130_too(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def swallowed(table: Any) -> Any:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("a module was half loaded") from None

    monkeypatch.setattr("renascent.cli.commands.listing._named", swallowed)
    assert say("list").code == 130


@pytest.mark.parametrize("place", ["renascent.cli.work.search.told", "renascent.experiment.search.settle"])
def test_a_signal_after_the_last_step_can_be_gone_on_from(
    say: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(place, lambda *args, **kwargs: signal.raise_signal(signal.SIGTERM))
        done = say(f"{SEARCH} --out run")
    assert done.code == 130
    assert done.err.splitlines()[-1].endswith("--out run --resume")
    assert not list(tmp_path.rglob("*.part"))
    assert say(f"{SEARCH} --out run --resume").code == 0


@pytest.mark.parametrize("number", STOPS)
def test_every_signal_waits_for_the_step(number: int) -> None:
    with interruptible() as interrupt:
        signal.raise_signal(number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


# --- two at once


def test_two_in_one_folder_is_one_line(tmp_path: Path) -> None:
    first = Run.start(tmp_path / "run", {})
    before = (tmp_path / "run" / "environment.json").read_bytes()
    with first.alone(), first.alone(), pytest.raises(UserError, match="another process is at work in"):
        Run.start(tmp_path / "run", {}, resume=True)
    assert (tmp_path / "run" / "environment.json").read_bytes() == before
    Run.start(tmp_path / "run", {}, resume=True)  # and nothing of the lock is left


# --- the disk


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "loop/below"])
def test_a_path_that_cannot_be_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for work in (read_bytes, lambda path: write_json(path, {}), lambda path: Run.start(path, {})):
        with pytest.raises((UserError, FileNotFoundError)) as told:
            work(tmp_path / name)
        assert "\n" not in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


def test_a_path_without_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Any, **about: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", forbidden)
        with pytest.raises(UserError, match=r"cannot read .*: Permission denied") as told:
            is_there(tmp_path / "x")
    assert "remove" not in str(told.value)


@pytest.mark.parametrize("name", ["\ud800", "caf\udce9"])
def test_letters_that_are_none_are_written_or_refused(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "page.html", f"folder {name}")
    assert (tmp_path / "page.html").read_text().startswith("folder ")
    if name == "\ud800":
        with pytest.raises(UserError, match="letters that are none"):
            write_text(tmp_path / name, "x")


def test_a_file_is_as_readable_as_the_user_wants_new_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_the_current_folder_is_gone(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "there is no folder run" in say("report run").refusal


# --- the last step


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", ["search", "fit"])
def test_weights_that_the_last_step_ruined_are_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, poison: float
) -> None:
    task, space, apply = ToyTask(count_each=16), ToySpace(), WeightRule.apply

    def ruined(rule: WeightRule, optimiser: Any, fraction: float, *rest: Any, **more: Any) -> None:
        apply(rule, optimiser, fraction, *rest, **more)
        if fraction == 1.0:
            with torch.no_grad():
                optimiser.param_groups[0]["params"][0].fill_(poison)

    def train() -> None:
        net = space.network(space.space.from_indices([1, 1, 1, 1]), task.channels, task.classes)
        fit(net, task, Fit(epochs=1, batch=8), run=Run.start(tmp_path / "run", {}), split="train", evaluate=("val",))

    def seek() -> None:
        search(space, RSPS(candidates=2), task, epochs=1, batch=8, out=tmp_path / "run")

    monkeypatch.setattr(WeightRule, "apply", ruined)
    with pytest.raises(Diverged, match="no longer finite") as told:
        seek() if what == "search" else train()
    assert "\n" not in str(told.value)
    assert not (tmp_path / "run" / "arch.json").exists()


def test_a_loss_that_the_last_step_ruined_is_no_result(tmp_path: Path) -> None:
    """The weights are finite, and what they compute is not."""
    task, rule = ToyTask(count_each=8), WeightRule(lr=1e25, clip=0.0)
    with pytest.raises(Diverged):
        search(ToySpace(), RSPS(candidates=2), task, epochs=1, batch=8, weights=rule, out=tmp_path / "r")

"""What all tests share."""

from __future__ import annotations

import importlib
import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from renascent.cli.entry import main

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a script that starts tests in the background leaves it so, and they and their processes would hear no Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Completed(NamedTuple):
    """What a command line returned and printed."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        """What it printed with --json."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """Its one line of a mistake, which is the last, after checking that it is one."""
        assert self.code == 2, self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("renascent: ")]
        assert self.err.splitlines()[-1] == line
        assert "Traceback" not in self.err
        return line


@pytest.fixture
def say(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Completed]:
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RENASCENT_DATA", raising=False)

    def run(line: str) -> Completed:
        code = main(shlex.split(line))
        return Completed(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def script() -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of the benchmarks by its name."""
    folder = Path(__file__).parents[1] / "benchmarks"
    if not folder.exists():
        pytest.skip("the benchmarks are not installed beside these tests")
    sys.path.append(str(folder))
    yield importlib.import_module
    sys.path.remove(str(folder))


@pytest.fixture
def without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out a result's own latency where it says nothing: it takes longer than a small search."""
    from renascent.costs import Latency

    held = Latency(1.0, 1.0, 1.0, "not measured")
    monkeypatch.setattr("renascent.experiment.result.measure", lambda net, shape: held)

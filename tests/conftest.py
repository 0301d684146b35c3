"""What all tests share."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import pytest

from renascent.cli.entry import main
from renascent.core.errors import Interrupted

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a script that starts tests in the background leaves it so, and they and their processes would hear no Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the command line remembers of runs out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _single_precision() -> Iterator[None]:
    """Let no search turn bfloat16 on by itself: tests are the same on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("renascent.experiment.precision.computes_bfloat16", lambda device: False)
        yield


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


ANNOUNCED = ("searching ", "training ", "2 trainings of ")
"""How lines begin that say what a command is about to do."""

LONGEST = 1000
"""Characters of a line that refuses something, at most: what was given is quoted short."""


def held(folder: Path) -> dict[Path, bytes]:
    """Return all that lies in a folder, and what files hold."""
    found = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.read_bytes() if path.is_file() else b"" for path in found}


@pytest.fixture
def refused(say: Any, tmp_path: Path) -> Callable[..., None]:
    """Check that a command line ends in one line with some words, an exit code, and no file made or changed."""

    def check(line: str, *words: str, code: int = 2) -> None:
        before, done = held(tmp_path), say(line)
        assert (done.code, done.out) == (code, ""), done.err
        *above, last = done.err.splitlines()
        assert last.startswith("renascent: ")
        assert len(last) <= LONGEST
        assert not [text for text in above if not text.startswith(ANNOUNCED)]
        assert all(word in last for word in words), last
        assert held(tmp_path) == before

    return check


def _unseal(folder: Path) -> Path:
    for path in (folder / "arch.json", folder / "fit" / "result.json"):
        if path.exists():
            facts = json.loads(path.read_text())
            path.write_text(json.dumps({key: value for key, value in facts.items() if key != "sha256"}))
    return folder


@pytest.fixture(scope="session")
def unsealed() -> Callable[[Path], Path]:
    """Take the digests out of a run folder, as earlier versions wrote it, so that a test can change what it says."""
    return _unseal


@pytest.fixture(autouse=True)
def _figures_are_empty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let figures be painted, but not written out, which takes longer than many a search: `renders` marks who looks."""
    if request.node.get_closest_marker("renders") is None:

        def empty(canvas: Any, file: Any, **about: Any) -> None:
            file.write('<svg width="1pt" height="1pt" viewBox="0 0 1 1" version="1.1"></svg>')

        monkeypatch.setattr("matplotlib.backends.backend_svg.FigureCanvasSVG.print_svg", empty)


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


NURSERY = "import runpy, sys; runpy.run_path(sys.argv[1])['nursery']()"


class Processes:
    """Processes to kill, one after the other, forked from one that has imported torch, which takes long.

    pid: of the last one, which leads a group of its own.  log: what it prints.
    """

    def __init__(self, source: subprocess.Popen[str]) -> None:
        self._source = source

    def start(self, function: Callable[..., int | None], log: Path, *args: str) -> int:
        """Call a function of a test's file in a new process, which ends with what it returns; return its number."""
        self.log, where = log, function.__code__.co_filename
        self._say(json.dumps([where, function.__name__, args, str(log)]))
        self.pid = int(self._line())
        return self.pid

    def end(self) -> int:
        """Wait until it has ended, and return its exit status: minus the signal, if it was killed."""
        self._say("")
        return int(self._line())

    def _say(self, line: str) -> None:
        assert self._source.stdin is not None
        self._source.stdin.write(line + "\n")
        self._source.stdin.flush()

    def _line(self) -> str:
        assert self._source.stdout is not None
        return self._source.stdout.readline()


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-c", NURSERY, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, text=True, env=environment, **pipes) as source:
        yield Processes(source)
        assert source.stdin is not None
        source.stdin.close()


def nursery() -> None:
    """Import everything once; then fork a process for every function asked for, and tell, when asked, how it ended."""
    for module in (
        "torch._dynamo",
        "matplotlib.pyplot",
        "renascent.cli.work.search",
        "renascent.bench.building.builder",
    ):
        importlib.import_module(module)
    while line := sys.stdin.readline():
        if (pid := os.fork()) == 0:
            _child(*json.loads(line))
        print(pid, flush=True)
        sys.stdin.readline()  # until then its number stays its own, even if it has ended
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _child(file: str, function: str, args: list[str], log: str) -> NoReturn:
    """Call a function, and exit as the command line would: 130 when interrupted."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    code = 1
    try:
        code = runpy.run_path(file)[function](*args) or 0
    except Interrupted as e:
        print(e, file=sys.stderr)
        code = e.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

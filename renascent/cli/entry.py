"""The command line: `renascent COMMAND ...`. One line for every error, and an exit code for scripts.

Exit codes: 0 done, 2 something given cannot be used, 3 no architecture meets the budget, 130 interrupted.
"""

import contextlib
import json
import re
import shlex
import signal
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from renascent.core.errors import Interrupted, RenascentError, UserError
from renascent.core.signals import STOPS, heard

TOO_LARGE = "allocate memory|out of memory|[Ss]torage size|[Oo]verflow|DataLoader worker"
"""What torch says of tensors that no memory holds, and of a process that the system has ended for want of it."""


class Stop:
    """Hears Ctrl-C, SIGTERM and SIGHUP. asked: whether one came, whatever a library then made of the interruption."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run one command line, the program's own unless given, and return its exit code."""
    words, stop = _json_after(list(sys.argv[1:] if argv is None else argv)), Stop()
    try:
        with heard(stop):
            code = _run(words, stop)
    except KeyboardInterrupt:
        code = _interrupted(words)
    if argv is None:
        for number in STOPS:  # the outcome stands: what is left is that Python ends, which no signal should spoil
            signal.signal(number, signal.SIG_IGN)
    return code


def _run(words: list[str], stop: Stop) -> int:
    """Run a command line, and return its exit code: the one place where what can go wrong becomes one line."""
    try:
        # only here: what they load takes a second, in which Ctrl-C is no bug
        from renascent.cli.parsing import run
        from renascent.cli.streams import emit, opened

        opened()
        if text := run(words):
            emit(text)
    except Interrupted as e:
        return _fail(words, f"{e}: {_resume(words)}", e.exit_code)
    except KeyboardInterrupt:
        return _interrupted(words)
    except (Exception, SystemExit, GeneratorExit) as e:
        if stop.asked:
            return _interrupted(words)
        if isinstance(e, RenascentError):
            return _fail(words, str(e), e.exit_code)
        if isinstance(e, OSError):
            place = "" if e.filename is None else f"{e.filename}: "
            return _fail(words, f"{place}{e.strerror or e}: see to it, or name another file or folder", 2)
        if isinstance(e, MemoryError) or (isinstance(e, RuntimeError) and re.search(TOO_LARGE, str(e))):
            return _fail(words, "there is not enough memory for this: ask for something smaller", 2)
        if where := _of_the_user(e):
            return _fail(words, f"your own code fails ({type(e).__name__}: {e}), {where}: mend it", 2)
        raise
    return 0


def _of_the_user(error: BaseException) -> str | None:
    """Return where an error was raised, if that was in code that is neither ours nor installed."""
    installed = [Path(place).resolve() for place in sysconfig.get_paths().values()]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.is_relative_to(Path(__file__).parents[1]):
            return None
        if not frame.filename.startswith("<") and not any(map(path.is_relative_to, installed)):
            return f"{path.name}:{frame.lineno}, in {frame.name}"
    return None


def _interrupted(words: Sequence[str]) -> int:
    # a search tells by Interrupted when there is something to go on with; a fit goes on with nothing, too
    hint = f"; to go on: {_resume(words)}" if words[:1] == ["fit"] else ""
    return _fail(words, f"interrupted{hint}", Interrupted.exit_code)


def flagged(text: str) -> str:
    """Return a text of the library with the flags for the settings that it names in backquotes.

    >>> flagged("give a smaller `image_size`, or `resume=True`")
    'give a smaller --image-size, or --resume'
    """
    return re.sub(r"`([a-z_]+)(?:=True)?`", lambda found: "--" + found[1].replace("_", "-"), text)


def _json_after(words: list[str]) -> list[str]:
    """Move --json from before the command to the command's flags, where it is one."""
    before = words[:1] == ["--json"] and len(words) > 1 and not words[1].startswith("-")
    return [words[1], "--json", *words[2:]] if before else words


def _fail(words: Sequence[str], message: str, code: int) -> int:
    line = flagged(str(UserError(re.sub(r"[\x00-\x1f\x7f]", " ", message))))
    with contextlib.suppress(OSError, ValueError):  # with nobody left to tell, the exit code still does
        print(f"renascent: {line}", file=sys.stderr, flush=True)
    if "--json" in words:
        with contextlib.suppress(OSError, ValueError, UserError):
            from renascent.cli.streams import emit

            emit(json.dumps({"error": line, "exit_code": code}))
    return code


def _resume(words: Sequence[str]) -> str:
    return shlex.join(["renascent", *(word for word in words if word != "--resume"), "--resume"])

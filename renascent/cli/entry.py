"""The command line: `renascent COMMAND ...`. One line for every error, and an exit code for scripts.

Exit codes: 0 done, 2 something given cannot be used, 3 no architecture meets the budget, 130 interrupted.
"""

import contextlib
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence

from renascent.core.errors import Interrupted, RenascentError, UserError


def main(argv: list[str] | None = None) -> int:
    """Run one command line, the program's own unless given, and return its exit code."""
    words = _json_after(list(sys.argv[1:] if argv is None else argv))
    try:
        from renascent.cli.parsing import run  # only here: what it loads takes a second, in which Ctrl-C is no bug

        if text := run(words):
            emit(text)
    except Interrupted as e:
        return _fail(words, f"{e}: {_resume(words)}", e.exit_code)
    except RenascentError as e:
        return _fail(words, str(e), e.exit_code)
    except KeyboardInterrupt:
        # a search tells by Interrupted when there is something to go on with; a fit goes on with nothing, too
        hint = f"; to go on: {_resume(words)}" if words[:1] == ["fit"] else ""
        return _fail(words, f"interrupted{hint}", Interrupted.exit_code)
    return 0


def emit(text: str) -> None:
    """Print on standard output, and see to it that it arrives; a reader who went away (`| head`) is no error.

    Raises UserError when it cannot be written.
    """
    try:
        print(text, flush=True)
    except OSError as e:
        # what is still held would fail once more when Python closes the stream
        with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            raise UserError(f"cannot write to standard output: {e.strerror or e}; free some space") from None


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
    line = flagged(" ".join(message.split()))
    with contextlib.suppress(OSError):  # with nobody left to tell, the exit code still does
        print(f"renascent: {line}", file=sys.stderr)
        if "--json" in words:
            print(json.dumps({"error": line, "exit_code": code}), flush=True)
    return code


def _resume(words: Sequence[str]) -> str:
    return shlex.join(["renascent", *(word for word in words if word != "--resume"), "--resume"])

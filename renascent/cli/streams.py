"""Standard input, output and error as a command finds them: closed, full, gone, or in letters that lack ours."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from renascent.core.errors import UserError


def opened() -> None:
    """See to it that all three streams are there, and can write any letter.

    Where one is closed, a file that is opened later would be taken for it, and what libraries print would go there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open until the process ends)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@contextlib.contextmanager
def output_is_ours() -> Iterator[None]:
    """Send what anybody writes to standard output inside to standard error: models, libraries, processes begun here."""
    _flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


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


def _flush() -> None:
    """Write out what Python and C hold back, each to where the descriptor leads now."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    c: Any = sys.modules.get("ctypes")  # nothing that writes from C is loaded without it: numpy loads it
    with contextlib.suppress(AttributeError, OSError, TypeError):
        c.CDLL(None).fflush(None)

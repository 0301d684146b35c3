"""The errors a user can meet, each one line: what is wrong, what was given, what is allowed, what to do."""

import difflib
import re
from collections.abc import Iterable

LONGEST = 900
"""Characters of an error: what was given may be longer."""


class RenascentError(Exception):
    """The root of all errors raised on purpose. exit_code: the command line's exit status.

    >>> RenascentError.exit_code
    2
    """

    exit_code = 2

    def __str__(self) -> str:
        """Return one line, in which what was given is quoted short.

        >>> len(str(RenascentError("there is no file " + "a" * 100_000)))
        121
        """
        line = re.sub(r"\S{256,}", _middle, " ".join(super().__str__().split()))
        return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 + 5 :]}"


def _middle(found: re.Match[str]) -> str:
    """Return the ends of a word that is longer than any name of a file."""
    word = found[0]
    return f"{word[:60]}...{word[-20:]} ({len(word):,} characters)"


class UserError(RenascentError):
    """Something given to renascent cannot be used as it is."""


class BudgetError(RenascentError):
    """No architecture was found within the budget.

    >>> BudgetError.exit_code
    3
    """

    exit_code = 3


class MissingExtra(UserError, ImportError):
    """An optional package is needed and not installed; made by `missing_extra`. name: that package."""


def missing_extra(package: str, extra: str) -> MissingExtra:
    """Return the error that says which extra of renascent brings `package`.

    >>> print(missing_extra("onnx", "onnx"))
    'onnx' is not installed: pip install 'renascent[onnx]'
    """
    return MissingExtra(f"'{package}' is not installed: pip install 'renascent[{extra}]'", name=package)


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not in a table, with the nearest name that is.

    >>> print(unknown("strategy", "gdsa", ["darts", "gdas"]))
    unknown strategy 'gdsa': did you mean 'gdas'? known: darts, gdas
    """
    names = list(known)
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(given).lower(), folded, n=1)
    hint = f"did you mean '{folded[near[0]]}'? " if near else ""
    return UserError(f"unknown {kind} '{given}': {hint}known: {', '.join(names) or 'none'}")


class Diverged(RenascentError):
    """A loss is no longer a finite number."""


class Interrupted(RenascentError):
    """The user asked to stop; the state was saved.

    >>> Interrupted.exit_code
    130
    """

    exit_code = 130

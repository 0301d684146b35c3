"""The commands of `renascent`, one a file: what each takes, and what it does."""

from collections.abc import Callable, Sequence

from renascent.commands import export, fit, listing, report, search
from renascent.commands.command import Command as Command
from renascent.commands.command import Outcome as Outcome

COMMANDS: dict[str, Callable[[Sequence[str]], Command]] = {
    "search": search.command,
    "fit": fit.command,
    "report": report.command,
    "export": export.command,
    "list": listing.command,
}
"""Command name -> its flags and work, given the command line's other words (some flags depend on others)."""

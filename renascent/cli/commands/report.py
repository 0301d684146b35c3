"""`renascent report`: one page about a search."""

from __future__ import annotations

from collections.abc import Sequence

from renascent.cli.commands.command import Command, Outcome, check_folder

ABOUT = """Write the report of a finished search: one HTML page that needs no other file."""


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    return Command(
        run="renascent.cli.commands.report:run",
        words={"dir": "The folder of a finished search."},
        check=lambda words, values: check_folder(words, "report"),
    )


def run(folder: str) -> Outcome:
    """Write the report."""
    from renascent.cli.work.running import told
    from renascent.experiment.result import Result

    return told(Result.load(folder))

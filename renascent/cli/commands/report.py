"""`renascent report`: one page about a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from renascent.cli.commands.command import Command, Outcome, Output, facts_of, finished
from renascent.cli.flags import Part
from renascent.experiment.result import Result
from renascent.reports.summary import summary

ABOUT = """Write the report of a finished search: one HTML page that needs no other file."""


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    return Command(ABOUT, [Part("Output", Output())], _run, "dir", "The folder of a finished search.")


def _run(word: str | None, values: Mapping[str, Any]) -> Outcome:
    result = Result.load(finished(word, "report"))
    page = result.report()
    return Outcome(facts_of(result, page), f"{summary(result)}\n\nreport: {page}")

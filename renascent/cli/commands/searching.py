"""What the commands that search have in common: they can be resumed, and other commands find their data again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import DATA_FILE
from renascent.cli.live import Live
from renascent.core.errors import Interrupted, UserError, unknown
from renascent.core.files import Json, write_json
from renascent.core.names import Names, name_of
from renascent.costs.budget import Budget
from renascent.costs.latency.runtimes import RUNTIMES
from renascent.tasks import DATASETS

MEASURING = "measuring the latency of some forty networks first ({})"
"""What to say before the longest silence of a search with a bound on latency."""


def chosen(kind: str, table: Names[Any], name: str | None, recipes: Any) -> Any:
    """Return the named settings' defaults, or the recipe's if they are of that class; None if nothing is named."""
    if name is None:
        return recipes
    if name not in table:
        raise unknown(kind, name, table)
    return recipes if name_of(recipes, table) == name else table[name]()


def check_clock(runtime: str, budget: Budget | None) -> None:
    """Raise UserError for a runtime that is unknown, or that nothing is to be measured with."""
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)
    if runtime != "eager" and not (budget and budget.timed):
        raise UserError("--runtime says nothing without a bound on latency: give --budget latency_ms<=NUMBER too")


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Let whoever is interrupted know that there is something to go on with, if there is."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "config.json").exists():
            raise Interrupted("interrupted; to go on") from None
        raise


def hear(live: Live, folder: Path, source: Json, event: Json) -> None:
    """Show an event; before the result is written, write down which data it is from."""
    if event["event"] == "derived":
        write_json(folder / DATA_FILE, source)
    live(event)


def lasting(data: str) -> str:
    """Return a name that still means the same data when another command runs in another folder."""
    return data if data in DATASETS else str(Path(data).resolve())

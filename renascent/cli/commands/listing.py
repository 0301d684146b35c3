"""`renascent list`: all that can be named."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from renascent.cli.commands.command import Command, Outcome, Output
from renascent.cli.flags import Part, first_line, papers
from renascent.core.files import Json
from renascent.core.text import aligned
from renascent.experiment.recipes import RECIPES
from renascent.nets import SPACES
from renascent.strategies import STRATEGIES
from renascent.strategies.trials import MULTITRIAL
from renascent.tasks import DATASETS
from renascent.tasks.sources import DataSet

ABOUT = """List the spaces, strategies, data sets and recipes."""


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    return Command(ABOUT, [Part("Output", Output())], _run)


def _run(word: str | None, values: Mapping[str, Any]) -> Outcome:
    groups = {
        "spaces": [_named(name, kind) for name, kind in SPACES.items()],
        "strategies": [_named(name, kind) for name, kind in STRATEGIES.items()],
        "multi-trial strategies": [_named(name, kind) for name, kind in MULTITRIAL.items()],
        "data": [{"name": name, "about": _origin(data), "files": _files(data)} for name, data in DATASETS.items()],
        "recipes": [{"name": r.name, "about": r.summary, "paper": r.paper} for r in RECIPES.values()],
    }
    return Outcome(groups, "\n\n".join(_table(title, rows) for title, rows in groups.items()))


def _named(name: str, made: Callable[..., object]) -> Json:
    kind = getattr(made, "func", made)  # a class, or one with some of its settings
    return {"name": name, "about": first_line(kind), "paper": ", ".join(papers(kind))}


def _origin(data: DataSet) -> str:
    """Return the first line of the module that reads a data set."""
    return first_line(inspect.getmodule(data.official))


def _files(data: DataSet) -> str:
    if data.archives:
        return f"--download fetches {sum(archive.megabytes for archive in data.archives):.0f} MB"
    return "to be put in place by hand" if data.advice else "already there"


def _table(title: str, rows: Iterable[Json]) -> str:
    lines = aligned([(row["name"], f"{row['about']} {_last(row)}") for row in rows])
    return f"{title}\n{textwrap.indent(lines, '  ')}"


def _last(row: Json) -> str:
    value = row.get("paper", row.get("files"))
    return f"({value})" if value else ""

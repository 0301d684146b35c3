"""`renascent list`: all that can be named."""

import re
import textwrap
from collections.abc import Iterable
from typing import Any

from renascent.cli.commands.command import Command, Outcome
from renascent.cli.entry import flagged
from renascent.core.files import Json
from renascent.core.names import Names
from renascent.core.source import docstring, references
from renascent.core.text import aligned
from renascent.experiment.recipes import SUMMARIES
from renascent.nets import SPACES
from renascent.strategies import FAMILIES, STRATEGIES
from renascent.strategies.trials import MULTITRIAL
from renascent.tasks import DATASETS, DOWNLOADS

ABOUT = """List the spaces, strategies, data sets and recipes."""


COMMAND = Command(run="renascent.cli.commands.listing:run")


def run() -> Outcome:
    """Tell what each thing is, from the sources alone."""
    groups = {
        "spaces": _named(SPACES),
        "strategies": _named(STRATEGIES),
        "without a search": _named(FAMILIES),
        "multi-trial strategies": _named(MULTITRIAL),
        "data": [
            {"name": name, "about": _first(place.partition(":")[0]), "files": flagged(DOWNLOADS[name])}
            for name, (place, _) in DATASETS.places.items()
        ],
        "recipes": [{"name": name, "about": s.about, "paper": s.paper} for name, s in SUMMARIES.items()],
    }
    return Outcome(groups, "\n\n".join(_table(title, rows) for title, rows in groups.items()))


def _named(table: Names[Any]) -> list[Json]:
    places = {name: place for name, (place, _) in table.places.items()}
    return [{"name": n, "about": _first(place), "paper": ", ".join(papers(place))} for n, place in places.items()]


def _first(place: str) -> str:
    """Return the first line of what a module or class says of itself."""
    return docstring(place).partition("\n")[0]


def papers(place: str) -> list[str]:
    """Return the arXiv numbers among the references of a class, in order.

    >>> papers("renascent.strategies.trials.rea:REA")
    ['arXiv:1802.01548', 'arXiv:2009.00437']
    """
    return list(dict.fromkeys(re.findall(r"arXiv:\d+\.\d+", " ".join(references(place)))))


def _table(title: str, rows: Iterable[Json]) -> str:
    lines = aligned([(row["name"], f"{row['about']} {_last(row)}") for row in rows])
    return f"{title}\n{textwrap.indent(lines, '  ')}"


def _last(row: Json) -> str:
    value = row.get("paper", row.get("files"))
    return f"({value})" if value else ""

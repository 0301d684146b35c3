"""`renascent list`: all that can be named."""

import re
import textwrap
from collections.abc import Iterable
from typing import Any

from renascent.cli.commands.command import Command, Outcome
from renascent.cli.entry import flagged
from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.names import Names
from renascent.core.outside import brought_by, imported, value_of
from renascent.core.source import docstring, place_of, references
from renascent.core.text import aligned
from renascent.experiment.recipes import SUMMARIES
from renascent.nets import SPACES
from renascent.strategies import FAMILIES, STRATEGIES
from renascent.strategies.trials import MULTITRIAL
from renascent.tasks import DATASETS, DOWNLOADS

ABOUT = """List the spaces, strategies, data sets and recipes."""


COMMAND = Command(run="renascent.cli.commands.listing:run")


def run() -> Outcome:
    """Tell what each thing is, ours from the sources alone, and others by importing what installed packages add."""
    spaces, (searching, families, trials) = _added(SPACES)[0], _added(STRATEGIES, FAMILIES, MULTITRIAL)
    groups = {
        "spaces": _named(SPACES) + spaces,
        "strategies": _named(STRATEGIES) + searching,
        "without a search": _named(FAMILIES) + families,
        "multi-trial strategies": _named(MULTITRIAL) + trials,
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


def _added(*tables: Names[Any]) -> list[list[Json]]:
    """Return what installed packages add to each of some tables with one group of entry points.

    What is of no table, cannot be imported, or has a name of ours is in the first, with a word on it.
    """
    found: list[list[Json]] = [[] for _ in tables]
    others = [table.others for table in tables if table.others]
    for point in (point for points in others[0].installed.values() for point in points):
        place, where = value_of(point), 0
        thing: Any = None
        try:
            thing = imported(place)
            lacks = [other.lacking(thing) for other in others]
            where, wrong = (lacks.index(""), "") if "" in lacks else (0, lacks[0])
        except UserError as e:
            wrong = str(e)
        if any(point.name in table for table in tables):
            wrong = f"the name is renascent's own, name it {place}"
        about = f"cannot be used: {wrong}" if wrong else _first(place_of(thing))
        paper = "" if wrong else ", ".join(papers(place_of(thing)))
        found[where].append({"name": point.name, "about": about, "paper": paper, "package": brought_by(point)})
    return found


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
    value = ", ".join(filter(None, (row.get("paper", row.get("files")), row.get("package"))))
    return f"({value})" if value else ""

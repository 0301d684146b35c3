"""What `renascent runs` does."""

import shutil
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from renascent.cli.commands.command import Outcome
from renascent.cli.commands.runs import DEFAULT
from renascent.core.files import Json
from renascent.core.text import aligned, counted, number, percent
from renascent.results.overview import DAMAGED, FINISHED, Overview, Work, overviews
from renascent.results.trainings import training_folder

HEAD = ("run", "state", "search", "trained", "params", "MACs")

INDENT = "  "


def run(folder: str | None) -> Outcome:
    """List the runs in and below a folder."""
    root = Path(folder or DEFAULT)
    found = overviews(root)
    text = _table(root, found, shutil.get_terminal_size().columns) if found else f"there are no runs in {root} yet"
    return Outcome({"folder": str(root), "runs": [_facts(one) for one in found]}, text)


def _facts(one: Overview) -> Json:
    asked, found = one.asked, one.found
    return {
        "folder": str(one.folder),
        **(asdict(asked) | {"task": asked.task.name} if asked else {}),
        **(asdict(found) if found else {}),
        **_state(one.search),
        "changed": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(one.time)),
        "trainings": [
            {
                "name": trained.name,
                "folder": str(training_folder(one.folder, trained.name)),
                **(asdict(trained.reached) if trained.reached else {}),
                **_state(trained.work),
            }
            for trained in one.trainings
        ],
    }


def _state(work: Work) -> Json:
    at = work.at
    return {"state": work.state, "why": work.why, "at": {"epoch": at.epoch, "epochs": at.epochs} if at else None}


def _table(root: Path, found: list[Overview], width: int) -> str:
    """Write a row for each run, and below it what was searched and what was trained, in lines of a width.

    A name that is too long for its column has a line of its own.
    """
    cells = [_cells(one) for one in found]
    names = [str(one.folder.relative_to(root)) if one.folder != root else str(root) for one in found]
    taken = [max(map(len, column)) for column in zip(HEAD[1:], *cells, strict=True)]
    room = width - sum(taken) - len(INDENT) * len(taken)
    rows = [(name if len(name) <= room else "", *row) for name, row in zip(names, cells, strict=True)]
    head, *lines = aligned([HEAD, *rows], "<<>").splitlines()
    text = [head]
    for one, name, line in zip(found, names, lines, strict=True):
        text += [line] if len(name) <= room else [name, line]
        for about in _about(one):
            text += textwrap.wrap(about, width, initial_indent=INDENT, subsequent_indent=INDENT * 2)
    return "\n".join(text)


def _cells(one: Overview) -> tuple[str, ...]:
    found, reached = one.found, one.reached
    costs = reached or found
    return (
        _reached(one.search),
        percent(found.search_score) if found else "-",
        percent(next(iter(reached.scores.values()))) if reached and reached.scores else "-",
        number(costs.params if costs else None, 3, short=True),
        number(costs.macs if costs else None, 3, short=True),
    )


def _reached(work: Work) -> str:
    at = "" if work.state == FINISHED or work.at is None else f" {work.at.epoch}/{work.at.epochs}"
    return f"{work.state}{at}"


def _about(one: Overview) -> Iterator[str]:
    """Say what was searched, what was trained, and what is damaged."""
    if asked := one.asked:
        budget = f", {asked.budget}" if asked.budget else ""
        yield f"{asked.space} by {asked.strategy} on {asked.task.name}{budget}, seed {asked.seed}"
    if one.search.state == DAMAGED:
        yield f"damaged: {one.search.why}"
    for trained in one.trainings:
        name = f"fit --name {trained.name}" if trained.name else "fit"
        if trained.reached:
            scores = ", ".join(f"{split} {percent(score)}" for split, score in trained.reached.scores.items())
            yield f"{name}: {scores} after {counted(trained.reached.settings.epochs, 'epoch')}"
        else:
            yield f"{name}: {_reached(trained.work)}{f': {trained.work.why}' * (trained.work.state == DAMAGED)}"

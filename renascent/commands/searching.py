"""What the commands that search have in common: they can be resumed, and other commands find their data again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from renascent.commands.command import DATA_FILE
from renascent.errors import Interrupted, unknown
from renascent.result import name_of
from renascent.run import Json, write_json
from renascent.tasks import DATASETS
from renascent.terminal import Live


def chosen(kind: str, table: Mapping[str, Callable[..., Any]], name: str | None, recipes: Any) -> Any:
    """Return the named settings' defaults, or the recipe's if they are of that class; None if nothing is named."""
    if name is None:
        return recipes
    if name not in table:
        raise unknown(kind, name, table)
    return recipes if name_of(recipes, table) == name else table[name]()


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

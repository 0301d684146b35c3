"""What `search` and `shrink` have in common: one search in a run folder, shown as it goes, that can be resumed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Outcome, lasting
from renascent.cli.commands.search import SearchingFlags
from renascent.cli.live import Live
from renascent.cli.work.running import DATA_FILE, told
from renascent.core.errors import Interrupted, UserError
from renascent.core.files import Json, write_json
from renascent.core.protocols import OneShot, SpaceConfig, Task
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.tasks.prepare import ImageOptions

MEASURING = "measuring the latency of some forty networks first ({})"
"""What to say before the longest silence of a search with a bound on latency."""


def searched(
    space: SpaceConfig,
    strategy: OneShot,
    task: Task,
    flags: SearchingFlags,
    options: ImageOptions,
    *,
    name: str,
    first: Sequence[str],
    following: Callable[[Result], str],
    **others: Any,
) -> Outcome:
    """Search, show how it goes, and return what is said of the result. Raises UserError when nothing can be resumed.

    name: of what is searched, for the folder.  first: lines to say before.  following: what to do with the result.
    others: what `search` takes besides.
    """
    folder = Path(flags.out or f"runs/{name}-{flags.strategy}-{task.name}-{flags.seed}")
    if flags.resume and not (folder / "config.json").exists():
        raise UserError(f"there is no run in {folder} to resume: check --out, or leave --resume out")
    source = {"data": lasting(str(flags.data)), "options": asdict(options)}
    with _resumable(folder), Live(["search"]) as live:
        for line in first:
            live.say(f"{line} with {flags.strategy} on {task}; run folder {folder}" if line is first[-1] else line)
        if flags.timed and not (others.get("latency") or flags.resume):
            live.say(MEASURING.format(flags.runtime))
        result = search(
            space,
            strategy,
            task,
            epochs=flags.epochs,
            batch=flags.batch,
            seed=flags.seed,
            out=folder,
            resume=flags.resume,
            budget=flags.budget,
            runtime=flags.runtime,
            say=functools.partial(_hear, live, folder, source),
            **others,
        )
        return told(result, following(result))


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Let whoever is interrupted know that there is something to go on with, if there is."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "config.json").exists():
            raise Interrupted("interrupted; to go on") from None
        raise


def _hear(live: Live, folder: Path, source: Json, event: Json) -> None:
    """Show an event; before the result is written, write down which data it is from."""
    if event["event"] == "derived":
        write_json(folder / DATA_FILE, source)
    live(event)

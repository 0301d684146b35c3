"""Progress of countable work on standard error: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 5.0
"""Between two plain lines."""


class Counted:
    """Shows how much of some work is done. Use it in a `with` statement."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.bars = Progress(TextColumn("{task.description}"), *columns, console=self.console)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.last = time.monotonic()

    def __enter__(self) -> Counted:
        if self.live:
            self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.bars.stop()

    def show(self, what: str, done: int, of: int, note: str = "") -> None:
        """Show that `done` of `of` pieces of some work are done. note: added to a plain line."""
        if self.live:
            bars = [task.id for task in self.bars.tasks if task.description == what]
            self.bars.update(bars[0] if bars else self.bars.add_task(what, total=of), completed=done)
        elif done == of or time.monotonic() - self.last >= LINE_SECONDS:
            self.last = time.monotonic()
            self.say(f"{what} {done}/{of}{note}")

    def say(self, line: str) -> None:
        """Write one line, above a bar."""
        with contextlib.suppress(OSError):  # a reader who went away is no reason to stop the work
            self.console.print(line, markup=False, soft_wrap=True)

"""Bars of progress on a terminal of any width: what is done and the time left stay, the rest as there is room."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID
from rich.table import Column, Table
from rich.text import Text

SPEED_SECONDS = 24 * 3600.0
"""How far back the speed of some work is looked at: an epoch may take an hour."""

BAR = 16
"""Characters of a bar."""

SPARE = ("spinner", "bar", "elapsed")
"""What is left out where a line is too long for all, the first one first."""

ORDER = ("spinner", "what", "bar", "count", "elapsed", "left", "note")


class Bars(Progress):
    """Bars, each in one line of the terminal.

    The description is cut before the count and the time left, and the note before it, by whole parts.
    A task has the fields `note`, in parts with two spaces between, and `each`: seconds that one piece takes, if known.
    """

    def __init__(self, console: Console) -> None:
        self._console = console  # asked for its width before `console` is there
        super().__init__(console=console, speed_estimate_period=SPEED_SECONDS)

    def add(self, what: str) -> TaskID:
        """Begin a bar."""
        return self.add_task(what, total=None, note="", each=None)  # how much it is, its first piece says

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the bars as one table that is no wider than the terminal."""
        rows = [task for task in tasks if task.visible]
        cells = {task.id: _cells(task) for task in rows}
        wide = {name: max((cell_len(cells[t.id][name]) for t in rows), default=0) for name in ORDER}
        wide |= {"spinner": 1, "bar": BAR}
        room, kept = self._console.width, list(ORDER)
        for name in SPARE:
            if sum(wide[n] + 1 for n in kept) - 1 > room:
                kept.remove(name)
        must = wide["count"] + wide["left"] + 2
        what = max(1, min(wide["what"], room - must))
        note = room - must - what - 1 - sum(wide[name] + 1 for name in SPARE if name in kept)
        if note < 1:
            kept.remove("note")
        table = Table.grid(*(Column(no_wrap=True) for _ in kept), padding=(0, 1))
        for task in rows:
            held = cells[task.id] | {"what": _cut(task.description, what), "note": _parts(cells[task.id]["note"], note)}
            drawn = {"spinner": SPINNER(task), "bar": LINE(task)}
            table.add_row(*(drawn[name] if name in drawn else Text(held[name]) for name in kept))
        return table


SPINNER, LINE = SpinnerColumn(), BarColumn(bar_width=BAR)


def _cells(task: Task) -> dict[str, str]:
    total = "?" if task.total is None else f"{task.total:.0f}"
    return {
        "spinner": "",
        "what": task.description,
        "bar": "",
        "count": f"{task.completed:.0f}/{total}",
        "elapsed": clock(task.finished_time if task.finished else task.elapsed),
        "left": f"{clock(_left(task))} left",
        "note": str(task.fields.get("note", "")),
    }


def _left(task: Task) -> float | None:
    each = task.fields.get("each")
    if task.total is None:
        return None
    return task.time_remaining if each is None else each * max(0.0, task.total - task.completed)


def clock(seconds: float | None) -> str:
    """Write seconds as hours, minutes and seconds.

    >>> clock(3725.4), clock(65), clock(None)
    ('1:02:05', '1:05', '-:--')
    """
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _cut(text: str, room: int) -> str:
    return text if cell_len(text) <= room else text[: max(0, room - 1)] + "\u2026"


def _parts(note: str, room: int) -> str:
    """Return as many parts of a note as there is room for."""
    parts = note.split("  ")
    while parts and cell_len("  ".join(parts)) > room:
        parts.pop()
    return "  ".join(parts)

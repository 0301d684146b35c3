"""Progress on standard error, the outcome on standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from statistics import mean
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from renascent.core.files import Json
from renascent.core.text import percent

SHOWN = ("train_loss", "train_score", "val_loss", "val_score")
"""Metrics of an epoch that a line of progress shows, in this order, where they are there."""


SHORT = ("train_loss", "val_score", "truth", "costs")
"""Those that fit beside a bar."""


class Live:
    """Shows events as they come: a live bar on a terminal, a plain line for each epoch elsewhere.

    labels: what is trained, one after the other.  file: standard error unless given.

    >>> import sys
    >>> with Live(["search"], file=sys.stdout) as show:
    ...     show({"event": "epoch", "epoch": 1, "epochs": 3, "train_loss": 2.25, "seconds": 4.0})
    search: epoch 1/3  train loss 2.250  4.0 s
    """

    def __init__(self, labels: Sequence[str], *, file: TextIO | None = None) -> None:
        self.labels, self.done = list(labels), 0
        self.file = file or sys.stderr
        self.console = Console(file=self.file, highlight=False)
        self.bars: Progress | None = None
        self.bar: TaskID | None = None

    def __enter__(self) -> Live:
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self.bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=self.console,
            )
            self.bars.start()
            self._next_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def __call__(self, event: Json) -> None:
        if event["event"] == "epoch":
            self._epoch(event)
        elif event["event"] == "feasible":
            self.say(event["table"])
        elif event["event"] == "derived":
            why = ", as the strategy's own choice scored no better than random ones" if event.get("corrected") else ""
            self.say(f"{self.label}: chose {event['arch']}{why}")
        elif event["event"] == "settled":
            self.say(f"{self.label}: measured latency differs from the prediction, chose {event['arch']} instead")
        elif event["event"] == "fitted":
            scores = ", ".join(f"{name} accuracy {percent(score)}" for name, score in event["scores"].items())
            self.say(f"{self.label}: {scores}")
            self.done += 1
            self._next_bar()

    @property
    def label(self) -> str:
        """What is being trained now."""
        return self.labels[min(self.done, len(self.labels) - 1)]

    def _epoch(self, event: Json) -> None:
        if self.bars is not None and self.bar is not None:
            note = epoch_note({name: event[name] for name in SHORT if name in event})
            self.bars.update(self.bar, total=event["epochs"], completed=event["epoch"], note=note)
        else:
            place = f"{self.label}: epoch {event['epoch']}/{event['epochs']}"
            self.say(f"{place}  {epoch_note(event)}  {event['seconds']:.1f} s")

    def _next_bar(self) -> None:
        if self.bars is not None and self.done < len(self.labels):
            self.bar = self.bars.add_task(self.label, total=None, note="first epoch")

    def say(self, line: str) -> None:
        """Write one line, above a live bar."""
        if self.bars is not None:
            self.console.print(line, markup=False, soft_wrap=True)
            return
        with contextlib.suppress(OSError):  # a reader who went away is no reason to stop a search
            print(line, file=self.file, flush=True)


def epoch_note(event: Json) -> str:
    """Return the numbers of one epoch in one line.

    >>> epoch_note({"train_loss": 1.5, "val_score": 0.5, "entropy": {"a": 1.0, "b": 2.0}, "costs": {"macs": 0.97}})
    'train loss 1.500  val score 0.500  entropy 1.500  macs 0.97 of the budget'
    """
    parts = [f"{name.replace('_', ' ')} {event[name]:.3f}" for name in SHOWN if name in event]
    if entropy := event.get("entropy"):
        parts.append(f"entropy {mean(entropy.values()):.3f}")
    parts += [f"{name} {share:.2f} of the budget" for name, share in event.get("costs", {}).items()]
    if event.get("truth") is not None:
        parts.append(f"truth {event['truth']:.2f} %")
    return "  ".join(parts)

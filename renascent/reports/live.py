"""Progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from renascent.core.files import Json
from renascent.core.text import cut, percent
from renascent.reports.bars import Bars
from renascent.reports.entropy import NO_BETTER

if TYPE_CHECKING:
    from renascent.core.protocols import Say  # which loads torch

LINE_SECONDS = 5.0
"""Between two plain lines of countable work."""

SHOWN = ("train_loss", "train_score", "val_loss", "val_score")
"""Metrics of an epoch that a line of progress shows, in this order, where they are there."""

KEPT = {"scales_on": "scales on", "kept": "options kept"}
"""Metrics of an epoch that count what is left of a network, and how a line of progress names them."""

SHORT = ("train_loss", "val_score", *KEPT, "truth", "costs")
"""Those that fit beside a bar."""


class Counted:
    """Shows how much of some work is done. Use it in a `with` statement. file: standard error unless given."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.console = Console(file=file, stderr=True, highlight=False)
        self.bars = Bars(self.console)
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
            self.bar(what, done, of)
        elif done == of or time.monotonic() - self.last >= LINE_SECONDS:
            self.last = time.monotonic()
            self.say(f"{what} {done}/{of}{note}")

    def bar(self, what: str, done: int, of: int | None, note: str = "", each: float | None = None) -> None:
        """Draw the bar of some work, a new one where it has none yet.

        of: None while that is not known.  each: seconds that a piece takes; as long as those so far, unless given.
        """
        bars = [task.id for task in self.bars.tasks if task.description == what]
        bar = bars[0] if bars else self.bars.add(what)
        self.bars.update(bar, total=of, completed=done, note=note, each=each)

    def say(self, line: str) -> None:
        """Write one line, above the bars."""
        if self.live:
            self.console.print(line, markup=False, emoji=False, soft_wrap=True)
            return
        with contextlib.suppress(OSError):  # a reader who went away is no reason to stop; rich would exit
            print(line, file=self.console.file, flush=True)


class Live:
    """Shows the events of trainings as they come: a bar for each on a terminal, a line for each epoch elsewhere.

    labels: what is trained, one after the other.

    >>> import sys
    >>> with Counted(sys.stdout) as bars:
    ...     show = Live(bars, ["search"])
    ...     show({"event": "epoch", "epoch": 1, "epochs": 3, "train_loss": 2.25, "seconds": 4.0})
    search: epoch 1/3  train loss 2.250  4.0 s
    """

    def __init__(self, bars: Counted, labels: Sequence[str]) -> None:
        self.bars, self.labels, self.done = bars, list(labels), 0
        self._begin()

    def __call__(self, event: Json) -> None:
        label = self.labels[min(self.done, len(self.labels) - 1)]
        match event["event"]:
            case "epoch" if self.bars.live:
                note = epoch_note({name: event[name] for name in SHORT if name in event})
                self.bars.bar(label, event["epoch"], event["epochs"], note, event["seconds"] / event["epoch"])
            case "epoch":
                place = f"{label}: epoch {event['epoch']}/{event['epochs']}"
                self.bars.say(f"{place}  {epoch_note(event)}  {event['seconds']:.1f} s")
            case "measured":
                self.bars.show("latency", event["done"], event["of"], " networks measured")
            case "feasible":
                self.bars.say(event["table"])
            case "forecast":
                self.bars.say(event["text"])
            case "derived":
                why = f", {instead}, as {NO_BETTER}" if (instead := event.get("instead")) else ""
                self.bars.say(f"{label}: chose {cut(event['arch'])}{why}")
            case "settled":
                self.bars.say(
                    f"{label}: measured latency differs from the prediction, chose {cut(event['arch'])} instead"
                )
            case "finish":
                self._next()
            case "fitted":
                scores = ", ".join(f"{name} accuracy {percent(score)}" for name, score in event["scores"].items())
                self.bars.say(f"{label}: {scores}")
                self._next()

    def _next(self) -> None:
        self.done += 1
        self._begin()

    def _begin(self) -> None:
        if self.bars.live and self.done < len(self.labels):
            self.bars.bar(self.labels[self.done], 0, None, "first epoch")


@contextlib.contextmanager
def shown(labels: Sequence[str], say: Say) -> Iterator[Say]:
    """Give a listener that passes events on and shows them. labels: of the trainings, as of `Live`; none: silence."""
    if not labels:
        yield say
        return
    with Counted() as bars:
        show = Live(bars, labels)

        def hear(event: Json) -> None:
            say(event)
            show(event)

        yield hear


def epoch_note(event: Json) -> str:
    """Return the numbers of one epoch in one line.

    >>> epoch_note({"train_loss": 1.5, "val_score": 0.5, "entropy": {"a": 1.0, "b": 2.0}, "costs": {"macs": 0.97}})
    'train loss 1.500  val score 0.500  entropy 1.500  macs 0.97 of the budget'
    """
    parts = [f"{name.replace('_', ' ')} {event[name]:.3f}" for name in SHOWN if name in event]
    parts += [f"{name} {event[key]:.0f}" for key, name in KEPT.items() if key in event]
    if entropy := event.get("entropy"):
        parts.append(f"entropy {mean(entropy.values()):.3f}")
    parts += [f"{name} {share:.2f} of the budget" for name, share in event.get("costs", {}).items()]
    if event.get("truth") is not None:
        parts.append(f"truth {event['truth']:.2f} %")
    return "  ".join(parts)

"""What a user sees: progress on standard error, and the final table."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from statistics import mean, stdev
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from renascent.costs.budget import LATENCY
from renascent.errors import UserError

if TYPE_CHECKING:
    from renascent.result import Result
    from renascent.run import Json

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
            self.say(f"{self.label}: latency is not as promised, chose {event['arch']} instead")
        elif event["event"] == "fitted":
            scores = ", ".join(f"{name} accuracy {_percent(score)}" for name, score in event["scores"].items())
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


def emit(text: str) -> None:
    """Print on standard output, and see to it that it arrives; a reader who went away (`| head`) is no error.

    Raises UserError when it cannot be written.
    """
    try:
        print(text, flush=True)
    except OSError as e:
        # what is still held would fail once more when Python closes the stream
        with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            raise UserError(f"cannot write to standard output: {e.strerror or e}; free some space") from None


def summary(result: Result) -> str:
    """Return the final table: the cell, its accuracy, what it costs, and what finding it cost."""
    facts = result.facts
    title = f"{facts['space']}, found by {facts['strategy']} on {facts['task']} (seed {facts['seed']})"
    cost, folder = ("search cost", _search_cost(result)), ("folder", str(result.folder))
    rows = [*_accuracies(result), *_costs(result), cost, folder]
    width = max(len(name) for name, _ in rows)
    cell = [f"  {line}" for line in result.space.draw(result.arch).splitlines()]
    table = [f"{name:<{width}}  {value}" for name, value in rows]
    bounds = budget_table(facts.get("costs", {}))
    return "\n".join([title, "", *cell, "", facts["arch"], "", *table, *([""] if bounds else []), *bounds])


def _accuracies(result: Result) -> list[tuple[str, str]]:
    inside = _percent(result.facts["search_score"])
    rows = [("accuracy in the search", f"{inside} (shared weights, one validation batch)"), *_truth(result)]
    fitted = result.fitted
    if fitted is None:
        return rows
    how = f"trained alone, {_count(fitted['settings']['epochs'], 'epoch')}{schooling(fitted)}"
    if not fitted.get("same_data", True):
        how += f"; on other data than the search's: {fitted['task']}"
    for split, score in fitted["scores"].items():
        name = "test accuracy" if split == "test" else f"accuracy on {split}"
        rows.append((name, f"{_percent(score)} ({how})"))
        if others := [cell[split] for cell in fitted["random_cells"]]:
            what = "random architectures" if fitted.get("random_within") else "random cells"
            rows.append((what, _compared(score, others, company(fitted))))
        if reference := fitted.get("reference"):
            origin = "as it was given" if reference.get("given") else "from fresh weights, untaught"
            rows.append(("reference network", f"{_percent(reference['scores'][split])} ({origin})"))
    return rows


def schooling(fitted: Json) -> str:
    """Return in one phrase where the weights of a training began and who taught it; nothing for a plain training.

    >>> schooling({"init": "shared", "teacher": None})
    ", from the search's weights"
    """
    starts = {"shared": "the search's weights", "reference": "the reference's leading weights"}
    init, teacher = fitted.get("init", "fresh"), fitted.get("teacher")
    parts = [] if init == "fresh" else [f"from {starts.get(init, 'the leading weights of a network given')}"]
    if teacher:
        d = fitted["distillation"]
        squared = " T^2" if d["temperature_squared"] else ""
        loss = f"{d['label_weight']:g} label + {d['soft_weight']:g}{squared} soft, T = {d['temperature']:g}"
        parts.append(f"taught by {teacher['name']} ({loss})")
    return "".join(f", {part}" for part in parts)


def company(fitted: Json, kind: str = "") -> str:
    """Return what the found network is compared with, and how that was trained. kind: put before the word.

    >>> company({"random_cells": [{}, {}], "init": "shared", "random_init": "fresh"}, "random ")
    '2 random cells trained alike, but from fresh weights'
    """
    count, init = len(fitted["random_cells"]), fitted.get("init", "fresh")
    if budget := fitted.get("random_within"):
        promised = " (latency as predicted)" if LATENCY in budget else ""
        what = f"{_count(count, f'{kind}architecture')} inside the budget{promised},"
    else:
        what = _count(count, f"{kind}cell")
    same = fitted.get("random_init", init) == init
    return f"{what} trained alike{'' if same else ', but from ' + fitted['random_init'] + ' weights'}"


def _truth(result: Result) -> list[tuple[str, str]]:
    """Return what a benchmark table knows of the chosen architecture, if the search was given one."""
    told = result.facts.get("truth")
    if told is None:
        return []
    of = f"{told['problem']} of {told['table']}: best {told['best']:.2f} %, mean of all {told['mean']:.2f} %"
    value = told["accuracy"]
    return [("accuracy in the table", f"{'not known' if value is None else f'{value:.2f} %'} ({of})")]


def _compared(score: float, others: Sequence[float], company: str) -> str:
    spread = f" +- {100 * stdev(others):.2f}" if len(others) > 1 else ""
    gap = 100 * (score - mean(others))
    return f"{100 * mean(others):.2f}{spread} % ({company}; the found one is {gap:+.2f} points from their mean)"


def _costs(result: Result) -> list[tuple[str, str]]:
    latency = result.latency
    spread = f"{latency.p10_ms:.2f} to {latency.p90_ms:.2f} ms in 8 of 10 passes"
    return [
        ("parameters", f"{result.facts['params']:,}"),
        ("MACs", f"{result.facts['macs']:,} an image"),
        ("latency", f"{latency.median_ms:.2f} ms an image ({spread}; {latency.runtime})"),
    ]


def budget_table(costs: Json) -> list[str]:
    """Return lines that say of each bounded cost what it may be, was promised to be, and is; none without a budget.

    >>> budget_table({"macs": {"limit": 2e6, "promised": 1.5e6, "measured": None}})
    ['budget    allowed   promised  measured', 'macs    2,000,000  1,500,000         -']
    """
    rows: list[tuple[str, ...]] = [("budget", "allowed", "promised", "measured")]
    for name, cost in costs.items():
        rows.append((name, *(amount(cost[key]) for key in ("limit", "promised", "measured"))))
    wide = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [
        "  ".join([row[0].ljust(wide[0]), *(cell.rjust(w) for cell, w in zip(row[1:], wide[1:], strict=True))])
        for row in rows
    ]
    return lines if costs else []


def amount(value: float | None) -> str:
    """Write a cost: whole from a thousand on, in four digits below.

    >>> amount(40813184.0), amount(5.2345), amount(None)
    ('40,813,184', '5.234', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _search_cost(result: Result) -> str:
    seconds, fitted = result.facts["search_seconds"], result.fitted
    if fitted is None or not fitted["seconds"]:
        return f"{seconds:.1f} s"
    times = seconds / fitted["seconds"]
    return f"{seconds:.1f} s, {times:.2f} times training the found network once ({fitted['seconds']:.1f} s)"


def _percent(score: float) -> str:
    return f"{100 * score:.2f} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

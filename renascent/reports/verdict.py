"""What a search gained beside what was trained with its result, and at which cost: one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import mean, stdev
from typing import TYPE_CHECKING

from renascent.core.bounds import LATENCY
from renascent.core.text import counted
from renascent.reports.uniform import STARTS
from renascent.strategies import FAMILIES

if TYPE_CHECKING:
    from renascent.results.facts import Training
    from renascent.results.record import Record


def verdict(result: Record) -> str:
    """Say what the search gained in accuracy, and what it took; nothing where no baseline was trained beside it.

    A gain is to be above the mean of random networks by more than their deviation, and above uniform scaling and
    magnitude pruning by more than the standard error that a difference of two accuracies has on so many images, as far
    as each was trained; there is none where the result is what uniform scaling gives.
    """
    training = result.training
    if training is None or not training.scores or not searched(result):
        return ""
    gaps = list(_gaps(training, "test" if "test" in training.scores else next(iter(training.scores))))
    same = ["the network that uniform scaling gives"] if result.about.uniform and not result.about.beside else []
    if not gaps and not same:
        return ""
    words = " and ".join([*(f"{100 * gap:+.2f} points from {what}" for gap, _, what in gaps), *same])
    gained = "gained" if not same and all(gap > least for gap, least, _ in gaps) else "shows no gain"
    times = f", {spent}" if (spent := multiple(result)) else ""
    return f"The search {gained}: the result is {words}; it took {result.about.search_seconds:.1f} s{times}."


def _gaps(training: Training, split: str) -> Iterator[tuple[float, float, str]]:
    """Give how far above each baseline the result is, how far it has to be, and what that is."""
    own, others = training.scores[split], [cell.scores[split] for cell in training.random_cells]
    if len(others) > 1:
        what = f"the mean of {baseline_description(training, 'random ')}, whose deviation is {100 * stdev(others):.2f},"
        yield own - mean(others), stdev(others), what
    for made, name in ((training.uniform, "uniform scaling"), (training.magnitude, "magnitude pruning")):
        if made is None:
            continue
        other = made.scores[split]
        images = sum(training.by_class[split].images) if split in training.by_class else 0
        error = math.sqrt((own * (1 - own) + other * (1 - other)) / images) if images else 0.0
        on = f" (standard error on {counted(images, 'image')}: {100 * error:.2f})" if images else ""
        yield own - other, error, f"{name}{on}"


def searched(result: Record) -> bool:
    """Return whether anything was trained to find a result; not where the largest of a row of networks was taken."""
    return result.about.strategy not in FAMILIES


def multiple(result: Record) -> str:
    """Return how much longer the search took than one training of what it found; nothing where none was timed.

    Nothing either where the search was the first part of that training.
    """
    training = result.training
    seconds = training.seconds if training and not training.searched_epochs else 0
    return f"{result.about.search_seconds / seconds:.2f} times training the found network once" if seconds else ""


def baseline_description(training: Training, kind: str = "") -> str:
    """Describe the baselines of a result and how they were trained. kind: put before the word.

    >>> from types import SimpleNamespace
    >>> told = SimpleNamespace(random_cells=[1, 2], random_within=None, init="shared", random_init="fresh")
    >>> baseline_description(told, "random ")
    '2 random cells trained identically, but from fresh weights'
    """
    count = len(training.random_cells)
    if budget := training.random_within:
        predicted = " (latency as predicted)" if LATENCY in budget else ""
        what = f"{counted(count, f'{kind}architecture')} inside the budget{predicted},"
    else:
        what = counted(count, f"{kind}cell")
    same = training.random_init in ("", training.init)
    return f"{what} trained identically{'' if same else f', but {STARTS[training.random_init]}'}"

"""What the authors' logs of NAS-Bench-201 and NATS-Bench mean: one architecture's trainings as numbers of columns.

An architecture is a dictionary, schedule -> its results. Results hold `arch_index`, `arch_str` and `all_results`:
(data set, seed) -> one training, with accuracies in %, epochs counted from 0, `params` and `flop` in millions (the
latter are multiply-accumulates), times and `latency` in seconds.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean, mode
from typing import Any

import numpy as np

from renascent.bench.importers._growing import Reading
from renascent.bench.tables.columns import Column, Problem
from renascent.core.errors import UserError, unknown
from renascent.core.text import short

SCHEDULES = frozenset({"01", "12", "90", "200", "less", "full"})
"""Names of schedules: their epochs in NATS-Bench; "less" are 12 and "full" are 200 epochs in NAS-Bench-201."""

SPLITS: dict[str, dict[str, str]] = {
    "cifar10-valid": {"x-valid": "val", "ori-test": "test"},
    "cifar10": {"ori-test": "test"},
    "cifar100": {"x-valid": "val", "x-test": "test", "ori-test": "valtest"},
    "imagenet16-120": {"x-valid": "val", "x-test": "test", "ori-test": "valtest"},
}
"""Data set -> the authors' name of a set of images -> ours. Their validation images are part of what they call test."""

DEVICE = "gpu"

LATENCY_NOTE = "as released: a batch of 256 images on one NVIDIA GTX 1080 Ti"
SECONDS_NOTE = "as released: training alone, without evaluation; mean over all trainings"


def problems(epochs: int, columns: Collection[str]) -> list[Problem]:
    """Return the published comparison: search by the accuracy after 12 epochs, judge by the test accuracy.

    epochs: of the schedule that judges, 200 for topology and 90 for size.  columns: keys that it must do with.
    """
    pairs = (("cifar10", "cifar10-valid"), ("cifar100", "cifar100"), ("imagenet16-120", "imagenet16-120"))
    every = (
        Problem(name, f"val_accuracy:{search}:12", f"seconds_per_epoch:{search}", f"test_accuracy:{name}:{epochs}")
        for name, search in pairs
    )
    return [p for p in every if {p.signal, p.seconds, p.result} <= set(columns)]


def is_architecture(value: Any) -> bool:
    """Return whether a dictionary is one architecture's: schedule -> results."""
    return (
        isinstance(value, dict)
        and bool(value)
        and SCHEDULES.issuperset(key for key in value if isinstance(key, str))
        and all(isinstance(results, dict) and "all_results" in results for results in value.values())
    )


def readings(states: Mapping[str, Any], row: int, arch: str) -> list[Reading]:
    """Return all numbers of one architecture.

    states: schedule -> results.  row, arch: its index and string as the benchmark lists them.
    Raises ValueError when there are none, UserError when they are of another architecture, or of data that NATS-Bench
    has not.
    """
    if not is_architecture(states):
        raise ValueError("no results of an architecture")
    trainings: list[tuple[str, int, Any]] = []
    for results in states.values():
        if (int(results["arch_index"]), results["arch_str"]) != (row, arch):
            told = f"{results['arch_index']} ({short(results['arch_str'])})"
            raise UserError(f"results of architecture {told} stand where {row} ({arch}) belongs: get the file again")
        trainings += [(data.lower(), int(seed), run) for (data, seed), run in results["all_results"].items()]
    curves = [reading for data, seed, run in trainings for reading in _curves(data, seed, run)]
    costs = [
        reading
        for data in dict.fromkeys(data for data, _, _ in trainings)
        for reading in _costs(data, [run for other, _, run in trainings if other == data])
    ]
    return [*curves, *costs]


def _curves(data: str, seed: int, run: Mapping[str, Any]) -> Iterator[Reading]:
    """Read accuracy and loss after every epoch, of one training."""
    if data not in SPLITS:
        raise unknown("data set", data, SPLITS)
    epochs = int(run["epochs"])
    for name, metric in (("train_acc1es", "train_accuracy"), ("train_losses", "train_loss")):
        yield _curve(metric, data, epochs, seed, {int(epoch): value for epoch, value in run[name].items()})
    for name, quantity in (("eval_acc1es", "accuracy"), ("eval_losses", "loss")):
        found: dict[str, dict[int, float]] = {}
        for key, value in run[name].items():
            images, _, epoch = key.rpartition("@")
            found.setdefault(images, {})[int(epoch)] = value
        for images, values in found.items():
            if images not in SPLITS[data]:
                raise unknown(f"set of images of {data}", images, SPLITS[data])
            yield _curve(f"{SPLITS[data][images]}_{quantity}", data, epochs, seed, values)


def _curve(metric: str, data: str, epochs: int, seed: int, values: Mapping[int, float]) -> Reading:
    order = sorted(values)
    numbers = np.array([values[epoch] for epoch in order], np.float64)
    return Reading(Column(metric, data, epochs), numbers, seed, tuple(epoch + 1 for epoch in order))


def _costs(data: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[Reading]:
    """Read what an architecture costs on one data set, from all its trainings there."""
    for name, metric in (("params", "params"), ("flop", "macs")):
        # a few trainings of NAS-Bench-201 tell another number than the rest
        yield Reading(Column(metric, data), np.array(round(1e6 * mode(float(run[name]) for run in runs)), np.float64))
    seconds = [s for run in runs if run.get("train_times") for s in run["train_times"].values()]
    if seconds:
        column = Column("seconds_per_epoch", data, measured=True, note=SECONDS_NOTE)
        yield Reading(column, np.array(fmean(seconds)))
    latencies = [fmean(run["latency"]) for run in runs if run.get("latency")]
    if known := [latency for latency in latencies if latency > 0]:
        column = Column("latency_ms", data, device=DEVICE, measured=True, note=LATENCY_NOTE)
        yield Reading(column, np.array(1000 * fmean(known)))

"""What tables cost: opening, memory, queries, and the published comparison, beside a dictionary of objects.

    RENASCENT_DATA=FOLDER python benchmarks/tables.py --out benchmarks/results/tables.json

Needs nas/nb201.npz in FOLDER. The baseline is what the authors' interface holds: an object an architecture, with its
numbers in dictionaries, found by the exchange string. It is filled from the same arrays, in this same process; its
"opening" is that filling, and leaves out the unpickling that the real one needs besides. Times are of the clock, the
smallest of several, but for the comparison, which runs once on `--processes` processes; memory is what the process
resident grows by. Each line ends in `ok` or `MISS` where there is a bound to keep.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from renascent.bench.compare import Contest, compare
from renascent.bench.importers import open_table
from renascent.strategies.trials import MULTITRIAL

BUDGETS = {"cifar10": 20_000.0, "cifar100": 40_000.0, "imagenet16-120": 120_000.0}
"""Simulated seconds of a run, which reproduce the published figures (NATS-Bench, arXiv:2009.00437)."""

PUBLISHED = {
    "random": (93.86, 71.55, 45.28),
    "rea": (94.02, 72.23, 45.77),
    "reinforce": (93.90, 71.86, 45.64),
    "bohb": (93.94, 72.00, 45.70),
}
"""Test accuracy (%) on the three data sets."""

BOUNDS = {
    "open_ms": 50.0,
    "open_mb": 60.0,
    "query_all_ms": 1.0,
    "random_rea_reinforce_s": 10.0,
    "with_bohb_s": 60.0,
}

COLUMN = "val_accuracy:cifar10-valid:12"


class Info:
    """One architecture, as the dictionary of objects holds it."""

    def __init__(self, arch: str, numbers: dict[str, float]) -> None:
        self.arch, self.numbers = arch, numbers


def best_ms(work: Callable[[], object], rounds: int = 20) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


OPENING = """
import sys, time
import numpy as np
import renascent.bench.importers

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

before, began = resident(), time.perf_counter()
table = renascent.bench.importers.open_table(sys.argv[1])
table.values(sys.argv[2])
print(1000 * (time.perf_counter() - began), resident() - before)
"""


def opening(path: Path) -> dict[str, float]:
    """Return milliseconds and megabytes of opening a table and reading one column, in a fresh process each time."""
    rows = []
    for _ in range(5):
        words = [sys.executable, "-c", OPENING, str(path), COLUMN]
        said = subprocess.run(words, capture_output=True, text=True, check=True)
        rows.append([float(word) for word in said.stdout.split()])
    return {"open_ms": min(ms for ms, _ in rows), "open_mb": max(mb for _, mb in rows)}


def table_costs(path: Path) -> dict[str, float]:
    table = open_table(path)
    indices = np.asarray(table.archs)
    rows = table.rows(indices)
    return {
        **opening(path),
        "bytes": path.stat().st_size,
        "query_all_ms": best_ms(lambda: table.values(COLUMN)[rows]),
        "query_all_by_architecture_ms": best_ms(lambda: table.values(COLUMN)[table.rows(indices)]),
        "query_one_us": 1000 * best_ms(lambda: table.query(6111, COLUMN)),
    }


def dictionary_costs(path: Path) -> dict[str, float]:
    table = open_table(path)
    strings = [table.space.format(table.arch(row)) for row in range(len(table))]
    columns = {key: table.values(key) for key, column in table.columns.items() if not column.device}
    gc.collect()
    before, began = _resident_mb(), time.perf_counter()
    held = {
        arch: Info(arch, {key: float(values[row]) for key, values in columns.items()})
        for row, arch in enumerate(strings)
    }
    filled, grown = time.perf_counter() - began, _resident_mb() - before
    return {
        "open_ms": 1000 * filled,
        "open_mb": grown,
        "query_all_ms": best_ms(lambda: np.array([held[arch].numbers[COLUMN] for arch in strings]), 5),
        "query_one_us": 1000 * best_ms(lambda: held[strings[6111]].numbers[COLUMN]),
    }


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def comparison(path: Path, names: list[str], runs: int, processes: int) -> tuple[float, dict[str, Any]]:
    """Return the seconds of a comparison, and its figures."""
    contests = [Contest(str(path), problem, seconds) for problem, seconds in BUDGETS.items()]
    began = time.perf_counter()
    found = compare({name: MULTITRIAL[name]() for name in names}, contests, runs=runs, processes=processes)
    seconds = time.perf_counter() - began
    from renascent.bench.compare import standings  # only here: every process that shares the work imports this file

    return seconds, {problem: standings(held) for problem, held in found.items()}


def judged(name: str, value: float) -> dict[str, Any]:
    bound = BOUNDS.get(name)
    return {"value": round(value, 4), "bound": bound, "met": None if bound is None else value <= bound}


def line(name: str, row: dict[str, Any]) -> str:
    met = "" if row["met"] is None else f"  bound {row['bound']:g}: {'ok' if row['met'] else 'MISS'}"
    return f"  {name:30} {row['value']:12.4f}{met}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    from renascent.core.environment import environment  # loads torch, which the comparison does without
    from renascent.core.files import write_json

    arrays = Path(os.environ["RENASCENT_DATA"]) / "nas" / "nb201.npz"
    with tempfile.TemporaryDirectory() as folder:
        own = open_table(arrays).save(Path(folder) / "nb201.safetensors")
        costs = {"table": table_costs(own), "nb201.npz": table_costs(arrays), "dictionary": dictionary_costs(own)}
    three, _ = comparison(arrays, ["random", "rea", "reinforce"], asked.runs, asked.processes)
    four, figures = comparison(arrays, list(PUBLISHED), asked.runs, asked.processes)
    seconds = {"random_rea_reinforce_s": three, "with_bohb_s": four}
    report = {
        "date": date.today().isoformat(),
        "setting": {"runs": asked.runs, "processes": asked.processes, "budget_seconds": BUDGETS},
        "costs": {
            place: {name: judged(name if place != "dictionary" else "", value) for name, value in held.items()}
            for place, held in costs.items()
        },
        "comparison_seconds": {name: judged(name, value) for name, value in seconds.items()},
        "published": {name: dict(zip(BUDGETS, values, strict=True)) for name, values in PUBLISHED.items()},
        "comparison": figures,
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }
    for title, rows in (*report["costs"].items(), ("comparison", report["comparison_seconds"])):
        print(title, *(line(*row) for row in rows.items()), sep="\n")
    for problem, rows in figures.items():
        print(problem, json.dumps({name: round(row["mean"], 2) for name, row in rows.items()}))
    if asked.out:
        write_json(asked.out, report)


if __name__ == "__main__":
    main()

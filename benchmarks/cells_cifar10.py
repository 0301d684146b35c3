"""DARTS cells on CIFAR-10, sized for one core: six searches and random cells, trained alike; and what training adds.

    RENASCENT_DATA=FOLDER OMP_NUM_THREADS=1 python benchmarks/cells_cifar10.py --out runs/cells_cifar10

C = 8, five cells, 10,000 images to train and 10,000 to validate on; then every cell is trained on all 20,000. Each
search and each training is a stage of its own, which a kill resumes; a stage that is done is passed over, so that the
command can be given again. `--only` does some stages, in a process beside others, say. `--quick` runs all of it in
minutes, on few images and judged by those held out, for a look at the script and not at the cells.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import renascent as rn
from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.protocols import WeightRule
from renascent.core.space import Arch
from renascent.core.text import aligned
from renascent.loops.fit import fit
from renascent.loops.run import Run

SPACE = rn.DartsCells(channels=8, cells=1)
FIXED = replace(SPACE, reduction="fixed")
SEARCHES = {
    "gdas": (SPACE, rn.GDAS(), 8),
    "darts": (SPACE, rn.DARTS(), 3),
    "setn": (SPACE, rn.SETN(), 3),
    "rsps": (SPACE, rn.RSPS(), 8),
    "enas": (SPACE, rn.ENAS(), 8),
    "gdas fixed": (FIXED, rn.GDAS(), 8),
}
"""Name -> space, strategy and epochs of a search."""

EXTRAS: dict[str, dict[str, float]] = {
    "plain": {},
    "auxiliary": {"auxiliary": 0.4},
    "drop path": {"drop_path": 0.2},
    "both": {"auxiliary": 0.4, "drop_path": 0.2},
}
"""What a training of the published cell has besides."""


class Stages:
    """The stages, their folders and their results."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.out, self.seeds, self.only, quick = asked.out, asked.seeds, asked.only, asked.quick
        self.random, self.quick, self.most = 2 if quick else asked.random, quick, 1 if quick else asked.epochs
        self.task = rn.load_task("cifar10", options=rn.ImageOptions(val=0.5, limit=200 if quick else 20_000))
        self.settings = rn.Fit(
            epochs=1 if quick else asked.fit_epochs,
            batch=64,
            weights=WeightRule(lr=0.025, lr_end=0.0, weight_decay=3e-4),
        )

    def search(self, name: str, seed: int) -> tuple[rn.DartsCells, Arch]:
        """Return what a search found, searching first where it is not done."""
        space, strategy, epochs = SEARCHES[name]
        folder = self.out / f"search-{name.replace(' ', '-')}-{seed}"
        about: dict[str, Any] = {"epochs": min(epochs, self.most), "batch": 64, "seed": seed}
        found = rn.search(space, strategy, self.task, out=folder, resume=folder.exists(), **about)
        return space, found.arch

    def train(self, row: str, seed: int, space: rn.DartsCells, arch: Arch, **extra: float) -> dict[str, Any]:
        """Return what a training reached, training first where it is not done."""
        name = f"{row.replace(' ', '-')}-{seed}"
        path = self.out / f"{name}.json"
        if not path.exists():
            torch.manual_seed(seed)
            net = space.network(arch, 3, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            folder = self.out / f"train-{name}"
            run = Run.start(folder, {"arch": space.space.format(arch), **extra}, resume=folder.exists(), seed=seed)
            settings, split = replace(self.settings, **extra), "val" if self.quick else "test"  # type: ignore[arg-type]
            done = fit(net, self.task, settings, run=run, seed=seed, evaluate=(split,))
            skips = sum(option == "skip_connect" for option in arch.values())
            facts = {
                "row": row,
                "seed": seed,
                "test": 100 * done.scores[split],
                "skips": skips,
                "epochs": settings.epochs,
            }
            write_json(path, facts | {"arch": space.space.format(arch), "seconds": round(done.seconds)})
        return read_json(path)

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the result of every stage that was asked for, in order."""
        for seed in range(self.seeds):
            for name in SEARCHES:
                if re.search(self.only, f"{name}-{seed}"):
                    done = self.out / f"{name.replace(' ', '-')}-{seed}.json"
                    yield read_json(done) if done.exists() else self.train(name, seed, *self.search(name, seed))
        rng = np.random.default_rng(0)
        for number in range(self.random):
            cell = SPACE.space.sample(rng)
            if re.search(self.only, f"random-{number}"):
                yield self.train("random", number, SPACE, cell)
        reference = SPACE.reference
        assert reference is not None
        for seed in range(self.seeds):
            for name, extra in EXTRAS.items():
                if re.search(self.only, f"published {name}-{seed}"):
                    yield self.train(f"published {name}", seed, SPACE, reference, **extra)


def line(row: str, found: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return a row of the table: mean, half of its 95 % interval by t, least, most, skip connections."""
    values = [result["test"] for result in found]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    half = float(stats.t.ppf(0.975, max(len(values) - 1, 1))) * spread / len(values) ** 0.5
    skips = ", ".join(str(result["skips"]) for result in found)
    numbers = (f"{x:.2f}" for x in (statistics.mean(values), half, min(values), max(values)))
    return row, str(len(values)), *numbers, skips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--random", type=int, default=8, help="random cells")
    parser.add_argument("--epochs", type=int, default=8, help="of a search, at most")
    parser.add_argument("--fit-epochs", type=int, default=10)
    parser.add_argument("--only", default="", help="regular expression: do stages with it in ROW-SEED only")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in Stages(asked).results():
        rows.setdefault(result["row"], []).append(result)
        print(f"{result['row']} {result['seed']}: {result['test']:.2f} %", flush=True)
    head = ("cells", "n", "mean", "+-", "least", "most", "skip connections")
    print(aligned([head, *(line(row, found) for row, found in rows.items())], "<>"))
    if not asked.only:
        about = {"date": date.today().isoformat(), "fit_epochs": asked.fit_epochs, "seeds": asked.seeds}
        kept = {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")}
        write_json(asked.out / "summary.json", {**about, "rows": rows, "environment": kept})


if __name__ == "__main__":
    main()

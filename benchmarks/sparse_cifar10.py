"""DSO-NAS and BayesNAS on CIFAR-10, sized for one core: what they keep, beside random networks of the same MACs.

    RENASCENT_DATA=FOLDER OMP_NUM_THREADS=1 python benchmarks/sparse_cifar10.py --out runs/sparse_cifar10

Every search and every training is a job that is done once. A kill, Ctrl-C or the end of --minutes resumes it: give the
command again. What is done lies in OUT/EXPERIMENT/JOB.json with the epochs and images it had, and is not done again
for others; the tables, with 95 % intervals by t, are printed at the end and lie in OUT/summary.json. `--only` does jobs
with it in EXPERIMENT/METHOD-SEED-search (or -train), and `--quick` a small part of everything, to see that it runs.

dso: blocks that share their connections, and that do not, inside macs<=0.35x; random sub-graphs of the MACs of what was
found; all trained alike and tested. `full-even` searches with the same penalty everywhere: how MACs spread over blocks.
split: Table 3 of DSO-NAS, inside the same budget. Without split, scales learn on the images of weights and the other
half is left; without pre-training they move from the first step; both have the steps of the others.
cells: BayesNAS on DARTS cells whose edges keep any operations, by lambda; random subsets of the MACs of what was found.
`recursive` has the curvature of the thesis: how much of what is kept is the same (Jaccard index).
tree: BayesNAS on tree A inside params<=0.85x: what is drawn.
truth: both on nats-topology, whose table tells the accuracy (RENASCENT_DATA has nas/nb201.npz).
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from proxyless_cifar10 import CLASSES, SHAPE, below, by_table, interval, tested

from renascent.core.environment import environment
from renascent.core.errors import Interrupted
from renascent.core.files import read_json, write_json
from renascent.core.protocols import Goal, OneShot, SpaceConfig, WeightRule
from renascent.core.space import Arch, Space
from renascent.core.text import aligned
from renascent.costs import cost_of
from renascent.costs.budget import Budget
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.loops.run import read_events
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.dso_costs import SubsetCost
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.cells.tree_a import TREE
from renascent.results.baselines import sample_feasible
from renascent.strategies.bayesnas import BayesNAS
from renascent.strategies.dsonas import DSONAS
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

RECURSIVE = {"recursive": True} if "recursive" in {field.name for field in fields(BayesNAS)} else None
"""The setting of the thesis's curvature, where it is there."""

CONSTANT = WeightRule(lr=0.1, lr_end=0.1, weight_decay=3e-4)

PLAIN = replace(CONSTANT, nesterov=False)

MEAN_OF_ALL = 87.06
"""True accuracy of a cell of nats-topology, the mean of all."""


ALL = 50_000
"""Training images."""


@dataclass(frozen=True)
class Method:
    """How networks are found. strategy: None for random ones, that have the MACs of what method `like` found.

    val: share of the images that scales are learnt on.  epochs: of the search, where not the experiment's.
    trained: whether what was found is.
    """

    space: SpaceConfig
    strategy: OneShot | None = None
    like: str = ""
    val: float = 0.5
    epochs: int = 0
    trained: bool = True


@dataclass(frozen=True)
class Experiment:
    """Searches of some images and epochs, and trainings of what they find.

    images: 0 for all.  fit_epochs: 0 for no training.  judged_on: the split on which what was trained is judged.
    """

    methods: dict[str, Method]
    epochs: int
    batch: int
    weights: WeightRule
    images: int = 20_000
    budget: str | None = None
    fit_epochs: int = 0
    judged_on: str = "test"


def experiments(quick: bool) -> dict[str, Experiment]:
    """Return all experiments. quick: tiny networks, that are judged by images held out."""
    width, levels = (4, 2) if quick else (8, 4)
    share, thin = (
        DSO(channels=width, blocks=(blocks,) * 3, levels=levels, share=True) for blocks in (1 if quick else 2, 1)
    )
    full = replace(share, share=False)
    cells = DartsCells(channels=width, layers_count=5, decisions="subset")
    tree = PyramidTree(blocks=1, final_channels=68 if quick else 128, tree="A")
    nats = NatsTopology(channels=2 if quick else 16, cells=1)
    dso = {name: Method(space, DSONAS()) for name, space in (("share", share), ("full", full))}
    bayes = {f"{k:g}": Method(cells, BayesNAS(shrinkage=k)) for k in (0.01, 0.007, 0.005)}
    recursive = {"recursive": Method(cells, BayesNAS(shrinkage=0.007, **RECURSIVE), trained=False)} if RECURSIVE else {}
    table3 = {
        "both": Method(thin, DSONAS()),
        "no split": Method(thin, DSONAS(split=False)),
        "no pre-training": Method(thin, DSONAS(pretrain=0.0)),
        "4:1": Method(thin, DSONAS(weights_per_scale=4), val=0.2),
    }
    even = {"full-even": Method(full, DSONAS(adaptive=""), trained=False)}
    truth = {"dso-nas": Method(nats, DSONAS(), epochs=10), "bayesnas": Method(nats, BayesNAS())}
    blocks: dict[str, Any] = {"epochs": 10, "batch": 128, "weights": CONSTANT, "budget": "macs<=0.35x", "fit_epochs": 8}
    found = {
        "dso": Experiment({**dso, **randoms(dso), **even}, **blocks),
        "split": Experiment(table3, **blocks | {"images": 16_000}),
        "cells": Experiment({**bayes, **randoms(bayes), **recursive}, 2, 18, PLAIN, fit_epochs=10),
        "tree": Experiment({"bayesnas": Method(tree, BayesNAS())}, 2, 32, PLAIN, budget="params<=0.85x"),
        "truth": Experiment(truth, 2, 64, WeightRule(), images=0),
    }
    return {name: replace(each, batch=25, judged_on="val") for name, each in found.items()} if quick else found


def randoms(methods: dict[str, Method]) -> dict[str, Method]:
    return {f"random {name}": Method(method.space, like=name) for name, method in methods.items()}


def limited(about: Experiment, asked: argparse.Namespace) -> Experiment:
    """Return an experiment with as many epochs, images and images a step as are asked for, at most."""
    methods = {name: replace(method, epochs=min(method.epochs, asked.epochs)) for name, method in about.methods.items()}
    return replace(
        about,
        methods=methods,
        epochs=min(about.epochs, asked.epochs),
        fit_epochs=min(about.fit_epochs, asked.fit_epochs),
        images=min(about.images or ALL, asked.images) % ALL,
        batch=min(about.batch, asked.batch),
    )


@dataclass(frozen=True)
class Jobs:
    """The jobs of one experiment, in folder `out`."""

    about: Experiment
    out: Path
    seeds: int
    random: int

    def open(self) -> None:
        """Make the folder. Exit with one line where it holds jobs of another setting: their mean would mean nothing."""
        self.out.mkdir(parents=True, exist_ok=True)
        setting, path = setting_of(self.about), self.out / "setting.json"
        if path.exists() and read_json(path) != setting:
            raise SystemExit(f"{self.out} holds jobs of another setting: choose another --out")
        write_json(path, setting)

    def names(self) -> Iterator[tuple[str, int, str]]:
        """Yield method, seed and kind of every job, all of a seed one after another."""
        for seed in range(max(self.seeds, self.random)):
            for name, method in self.about.methods.items():
                if seed >= (self.seeds if method.strategy else self.random):
                    continue
                if method.strategy:
                    yield name, seed, "search"
                if self.about.fit_epochs and method.trained:
                    yield name, seed, "train"

    def path(self, name: str, seed: int, kind: str) -> Path:
        return self.out / f"{name.replace(' ', '-')}-{seed}-{kind}.json"

    def done(self, name: str, seed: int, kind: str) -> dict[str, Any]:
        """Return what a job gave, doing it first where it is not done."""
        path = self.path(name, seed, kind)
        if not path.exists():
            torch.set_num_threads(1)
            began = time.process_time()
            found = (self._searched if kind == "search" else self._trained)(name, seed, path.with_suffix(""))
            seconds = round(time.process_time() - began, 1)
            write_json(path, {"method": name, "seed": seed, "kind": kind, **found, "seconds_of_this_process": seconds})
        return dict(read_json(path))

    def _searched(self, name: str, seed: int, folder: Path) -> dict[str, Any]:
        about, method = self.about, self.about.methods[name]
        assert method.strategy is not None
        epochs = method.epochs or about.epochs
        had = {"epochs": epochs, "images": about.images or ALL}
        if isinstance(method.space, NatsTopology):
            return had | by_table(method.space, method.strategy, seed, folder, about.images, epochs, about.batch)
        found = search(
            method.space,
            method.strategy,
            load("cifar10", options=ImageOptions(limit=about.images, val=method.val)),
            epochs=epochs,
            batch=about.batch,
            seed=seed,
            weights=about.weights,
            budget=about.budget,
            out=folder,
            resume=folder.exists(),
        )
        ends = [event for event in read_events(folder) if event["event"] == "epoch"]
        told = {key: ends[-1][key] for key in ("led_nowhere", "sparsity", "scales_on") if key in ends[-1]}
        return {**had, **told, **described(method.space, found.arch, about.budget)}

    def _trained(self, name: str, seed: int, folder: Path) -> dict[str, Any]:
        about, method = self.about, self.about.methods[name]
        source = self.done(method.like or name, seed % self.seeds if method.like else seed, "search")
        arch = method.space.space.parse(source["arch"])
        if method.like:
            arch = of_same_macs(method.space, arch, np.random.default_rng([seed, 1]))
        rule = WeightRule(lr=0.1, lr_end=0.0, weight_decay=5e-4, clip=0.0)
        settings = Fit(epochs=about.fit_epochs, batch=min(128, 2 * about.batch), weights=rule)
        had = {"epochs": source["epochs"], "fit_epochs": settings.epochs, "images": about.images}
        accuracy = tested(method.space, arch, seed, folder, settings, about.images, about.judged_on)
        return {**had, "accuracy": accuracy, **described(method.space, arch, about.budget)}


def of_same_macs(config: SpaceConfig, arch: Arch, rng: np.random.Generator) -> Arch:
    """Return a random architecture of as many multiply-accumulates as another one, or the next fewer."""
    cost = cost_of("macs", config, SHAPE, CLASSES)
    limit = float(cost.exact(config.space.indices(arch)[None])[0])
    return sample_feasible(config.space, [Goal("macs", limit, cost, cost.exact)], rng)


def described(config: SpaceConfig, arch: Arch, budget: str | None) -> dict[str, Any]:
    """Return an architecture with what it costs, what it uses of a budget, and what is particular to its space."""
    row = config.space.indices(arch)[None]
    costs = {name: cost_of(name, config, SHAPE, CLASSES) for name in ("macs", "params")}
    found: dict[str, Any] = {"arch": config.space.format(arch), "kept": len(support(config.space, arch))}
    found |= {name: float(cost.exact(row)[0]) for name, cost in costs.items()}
    if budget:
        goals = Budget.parse(budget).goals(config, SHAPE, CLASSES)
        found["usage"] = round(max(float(goal.exact(row)[0]) / goal.limit for goal in goals), 4)
    if isinstance(costs["macs"], SubsetCost) and len(costs["macs"].each) > 1:
        blocks = costs["macs"].split(row)[0].sum(-1)
        found["variation_over_blocks"] = round(float(blocks.std() / max(blocks.mean(), 1.0)), 4)
    if isinstance(config, PyramidTree):
        found |= {"cells": cells_of(arch), "drawn": config.draw(arch).splitlines()}
    return found


def support(space: Space, arch: Arch) -> set[tuple[str, Any]]:
    """Return the options that an architecture keeps, each with its decision."""
    return {(name, option) for name in space.decisions for option in arch[name]}  # type: ignore[union-attr]


def cells_of(arch: Arch) -> list[str]:
    """Return of each cell of tree A whether it is a chain, branches, or is empty."""
    cells: dict[str, list[int]] = {}
    for name, kept in arch.items():
        cell, _, node = name.partition(".")
        cells.setdefault(cell, [0] * len(TREE))[list(TREE).index(node)] = len(kept)  # type: ignore[arg-type]
    root = [list(TREE).index(node) for node in ("1", "2")]
    branches = {k: max(row) > 1 or all(row[place] for place in root) for k, row in cells.items()}
    return ["empty" if not any(row) else "branching" if branches[k] else "chain" for k, row in cells.items()]


PAIRS = {
    "dso": [("full", "full-even", "variation_over_blocks")],
    "split": [("both", other, "accuracy") for other in ("no split", "no pre-training", "4:1")],
    "cells": [("0.01", "0.007", "params"), ("0.007", "0.005", "params")],
}
"""Experiment -> two methods and a number whose differences are given, seed by seed."""

COLUMNS = {"accuracy": 1.0, "macs": 1e6, "params": 1e3, "kept": 1.0, "variation_over_blocks": 1.0, "usage": 1.0}
"""Number of a table -> its unit."""

Found = dict[str, dict[int, dict[str, Any]]]
"""Method -> seed -> all that is known of what it found."""


def rows_of(out: Path) -> Found:
    """Read what is done of an experiment."""
    found: Found = {}
    for kind in ("search", "train"):
        for path in sorted(out.glob(f"*-{kind}.json")):
            row = read_json(path)
            seeds = found.setdefault(row["method"], {})
            seeds[row["seed"]] = {**seeds.get(row["seed"], {}), **row}
    return found


def intervals(found: Found) -> dict[str, dict[str, Any]]:
    """Return the interval of each number of each method."""
    return {
        method: {c: interval(values) for c in COLUMNS if (values := [row[c] for row in seeds.values() if c in row])}
        for method, seeds in found.items()
    }


def shown(name: str, about: Experiment, found: Found) -> dict[str, Any]:
    """Return what an experiment is there to show."""
    shows: dict[str, Any] = {"mean of all cells": MEAN_OF_ALL} if name == "truth" else {}
    trained = {m: {s: row for s, row in seeds.items() if "accuracy" in row} for m, seeds in found.items()}
    for method, mine in trained.items():
        if mine and (random := trained.get(f"random {method}")):
            shows[f"{method}: two errors below random"] = below(mine, random)
    for one, other, number in PAIRS.get(name, ()):
        a, b = ({s: r[number] for s, r in found.get(m, {}).items() if number in r} for m in (one, other))
        if both := a.keys() & b.keys():
            shows[f"{number}: {one} less {other}"] = interval([a[seed] - b[seed] for seed in sorted(both)])
    for fact in ("led_nowhere", "cells"):
        shows |= {f"{m}: {fact}": [row[fact] for row in seeds.values()] for m, seeds in told(found, fact).items()}
    recursive, plain = found.get("recursive", {}), found.get("0.007", {})
    if both := sorted(recursive.keys() & plain.keys()):
        space = about.methods["0.007"].space.space
        kept = [[support(space, space.parse(seeds[s]["arch"])) for seeds in (recursive, plain)] for s in both]
        shows["Jaccard index of recursive and 0.007"] = [round(len(a & b) / len(a | b), 4) for a, b in kept]
    return shows


def told(found: Found, fact: str) -> Found:
    """Return the rows that know a fact."""
    rows = {method: {seed: row for seed, row in seeds.items() if fact in row} for method, seeds in found.items()}
    return {method: seeds for method, seeds in rows.items() if seeds}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Write intervals: mean and half of each, and how many."""
    names = [column for column in COLUMNS if any(column in row for row in rows.values())]

    def cell(column: str, row: dict[str, Any]) -> str:
        if column not in row:
            return "-"
        held, unit = row[column], COLUMNS[column]
        half = "" if held["half"] is None else f" +- {held['half'] / unit:.2f}"
        return f"{held['mean'] / unit:.2f}{half} ({held['n']})"

    units = [name + {1e6: " / 1e6", 1e3: " / 1e3"}.get(COLUMNS[name], "") for name in names]
    return aligned([("", *units), *((method, *(cell(n, row) for n in names)) for method, row in rows.items())], "<>")


def worked(jobs: Jobs, only: str, end: float) -> None:
    """Do the jobs that are asked for and begin before `end`; one that fails is told, and the others go on."""
    for name, seed, kind in jobs.names():
        label = f"{jobs.out.name}/{name}-{seed}-{kind}"
        if jobs.path(name, seed, kind).exists() or not re.search(only, label) or time.monotonic() > end:
            continue
        try:
            print(f"{label}: {jobs.done(name, seed, kind)}", flush=True)
        except Interrupted:
            raise
        except Exception as e:
            print(f"{label} failed: {type(e).__name__}: {e}", flush=True)


def setting_of(about: Experiment) -> Any:
    """Return an experiment as JSON values: all but how many seeds there are."""
    return json.loads(json.dumps(asdict(about)))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; kept, to resume")
    parser.add_argument("--seeds", type=int, default=3, help="of every search")
    parser.add_argument("--random", type=int, default=5, help="random networks beside each search that has some")
    parser.add_argument("--only", default="", help="regular expression: do jobs with it in EXPERIMENT/METHOD-SEED-KIND")
    parser.add_argument("--epochs", type=int, default=100, help="of a search, at most")
    parser.add_argument("--fit-epochs", type=int, default=100, help="of a training, at most")
    parser.add_argument("--images", type=int, default=ALL, help="of a search and of a training, at most")
    parser.add_argument("--batch", type=int, default=ALL, help="of a search, at most: fewer images have as many steps")
    parser.add_argument("--minutes", type=float, default=50.0, help="stop after this, to be resumed")
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    asked = parser.parse_args(words)
    if asked.quick:
        asked.seeds, asked.random, asked.epochs, asked.fit_epochs, asked.images = 2, 2, 2, 1, 200
    every = {name: limited(about, asked) for name, about in experiments(asked.quick).items()}
    end, whole = time.monotonic() + 60 * asked.minutes, {}
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))  # as Ctrl-C: a checkpoint, and out
    signal.setitimer(signal.ITIMER_REAL, 60 * asked.minutes)
    try:
        for name, about in every.items():
            jobs = Jobs(about, asked.out / name, asked.seeds, asked.random)
            jobs.open()
            worked(jobs, asked.only, end)
    except (Interrupted, KeyboardInterrupt):
        print("stopped: give the command again to go on", flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for name, about in every.items():
        if found := rows_of(asked.out / name):
            rows, shows = intervals(found), shown(name, about, found)
            whole[name] = {"setting": setting_of(about), "rows": rows, "shown": shows, "runs": found}
            print(f"\n{name}", table(rows), json.dumps(shows, indent=1), sep="\n")
    about_machine = {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")}
    write_json(asked.out / "summary.json", {"date": date.today().isoformat(), **whole, "environment": about_machine})


if __name__ == "__main__":
    main()

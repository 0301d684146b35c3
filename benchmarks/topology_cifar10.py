"""Six strategies search CIFAR-10 with a CPU-sized supernet; the NAS-Bench-201 table then judges what they chose.

    RENASCENT_DATA=FOLDER python benchmarks/topology_cifar10.py --out runs/topology_cifar10

Needs in FOLDER the CIFAR-10 images and nas/nb201.npz (keys acc200_c10_test and arch order as in the benchmark).
Every (strategy, seed) is one resumable run; those that are done are not repeated, and runs of another setting are
not taken in. `--full` takes the paper's setting (C=16, N=5, 100 epochs, all images), which is for a GPU.

The CPU setting shortens the schedule about forty times, so the logits learn ten times faster than the papers' 3e-4;
this was fixed before any result was seen, and no setting was tuned on the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from renascent.core.codecs.nats_topology import OPERATIONS, official_index
from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.protocols import Setup
from renascent.loops.run import Run
from renascent.loops.share import Scorer, share
from renascent.nets.cells.nats import NatsTopology
from renascent.strategies import STRATEGIES
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

PUBLISHED = {"rsps": 91.05, "darts": 59.84, "darts-second-order": 65.38, "gdas": 93.23, "setn": 92.72, "enas": 93.76}
"""CIFAR-10 test accuracy (%) of the cells found in 100 epochs at C=16, N=5: NATS-Bench, arXiv:2009.00437, Table 5."""

SMALL = {"channels": 8, "cells": 1, "epochs": 3, "limit": 25_000, "arch_lr": 3e-3}
FULL = {"channels": 16, "cells": 5, "epochs": 100, "limit": 0, "arch_lr": 3e-4}
CELLS_CORRELATED = 200


def one(job: tuple[str, int, dict[str, Any], Path]) -> None:
    """Run one search to its end, and read what the table says of it."""
    name, seed, setting, out = job
    target = out / f"{name}-{seed}.json"
    if target.exists():
        return
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = ImageOptions(split="official", limit=setting["limit"], augment_val=True)
    task = load("cifar10", options=options, device=device)
    strategy = STRATEGIES[name]()
    if hasattr(strategy, "arch_lr"):
        strategy = replace(strategy, arch_lr=setting["arch_lr"])  # type: ignore[type-var]
    torch.manual_seed(seed)
    operations = tuple(name for name in OPERATIONS if name not in setting.get("without", ()))
    config = NatsTopology(channels=setting["channels"], cells=setting["cells"], operations=operations)
    net = config.supernet(3, 10).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder = out / f"{name}-{seed}"
    run = Run.start(folder, {"strategy": name, "seed": seed, **setting}, resume=folder.exists(), seed=seed)
    found = share(strategy, Setup(net, task, net.space, seed=seed), epochs=setting["epochs"], batch=64, run=run)
    write_json(target, {**judge(found, name, seed), "setting": setting})
    print(f"{name} seed {seed}: {read_json(target)}", flush=True)


def judge(found: Any, name: str, seed: int) -> dict[str, Any]:
    """Return the table's figures for the chosen cell, and how well the supernet ranks random cells."""
    table = np.load(Path(os.environ["RENASCENT_DATA"]) / "nas" / "nb201.npz")
    truth = table["acc200_c10_test"]
    space, scorer, rng = found.state.setup.space, Scorer(found.state), np.random.default_rng(12345)
    cells = [space.sample(rng) for _ in range(CELLS_CORRELATED)]
    rank = spearmanr([scorer(cell) for cell in cells], [truth[official_index(cell)] for cell in cells])
    return {
        "strategy": name,
        "seed": seed,
        "arch": space.format(found.arch),
        "test_accuracy": float(truth[official_index(found.arch)]),
        "supernet_score": found.score,
        "spearman": float(rank.statistic),
        "search_seconds": round(found.seconds, 1),
    }


def refuse_mixture(out: Path, setting: dict[str, Any]) -> None:
    """Exit with one line when a run in `out`, finished or not, is of another setting: their mean would mean nothing."""
    names = {path.stem for path in out.glob("*.json")} | {path.parent.name for path in out.glob("*/config.json")}
    for name in sorted(names - {"summary"}):
        if (held := setting_of(out, name)) != setting:
            known = held or "a setting it does not tell"
            raise SystemExit(f"{out / name} was searched with {known}, not {setting}: choose another --out")


def setting_of(out: Path, name: str) -> dict[str, Any] | None:
    result, config = out / f"{name}.json", out / name / "config.json"
    held: dict[str, Any] | None = read_json(result).get("setting") if result.exists() else None
    if held is None and config.exists():  # interrupted
        held = {key: value for key, value in read_json(config).items() if key not in ("strategy", "seed")}
    return held


def summary(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and deviation of each strategy beside the published figure."""
    rows = []
    for name, published in PUBLISHED.items():
        mine = [r for r in results if r["strategy"] == name]
        if mine:
            accuracies = [r["test_accuracy"] for r in mine]
            rows.append(
                {
                    "strategy": name,
                    "runs": len(mine),
                    "mean": round(statistics.mean(accuracies), 2),
                    "std": round(statistics.stdev(accuracies), 2) if len(mine) > 1 else None,
                    "published": published,
                    "spearman": round(statistics.mean(r["spearman"] for r in mine), 3),
                    "seconds": round(statistics.mean(r["search_seconds"] for r in mine)),
                    "cells": [r["arch"] for r in mine],
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; kept, to resume")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--strategies", default="darts-second-order,darts,setn,gdas,enas,rsps")
    parser.add_argument("--epochs", type=int, help="instead of the setting's own")
    parser.add_argument("--arch-lr", type=float, help="instead of the setting's own")
    parser.add_argument("--without", help="leave this operation out, to see what it does to a search")
    parser.add_argument("--full", action="store_true", help="the paper's setting, for a GPU")
    asked = parser.parse_args()
    setting = (FULL if asked.full else SMALL) | ({"epochs": asked.epochs} if asked.epochs else {})
    setting |= {"arch_lr": asked.arch_lr} if asked.arch_lr else {}
    setting |= {"without": [asked.without]} if asked.without else {}
    refuse_mixture(asked.out, setting)
    asked.out.mkdir(parents=True, exist_ok=True)
    names = asked.strategies.split(",")
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    jobs = [(name, seed, setting, asked.out) for seed in seeds for name in names]
    with multiprocessing.get_context("spawn").Pool(asked.workers) as pool:
        for _ in pool.imap_unordered(one, jobs):
            pass
    results = [read_json(path) for path in sorted(asked.out.glob("*.json")) if path.name != "summary.json"]
    truth = np.load(Path(os.environ["RENASCENT_DATA"]) / "nas" / "nb201.npz")["acc200_c10_test"]
    whole = {
        "date": date.today().isoformat(),
        "setting": setting,
        "random_cell_mean": round(float(truth.mean()), 2),
        "random_cell_std": round(float(truth.std()), 2),
        "strategies": summary(results),
        "runs": results,
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }
    write_json(asked.out / "summary.json", whole)
    print(json.dumps(whole["strategies"], indent=2))


if __name__ == "__main__":
    main()

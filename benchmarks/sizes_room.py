"""How much room does a budget leave? Random networks inside it, trained as `sizes_cifar10.py` trains what it finds.

    RENASCENT_DATA=FOLDER python benchmarks/sizes_room.py --out runs/sizes_cifar10 --results FILE --budget "macs<=0.1x"

Resolution and depth are drawn evenly, widths scatter around the largest share that fits. The networks inherit, are
taught and are trained as those of every method at seed 0, whose places among them `--sizes` tells: the networks of that
file must come from the reference in `--out`. Each network is a stage of minutes that is done once.
`sizes_ranking.py --results FILE` says how well shared weights rank them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sizes_cifar10 import (
    BACKBONES,
    CLASSES,
    HARD,
    SETTING,
    SHAPE,
    Job,
    finetuned,
    largest,
    limit_of,
    network_of,
    reference_of,
)

from renascent.core.decisions import is_depth
from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.space import Arch
from renascent.costs import macs
from renascent.nets.sizes.resolution import RESOLUTION, input_shape
from renascent.nets.sizes.space import SizedSpace

LEAST = 0.02
"""Share of the widths below which a drawn resolution or depth is given up."""

USED = 0.9
"""Share of the limit that is used."""


def trained(backbone: str, budget: str, out: Path, end: float, number: int) -> dict[str, Any] | None:
    """Draw and train one network; nothing after the end."""
    if time.monotonic() > end:
        return None
    torch.set_num_threads(1)
    config, job = BACKBONES[backbone](), Job(backbone, budget, 0, f"sample{number}")
    reference, _ = reference_of(backbone, 0, out)
    arch = drawn(config, number, limit_of(job, config)[1])
    net, _ = network_of(job, config, reference, arch)
    cost = macs(net, input_shape(arch, SHAPE))
    return {**asdict(job), "found": dict(arch), "macs": cost, **finetuned(job, net, arch, reference, out, job.name)}


def drawn(config: SizedSpace, number: int, limit: float) -> Arch:
    """Return a random network with at most so many multiply-accumulates, and not many fewer."""
    decisions = config.space.decisions
    counts = np.array([len(d.options) for d in decisions.values()])  # type: ignore[union-attr]
    kept = np.array([name == RESOLUTION or is_depth(name) for name in decisions])
    rng = np.random.default_rng([number, 17])
    while True:
        evenly, noise = rng.integers(counts), 0.3 * rng.standard_normal(len(counts))

        def arch_of(share: float) -> Arch:
            around = np.floor(np.clip(share + noise, 0, 0.999) * counts).astype(int)  # noqa: B023
            return config.space.from_indices(np.where(kept, evenly, around))  # noqa: B023

        def used(share: float) -> float:
            arch = arch_of(share)
            return macs(config.network(arch, SHAPE[0], CLASSES), input_shape(arch, SHAPE)) / limit

        if used(LEAST) <= 1 and used(1) >= USED:
            share = largest(lambda share: used(share) <= 1, LEAST)
            if used(share) >= USED:
                return arch_of(share)


def report(rows: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for every group of backbone and budget, how the networks spread and where those of the methods lie.

    resolution: its rank correlation with accuracy.
    """
    groups = dict.fromkeys((row["backbone"], row["budget"]) for row in rows)
    found = []
    for backbone, budget in groups:
        group = {"backbone": backbone, "budget": budget}
        mine = [row for row in rows if all(row[k] == v for k, v in group.items())]
        values = [100 * row["val"] for row in mine]
        same = {**group, "seed": 0, "distilled": True}
        places = {
            row["method"]: {"val": round(100 * row["val"], 2), "above": sum(100 * row["val"] > v for v in values)}
            for row in others
            if all(row[k] == v for k, v in same.items())
        }
        about = {"networks": len(values), "mean": round(statistics.mean(values), 2)}
        if len(values) > 2:
            about |= {"deviation": round(statistics.stdev(values), 2), "values": sorted(round(v, 2) for v in values)}
            pixels = [row["found"][RESOLUTION] for row in mine]
            about["resolution"] = round(float(spearmanr(values, pixels)[0]), 3)
        found.append({**group, **about, "methods": places})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs of sizes_cifar10.py")
    parser.add_argument("--results", type=Path, required=True, help="JSON file; taken over and rewritten")
    parser.add_argument("--sizes", type=Path, help="what sizes_cifar10.py found")
    parser.add_argument("--backbone", choices=BACKBONES, default="mobilenet-v2")
    parser.add_argument("--budget", choices=HARD, default=HARD[1])
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=55.0, help="begin no network after this")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(asked.results.read_text())["results"] if asked.results.exists() else []
    others = json.loads(asked.sizes.read_text())["results"] if asked.sizes else []
    about = environment(0, torch.device("cpu"))
    del about["command"]  # the folders of one machine
    asked.out.mkdir(parents=True, exist_ok=True)
    reference_of(asked.backbone, 0, asked.out)  # before two processes would train it
    done = {(row["backbone"], row["budget"], row["method"]) for row in rows}
    left = [k for k in range(asked.networks) if (asked.backbone, asked.budget, f"sample{k}") not in done]
    job = partial(trained, asked.backbone, asked.budget, asked.out, time.monotonic() + 60 * asked.minutes)
    with multiprocessing.get_context("spawn").Pool(asked.workers, maxtasksperchild=1) as pool:
        for row in pool.imap_unordered(job, left):
            if row is not None:
                rows.append(row)
                held = {"setting": SETTING, "results": rows, "groups": report(rows, others), "environment": about}
                write_json(asked.results, held)
                print({key: row[key] for key in ("method", "val", "macs")}, flush=True)
    print("\n".join(map(str, report(rows, others))))


if __name__ == "__main__":
    main()

"""Does what a size search sees order networks as their training does?

    RENASCENT_DATA=FOLDER python benchmarks/sizes_ranking.py --results sizes.json --out runs/sizes_cifar10 --to x.json

Takes the networks that `sizes_cifar10.py` found and trained, and scores them by shared weights on validation images:
weights that begin as the reference's, trained for more and more epochs at architectures drawn evenly, as RSPS and,
nearly, every other strategy trains them. Told are the rank correlations with the accuracy of the trained networks
and with their resolution, within the networks of one budget and seed; sizes that are no option of the space are moved
to the nearest.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import sizes_cifar10 as sizes
import torch
from scipy.stats import spearmanr

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.gates import one_hot
from renascent.core.protocols import Progress, Setup, State, Task, WeightRule
from renascent.core.space import Arch, Integer, Space
from renascent.nets.sizes.inherit import first_k
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.strategies.rsps import RSPS


def nearest(space: Space, found: dict[str, int]) -> Arch:
    """Return the architecture of the space that is nearest to these sizes; what it does not have goes."""
    near = {}
    for name, decision in space.decisions.items():
        assert isinstance(decision, Integer)
        value = found.get(name, decision.options[-1])
        near[name] = min(decision.options, key=lambda option: abs(option - value))
    return space.from_indices([d.options.index(near[n]) for n, d in space.decisions.items()])  # type: ignore[union-attr]


@torch.no_grad()
def score(state: State, arch: Arch, task: Task, images: int) -> float:
    """Return the accuracy of an architecture by the shared weights, with the statistics of each batch."""
    gates = one_hot(state.setup.space, arch)
    batches = task.batches("val", 250)[: images // 250]
    return statistics.mean(float(task.loss(state.net, batch, gates).score) for batch in batches)


def correlations(rows: list[dict[str, Any]], left: list[float], right: list[float]) -> dict[str, float]:
    """Return the rank correlation of two numbers of each network, in every group of budget and seed, and the mean."""
    groups = defaultdict(list)
    for row, *pair in zip(rows, left, right, strict=True):
        groups[f"{row['budget']}, seed {row['seed']}"].append(pair)
    found = {name: float(spearmanr(pairs)[0]) for name, pairs in groups.items()}
    return {name: round(value, 3) for name, value in {"mean": statistics.mean(found.values()), **found}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="of sizes_cifar10.py")
    parser.add_argument(
        "--out", type=Path, required=True, help="its folder of runs: for the reference, trained if gone"
    )
    parser.add_argument("--to", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--backbone", choices=list(sizes.BACKBONES), default="resnet20")
    parser.add_argument("--marks", type=int, nargs="+", default=[0, 1, 2, 4, 8, 16], help="epochs after which to look")
    parser.add_argument("--images", type=int, default=2000, help="of validation, that a network is scored on")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    held = json.loads(asked.results.read_text())["results"]
    taught = [r for r in held if r["backbone"] == asked.backbone and r["distilled"] and r["budget"] in sizes.HARD]
    rows = [r for r in taught if isinstance(r["found"], dict)]  # pruned networks are none of the space
    config, task = sizes.BACKBONES[asked.backbone](), sizes.task_of(0)
    archs = [nearest(config.space, r["found"]) for r in rows]
    reference, val = sizes.reference_of(asked.backbone, 0, asked.out)
    torch.manual_seed(0)
    net = config.supernet(task.channels, task.classes)
    first_k(net.net, reference.state_dict())  # type: ignore[arg-type]
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rule = WeightRule(lr=sizes.SETTING["search_lr"])
    data, strategy = task.streams(0, sizes.SETTING["batch"]), RSPS()
    state = strategy.init(Setup(net, task, net.space, rule, 0))
    each = data.train.steps_per_epoch
    total = each * max(asked.marks)
    pixels = [float(arch.get(RESOLUTION, 0)) for arch in archs]  # type: ignore[arg-type]
    trained = [row["val"] for row in rows]
    marks: list[dict[str, Any]] = []
    for number in range(total + 1):
        if number % each == 0 and number // each in asked.marks:
            seen = [round(score(state, arch, task, asked.images), 4) for arch in archs]
            marks.append({"epochs": number // each, "scores": seen})
            marks[-1]["with_trained"] = correlations(rows, seen, trained)
            marks[-1]["with_resolution"] = correlations(rows, seen, pixels)
            print({k: v for k, v in marks[-1].items() if k != "scores"}, flush=True)
            write_json(asked.to, report(asked, val, rows, correlations(rows, pixels, trained), marks))
        if number < total:
            torch.manual_seed(number)
            strategy.step(state, data, Progress(number, total, each))


def report(
    asked: argparse.Namespace, val: float, rows: list[dict[str, Any]], resolution: dict[str, float], marks: list[Any]
) -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
        "setting": {"backbone": asked.backbone, "images": asked.images, **sizes.SETTING},
        "reference": val,
        "networks": [{key: row[key] for key in ("budget", "seed", "method", "val")} for row in rows],
        "resolution_with_trained": resolution,
        "marks": marks,
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }


if __name__ == "__main__":
    main()

"""Does what a size search sees order networks as their training does?

    RENASCENT_DATA=FOLDER python benchmarks/sizes_ranking.py --results sizes.json --out runs/sizes_cifar10 --to x.json

Takes the networks that `sizes_cifar10.py` found and trained, and scores them by shared weights on validation images:
weights that begin as the reference's, trained for more and more epochs at architectures drawn evenly, as RSPS and,
nearly, every other strategy trains them; with --sandwich by steps that the largest and the smallest take part in, with
--bf16 in bfloat16. Scores are accuracy and agreement with the reference (minus the divergence of
answers), of the same weights on the same images. Told are the rank correlations (Spearman) of each with the accuracy of
the trained networks and with their resolution, within the networks of one budget and seed; sizes that are no option of
the space are moved to the nearest. `--results` may be a file of `sizes_room.py`, too: 24 random networks of one budget.
`--quick` ranks six untrained networks, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import sizes_cifar10 as sizes
import torch
from scipy.stats import spearmanr
from torch import nn

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.gates import one_hot
from renascent.core.protocols import Progress, Setup, State, Task, WeightRule
from renascent.core.space import Arch, Integer, Space
from renascent.nets.sizes.inherit import first_k
from renascent.nets.sizes.resolution import RESOLUTION, at_resolution
from renascent.strategies.rsps import RSPS
from renascent.tasks.bf16 import InBfloat16
from renascent.tasks.distill import Agreeing
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions


def nearest(space: Space, found: dict[str, int]) -> Arch:
    """Return the architecture of the space that is nearest to these sizes; what it does not have goes."""
    near = {}
    for name, decision in space.decisions.items():
        assert isinstance(decision, Integer)
        value = found.get(name, decision.options[-1])
        near[name] = min(decision.options, key=lambda option: abs(option - value))
    return space.from_indices([d.options.index(near[n]) for n, d in space.decisions.items()])  # type: ignore[union-attr]


@torch.no_grad()
def scores(state: State, archs: list[Arch], judges: dict[str, Task], images: int) -> dict[str, list[float]]:
    """Return what each judge says of architectures by the shared weights, with the statistics of each batch."""
    found: dict[str, list[list[float]]] = {name: [] for name in judges}
    batches = state.setup.task.batches("val", 250)[: max(1, images // 250)]
    for batch in batches:  # a teacher answers each once
        for name, judge in judges.items():
            seen = [float(judge.loss(state.net, batch, one_hot(state.setup.space, arch)).score) for arch in archs]
            found[name].append(seen)
    return {name: np.mean(rows, axis=0).round(4).tolist() for name, rows in found.items()}


def correlations(rows: list[dict[str, Any]], left: list[float], right: list[float]) -> dict[str, float]:
    """Return the rank correlation of two numbers of each network, in every group of budget and seed, and the mean."""
    groups = defaultdict(list)
    for row, *pair in zip(rows, left, right, strict=True):
        groups[f"{row['budget']}, seed {row['seed']}"].append(pair)
    found = {name: float(spearmanr(pairs)[0]) for name, pairs in groups.items()}
    return {name: round(value, 3) for name, value in {"mean": statistics.mean(found.values()), **found}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="of sizes_cifar10.py or sizes_room.py")
    parser.add_argument("--out", type=Path, help="its folder of runs: for the reference, trained if gone")
    parser.add_argument("--to", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--backbone", choices=list(sizes.BACKBONES), default="resnet20")
    parser.add_argument("--marks", type=int, nargs="+", default=[0, 1, 2, 4, 8, 16], help="epochs after which to look")
    parser.add_argument("--images", type=int, default=2000, help="of validation, that a network is scored on")
    parser.add_argument("--seed", type=int, default=0, help="of the shared weights' training")
    parser.add_argument("--sandwich", type=int, default=0, help="sizes between the largest and the smallest, a step")
    parser.add_argument("--bf16", action="store_true", help="steps and scores in bfloat16")
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    asked = parser.parse_args()
    if not asked.quick and not (asked.results and asked.out):
        parser.error("give --results and --out, or --quick")
    torch.set_num_threads(1)
    rank(asked, *(untrained(asked) if asked.quick else given(asked)))


Given = tuple[Task, list[dict[str, Any]], nn.Module, float]
"""Images, trained networks, the reference in the order of its channels, and its validation accuracy."""


def given(asked: argparse.Namespace) -> Given:
    """Return the networks of a file, and their reference."""
    held = json.loads(asked.results.read_text())["results"]
    taught = [r for r in held if r["backbone"] == asked.backbone and r["distilled"] and r["budget"] in sizes.HARD]
    rows = [r for r in taught if isinstance(r["found"], dict)]  # pruned networks are none of the space
    return sizes.task_of(0), rows, *sizes.reference_of(asked.backbone, 0, asked.out)


def untrained(asked: argparse.Namespace) -> Given:
    """Return six random networks that nobody trained, and few images: nothing of them means anything."""
    config, rng = sizes.BACKBONES[asked.backbone](), np.random.default_rng(0)
    drawn = [dict(config.space.sample(rng)) for _ in range(6)]
    about = {"budget": sizes.HARD[0], "seed": 0, "method": "random"}
    rows = [{**about, "val": number / 10, "found": found} for number, found in enumerate(drawn)]
    task = load("cifar10", options=ImageOptions(limit=300, val=100, split_seed=0))
    asked.marks, asked.images = [0, 1], 100
    return task, rows, config.network(config.reference, task.channels, task.classes).eval(), 0.0


def rank(asked: argparse.Namespace, task: Task, rows: list[dict[str, Any]], reference: nn.Module, val: float) -> None:
    """Train the shared weights, and rank the networks by them after each mark."""
    config = sizes.BACKBONES[asked.backbone]()
    archs = [nearest(config.space, r["found"]) for r in rows]
    torch.manual_seed(asked.seed)
    net = config.supernet(task.channels, task.classes)
    first_k(net.net, reference.state_dict())  # type: ignore[arg-type]
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rule, batch = WeightRule(lr=sizes.SETTING["search_lr"]), sizes.SETTING["batch"]
    task = InBfloat16(task) if asked.bf16 else task
    data, strategy = task.streams(asked.seed, 50 if asked.quick else batch), RSPS()
    state = strategy.init(Setup(net, task, net.space, rule, asked.seed, sandwich=asked.sandwich))
    each = data.train.steps_per_epoch
    total = each * max(asked.marks)
    judges = {"accuracy": task, "agreement": Agreeing(task, at_resolution(reference, config.reference))}
    pixels = [float(arch.get(RESOLUTION, 0)) for arch in archs]  # type: ignore[arg-type]
    trained = [row["val"] for row in rows]
    marks: list[dict[str, Any]] = []
    for number in range(total + 1):
        if number % each == 0 and number // each in asked.marks:
            mark: dict[str, Any] = {"epochs": number // each}
            for name, seen in scores(state, archs, judges, asked.images).items():
                beside = {"with_trained": trained, "with_resolution": pixels}
                mark[name] = {key: correlations(rows, seen, other) for key, other in beside.items()} | {"scores": seen}
                print(mark["epochs"], name, {key: mark[name][key]["mean"] for key in beside}, flush=True)
            marks.append(mark)
            write_json(asked.to, report(asked, val, rows, correlations(rows, pixels, trained), marks))
        if number < total:
            torch.manual_seed(1_000_003 * asked.seed + number)
            strategy.step(state, data, Progress(number, total, each))


def report(
    asked: argparse.Namespace, val: float, rows: list[dict[str, Any]], resolution: dict[str, float], marks: list[Any]
) -> dict[str, Any]:
    told = {name: getattr(asked, name) for name in ("backbone", "images", "seed", "sandwich", "bf16")}
    return {
        "date": date.today().isoformat(),
        "setting": {**told, **sizes.SETTING},
        "reference": val,
        "networks": [{key: row[key] for key in ("budget", "seed", "method", "val")} for row in rows],
        "resolution_with_trained": resolution,
        "marks": marks,
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }


if __name__ == "__main__":
    main()

"""What a whole NES search costs, as a share of one training of the backbone, at the paper's fractions.

    RENASCENT_DATA=FOLDER python benchmarks/size_search_whole.py --space resnet20 --out benchmarks/results/x.json

The paper's loop is 75 rounds of 1000 batches of 256 for ResNet and of 2000 for MobileNet: 15 and 30 epochs of ImageNet,
beside 90 and 150 of an ordinary training. Here both are as much shorter: the search is `--epochs` long, with all its 75
rounds and its two evaluations a weight step, the training 6 or 5 times that. Both in one process, one thread and single
precision, on the same images; the seconds are the process's own. Counted on the side of the search is everything from
the feasibility table to the report.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.protocols import Task
from renascent.experiment.search import search
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies.nes import NES
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

LONGER = {"resnet20": 90 / 15, "mobilenet-v2": 150 / 30}
"""How many times as long as the search the backbone trains."""

SPACES = {
    "resnet20": ResNetCifar(layers_count=20, lowest=8, highest=32),
    "mobilenet-v2": MobileNetV2(small=True, width=0.25, lowest=8, highest=32),
}


def searched(space: str, task: Task, budget: str, epochs: int, batch: int) -> float:
    """Return the seconds of a whole search."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        search(SPACES[space], NES(), task, epochs=epochs, batch=batch, budget=budget, out=Path(folder) / "run").report()
        return time.process_time() - began


def trained(space: str, task: Task, epochs: int, batch: int) -> float:
    """Return the seconds of the steps of one training of the backbone: no evaluation, no checkpoint."""
    config, settings = SPACES[space], Fit(epochs=epochs, batch=batch)
    net = config.network(config.reference, task.channels, task.classes)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.start(Path(folder) / "run", asdict(settings))
        plain = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return fit(plain, task, settings, run=run, split="train", evaluate=()).process_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=list(SPACES), default="resnet20")
    parser.add_argument("--budget", action="append", help="again for more; macs<=0.25x and macs<=0.5x if not given")
    parser.add_argument("--images", type=int, default=4800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5, help="of the search; too few leave NES more than two")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = load("cifar10", options=ImageOptions(limit=asked.images + 500, val=500))
    shares: dict[str, dict[str, Any]] = {}
    seconds = trained(asked.space, task, round(asked.epochs * LONGER[asked.space]), asked.batch)
    print(f"{asked.space}: one training {seconds:.0f} s", flush=True)
    for budget in asked.budget or ["macs<=0.25x", "macs<=0.5x"]:
        took = searched(asked.space, task, budget, asked.epochs, asked.batch)
        shares[budget] = {"search_seconds": round(took, 1), "share": round(took / seconds, 3), "met": took < seconds}
        print(f"  {budget}: the whole search {took:.0f} s, {took / seconds:.3f} of it", flush=True)
    if asked.out:
        report = {
            "date": date.today().isoformat(),
            "setting": {k: v for k, v in vars(asked).items() if k not in ("out", "budget")} | {"threads": 1},
            "longer": LONGER[asked.space],
            "training_seconds": round(seconds, 1),
            "budgets": shares,
            "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
        }
        write_json(asked.out, report)


if __name__ == "__main__":
    main()

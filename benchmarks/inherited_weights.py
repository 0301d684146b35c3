"""How should weights that are inherited be trained on? A network cut by scaling, at several rates.

    RENASCENT_DATA=FOLDER OMP_NUM_THREADS=1 python benchmarks/inherited_weights.py --out runs/inherited_weights

A network of curve_cifar10.py (`--given`: its --out, to share it) is cut to a budget, by widths or with --depth-first by
blocks before these, its strongest channels first, and trained on a part of the images: at each peak rate from the first
step on, and with a rise to it over the first epoch; taught by the network that was cut, alone, and from fresh weights.
What is done is not done again, so that the same command goes on. Accuracy on the test images and processor seconds are
printed, and lie in OUT/summary.json. One seed.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from curve_cifar10 import NETWORKS, SHAPE, Curve, Seconds, Setting

from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.protocols import WeightRule
from renascent.core.text import aligned
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.nets.adapt import adapt
from renascent.strategies.uniform import Uniform
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)


@dataclass(frozen=True)
class Training:
    """One way to train on. lr: at its peak.  warmup: epochs in which it rises to that.  init: "reference" inherits."""

    lr: float
    warmup: int = 0
    taught: bool = True
    init: str = "reference"

    @property
    def name(self) -> str:
        taught, start = "" if self.taught else "-alone", "-fresh" if self.init == "fresh" else ""
        return f"{self.lr:g}{'-rising' if self.warmup else ''}{taught}{start}".replace(".", "")


TRAININGS = (
    *(Training(lr, warmup, taught) for taught in (True, False) for warmup in (0, 1) for lr in RATES),
    Training(0.08, init="fresh"),
    Training(0.08, 1, init="fresh"),
)


def cut(out: Path, given: Path, network: str, strategy: Uniform, budget: str, seed: int) -> Result:
    """Return a network cut to a budget."""
    net, _ = Curve(given, 1, Setting()).given(network, seed)
    space = adapt(net, SHAPE, multiple=2, least=0.125)
    task = load("cifar10", options=ImageOptions(limit=4000, val=1000, split_seed=seed))
    return search(
        space, strategy, task, out=out, resume=out.exists(), budget=budget, epochs=1, seed=seed, progress=False
    )


def trained(result: Result, how: Training, images: int, epochs: int, seed: int) -> dict[str, Any]:
    """Return what a training reaches on the test images, and how long the processor took."""
    name = f"{how.name}-{images}-{epochs}"
    folder, path = result.folder / "fits" / name, result.folder / f"{name}.json"
    if not path.exists():
        rule = WeightRule(lr=how.lr, lr_end=0.0, weight_decay=5e-4, clip=0.0)
        settings = Fit(epochs=epochs, batch=64, weights=rule, warmup=how.warmup)
        task = load("cifar10", options=ImageOptions(limit=images, val=images // 8, split_seed=seed))
        about: Any = {"teacher": "reference" if how.taught else None, "init": how.init, "name": name, "seed": seed}
        with (seconds := Seconds(result.folder / f"{name}.seconds")):
            found = result.fit(task, settings, resume=folder.exists(), progress=False, **about)
        test = round(100 * found.scores["test"], 2)
        write_json(path, {**asdict(how), "images": images, "epochs": epochs, "test": test, "seconds": seconds.spent})
        print(f"{name}: {test:.2f} % in {seconds.spent:.0f} s", flush=True)
    return dict(read_json(path))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; kept, to resume")
    parser.add_argument("--given", type=Path, help="--out of curve_cifar10.py, whose network is cut; OUT unless given")
    parser.add_argument("--network", choices=list(NETWORKS), default="resnet20")
    parser.add_argument("--depth-first", action="store_true", help="leave blocks out before widths are scaled")
    parser.add_argument("--budget", default="macs<=0.1x")
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="regular expression: trainings with it in their name")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    folder, strategy = asked.out / asked.budget.replace("<=", "-"), Uniform(depth_first=asked.depth_first)
    result = cut(folder, asked.given or asked.out, asked.network, strategy, asked.budget, asked.seed)
    chosen = [how for how in TRAININGS if re.search(asked.only, how.name) and how.warmup < asked.epochs]
    rows = [trained(result, how, asked.images, asked.epochs, asked.seed) for how in chosen]
    cells = [
        (f"{row['lr']:g}", f"{row['warmup']}", str(row["taught"]), row["init"], f"{row['test']:.2f}") for row in rows
    ]
    print(aligned([("rate", "rising epochs", "taught", "init", "test %"), *cells], ">>>>>"))
    about = {key: value for key, value in environment(0).items() if key not in ("command", "git", "seed")}
    summary = {
        "date": date.today().isoformat(),
        "network": asked.network,
        "budget": asked.budget,
        "rows": rows,
        "environment": about,
    }
    write_json(asked.out / "summary.json", summary)


if __name__ == "__main__":
    main()

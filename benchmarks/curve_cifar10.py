"""Does a search pay? Test accuracy against all the processor time it took, beside the same time without a search.

    RENASCENT_DATA=FOLDER OMP_NUM_THREADS=1 python benchmarks/curve_cifar10.py --out runs/curve_cifar10

A network is trained as a user's would be, for 6 epochs on 40,000 images of CIFAR-10: one training. It is then given to
`adapt`, and every method makes it smaller inside the budget and trains what it made on all the images, the given
network its teacher. Seconds are the processor's, of search and training together, in shares of that one training; each
method has a row of lengths, so that its points make a curve. Jobs are done once: a kill, Ctrl-C or the end of --minutes
resumes them with the same command. What is done lies in OUT/NETWORK-SEED/JOB.json; the points and, for each budget, the
methods' accuracies between two points at 0.3, 0.9 and 3 trainings are printed at the end and lie in OUT/summary.json.

uniform, magnitude: without a search; the leading channels are inherited, and trained. uniform scales widths,
uniform-both numbers of blocks, too, and uniform-depth these first: inside a latency narrow blocks cost nearly what wide
ones do.
The strategies: `search(..., finish=...)`, one schedule over search and training. fbnetv2-lr-RATE: with other learning
rates of its logits than `auto`, which is 0.1 in one epoch of search, 10 times the paper's.
`--only` does jobs with it in NETWORK-SEED/METHOD-BUDGET-EPOCHS; `--quick` is a small part, to see that it runs.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.protocols import Family, OneShot, SpaceConfig, Task, WeightRule
from renascent.core.text import aligned
from renascent.experiment.search import search
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.loops.weightsfile import load_weights, save_weights
from renascent.nets.adapt import adapt
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.sized import has_depthwise
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.magnitude import Magnitude
from renascent.strategies.nes import NES
from renascent.strategies.rsps import RSPS
from renascent.strategies.uniform import Uniform
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SHAPE, CLASSES = (3, 32, 32), 10
AT = (0.3, 0.9, 3.0)
"""Lengths, in trainings of the given network, at which methods are compared."""


@dataclass(frozen=True)
class Setting:
    """Fixed before any result is seen. images: `held_out` of them to search on.  epochs: of one training.

    tuned: rate of inherited weights, and warmup: epochs in which it rises to that where nothing is searched.
    bf16: whether networks without depthwise convolutions compute in bfloat16, in every training and search.
    """

    images: int = 40_000
    held_out: int = 5_000
    epochs: int = 6
    batch: int = 64
    lr: float = 0.1
    tuned: float = 0.03
    warmup: int = 1
    bf16: bool = False


QUICK = Setting(images=300, held_out=100, epochs=1)

NETWORKS: dict[str, tuple[SpaceConfig, tuple[str, ...]]] = {
    "resnet20": (ResNetCifar(layers_count=20), ("macs<=0.25x", "macs<=0.1x")),
    "mobilenet-v2": (MobileNetV2(small=True, width=0.25), ("macs<=0.1x", "latency_ms<=0.5x")),
}

ALONE: tuple[tuple[int, int], ...] = ((0, 2), (0, 6), (0, 20))
SEARCHED: tuple[tuple[int, int], ...] = ((1, 1), (1, 5), (3, 14))

METHODS: dict[str, tuple[OneShot | Family, tuple[tuple[int, int], ...]]] = {
    "uniform": (Uniform(), ALONE),
    "uniform-both": (Uniform(depth=True), ALONE),
    "uniform-depth": (Uniform(depth_first=True), ALONE),
    "magnitude": (Magnitude(), ALONE),
    "fbnetv2": (FBNetV2(), SEARCHED),
    "nes": (NES(), SEARCHED),
    "rsps": (RSPS(), SEARCHED),
    "fbnetv2-lr-0.01": (FBNetV2(arch_lr=0.01), SEARCHED[1:2]),
    "fbnetv2-lr-0.03": (FBNetV2(arch_lr=0.03), SEARCHED[1:2]),
    "fbnetv2-lr-0.3": (FBNetV2(arch_lr=0.3), SEARCHED[1:]),
}
"""Method -> how it chooses, and for how many epochs of search and of training, the shortest first."""

ONLY = {"uniform": "macs"}
"""Method -> the cost of those of these budgets that it can keep."""


@dataclass(frozen=True)
class Job:
    """One network made smaller, and trained."""

    network: str
    seed: int
    method: str
    budget: str
    searched: int
    trained: int

    @property
    def name(self) -> str:
        return f"{self.method}-{self.budget.replace('<=', '-')}-{self.searched}+{self.trained}"


@dataclass(frozen=True)
class Curve:
    """All jobs, in folder `out`. quick: a small part of each."""

    out: Path
    seeds: int
    setting: Setting
    quick: bool = False

    def jobs(self) -> Iterator[Job]:
        """Give every job, a whole seed before the next, the short ones of all methods first."""
        for seed in range(self.seeds):
            for network, (_, budgets) in NETWORKS.items():
                for length in range(1 if self.quick else len(AT)):
                    for budget in budgets:
                        for method, (_, lengths) in METHODS.items():
                            if budget.startswith(ONLY.get(method, "")):
                                for searched, trained in lengths[length : length + 1]:
                                    yield Job(network, seed, method, budget, searched, 1 if self.quick else trained)

    def task(self, seed: int) -> Task:
        """Return the images; the given network and what is made of it are tested on the same ones."""
        about = self.setting
        return load("cifar10", options=ImageOptions(limit=about.images, val=about.held_out, split_seed=seed))

    def given(self, network: str, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        """Return the trained network and what its training took and reached, training first where it is not done."""
        config, folder = NETWORKS[network][0], self.out / f"{network}-{seed}" / "given"
        torch.manual_seed(seed)
        net = config.network(config.reference, SHAPE[0], CLASSES).to(memory_format=torch.channels_last)  # type: ignore[arg-type, call-overload]
        if not (folder / "result.json").exists():
            settings = self._fit(net, self.setting.epochs, self.setting.lr)
            run = Run.start(folder, asdict(settings), resume=folder.exists(), seed=seed)
            with Seconds(folder / "seconds.json") as seconds:
                done = fit(net, self.task(seed), settings, run=run, seed=seed, split="train+val", evaluate=("test",))
            save_weights(folder / "weights.safetensors", done.net)
            write_json(folder / "result.json", {"test": done.scores["test"], "seconds": seconds.spent})
        load_weights(net, folder / "weights.safetensors")
        return net, dict(read_json(folder / "result.json"))

    def done(self, job: Job) -> dict[str, Any]:
        """Return what a job gave, doing it first where it is not done."""
        folder = self.out / f"{job.network}-{job.seed}"
        path = folder / f"{job.name}.json"
        if not path.exists():
            net, one = self.given(job.network, job.seed)
            with Seconds(folder / f"{job.name}.seconds") as seconds:
                reached = self._reached(job, net, folder / job.name)
            share = seconds.spent / one["seconds"]
            found = {**asdict(job), **reached, "seconds": round(seconds.spent, 1), "trainings": round(share, 3)}
            write_json(path, found)
            print(f"{folder.name}/{job.name}: {100 * found['test']:.2f} % in {share:.2f} trainings", flush=True)
        return dict(read_json(path))

    def _reached(self, job: Job, net: nn.Module, folder: Path) -> dict[str, Any]:
        strategy, rule = METHODS[job.method][0], self._rule(self.setting.tuned)
        alone, task = isinstance(strategy, Family), self.task(job.seed)
        space = adapt(net, SHAPE, multiple=2, least=0.125)
        about: dict[str, Any] = {"batch": self.setting.batch, "seed": job.seed, "weights": rule}
        result = search(
            space,
            strategy,
            task,
            out=folder,
            resume=folder.exists(),
            budget=job.budget,
            epochs=job.searched or 1,
            finish=None if alone else job.trained,
            bf16=self._bf16(net),
            **about,
        )
        found = result.about
        if alone:
            warmup = min(self.setting.warmup, job.trained - 1)
            settings = self._fit(net, job.trained, self.setting.tuned, warmup)
            again = (folder / "fit").exists()
            result.fit(task, settings, teacher="reference", init="reference", seed=job.seed, resume=again)
        trained = result.training
        assert trained is not None
        return {
            "test": trained.scores["test"],
            "arch": space.space.format(result.arch),
            "search_share": round(found.search_seconds / (found.search_seconds + trained.seconds), 3),
        }

    def _fit(self, net: nn.Module, epochs: int, lr: float, warmup: int = 0) -> Fit:
        about: dict[str, Any] = {"batch": self.setting.batch, "warmup": warmup, "bf16": self._bf16(net)}
        return Fit(epochs=epochs, weights=self._rule(lr), **about)

    def _bf16(self, net: nn.Module) -> bool:
        return self.setting.bf16 and not has_depthwise(net)

    def _rule(self, lr: float) -> WeightRule:
        return WeightRule(lr=lr, lr_end=0.0, weight_decay=5e-4, clip=0.0)


class Seconds:
    """Processor seconds that a job takes over all its sessions. path: of what earlier ones took."""

    def __init__(self, path: Path) -> None:
        self.path, self.spent = path, float(read_json(path)["seconds"]) if path.exists() else 0.0

    def __enter__(self) -> Seconds:
        self.began = time.process_time()
        return self

    def __exit__(self, *how: object) -> None:
        self.spent += time.process_time() - self.began
        write_json(self.path, {"seconds": self.spent})


def between(points: list[dict[str, Any]], at: float) -> float | None:
    """Return the test accuracy in percent at so many trainings, on the line between the two nearest points.

    Outside of the points it is that of the first or last, up to a third shorter or longer; beyond, None.
    """
    ordered = sorted(points, key=lambda point: point["trainings"])
    x, y = [np.log(point["trainings"]) for point in ordered], [100 * point["test"] for point in ordered]
    inside = len(x) > 1 and x[0] - 0.3 <= np.log(at) <= x[-1] + 0.3
    return round(float(np.interp(np.log(at), x, y)), 2) if inside else None


def points_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean of the seeds of each network, budget, method and length."""
    keys = ("network", "budget", "method", "searched", "trained")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        dict(zip(keys, group, strict=True))
        | {"seeds": len(same)}
        | {key: round(statistics.mean(row[key] for row in same), 4) for key in ("test", "trainings", "search_share")}
        | {"spread": round(statistics.stdev(row["test"] for row in same), 4) if len(same) > 1 else None}
        for group, same in groups.items()
    ]


def compared(points: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a table: each method's accuracy at the lengths of `AT`, of each network and budget."""
    rows: list[tuple[str, ...]] = [("network", "budget", "method", *(f"{at:g} trainings" for at in AT))]
    for network, budget, method in dict.fromkeys((p["network"], p["budget"], p["method"]) for p in points):
        mine = [p for p in points if (p["network"], p["budget"], p["method"]) == (network, budget, method)]
        values = (between(mine, at) for at in AT)
        rows.append((network, budget, method, *("" if value is None else f"{value:.2f}" for value in values)))
    return rows


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each network and budget, a curve in it for each method: means of the seeds there are."""
    from matplotlib import pyplot

    panels = list(dict.fromkeys((p["network"], p["budget"]) for p in points))
    methods = [method for method in METHODS if any(p["method"] == method for p in points)]
    pyplot.rcParams["svg.fonttype"] = "none"
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(3.6 * len(panels), 3.6), squeeze=False, layout="constrained"
    )
    for ax, panel in zip(axes[0], panels, strict=True):
        for method in methods:
            mine = [p for p in points if (p["network"], p["budget"], p["method"]) == (*panel, method)]
            mine.sort(key=lambda p: p["trainings"])
            ax.plot([p["trainings"] for p in mine], [100 * p["test"] for p in mine], marker="o", label=method)
        ax.set(xscale="log", xlim=(0.2, 4.0), title=", ".join(panel), xlabel="trainings of the given network")
        ax.set_xticks(AT, [f"{at:g}" for at in AT])
        ax.minorticks_off()
    axes[0][0].set_ylabel("test accuracy, %")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
    figure.savefig(path)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; kept, to resume")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--only", default="", help="regular expression: jobs with it in NETWORK-SEED/METHOD-BUDGET-EPOCHS"
    )
    parser.add_argument("--minutes", type=float, default=50.0, help="begin no job after this")
    parser.add_argument("--figure", type=Path, help="draw the curves, as svg, pdf or png")
    parser.add_argument("--bf16", action="store_true", help="all of it in bfloat16, but for depthwise convolutions")
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    setting = replace(QUICK if asked.quick else Setting(), bf16=asked.bf16)
    curve = Curve(asked.out, 1 if asked.quick else asked.seeds, setting, asked.quick)
    asked.out.mkdir(parents=True, exist_ok=True)
    facts, kept = asdict(setting), asked.out / "setting.json"
    if kept.exists() and read_json(kept) != facts:
        raise SystemExit(f"{asked.out} holds jobs of another setting: choose another --out")
    write_json(kept, facts)
    end, rows = time.monotonic() + 60 * asked.minutes, []
    for job in curve.jobs():
        known = (asked.out / f"{job.network}-{job.seed}" / f"{job.name}.json").exists()
        wanted = re.search(asked.only, f"{job.network}-{job.seed}/{job.name}") and time.monotonic() < end
        if known or wanted:
            rows.append(curve.done(job))
    points = points_of(rows)
    print(aligned(compared(points), "<<<>>>"))
    about = {key: value for key, value in environment(0).items() if key not in ("command", "git", "seed")}
    summary = {"date": date.today().isoformat(), "setting": facts, "points": points, "environment": about}
    write_json(asked.out / "summary.json", summary)
    if asked.figure:
        draw(points, asked.figure)


if __name__ == "__main__":
    main()

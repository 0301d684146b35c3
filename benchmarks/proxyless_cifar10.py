"""ProxylessNAS on CIFAR-10, CPU-sized: a chain inside a latency, a PyramidNet of trees, and cells scored by a table.

    RENASCENT_DATA=FOLDER python benchmarks/proxyless_cifar10.py chain --out runs/proxyless_cifar10
    RENASCENT_DATA=FOLDER python benchmarks/proxyless_cifar10.py tree  --out runs/proxyless_cifar10
    RENASCENT_DATA=FOLDER python benchmarks/proxyless_cifar10.py table --out runs/proxyless_cifar10

Every job is a search or a training of minutes that is done once: stop it whenever you like and start it again. What is
done lies in OUT/EXPERIMENT/JOB.json, the means with 95 % intervals by t in OUT/EXPERIMENT/summary.json. `--quick` is a
small part of it, to see that it runs; `--epochs` and `--fit-epochs` make all of it shorter.

chain: the form by two paths, the exact one and REINFORCE, with the cost term and without (the two by gradient), and
random networks, all inside latency_ms<=0.6x by a table of this machine, measured first. Each is trained alike on 20,000
images, tested, and its latency measured in turns with the reference's.
tree: two paths inside params<=0.7x, beside five random trees of that budget.
table: the three forms on nats-topology; the NAS-Bench-201 table tells the accuracy of what they chose (RENASCENT_DATA
has nas/nb201.npz).

The schedules are tens of times shorter than the papers', so the logits learn five times faster than the papers' 0.006
and 0.01, after a quarter of the search; this was fixed before any result was seen.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t
from topology_cifar10 import judge

from renascent.cli.entry import main as renascent
from renascent.cli.work.running import latency_from
from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.protocols import OneShot, Priced, Setup, SpaceConfig, WeightRule
from renascent.core.space import Arch
from renascent.costs import measure_all, params
from renascent.costs.budget import Budget
from renascent.experiment.search import search
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run, read_events
from renascent.loops.share import share
from renascent.nets.cells.mbconv import MBConv
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.cells.pyramid import PyramidTree
from renascent.results.baselines import sample_feasible
from renascent.strategies.proxyless import Proxyless
from renascent.strategies.proxyless_reinforce import ProxylessReinforce
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SHAPE, CLASSES = (3, 32, 32), 10

GRADIENT, REINFORCE = {"arch_lr": 0.03, "policy_warmup": 0.25}, {"arch_lr": 0.05, "policy_warmup": 0.25}

FORMS: dict[str, OneShot] = {
    "two": Proxyless(paths=2, **GRADIENT),
    "exact": Proxyless(paths=0, **GRADIENT),
    "reinforce": ProxylessReinforce(**REINFORCE),
    "two-blind": Proxyless(paths=2, cost_weight=0.0, **GRADIENT),
    "exact-blind": Proxyless(paths=0, cost_weight=0.0, **GRADIENT),
}
"""Blind: without the cost term."""

RANDOM = "random"


@dataclass(frozen=True)
class Experiment:
    """One of the three. methods: with how many seeds each.  images: of the search, half of them to validate on.

    judged_on: the split on which what was trained is judged.
    """

    space: SpaceConfig
    budget: str | None
    methods: dict[str, int]
    images: int
    epochs: int
    batch: int = 64
    fit_images: int = 20_000
    fit_epochs: int = 6
    table_minutes: float = 5.0
    judged_on: str = "test"

    def jobs(self, first: int, seeds: int | None) -> Iterator[tuple[str, int]]:
        """Give every method and seed, all methods of a seed first."""
        counts = {method: seeds or count for method, count in self.methods.items()}
        yield from (
            (m, s) for s in range(first, max(counts.values()) + first) for m, n in counts.items() if s < first + n
        )


EXPERIMENTS = {
    "chain": Experiment(
        MBConv(small=True, width=0.25, blocks=(2, 2, 2, 2, 2, 1)),
        "latency_ms<=0.6x",
        dict.fromkeys((*FORMS, RANDOM), 3),
        images=10_000,
        epochs=6,
    ),
    "tree": Experiment(
        PyramidTree(blocks=1, final_channels=96), "params<=0.7x", {"two": 1, RANDOM: 5}, images=10_000, epochs=8
    ),
    "table": Experiment(
        NatsTopology(channels=16, cells=1), None, dict.fromkeys(("two", "exact", "reinforce"), 3), images=0, epochs=20
    ),
}

QUICK: dict[str, dict[str, Any]] = {
    "chain": {
        "space": MBConv(small=True, width=0.125, blocks=(2, 1, 1, 1, 1, 1)),
        "budget": "latency_ms<=0.9x",
        "methods": {"two": 1, "two-blind": 1, RANDOM: 1},
    },
    "tree": {"space": PyramidTree(blocks=1, final_channels=68), "methods": {"two": 1, RANDOM: 2}},
    "table": {"space": NatsTopology(channels=2, cells=1), "methods": {"two": 1}},
}
SMOKE = {
    "images": 200,
    "epochs": 1,
    "batch": 50,
    "fit_images": 200,
    "fit_epochs": 1,
    "table_minutes": 0.1,
    "judged_on": "val",
}


def one(out: Path, about: Experiment, job: tuple[str, int]) -> dict[str, Any]:
    """Do one job, or what is left of it, and keep what came out."""
    method, seed = job
    path = out / f"{method}-{seed}.json"
    if not path.exists():
        torch.set_num_threads(1)
        began = time.process_time()
        found = scored(about, method, seed, out) if about.budget is None else trained(about, method, seed, out)
        write_json(path, {"method": method, "seed": seed, **found, "seconds": round(time.process_time() - began, 1)})
        print(f"{path.stem}: {found}", flush=True)
    return dict(read_json(path))


def scored(about: Experiment, method: str, seed: int, out: Path) -> dict[str, Any]:
    """Search cells, and look up in the table what was found."""
    folder = out / f"{method}-{seed}"
    return by_table(about.space, FORMS[method], seed, folder, about.images, about.epochs, about.batch)


def by_table(
    space: SpaceConfig, strategy: OneShot, seed: int, folder: Path, images: int, epochs: int, batch: int
) -> dict[str, Any]:
    """Search cells of nats-topology, and return what was found, its true accuracy and the supernet's rank correlation.

    images: of the official split; 0: all.
    """
    task = load("cifar10", options=ImageOptions(split="official", limit=images, augment_val=True))
    torch.manual_seed(seed)
    net = space.supernet(3, CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = Run.start(folder, {"strategy": asdict(strategy), "seed": seed}, resume=folder.exists(), seed=seed)  # type: ignore[call-overload]
    found = share(strategy, Setup(net, task, net.space, seed=seed), epochs=epochs, batch=batch, run=run)
    told = judge(found, folder.name, seed)
    return {"arch": told["arch"], "accuracy": told["test_accuracy"], "spearman": told["spearman"]}


def trained(about: Experiment, method: str, seed: int, out: Path) -> dict[str, Any]:
    """Find a network inside the budget, train it from the start, and test it."""
    config, latency, folder = about.space, latency_of(about, out), out / f"{method}-{seed}"
    expected: dict[str, Any] = {}
    if method == RANDOM:
        arch = random_network(about, seed, latency)
    else:
        result = search(
            config,
            FORMS[method],
            load("cifar10", options=ImageOptions(limit=about.images)),
            epochs=about.epochs,
            batch=about.batch,
            seed=seed,
            budget=about.budget,
            latency=latency,
            out=folder / "search",
            resume=(folder / "search").exists(),
        )
        arch = result.arch
        ends = [event["costs"] for event in read_events(folder / "search") if event["event"] == "epoch"]
        expected = {"policy_usage": {name: round(usage, 4) for name, usage in ends[-1].items()}}
    rule = WeightRule(lr=0.1, lr_end=0.0, weight_decay=5e-4, clip=0.0)
    settings = Fit(epochs=about.fit_epochs, batch=128, weights=rule)
    return {
        "arch": config.space.format(arch),
        "accuracy": tested(config, arch, seed, folder / "fit", settings, about.fit_images, about.judged_on),
        "usage": round(usage_of(about, arch), 4),
        **expected,
    }


def tested(
    config: SpaceConfig, arch: Arch, seed: int, folder: Path, settings: Fit, images: int, judged_on: str
) -> float:
    """Train a network from the start, on all images where the test's judge it, and return its accuracy in percent."""
    torch.manual_seed(seed)
    net = config.network(arch, SHAPE[0], CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = Run.start(folder, asdict(settings), resume=folder.exists(), seed=seed)
    task = load("cifar10", options=ImageOptions(limit=images))
    split = "train+val" if judged_on == "test" else "train"
    done = fit(net, task, settings, run=run, seed=seed, split=split, evaluate=(judged_on,))
    return round(100 * done.scores[judged_on], 2)


def random_network(about: Experiment, seed: int, latency: Priced | None) -> Arch:
    """Return a random network inside the budget that uses most of it, the first whose latency as measured is, too."""
    assert about.budget is not None
    goals = Budget.parse(about.budget).goals(about.space, SHAPE, CLASSES, latency)
    rng = np.random.default_rng([seed, 1])
    drawn = (sample_feasible(about.space.space, goals, rng) for _ in range(20))
    return next(arch for arch in drawn if usage_of(about, arch) <= 1)


def usage_of(about: Experiment, arch: Arch) -> float:
    """Return what a network takes of its bound: of parameters, or of a latency measured beside the reference's."""
    config, bound = about.space, Budget.parse(str(about.budget)).bounds[0]
    nets = [config.network(each, SHAPE[0], CLASSES) for each in (arch, config.reference) if each is not None]
    if bound.name == "params":
        mine, beside = (float(params(net)) for net in nets)
    else:
        mine, beside = (timed.median_ms for timed in measure_all([(net, SHAPE) for net in nets], rounds=30))
    return mine / beside / bound.value


def latency_of(about: Experiment, out: Path) -> Priced | None:
    """Return the latency table of this machine as a cost, where a latency is bounded."""
    table = out / "latency.json"
    return latency_from(str(table), about.space, SHAPE, CLASSES) if table.exists() else None


def measured(about: Experiment, out: Path) -> None:
    """Measure the layers of the space on this machine, once; go on with what is there."""
    config, table = about.space, out / "latency.json"
    if about.budget is None or not about.budget.startswith("latency") or (out / "latency.done").exists():
        return
    assert isinstance(config, MBConv)
    words = ["latency", "measure", "mbconv", "--small", "--width", str(config.width), "--out", str(table)]
    words += ["--blocks", ",".join(map(str, config.blocks)), "--minutes", str(about.table_minutes)]
    if code := renascent([*words, *(["--resume"] if table.exists() else [])]):
        raise SystemExit(code)
    (out / "latency.done").touch()


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean, and half the width of its 95 % interval by t where there are two values or more."""
    n, mean = len(values), statistics.mean(values)
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(values) / n**0.5 if n > 1 else None
    return {"n": n, "mean": round(mean, 3), "half": None if half is None else round(half, 3)}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return each method's accuracy, its difference to random networks and of its policy's cost to the blind one's."""
    of = {m: {r["seed"]: r for r in found if r["method"] == m} for m in dict.fromkeys(r["method"] for r in found)}
    rows: dict[str, Any] = {}
    for method, mine in of.items():
        rows[method] = {"accuracy": interval([r["accuracy"] for r in mine.values()])}
        if all("usage" in r for r in mine.values()):
            rows[method]["most_used_of_the_budget"] = max(r["usage"] for r in mine.values())
        for other, key, name in (
            (RANDOM, "accuracy", "beside_random"),
            (f"{method}-blind", "policy_usage", "beside_blind"),
        ):
            seeds = sorted(mine.keys() & of.get(other, {}).keys()) if method != other else []
            pairs = [(value(mine[s], key), value(of[other][s], key)) for s in seeds]
            if pairs:
                rows[method][name] = interval([a - b for a, b in pairs])
    if RANDOM in of:
        for method in of.keys() - {RANDOM}:
            rows[method]["two_errors_below_random"] = below(of[method], of[RANDOM])
    return rows


def value(row: dict[str, Any], key: str) -> float:
    """Return a number of a job: of several bounds, the first."""
    return float(next(iter(row[key].values())) if isinstance(row[key], dict) else row[key])


def below(mine: dict[int, Any], random: dict[int, Any]) -> bool | None:
    """Return whether a mean is more than two standard errors of the difference below that of random networks."""
    a, b = ([r["accuracy"] for r in rows.values()] for rows in (mine, random))
    if min(len(a), len(b)) < 2:
        return statistics.mean(a) < statistics.mean(b)
    error = (statistics.variance(a) / len(a) + statistics.variance(b) / len(b)) ** 0.5
    return statistics.mean(a) < statistics.mean(b) - 2 * error


def timely(out: Path, about: Experiment, end: float, job: tuple[str, int]) -> dict[str, Any] | None:
    """Do a job if there is time to begin it; one that fails is told, and the others go on."""
    if time.monotonic() > end:
        return None
    try:
        return one(out, about, job)
    except Exception as e:
        print(f"{job[0]}-{job[1]} failed: {type(e).__name__}: {e}", flush=True)
        return None


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; kept, to resume")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, help="of every method, instead of the experiment's own")
    parser.add_argument("--only", default="", help="regular expression: do jobs with it in METHOD-SEED only")
    parser.add_argument("--minutes", type=float, default=50.0, help="begin no job after this")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--epochs", type=int, help="of a search, instead of the experiment's own")
    parser.add_argument("--fit-epochs", type=int, help="of a training, likewise")
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    asked = parser.parse_args(words)
    about, out = EXPERIMENTS[asked.experiment], asked.out / asked.experiment
    about = replace(about, **QUICK[asked.experiment], **SMOKE) if asked.quick else about
    about = replace(about, epochs=asked.epochs or about.epochs, fit_epochs=asked.fit_epochs or about.fit_epochs)
    setting = json.loads(json.dumps(asdict(about) | {"forms": {name: asdict(form) for name, form in FORMS.items()}}))  # type: ignore[call-overload]
    out.mkdir(parents=True, exist_ok=True)
    if (out / "setting.json").exists() and read_json(out / "setting.json") != setting:
        raise SystemExit(f"{out} holds runs of another setting: choose another --out")
    write_json(out / "setting.json", setting)
    measured(about, out)
    end = time.monotonic() + 60 * asked.minutes
    jobs = [j for j in about.jobs(asked.first_seed, asked.seeds) if re.search(asked.only, f"{j[0]}-{j[1]}")]
    with multiprocessing.get_context("spawn").Pool(asked.workers, maxtasksperchild=1) as pool:
        for _ in pool.imap_unordered(partial(timely, out, about, end), jobs):
            pass
    found = [read_json(path) for path in sorted(out.glob("*-*.json"))]
    rows = summary(found)
    about_machine = {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")}
    whole = {"date": date.today().isoformat(), "setting": setting, "summary": rows, "runs": found}
    write_json(out / "summary.json", {**whole, "environment": about_machine})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

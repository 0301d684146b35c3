"""Random budgets on a space that can be enumerated: is what four strategies find always inside, and is it any good?

    python benchmarks/budgets_hold.py --out runs/budgets_hold --seed 2

Fifty budgets, of one cost or two, from below what the cheapest network costs to above the dearest; NES, TAS, FBNet-V2
and TuNAS search 4,608 networks of three widths and two depths on the 8x8 digits of scikit-learn, some seconds each.
Of every search it is asked, by enumeration, whether

- what it found is inside the budget, by layers counted on the plain network where that is possible,
- it uses more than 90 % of the tightest bound, unless no network that does scores better,
- it scores at least the mean of random networks inside the budget,

and of every budget that was refused whether really no network keeps it, and whether the nearest one, which the refusal
names, is then accepted and kept. A score is the accuracy inside the supernet of that search. "corrected" counts the
searches whose strategy believed in networks that score no better than random ones: the best of all tried was taken.

Every search is one file; those that are done are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import re
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.bounds import COSTS
from renascent.core.environment import environment
from renascent.core.errors import BudgetError
from renascent.core.files import read_json, write_json
from renascent.core.protocols import Goal, OneShot, Setup, WeightRule
from renascent.core.space import Arch, Integer, Space
from renascent.costs import macs, params
from renascent.costs.budget import Budget
from renascent.costs.counts import cost_of
from renascent.loops.run import Run, read_events
from renascent.loops.share import Scorer, share
from renascent.nets.sizes.space import SizedSpace
from renascent.nets.sizes.units import Classifier, Residual, Stage, Unit
from renascent.results.budgeted import prepare
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.nes import NES
from renascent.strategies.tas import TAS
from renascent.strategies.tunas import TuNAS
from renascent.tasks.load import load

STRATEGIES: dict[str, OneShot] = {
    "nes": NES(rounds=12),
    "tas": TAS(arch_lr=0.1),
    "fbnetv2": FBNetV2(arch_lr=0.1, arch_every=1),
    "tunas": TuNAS(arch_lr=0.05),
}
"""The papers' settings, with logits that learn faster: the papers' rates are for thousands of steps, here are 44."""

KINDS = (*[(name,) for name in COSTS], ("macs", "params"), ("macs", "activation_bytes"), ("params", "activation_bytes"))

RANDOM = 30
"""Networks inside the budget whose mean score is compared."""

SHAPE, CLASSES = (1, 8, 8), 10


@dataclass(frozen=True, kw_only=True)
class SmallSpace(SizedSpace):
    """Three widths and two depths: a stage of residual blocks with an inner width, a stride, another stage."""

    widths: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16)
    depth: int = 3

    @property
    def space(self) -> Space:
        width, depth = Integer(self.widths), Integer.range(1, self.depth)
        return Space({"first": width, "inner": width, "second": width, "depth1": depth, "depth2": depth}, name="small")

    @property
    def reference(self) -> Arch:
        return self.space.arch({"first": 8, "inner": 8, "second": 8, "depth1": 2, "depth2": 2})

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> Network:
        return Network(self, arch, channels_in, classes)


class Network(nn.Module):
    """One network of the small space: (batch, channels, h, w) to (batch, classes)."""

    def __init__(self, config: SmallSpace, arch: Arch, channels_in: int, classes: int) -> None:
        super().__init__()
        first, inner, second, depth1, depth2 = (int(value) for value in arch.values())  # type: ignore[arg-type]
        counts = {count: count for count in range(1, config.depth + 1)}
        self.stem = Unit(channels_in, first, 3, decision="first")
        self.stage1 = Stage([_block(first, inner, "first", "inner") for _ in range(depth1)], "depth1", counts)
        self.down = Unit(first, second, 3, 2, decision="second")
        self.stage2 = Stage([_block(second, second, "second", "second") for _ in range(depth2)], "depth2", counts)
        self.classifier = Classifier(second, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.stage2(self.down(self.stage1(self.stem(x)))))  # type: ignore[no-any-return]


def _block(width: int, inner: int, name: str, inner_name: str) -> Residual:
    units = [Unit(width, inner, 3, decision=inner_name), Unit(inner, width, 3, activation="none", decision=name)]
    return Residual(units)


def budgets(config: SmallSpace, count: int, seed: int = 0) -> list[str]:
    """Return random budgets, each limit from below the least of its cost to above the most, evenly in its logarithm."""
    rng, rows = np.random.default_rng(seed), every(config)
    costs = {name: cost_of(name, config, SHAPE, CLASSES).exact(rows) for name in COSTS}
    found = []
    for k in range(count):
        ends = {name: (0.7 * costs[name].min(), 1.1 * costs[name].max()) for name in KINDS[k % len(KINDS)]}
        found.append(",".join(f"{n}<={np.exp(rng.uniform(*np.log(span))):.0f}" for n, span in ends.items()))
    return found


def every(config: SmallSpace) -> NDArray[np.int64]:
    """Return the option indices of all networks, (networks, decisions)."""
    options = [range(len(d.options)) for d in config.space.decisions.values()]  # type: ignore[union-attr]
    return np.array(list(itertools.product(*options)))


def one(name: str, text: str, seed: int, folder: Path, epochs: int = 4) -> dict[str, Any]:
    """Search once, and judge. A budget that is refused is judged by the nearest one."""
    config, task = SmallSpace(), load("digits")
    facts: dict[str, Any] = {"strategy": name, "budget": text, "seed": seed, "refused": None}
    try:
        ready = prepare(config, task, Budget.parse(text), folder=folder, resume=False)
    except BudgetError as e:
        goals = Budget.parse(text).goals(config, SHAPE, CLASSES)
        nearest = re.split(r" is (?=\w+<=)", str(e))[-1]
        truly = not any(usage_of(goals, every(config)) <= 1)
        facts["refused"] = {"says": str(e), "nearest": nearest, "truly": truly, "before": not folder.exists()}
        ready = prepare(config, task, Budget.parse(nearest), folder=folder, resume=False)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = config.supernet(task.channels, task.classes)
        setup = Setup(net, task, config.space, WeightRule(lr=0.1), seed, ready.goals, ready.start)
        run = Run.start(folder, {"strategy": name, "budget": text}, seed=seed)
        found = share(STRATEGIES[name], setup, epochs=epochs, batch=64, run=run)
        told = {"corrected": bool(read_events(folder)[-1]["instead"]), "seconds": found.seconds}
        return facts | judged(config, found.arch, ready.goals, Scorer(found.state), seed) | told


def judged(config: SmallSpace, arch: Arch, goals: tuple[Goal, ...], score: Scorer, seed: int) -> dict[str, Any]:
    """Return what enumeration says of a network."""
    rows, space = every(config), config.space
    usage, mine = usage_of(goals, rows), float(usage_of(goals, space.indices(arch)[None])[0])
    inside = rows[usage <= 1]
    picks = np.random.default_rng([seed, 5]).permutation(len(inside))[:RANDOM]
    others = [score(space.from_indices(row)) for row in inside[picks]]
    best = None
    if mine <= 0.9:
        best = max((score(space.from_indices(row)) for row in rows[(usage > 0.9) & (usage <= 1)]), default=None)
    held, mean = score(arch), statistics.fmean(others)
    return {
        "arch": space.format(arch),
        "networks_inside": len(inside),
        "usage": mine,
        "score": held,
        "random_mean": mean,
        "random_beaten": statistics.fmean(held >= other for other in others),
        "best_above_90": best,
        "inside": mine <= 1 and all(counted(config, arch, goal) <= goal.limit for goal in goals),
        "used": mine > 0.9 or best is None or held >= best,
        "above_random": held >= mean - 1e-9,
    }


def holds(facts: Mapping[str, Any]) -> bool:
    """Return whether a search did all that is asked of it."""
    refused = facts["refused"]
    rightly = refused is None or (refused["truly"] and refused["before"])
    return bool(facts["inside"] and facts["used"] and facts["above_random"] and rightly)


def usage_of(goals: tuple[Goal, ...], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.max([goal.exact(rows) / goal.limit for goal in goals], axis=0))


def counted(config: SmallSpace, arch: Arch, goal: Goal) -> float:
    """Return a cost as counted on the plain network, where something counts it."""
    net = config.network(arch, SHAPE[0], CLASSES)
    known = {"macs": lambda: macs(net, SHAPE), "params": lambda: params(net)}
    return float(known[goal.name]()) if goal.name in known else 0.0


def table(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a strategy."""
    rows = []
    for name in STRATEGIES:
        mine = [r for r in results if r["strategy"] == name]
        refused = [r["refused"] for r in mine if r["refused"]]
        rows.append(
            {
                "strategy": name,
                "budgets": len(mine),
                **{what: sum(r[what] for r in mine) for what in ("inside", "used", "above_random")},
                "usage_mean": round(statistics.fmean(r["usage"] for r in mine), 3),
                "usage_least": round(min(r["usage"] for r in mine), 3),
                "random_beaten": round(statistics.fmean(r["random_beaten"] for r in mine), 3),
                "score_less_random_mean": round(statistics.fmean(r["score"] - r["random_mean"] for r in mine), 3),
                "corrected": sum(r["corrected"] for r in mine),
                "refused": len(refused),
                "refused_rightly_and_before": sum(r["truly"] and r["before"] for r in refused),
                "seconds": round(statistics.median(r["seconds"] for r in mine), 1),
            }
        )
    return rows


def shown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table in text."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    wide = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, wide, strict=True)) for line in cells)


def _job(job: tuple[str, str, int, Path]) -> None:
    name, text, seed, target = job
    if not target.exists():
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as scratch:
            facts = one(name, text, seed, Path(scratch) / "run")
        write_json(target, facts)
        print(f"{name} {text}: usage {facts['usage']:.3f}, score {facts['score']:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the searches; kept, to resume")
    parser.add_argument("--budgets", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the budgets, and of the searches")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    texts = budgets(SmallSpace(), asked.budgets, asked.seed)
    places = range(1000 * asked.seed, 1000 * asked.seed + len(texts))  # seeds of searches, and names
    jobs = [
        (n, text, k, asked.out / f"{n}-{k}.json") for k, text in zip(places, texts, strict=True) for n in STRATEGIES
    ]
    with multiprocessing.get_context("spawn").Pool(asked.workers) as pool:
        for _ in pool.imap_unordered(_job, jobs):
            pass
    results = [read_json(target) for *_, target in jobs]
    whole = {
        "date": date.today().isoformat(),
        "space": {"networks": int(SmallSpace().space.size), **asdict(SmallSpace())},
        "budgets_seed": asked.seed,
        "strategies": table(results),
        "failures": [f"{r['strategy']} {r['budget']}" for r in results if not holds(r)],
        "runs": results,
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }
    write_json(asked.out / "summary.json", whole)
    print(shown(table(results)))
    failures = [r for r in results if not holds(r)]
    print(f"{len(failures)} of {len(results)} searches fail: {json.dumps(failures, indent=2)}")


if __name__ == "__main__":
    main()

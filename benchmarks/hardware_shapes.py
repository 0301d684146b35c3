"""How a device's latency shapes the network: the same beliefs, and other blocks on other devices.

    RENASCENT_DATA=... python benchmarks/hardware_shapes.py exact predictor --out benchmarks/results/...
    renascent latency measure mbconv --input 3,224,224 --classes 1000 --out here.json
    RENASCENT_DATA=... python benchmarks/hardware_shapes.py exact --table here.json --figures runs/shapes --out ...
    RENASCENT_DATA=... python benchmarks/hardware_shapes.py searched --folder runs/shapes --out ...

exact: one set of beliefs, the log-probabilities of a policy of random logits (--seed); then those of the search in
--beliefs. For each device the network of least latency whose summed log-probability is at least W, which lies 75 % of
the way from the least to the largest sum: a knapsack, worth and cost exchanged, solved without a gap. So each network
is the fastest of all on its own device; a violation is a defect, and stops the script. FBNet's chain on three of HELP's
devices, and with --table (a table of mbconv at 224 x 224, measured here) the MBConv chain on the Pixel 1 and here.
predictor: an additive fit and a predictor on 4,000 of the 5,000 FBNet networks, tested on the others, for each device.
searched: one `proxyless` search per device inside latency_ms<=0.5x of its table, on CIFAR-10; what it finds is trained
with several seeds. Every search and every training is a job that is done once: stop it whenever you like and start it
again. That each is the fastest on its own device is not asked for: equal shares of devices' budgets are not equally
strict. `--quick` is a small part of everything, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from latency_prediction import on_device
from numpy.typing import NDArray
from proxyless_cifar10 import GRADIENT, interval
from published_latency import fbnet_networks

from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.knapsack import Indices, Knapsack
from renascent.core.protocols import Goal, SpaceConfig, WeightRule
from renascent.core.space import Space
from renascent.costs.budget import Budget
from renascent.costs.counts import Additive
from renascent.costs.latency.blocks import BlockLatency, Twin
from renascent.costs.latency.published import published_folder
from renascent.costs.latency.sources import fbnet, pixel1, read_latency
from renascent.experiment.search import search
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.loops.weightsfile import load_tree
from renascent.nets.cells.fbnet import FBNet
from renascent.nets.cells.mbconv import MBConv
from renascent.reports.strip import strips
from renascent.strategies.proxyless import Proxyless
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

DEVICES, SUMS = ("pixel3", "raspi4", "fpga"), ("pixel3", "raspi4", "fpga", "eyeriss")
"""Devices that networks are sought for, and those whose FBNet latencies are sums over blocks."""

SHARE = 0.75
"""Of the way from the least to the largest sum of log-probabilities: where W lies."""

ROUNDING = 1e-9
"""Relative difference of two sums of the same terms."""

Logs = NDArray[np.float64]


@dataclass(frozen=True)
class Searched:
    """The searched part. images: of the search, half of them to validate on.  seeds: of the training.

    judged_on: the split on which what was trained is judged.
    """

    space: FBNet
    budget: str = "latency_ms<=0.5x"
    images: int = 10_000
    epochs: int = 5
    batch: int = 64
    fit_images: int = 20_000
    fit_epochs: int = 6
    seeds: int = 3
    judged_on: str = "test"


SEARCHED = Searched(FBNet(width=0.25))
QUICK = Searched(
    FBNet(width=0.125), images=200, epochs=1, batch=50, fit_images=200, fit_epochs=1, seeds=2, judged_on="val"
)


# --- exact


def seeded_beliefs(space: Space, seed: int) -> Logs:
    """Return log-probabilities of a policy of standard normal logits, (decisions, options); -inf: no such option."""
    return normalised(space, np.random.default_rng(seed).normal(size=(len(space.counts), max(space.counts))))


def beliefs_of(folder: Path, space: Space) -> Logs:
    """Return the log-probabilities that a search of logits ended with, from its run folder."""
    return normalised(space, load_tree(folder / "checkpoint.safetensors")["state"]["policy"]["logits"].double().numpy())


def normalised(space: Space, logits: Logs) -> Logs:
    """Return the logarithm of the softmax of each row, -inf where there is no option."""
    logits = np.where(np.arange(logits.shape[1]) < np.array(space.counts)[:, None], logits, -np.inf)
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def wanted(logs: Logs, share: float = SHARE) -> float:
    """Return W, that share of the way from the least to the largest sum of log-probabilities."""
    least = float(np.where(np.isfinite(logs), logs, np.inf).min(1).sum())
    return least + share * (float(logs.max(1).sum()) - least)


def fastest(cost: Additive, logs: Logs, least: float) -> Indices:
    """Return the option indices of the network of least latency whose summed log-probability is at least `least`."""
    goal = Goal("improbability", -least, cost, cost.exact, (0.0, -logs))
    # in nanoseconds, of which the solver's own absolute gap is a millionth
    found = Knapsack(logs, [goal]).solved(np.where(np.isfinite(logs), -1e6 * cost.table, -np.inf))
    assert found is not None, "the likeliest network is inside"
    return found


def shaped(config: SpaceConfig, costs: Mapping[str, Additive], logs: Logs) -> dict[str, Any]:
    """Find each device's network, time all on all, and see that each is the fastest on its own device."""
    space, least = config.space, wanted(logs)
    rows = {device: fastest(cost, logs, least) for device, cost in costs.items()}
    every = np.stack(list(rows.values()))
    sums = logs[np.arange(len(logs)), every].sum(1)
    assert (sums >= least - ROUNDING * abs(least)).all(), f"less likely than {least}: {sums}"
    ms = {device: cost.exact(every) for device, cost in costs.items()}
    for k, (device, row) in enumerate(ms.items()):
        assert row[k] <= row.min() * (1 + ROUNDING), f"on {device} another network is faster than its own: {row}"
    return {
        "least_log_probability": least,
        "log_probability": dict(zip(rows, sums.tolist(), strict=True)),
        "networks": {device: space.format(space.from_indices(row)) for device, row in rows.items()},
        "blocks_that_differ": {
            f"{a}, {b}": int((rows[a] != rows[b]).sum()) for k, a in enumerate(rows) for b in list(rows)[k + 1 :]
        },
        "ms": {device: dict(zip(rows, row.tolist(), strict=True)) for device, row in ms.items()},
    }


def ratios(ms: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return device -> network -> its latency there, in times that of the device's own network."""
    return {device: {name: value / row[device] for name, value in row.items()} for device, row in ms.items()}


def exact(asked: argparse.Namespace) -> dict[str, Any]:
    config, seeded = FBNet(), f"standard normal logits, seed {asked.seed}"
    beliefs = {seeded: seeded_beliefs(config.space, asked.seed)}
    if asked.beliefs:
        beliefs[asked.says] = beliefs_of(asked.beliefs, config.space)
    costs = {device: fbnet(config, device) for device in DEVICES}
    found = {f"fbnet, {says}": shaped(config, costs, logs) for says, logs in beliefs.items()}
    for name, about in found.items():
        show(name, config, about, (32, 32), asked.figures)
    if asked.table:
        chain, shape, classes = MBConv(), (3, 224, 224), 1000
        here = read_latency(asked.table, chain, shape, classes)
        assert isinstance(here, BlockLatency) and here.twin == Twin(chain, shape, classes), (
            "measure mbconv at 224 x 224"
        )
        two = {"pixel1": pixel1(chain), "this machine": here}
        name = f"mbconv, {seeded}"
        found[name] = shaped(chain, two, seeded_beliefs(chain.space, asked.seed))
        show(name, chain, found[name], shape[1:], asked.figures)
    return {"share": SHARE} | found


def show(name: str, config: SpaceConfig, found: Mapping[str, Any], size: tuple[int, int], figures: Path | None) -> None:
    """Print the table of ratios and the networks side by side; draw these into a folder, if one is given."""
    archs = {device: config.space.parse(network) for device, network in found["networks"].items()}
    print(f"\n{name}\n{table(found['ms'])}")
    wide = 2 + max(len(str(word)) for arch in archs.values() for word in (*arch.values(), *archs))
    print(f"{'':16}" + "".join(f"{device:>{wide}}" for device in archs))
    for decision in config.space.decisions:
        print(f"{decision:16}" + "".join(f"{arch[decision]!s:>{wide}}" for arch in archs.values()), flush=True)
    if figures:
        figures.mkdir(parents=True, exist_ok=True)
        drawn = strips({device: config.chain(arch, size) for device, arch in archs.items()}, name)
        (figures / f"{drawn.name}.png").write_bytes(drawn.png)


def table(ms: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table of ratios as text: a row a device, a column the network of a device."""
    lines = ["latency on (row) of the network for (column), times the row's own network; its ms"]
    lines.append(f"{'':16}" + "".join(f"{name:>14}" for name in ms) + f"{'own ms':>14}")
    for device, row in ratios(ms).items():
        lines.append(f"{device:16}" + "".join(f"{r:14.3f}" for r in row.values()) + f"{ms[device][device]:14.3f}")
    return "\n".join(lines)


# --- predictor


def predictor(asked: argparse.Namespace) -> dict[str, Any]:
    nets = fbnet_networks(published_folder())
    found = {device: on_device(nets, device) for device in (SUMS if asked.quick else nets.latency_ms)}
    for device in SUMS:
        off = found[device]["additive"]["largest_relative_error"]
        assert off < 1e-6, f"the additive fit of {device} is off by {off}"
    return found


# --- searched


def searched(asked: argparse.Namespace) -> dict[str, Any]:
    about, out = QUICK if asked.quick else SEARCHED, Path(asked.folder)
    about = replace(about, epochs=asked.epochs or about.epochs, seeds=asked.seeds or about.seeds)
    setting = json.loads(json.dumps(asdict(about) | {"strategy": GRADIENT}))
    out.mkdir(parents=True, exist_ok=True)
    if (out / "setting.json").exists() and read_json(out / "setting.json") != setting:
        raise SystemExit(f"{out} holds runs of another setting: choose another --folder")
    write_json(out / "setting.json", setting)
    end, found = time.monotonic() + 60 * asked.minutes, {}
    for device in DEVICES:
        if time.monotonic() < end or (out / device / "arch.json").exists():
            found[device] = found_for(about, device, out)
    scores: dict[str, list[float]] = {}
    for seed in range(about.seeds):
        for device, about_it in found.items():
            done = out / f"{device}-{seed}.json"
            if time.monotonic() < end or done.exists():
                scores.setdefault(device, []).append(trained(about, str(about_it["arch"]), seed, done))
    rows = np.array([about.space.space.indices(about.space.space.parse(f["arch"])) for f in found.values()])
    ms = {d: dict(zip(found, fbnet(about.space, d).exact(rows).tolist(), strict=True)) for d in found}
    print(table(ms))
    accuracy = {device: interval(values) for device, values in scores.items()}
    print(json.dumps(accuracy))
    return {"setting": setting, "found": found, "ms": ms, "accuracy": accuracy, "runs": scores}


def found_for(about: Searched, device: str, out: Path) -> dict[str, Any]:
    """Search inside a device's budget, or read what was found; see that it is inside."""
    latency, folder = fbnet(about.space, device), out / device
    result = search(
        about.space,
        Proxyless(**GRADIENT),
        load("cifar10", options=ImageOptions(limit=about.images)),
        epochs=about.epochs,
        batch=about.batch,
        budget=about.budget,
        latency=latency,
        out=folder,
        resume=folder.exists(),
    )
    [goal] = Budget.parse(about.budget).goals(about.space, (3, 32, 32), 10, latency)
    usage = float(goal.exact(about.space.space.indices(result.arch)[None])[0]) / goal.limit
    assert usage <= 1, f"what was found for {device} takes {usage} of its budget"
    return {"arch": about.space.space.format(result.arch), "usage": usage, "search_score": result.about.search_score}


def trained(about: Searched, name: str, seed: int, done: Path) -> float:
    """Train what was found with a seed, once, and return its accuracy (%)."""
    if not done.exists():
        torch.manual_seed(seed)
        arch, folder = about.space.space.parse(name), done.with_suffix("")
        net = about.space.network(arch, 3, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        settings = Fit(
            epochs=about.fit_epochs, batch=128, weights=WeightRule(lr=0.1, lr_end=0.0, weight_decay=5e-4, clip=0.0)
        )
        run = Run.start(folder, asdict(settings), resume=folder.exists(), seed=seed)
        task = load("cifar10", options=ImageOptions(limit=about.fit_images))
        split = "train+val" if about.judged_on == "test" else "train"
        result = fit(net, task, settings, run=run, seed=seed, split=split, evaluate=(about.judged_on,))
        write_json(done, {"accuracy": round(100 * result.scores[about.judged_on], 2)})
    return float(read_json(done)["accuracy"])


PARTS = {"exact": exact, "predictor": predictor, "searched": searched}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--out", type=Path, help="JSON file of the figures; what other parts left there stays")
    parser.add_argument("--seed", type=int, default=0, help="exact: of the logits")
    parser.add_argument("--beliefs", type=Path, help="exact: run folder of a search of fbnet, beside random logits")
    parser.add_argument("--says", default="a search", help="exact: which search, in words")
    parser.add_argument("--table", type=Path, help="exact: latency table of mbconv at 224 x 224, measured here")
    parser.add_argument("--figures", type=Path, help="exact: folder for drawings of the networks side by side")
    parser.add_argument("--folder", default="runs/hardware_shapes", help="searched: of the runs; kept, to resume")
    parser.add_argument("--minutes", type=float, default=50.0, help="searched: begin no job after this")
    parser.add_argument("--epochs", type=int, help="searched: of a search, instead of 5")
    parser.add_argument("--seeds", type=int, help="searched: of the training, instead of 3")
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    held = read_json(asked.out) if asked.out and asked.out.exists() else {}
    seconds = dict(held.get("seconds", {}))
    for part in asked.parts:
        began = time.monotonic()
        held[part] = PARTS[part](asked)
        seconds[part] = round(time.monotonic() - began)
    kept = {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")}
    if asked.out:
        write_json(asked.out, {**held, "date": date.today().isoformat(), "seconds": seconds, "environment": kept})


if __name__ == "__main__":
    main()

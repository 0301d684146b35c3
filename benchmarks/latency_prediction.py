"""How well latency is predicted: by a table of layers built here, and from latencies that others published.

    RENASCENT_DATA=... python benchmarks/latency_prediction.py --part published --out benchmarks/results/...
    python benchmarks/latency_prediction.py --part local --space mobilenet-v2 --folder runs/latency --out ...

published: a Gaussian process on two tables of blocks, of which it is shown a part; a predictor and an additive fit on
4,000 of 5,000 whole networks, tested on the others, for each of 39 devices and batch sizes.

local: `renascent latency measure` builds a table of a space on this machine; then random networks that were not seen
are measured, at their own resolutions, in turns (with those of the table's calibration: what these take now against
then is the machine's drift); last, the same with a fifth of the table's layers, the rest filled by
the Gaussian process. What is measured is kept in --folder: a run that was stopped goes on.
"""

import argparse
import json
import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from published_latency import (
    Networks,
    block_error,
    fbnet_networks,
    once_for_all_networks,
    once_for_all_table,
    proxyless_table,
)

from renascent.cli.entry import main as renascent
from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.costs.latency.build import Sampling, random_archs
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.measure import measure_all
from renascent.costs.latency.predictor import fit_additive, fit_predictor, rank, rmse
from renascent.costs.latency.table import Lut, leave_out
from renascent.nets import SPACES
from renascent.nets.sizes.resolution import input_shape

KEPT = (0.2, 0.5, 0.8)
SEEDS = 5
TRAIN = 4000
UNSEEN_SEED = 1_000_003
"""Of the networks that a table is judged by; a table's own come from small seeds."""


def published(asked: argparse.Namespace) -> dict[str, Any]:
    folder = Path(os.environ["RENASCENT_DATA"]) / "nas"
    tables = {"proxylessnas-pixel1": proxyless_table(folder), "ofa-note10": once_for_all_table(folder)}
    networks = {"fbnet": fbnet_networks(folder), "ofa": once_for_all_networks(folder)}
    return {
        "blocks": {
            name: {
                "device": table.device,
                "blocks": len(table.blocks),
                "kept": {
                    str(keep): [block_error(table, keep, seed)._asdict() for seed in range(SEEDS)] for keep in KEPT
                },
            }
            for name, table in tables.items()
        },
        "networks": {name: {d: on_device(nets, d) for d in nets.latency_ms} for name, nets in networks.items()},
    }


def on_device(nets: Networks, device: str) -> dict[str, Any]:
    """Both fits on one split, the same for every device."""
    y, x = nets.latency_ms[device], nets.operators.features()
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:TRAIN], order[TRAIN:]
    predictor, terms = fit_predictor(x[train], y[train]), fit_additive(nets.codes[train], y[train])
    found = {
        "mean_ms": float(y[test].mean()),
        "regressor": predictor.name,
        "predictor": scores(predictor.predict(x[test]), y[test]),
        "additive": scores(terms.predict(nets.codes[test]), y[test]),
    }
    print(device, json.dumps(found), flush=True)
    return found


def scores(predicted: Any, measured: Any) -> dict[str, float]:
    off = np.abs(predicted / measured - 1)
    return {
        "rmse_ms": rmse(predicted, measured),
        "spearman": rank(predicted, measured),
        "median_relative_error": float(np.median(off)),
        "largest_relative_error": float(off.max()),
    }


def local(asked: argparse.Namespace) -> dict[str, Any]:
    folder = Path(asked.folder)
    folder.mkdir(parents=True, exist_ok=True)
    table_path, times_path = folder / f"{asked.space}.json", folder / f"{asked.space}-unseen.json"
    if not times_path.exists():
        words = [asked.space, *(["--resolution", asked.resolution] if asked.resolution else [])]
        words += ["--out", str(table_path), "--resume", "--minutes", str(asked.minutes)]
        if code := renascent(["latency", "measure", *words]):
            raise SystemExit(code)
    table = Lut.load(table_path)
    config, shape, classes = SPACES[asked.space](), tuple(table.about["input"]), int(table.about["classes"])
    sampling = Sampling(seed=UNSEEN_SEED, resolution=asked.resolution)
    archs = random_archs(config.space, asked.networks, sampling)
    known = [config.space.parse(name) for name in table.networks]
    if not times_path.exists():
        cases = [(config.network(arch, shape[0], classes), input_shape(arch, shape)) for arch in [*known, *archs]]
        times = [found.median_ms for found in measure_all(cases, rounds=asked.rounds)]
        held = {"archs": [config.space.format(arch) for arch in archs], "median_ms": times[len(known) :]}
        write_json(times_path, {**held, "known_ms": times[: len(known)]})
    held = json.loads(times_path.read_text())
    truth, then = np.array(held["median_ms"]), np.array([net.entry.median_ms for net in table.networks.values()])
    drift = float(np.median(np.array(held["known_ms"]) / then))
    indices = np.array([config.space.indices(arch) for arch in archs])
    found: dict[str, Any] = {
        "space": asked.space,
        "resolution": asked.resolution,
        "networks": len(archs),
        "drift": drift,
    }
    found |= {"fastest_ms": float(truth.min()), "slowest_ms": float(truth.max()), "about": dict(table.about)}
    found["table"] = {"layers": len(table.layers)} | told(table, config, shape, classes, indices, truth, drift)
    for seed in range(3):
        sparse, error = leave_out(table, 0.2, seed)
        on_networks = told(sparse, config, shape, classes, indices, truth, drift)
        found[f"filled-{seed}"] = {"layers": error._asdict()} | on_networks
    for name in ("table", "filled-0", "filled-1", "filled-2"):
        print(asked.space, name, json.dumps(found[name]), flush=True)
    return found


def told(table: Lut, config: Any, shape: Any, classes: int, indices: Any, truth: Any, drift: float) -> dict[str, Any]:
    """Errors as they are, and with the machine's own drift between both measurements taken out."""
    calibration = {"constant_ms": table.calibration.constant_ms, "scale": table.calibration.scale}
    predicted = LatencyCost(config, table, shape, classes).exact(indices)
    return calibration | scores(predicted, truth) | {"without_drift": scores(predicted * drift, truth)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("published", "local"), required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--space", default="mobilenet-v2", help="local: space of the table")
    parser.add_argument("--resolution", help="local: only input sizes from LOW-HIGH")
    parser.add_argument("--networks", type=int, default=100, help="local: unseen networks")
    parser.add_argument("--rounds", type=int, default=20, help="local: turns of their measurement")
    parser.add_argument("--minutes", type=float, default=5.0, help="local: for the table")
    parser.add_argument("--folder", default="latency-prediction", help="local: where measurements are kept")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    found = published(asked) if asked.part == "published" else local(asked)
    kept = {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")}
    if asked.out:
        seconds = round(time.monotonic() - began)
        write_json(asked.out, {"date": date.today().isoformat(), **found, "seconds": seconds, "environment": kept})


if __name__ == "__main__":
    main()

"""Extract all 15,625 cells as full-size networks, and compare their parameters and MACs with the benchmark's table.

    RENASCENT_DATA=FOLDER python benchmarks/counts_nb201.py --out benchmarks/results/counts.json

Needs nas/nb201.npz in FOLDER (keys params_m_* and flops_m_*). Each network is really extracted from the
supernet, run on a batch of no images, and counted by hooks on its layers: a count of its own, beside the additive one
of `renascent.costs`, which is compared as well. About a quarter of an hour on one core for all three data sets.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.codecs.nats_topology import official_arch, official_order
from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.costs import cost_of, params
from renascent.nets.cells.nats import NatsTopology

DATASETS = {"c10": (10, 32), "c100": (100, 32), "in16": (120, 16)}
"""Suffix in the table -> (classes, side of an image in pixels)."""


def macs(net: nn.Module, side: int) -> int:
    """Return the multiply-accumulates of one image: outputs of a layer times the inputs each of them sums."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        total += math.prod(out.shape[1:]) * layer.weight[0].numel()  # type: ignore[operator, index]

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    net.eval()(torch.empty(0, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total


@torch.no_grad()
def counted(name: str) -> np.ndarray:
    """Return (cells, 2): parameters and MACs of every extracted network, in the official order."""
    classes, side = DATASETS[name]
    rows = np.empty((len(official_order()), 2), dtype=np.int64)
    supernet = NatsTopology().supernet(3, classes)
    for index in range(len(rows)):
        net = supernet.extract(official_arch(index))
        rows[index] = params(net), macs(net, side)
        if index % 1000 == 0:
            print(f"{name}: {index} of {len(rows)} cells", flush=True)
    return rows


def compared(name: str, table: Any) -> dict[str, Any]:
    began = time.monotonic()
    ours, (classes, side) = counted(name), DATASETS[name]
    theirs = [table[f"{column}_{name}"] * 1e6 for column in ("params_m", "flops_m")]
    difference = np.round(theirs[1]).astype(np.int64) - ours[:, 1]
    additive = [cost.exact(official_order()) for cost in (_cost("params", classes, side), _cost("macs", classes, side))]
    return {
        "cells": len(ours),
        "params_largest_relative_error": float(np.abs(theirs[0] / ours[:, 0] - 1).max()),
        "macs_table_minus_ours": sorted({int(d) for d in difference}),
        "classes": classes,
        "additive_counts_equal": bool(np.array_equal(np.stack(additive, 1), ours)),
        "seconds": round(time.monotonic() - began),
    }


def _cost(name: str, classes: int, side: int) -> Any:
    return cost_of(name, NatsTopology(), (3, side, side), classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")}
    rows = {}
    with np.load(Path(os.environ["RENASCENT_DATA"]) / "nas" / "nb201.npz", allow_pickle=False) as table:
        for name in asked.datasets.split(","):
            rows[name] = compared(name, table)
            print(name, json.dumps(rows[name]), flush=True)
            if asked.out:
                write_json(asked.out, {"date": date.today().isoformat(), "datasets": rows, "environment": kept})


if __name__ == "__main__":
    main()

"""The network of least latency that beliefs allow, on several devices: each is the fastest of all on its own table.

    RENASCENT_DATA=FOLDER python benchmarks/hardware_shapes.py --out benchmarks/results/...

One set of beliefs (log-probabilities of every option of `fbnet`, drawn from a seed unless --beliefs names a JSON file,
decision -> probabilities) gives each network a sum. Of those whose sum is 75 % of the way from the least to the
largest, or more, the knapsack finds the fastest on each device, with worth and cost exchanged. The table of ratios is
ProxylessNAS's Table 4, arXiv:1812.00332: a row is a network, a column a device, in times the fastest there.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from renascent.core.files import write_json
from renascent.core.knapsack import knapsack
from renascent.core.protocols import Goal
from renascent.costs.counts import Additive
from renascent.costs.latency.sources import fbnet
from renascent.nets.cells.fbnet import FBNet

DEVICES = ("pixel3", "raspi4", "fpga")
SHARE = 0.75


def fastest(worth: np.ndarray, least: float, cost: Additive) -> np.ndarray:
    """Return the option indices of least cost whose worth is at least `least`."""
    # regret is never negative: what the best options are worth, less what is taken
    regret = worth.max(1, keepdims=True) - worth
    allowed = float(worth.max(1).sum()) - least
    spent = Additive(cost.space, 0.0, regret)
    found = knapsack(-cost.table, [Goal("regret", allowed, spent, spent.exact, (0.0, regret))])
    assert found is not None, "the likeliest network is worth the most"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--beliefs", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    space = FBNet().space
    if asked.beliefs:
        held = json.loads(asked.beliefs.read_text())
        worth = np.log([held[name] for name in space.decisions])
    else:
        drawn = np.random.default_rng(asked.seed).standard_normal((len(space.counts), max(space.counts)))
        worth = drawn - np.log(np.exp(drawn).sum(1, keepdims=True))
    low, high = float(worth.min(1).sum()), float(worth.max(1).sum())
    costs = {device: fbnet(FBNet(), device) for device in DEVICES}
    rows = np.stack([fastest(worth, low + SHARE * (high - low), cost) for cost in costs.values()])
    times = np.stack([cost.exact(rows) for cost in costs.values()], axis=1)
    ratios = times / np.diag(times)
    for k, device in enumerate(DEVICES):
        print(device, " ".join(f"{ratio:.3f}" for ratio in ratios[k]), f"{times[k, k]:.3f} ms")
        print("   ", space.format(space.from_indices(rows[k])))
    assert (ratios >= 1 - 1e-9).all(), "a network is faster than the fastest: the solver left a gap"
    if asked.out:
        networks = {d: space.format(space.from_indices(row)) for d, row in zip(DEVICES, rows, strict=True)}
        write_json(
            asked.out, {"devices": DEVICES, "ratios": ratios.tolist(), "ms": times.tolist(), "networks": networks}
        )


if __name__ == "__main__":
    main()

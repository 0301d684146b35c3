"""The benchmark that shapes networks by devices: each one's network is the fastest of all that are as likely."""

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from renascent.core.protocols import Setup
from renascent.core.space import Choice, Space
from renascent.costs.counts import Additive
from renascent.costs.latency.sources import fbnet
from renascent.loops.run import Run
from renascent.loops.share import share
from renascent.nets.cells.fbnet import FBNet
from renascent.nets.toy import ToySpace
from renascent.strategies.proxyless import Proxyless
from renascent.tasks.toy import ToyTask

DATA = Path(os.environ.get("RENASCENT_DATA", "data")) / "nas"

SPACE = Space({f"block{k}": Choice(tuple("abcd"[:count])) for k, count in enumerate((4, 3, 4, 2, 3))})
EVERY = np.array(list(itertools.product(*map(range, SPACE.counts))))


@pytest.fixture(scope="module")
def shapes(script):
    return script("hardware_shapes")


def priced(seed):
    table = np.random.default_rng([seed, 1]).uniform(0.1, 5.0, (5, 4)) * (
        np.arange(4) < np.array(SPACE.counts)[:, None]
    )
    return Additive(SPACE, 2.0, table)


def sums(logs):
    return np.array([sum(logs[k, option] for k, option in enumerate(row)) for row in EVERY.tolist()])


@pytest.mark.parametrize("seed", range(12))
def test_fastest_is_the_fastest_of_all_that_are_as_likely(shapes, seed):
    logs, cost = shapes.seeded_beliefs(SPACE, seed), priced(seed)
    likely = sums(logs)
    assert np.exp(likely).sum() == pytest.approx(1.0, abs=1e-12)
    least = shapes.wanted(logs)
    assert least == pytest.approx(likely.min() + 0.75 * (likely.max() - likely.min()), abs=1e-12)
    assert 0 < (likely >= least).sum() < len(EVERY)
    ms = np.array([2.0 + sum(cost.table[k, option] for k, option in enumerate(row)) for row in EVERY.tolist()])
    best = int(np.where(likely >= least, ms, np.inf).argmin())
    assert shapes.fastest(cost, logs, least).tolist() == EVERY[best].tolist()


def test_shaped_times_every_network_on_every_device(shapes):
    logs, costs = shapes.seeded_beliefs(SPACE, 0), {name: priced(k) for k, name in enumerate(("one", "two", "three"))}
    found = shapes.shaped(SimpleNamespace(space=SPACE), costs, logs)
    for device, cost in costs.items():
        for name, network in found["networks"].items():
            row = SPACE.indices(SPACE.parse(network))
            assert found["ms"][device][name] == pytest.approx(float(cost.exact(row[None])[0]))
    for device, row in shapes.ratios(found["ms"]).items():
        assert row[device] == 1 and min(row.values()) == 1
    assert len(set(found["networks"].values())) == 3
    assert "1.000" in shapes.table(found["ms"])


def test_a_network_that_is_not_the_fastest_on_its_device_stops_it(shapes, monkeypatch):
    logs, costs = shapes.seeded_beliefs(SPACE, 0), {name: priced(k) for k, name in enumerate(("one", "two"))}
    right = shapes.fastest

    def swapped(cost, logs, least):
        other = costs["two"] if cost is costs["one"] else costs["one"]
        return right(other, logs, least)

    monkeypatch.setattr(shapes, "fastest", swapped)
    with pytest.raises(AssertionError, match="another network is faster"):
        shapes.shaped(SimpleNamespace(space=SPACE), costs, logs)


def test_beliefs_are_the_policy_that_a_search_ended_with(shapes, tmp_path):
    config, task = ToySpace(), ToyTask(count_each=64)
    run = Run.start(tmp_path / "run", {}, seed=0)
    setup = Setup(config.supernet(3, 4), task, config.space)
    found = share(Proxyless(arch_lr=0.1), setup, epochs=2, batch=16, run=run)
    policy = Proxyless().probabilities(found.state)
    expected = np.stack([p.double().log().numpy() for p in policy.values()])
    assert np.ptp(expected) > 0.1
    assert shapes.beliefs_of(run.folder, config.space) == pytest.approx(expected, abs=1e-5)


def test_beliefs_leave_out_what_is_no_option(shapes):
    space = Space({"a": Choice(("x", "y", "z")), "b": Choice(("x", "y"))})
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, -torch.inf]]).double()
    padded = logits.where(logits.isfinite(), 9.0).numpy()
    assert shapes.normalised(space, padded) == pytest.approx(logits.log_softmax(-1).numpy())


@pytest.mark.skipif(not DATA.is_dir(), reason="point RENASCENT_DATA at the folder of nas/")
def test_devices_shape_different_networks_of_the_same_beliefs(shapes):
    config = FBNet()
    costs = {device: fbnet(config, device, DATA) for device in shapes.DEVICES}
    found = shapes.shaped(config, costs, shapes.seeded_beliefs(config.space, 1))
    assert len(set(found["networks"].values())) == 3
    assert max(max(row.values()) for row in shapes.ratios(found["ms"]).values()) > 1.02

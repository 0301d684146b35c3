"""Networks without a search: nothing is trained, the budget is kept, and the folder is that of a search."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import renascent as rn
from renascent.core.errors import UserError
from renascent.core.files import read_json
from renascent.costs import macs
from renascent.loops.run import read_events
from renascent.tasks.prepare import ImageOptions

pytestmark = pytest.mark.usefixtures("without_measuring")

SPACE = rn.ResNetCifar(layers_count=8)


@pytest.fixture(scope="module")
def task():
    return rn.load_task("digits", options=ImageOptions(limit=120))


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(3)
    return SPACE.network(SPACE.reference, 1, 10).state_dict()


def scaled(strategy, task, folder, budget="macs<=0.4x", space=SPACE, **about):
    return rn.search(space, strategy, task, budget=budget, out=folder, **about)


@pytest.mark.renders
def test_nothing_is_trained_and_the_rest_is_as_after_a_search(task, weights, tmp_path):
    heard = []
    found = scaled(rn.Magnitude(), task, tmp_path / "r", pretrained=weights, say=heard.append)
    assert found.config["epochs"] == 0
    assert [event["event"] for event in read_events(found.folder)] == ["derived"]
    assert [event["event"] for event in heard] == ["feasible", "derived"]
    assert "already" not in heard[0]["table"]
    cost = found.facts["costs"]["macs"]
    assert cost["promised"] == cost["measured"] == macs(found.build(), (1, 8, 8)) <= cost["limit"]
    ranked = SPACE.ranked(weights, 1, 10).state
    for name, held in load_file(found.folder / "shared.safetensors").items():
        if "running" not in name and held.ndim:  # statistics are those of what is left of the network
            torch.testing.assert_close(held, ranked[name][tuple(map(slice, held.shape))], rtol=0, atol=0)
    fitted = found.fit(task, rn.Fit(epochs=1, batch=32), init="shared")
    assert set(fitted.scores) == {"test"}
    text, page = str(found), found.report().read_text()
    assert text.startswith("resnet20, scaled, without a search, by magnitude on digits (seed 0)")
    assert "accuracy before training" in text and "accuracy in the search" not in text
    assert "The events of the search are missing" not in page and "nothing was trained" in page
    assert "2301.12900" in page
    again = scaled(rn.Magnitude(), task, tmp_path / "r", pretrained=weights, resume=True)
    assert again.arch == found.arch


def test_a_killed_run_says_nothing_twice(task, tmp_path):
    def killed(event):
        if event["event"] == "derived":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaled(rn.Uniform(), task, tmp_path / "r", say=killed)
    found = scaled(rn.Uniform(), task, tmp_path / "r", resume=True)
    assert [event["event"] for event in read_events(found.folder)] == ["derived"]
    assert read_json(found.folder / "arch.json")["strategy"] == "uniform"


def test_a_budget_that_is_kept_already_is_said_and_leaves_the_network_as_it_is(task, weights, tmp_path):
    heard = []
    found = scaled(rn.Uniform(), task, tmp_path / "r", "macs<=1x", pretrained=weights, say=heard.append)
    assert found.arch == SPACE.reference
    assert "keeps this budget already" in heard[0]["table"]
    # with the channels in another order it computes the same, but for the batches' statistics
    net, given = found.inherit(), SPACE.network(SPACE.reference, 1, 10)
    given.load_state_dict(weights)
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(net.train()(x), given.train()(x), rtol=1e-4, atol=1e-5)


def test_a_latency_that_is_missed_takes_the_next_smaller_network(task, tmp_path, monkeypatch):
    from renascent.costs import Latency
    from renascent.costs.latency.fitted import fitted_latency
    from renascent.results import budgeted, measuring

    def took(net):
        return 1.0 + 1e-4 * sum(p.numel() for p in net.parameters())

    def fitted(config, shape, classes, **_):
        return fitted_latency(config, shape, classes, networks=6, milliseconds=lambda net, s: took(net))

    def slower(config, arch, task, clock, limit):
        ms = 1.3 * took(config.network(arch, 1, 10))
        return Latency(ms, ms, ms, "as its parameters say")

    monkeypatch.setattr(measuring, "fitted_latency", fitted)
    monkeypatch.setattr(budgeted, "confirmed_latency", slower)
    found = scaled(rn.Uniform(), task, tmp_path / "r", "latency_ms<=5")
    first, last = [event for event in read_events(found.folder) if event["event"] in ("derived", "settled")]
    space = SPACE.space
    assert (space.indices(space.parse(last["arch"])) <= space.indices(space.parse(first["arch"]))).all()
    assert (
        found.facts["costs"]["latency_ms"]["measured"]
        <= 5
        < 1.3 * took(SPACE.network(space.parse(first["arch"]), 1, 10))
    )


def test_a_model_of_ones_own_is_cut_without_a_search(task, tmp_path):
    torch.manual_seed(0)
    parts = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU()
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))
    with torch.no_grad():
        net[0].weight[8:] *= 100  # these are to stay
        net[2].weight[:, 8:] *= 100
    space = rn.adapt(net, (1, 8, 8))
    found = scaled(rn.Magnitude(), task, tmp_path / "r", "macs<=0.67x", space)
    assert dict(found.arch) == {"0": 8, "2": 24}
    kept = load_file(found.folder / "shared.safetensors")["0.weight"]
    assert sorted(kept.flatten(1).norm(dim=1).tolist()) == pytest.approx(
        sorted(net[0].weight[8:].flatten(1).norm(dim=1).tolist())
    )


def test_what_cannot_be_scaled_is_refused_before_a_folder_is_made(task, weights, tmp_path):
    with pytest.raises(UserError, match="without a search the largest network inside a budget is taken: give one"):
        rn.search(SPACE, rn.Uniform(), task, out=tmp_path / "r")
    other = rn.ResNetCifar(layers_count=14).network(rn.ResNetCifar(layers_count=14).reference, 1, 5).state_dict()
    with pytest.raises(UserError, match="of the trained network is missing or of another shape"):
        scaled(rn.Magnitude(), task, tmp_path / "r", pretrained=other)
    assert not (tmp_path / "r").exists()

"""Latency of blocks: sums over published and measured tables, and refusals of what does not fit."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import one_hot, soft
from renascent.core.space import Choice, Space
from renascent.costs.latency.blocks import BlockLatency, Origin, Twin
from renascent.costs.latency.build import layers_of
from renascent.costs.latency.published import fbnet_measurements, proxyless_entries
from renascent.costs.latency.sources import PIXEL1_BASE, block_key, fbnet, latency_named, pixel1, read_latency
from renascent.costs.latency.table import Entry, Lut
from renascent.nets.cells.fbnet import FBNet
from renascent.nets.cells.mbconv import BLOCKS, MBConv

DATA = Path(os.environ.get("RENASCENT_DATA", "data")) / "nas"
here = pytest.mark.skipif(not DATA.is_dir(), reason="point RENASCENT_DATA at the folder of nas/")

SPACE = Space({name: Choice(("zero", "a", "b")) for name in ("x", "y")}, name="pair")
ORIGIN = Origin("mine", "a phone", "pairs")


@pytest.fixture
def cost():
    table = np.array([[0.0, 1.0, 2.0], [0.0, 4.0, 8.0]])
    return BlockLatency(SPACE, 16.0, table, ORIGIN, spread=table / 8, base_spread=0.5)


def test_it_is_its_definition_under_gates_and_its_slope_is_the_table(cost):
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    gates = soft(SPACE, logits)
    expected = 16.0 + sum((gates[n].weight * torch.tensor(row)).sum() for n, row in zip("xy", cost.table, strict=True))
    assert cost(gates).item() == pytest.approx(expected.item(), abs=1e-12)
    slopes = torch.autograd.grad(cost(gates), [gates[name].weight for name in "xy"])
    assert torch.stack(slopes).tolist() == cost.table.tolist()
    for arch in SPACE:
        assert cost(one_hot(SPACE, arch)).item() == cost.exact(SPACE.indices(arch)[None])[0]
    assert cost.deviation(np.array([[2, 1]])) == pytest.approx([np.sqrt(0.5**2 + 0.25**2 + 0.5**2)])


def test_it_comes_back_as_it_was_saved(cost, tmp_path):
    again = BlockLatency.load(cost.save(tmp_path / "t.json"), SPACE)
    assert again.sha256 == cost.sha256
    assert (again.base, again.table.tolist(), again.spread.tolist()) == (
        16.0,
        cost.table.tolist(),
        cost.spread.tolist(),
    )
    (tmp_path / "t.json").write_text((tmp_path / "t.json").read_text().replace('"ms": 16.0', '"ms": "16"'))
    with pytest.raises(UserError, match=r"t\.json is damaged \(base\.ms is '16', no float\)"):
        BlockLatency.load(tmp_path / "t.json", SPACE)


@pytest.mark.parametrize("decisions", [("x",), ("y", "x"), ("x", "y", "z")])
def test_a_table_of_other_decisions_is_refused_by_name(cost, decisions):
    other = Space({name: Choice(("zero", "a", "b")) for name in decisions}, name="other")
    with pytest.raises(UserError, match=r"table mine is of pairs, whose decisions are not those of space 'other'") as e:
        cost.check(other)
    assert "\n" not in str(e.value)


@here
def test_the_pixel_1_has_every_block_of_the_chain():
    config, entries = MBConv(), proxyless_entries(DATA).entries
    keys = [
        block_key(config.option_layers(name, option, (3, 224, 224)))
        for name in config.space.decisions
        for option in BLOCKS
    ]
    assert len(keys) == 126
    assert set(keys) <= set(entries)
    cost = pixel1(MBConv(small=True, width=0.25), DATA)
    assert cost.base == pytest.approx(sum(entries[key].mean for key in PIXEL1_BASE))
    whole = cost.base + sum(entries[key].mean for key in keys[1::6])
    row = config.space.indices(config.reference)[None]
    assert cost.exact(row) == pytest.approx([whole])
    errors = [entries[key].var / entries[key].count for key in (*PIXEL1_BASE, *keys[1::6])]
    assert cost.deviation(row) == pytest.approx([np.sqrt(sum(errors))])
    assert {cost.table[k, 0] for k, n in enumerate(config.space.decisions) if len(config.space.options(n)) == 7} == {0}


@here
@pytest.mark.parametrize("device", ["pixel3", "raspi4", "fpga", "eyeriss"])
def test_sums_over_blocks_are_found_exactly(device):
    nets, cost = fbnet_measurements(DATA), fbnet(FBNet(width=0.25), device, DATA)
    assert nets.operations == cost.space.options("stage1.block1")
    assert np.abs(cost.exact(nets.codes) / nets.latency_ms[device] - 1).max() < 1e-6
    assert cost.table.min() == 0


def test_standard_errors_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    codes, table = rng.integers(3, size=(400, 2)), np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 4.0]])
    noisy = 5 + table[[0, 1], codes].sum(1) + 0.1 * rng.standard_normal(400)
    cost = BlockLatency.of_networks(SPACE, codes, noisy, ORIGIN)
    # written out with the first option of each decision as the base
    x = np.stack([np.ones(400), *((codes[:, d] == k).astype(float) for d in (0, 1) for k in (1, 2))], axis=1)
    found, (left,), *_ = np.linalg.lstsq(x, noisy, rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * left / (400 - 5))
    assert [cost.base, *cost.table[:, 1:].ravel()] == pytest.approx(found)
    assert [cost.base_spread, *cost.spread[:, 1:].ravel()] == pytest.approx(errors)


def test_a_block_is_the_sum_of_its_measured_layers(tmp_path):
    config, shape = MBConv(small=True, width=0.125, blocks=(2, 1, 1, 1, 1, 1)), (3, 8, 8)
    space, rng = config.space, np.random.default_rng(0)
    every = [
        space.arch({n: space.options(n)[min(k, len(space.options(n)) - 1)] for n in space.decisions}) for k in range(7)
    ]
    layers = sorted({layer for arch in every for layer in layers_of(config, arch, shape, 10)})
    about = {"space": "mbconv", "input": list(shape), "classes": 10}
    about |= {"settings": {"small": True, "width": 0.125, "blocks": [2, 1, 1, 1, 1, 1]}}
    lut = Lut(about, {layer: Entry((float(ms),), 5) for layer, ms in zip(layers, rng.random(len(layers)), strict=True)})
    cost = read_latency(lut.save(tmp_path / "t.json"), config, (1, 4, 4), 3)
    assert isinstance(cost, BlockLatency)
    assert cost.twin == Twin(config, shape, 10)
    for arch in (space.sample(rng) for _ in range(3)):
        exact = sum(lut.layers[layer].median_ms for layer in layers_of(config, arch, shape, 10))
        assert cost.exact(space.indices(arch)[None]) == pytest.approx([exact])
    with pytest.raises(UserError, match="whose decisions are not those of space 'fbnet'"):
        read_latency(tmp_path / "t.json", FBNet(), shape, 10)


@here
@pytest.mark.parametrize(
    ("word", "config", "why"),
    [
        ("fbnet:nosuch", FBNet(), "unknown device of the FBNet measurements 'nosuch'"),
        ("fbnet:pixel3", MBConv(), "not those of space 'mbconv'"),
        ("pixel1", FBNet(), "of the blocks of mbconv, not of 'fbnet'"),
        ("none.json", MBConv(), "there is no latency table none.json"),
    ],
)
def test_what_does_not_fit_is_one_line(word, config, why):
    with pytest.raises(UserError, match=why) as caught:
        latency_named(word, config, (3, 32, 32), 10)
    assert "\n" not in str(caught.value)


def test_a_published_table_that_is_not_here_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("RENASCENT_DATA", str(tmp_path))
    for word, config in (("pixel1", MBConv()), ("fbnet:pixel3", FBNet())):
        with pytest.raises(UserError, match=r"cannot be read .* set RENASCENT_DATA"):
            latency_named(word, config, (3, 32, 32), 10)

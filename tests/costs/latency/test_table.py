"""Latency tables: what is measured, kept, filled in, and how networks are priced by them."""

import functools
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot
from renascent.costs import LatencyCost, Lut
from renascent.costs.latency.build import LEAST, Sampling, layers_of, measured, plan, random_archs
from renascent.costs.latency.config import LayerConfig, configs_of, distinct, family_name, macs_and_bytes
from renascent.costs.latency.table import Calibration, Entry, Network, leave_out
from renascent.nets import SPACES
from renascent.nets.sizes.counted import macs_in, memory_access_in
from renascent.nets.sizes.layers import columns
from renascent.nets.sizes.resnet_cifar import ResNetCifar

SMALL = ResNetCifar(layers_count=14)
SHAPE = (3, 8, 8)

BEFORE = Path(__file__).parents[2] / "data" / "before"
"""Files of an older version."""
LAYER, NET = "add-k1-s1-g1-40x4x4-40", "48:16:48:48:48"
"""A layer and a network in its latency table."""


def made_up_ms(config):
    """A latency that is no sum of its sizes' effects, so that a mix-up of any two shows."""
    _, kernel, stride, _, _, active, inputs, outputs, h, w, _ = config
    return 1e-3 * (1 + np.sqrt(inputs) * outputs**0.7 * h * w * kernel / stride + 3 * active)


def entry(ms):
    return Entry((float(ms),), 1)


def made_up_table(layers, calibration=None):
    """A table of given layers; its processes have given hyperparameters, to save their search."""
    thetas = {family_name(layer.family): [-2.0, *([1.0] * 10), -7.0] for layer in layers}
    return Lut(
        {"device": "cpu"},
        {layer: entry(made_up_ms(layer)) for layer in layers},
        {},
        calibration or Calibration(),
        thetas,
    )


@pytest.fixture(scope="module")
def table():
    archs = random_archs(SMALL.space, 400, Sampling())
    indices = np.array([SMALL.space.indices(arch) for arch in archs])
    layers = distinct(SMALL.layers(columns(SMALL.space, indices), SHAPE, 10), len(indices))
    return made_up_table(layers, Calibration(0.5, 1.25, 3))


# --- configurations


@pytest.mark.parametrize("name", ["resnet20", "mobilenet-v2-cifar"])
def test_a_configuration_is_read_from_its_name(name):
    config = SPACES[name]()
    found = layers_of(config, config.reference, (3, 32, 32), 10)
    assert [LayerConfig.read(layer.key) for layer in found] == list(found)


@pytest.mark.parametrize(
    "text", ["", "conv", "conv-k3-s1-g1-16x28x28", "conv-k3-s1-g1-axbxc-1", "magic-k1-s1-g1-1x1x1-1"]
)
def test_another_text_is_none(text):
    with pytest.raises(ValueError, match="no layer of a latency table"):
        LayerConfig.read(text)


def test_its_module_maps_its_shape_to_its_output():
    config = SPACES["mobilenet-v2-cifar"]()
    for layer in set(layers_of(config, config.reference, (3, 32, 32), 10)):
        out = layer.module().eval()(torch.zeros(1, *layer.shape))
        assert out.shape[1] == layer.outputs
        if layer.kind != "linear":
            assert out.shape[2:] == (-(-layer.h // layer.stride), -(-layer.w // layer.stride))


def test_its_macs_and_bytes_are_those_that_are_counted():
    config = SPACES["mobilenet-v2-cifar"]()
    values = {name: int(v) for name, v in config.reference.items()}
    for layer in config.layers(values, (3, 32, 32), 10):
        if layer.kind in ("conv", "depthwise") and layer.presence:
            (one,) = configs_of([layer])
            macs, moved = macs_and_bytes(one.family, np.array([one.sizes]))
            assert macs[0] == macs_in(layer)
            assert moved[0] == memory_access_in(layer) - (8 * one.outputs if layer.norm else 0)


# --- the file


def test_it_comes_back_as_it_was_saved(table, tmp_path):
    layer = next(iter(table.layers))
    whole = Lut({"space": "x"}, {layer: Entry((0.25, 0.5, 0.125), 4)}, {"n": Network((layer, layer), entry(0.4))})
    held = Lut.load(whole.save(tmp_path / "t.json"))
    assert held == whole
    facts = json.loads((tmp_path / "t.json").read_text())["layers"][layer.key]
    assert (facts["median_ms"], facts["count"]) == (0.1875, 12)
    assert facts["p10_ms"] <= facts["median_ms"] <= facts["p90_ms"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other", "version": 1}'])
def test_lut_load_bad_file_is_one_line(text, tmp_path):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match=r"t\.json is no latency table"):
        Lut.load(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("about", None, "damaged (about is missing)"),
        ("about", [], "damaged (about is [], no dict)"),
        ("thetas", {"conv": 1}, "damaged (thetas.conv is 1, no list)"),
        ("calibration/scale", "1", "damaged (calibration.scale is '1', no float)"),
        (f"layers/{LAYER}/passes", 1.5, f"damaged (layers.{LAYER}.passes is 1.5, no int)"),
        (f"layers/{LAYER}/visits_ms", None, f"damaged (layers.{LAYER}.visits_ms is missing)"),
        (f"layers/{LAYER}/visits_ms", ["x"], f"damaged (layers.{LAYER}.visits_ms.0 is 'x', no float)"),
        *((f"layers/{LAYER}/visits_ms", bad, "no milliseconds)") for bad in ([], [0.0], [-1.0])),
        (f"layers/{LAYER}/visits_ms", [float("nan")], "visits_ms.0 is nan, no finite number)"),
        (f"networks/{NET}/visits_ms", [0.0], f"visits_ms of {NET} are [0.0], no milliseconds)"),
        (f"networks/{NET}/layers", None, f"damaged (networks.{NET}.layers is missing)"),
        (f"networks/{NET}/layers", ["conv"], "damaged ('conv' is no layer of a latency table"),
    ],
)
def test_lut_load_damaged_file_names_the_file_and_the_key(place, value, says, tmp_path):
    *way, last = place.split("/")
    tree = json.loads((BEFORE / "latency-table.json").read_text())
    node = functools.reduce(dict.__getitem__, way, tree)
    del node[last]
    if value is not None:
        node[last] = value
    (tmp_path / "t.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=rf"t\.json is .*{re.escape(says)}.*: build it again"):
        Lut.load(tmp_path / "t.json")


def test_a_table_of_an_older_version_predicts_what_it_did():
    config, table = SPACES["nats-size"](), Lut.load(BEFORE / "latency-table.json")
    cost = LatencyCost(config, table, (1, 8, 8), 10)
    for arch, ms in ((config.reference, 7.684229428089648), (config.space.parse("8:16:24:32:40"), 5.44961080234049)):
        assert cost.exact(config.space.indices(arch)[None])[0] == pytest.approx(ms, rel=1e-9)


def test_a_missing_file_says_how_to_build_one(tmp_path):
    with pytest.raises(UserError, match="renascent latency measure"):
        Lut.load(tmp_path / "none.json")


# --- calibration


def test_the_calibration_is_the_constant_and_the_scale(table):
    archs = random_archs(SMALL.space, 8, Sampling(seed=3))
    layers = [layers_of(SMALL, arch, SHAPE, 10) for arch in archs]
    nets = {str(k): Network(found, entry(0.7 + 1.5 * table.sum_ms(found))) for k, found in enumerate(layers)}
    found = replace(table, networks=nets).calibrated()
    assert (found.constant_ms, found.scale, found.networks) == (pytest.approx(0.7), pytest.approx(1.5), 8)


# --- the cost of a space


def test_exact_is_the_calibrated_sum_of_the_layers_that_are_there(table):
    archs = random_archs(SMALL.space, 30, Sampling(seed=5))
    found = LatencyCost(SMALL, table, SHAPE, 10).exact(np.array([SMALL.space.indices(arch) for arch in archs]))
    for arch, ms in zip(archs, found, strict=True):
        assert ms == pytest.approx(0.5 + 1.25 * table.sum_ms(layers_of(SMALL, arch, SHAPE, 10)), rel=1e-12)


def test_one_hot_gates_cost_what_the_architecture_does(table):
    cost = LatencyCost(SMALL, table, SHAPE, 10)
    for arch in random_archs(SMALL.space, 20, Sampling(seed=7)):
        exact = cost.exact(SMALL.space.indices(arch)[None])[0]
        gates = one_hot(SMALL.space, arch)
        learnt = {name: Gate(gate.weight.double().requires_grad_(), gate.active) for name, gate in gates.items()}
        assert float(cost(gates)) == pytest.approx(exact, rel=1e-9)
        assert float(cost(learnt).detach()) == pytest.approx(exact, rel=1e-9)


def all_active(chance):
    return Gate(torch.from_numpy(chance), tuple(range(len(chance))))


@pytest.mark.parametrize(
    "free", [("stem", "stage1.block1.conv1"), ("stage2.block1.conv2", "depth2"), ("depth1", "depth3", "stem")]
)
def test_soft_gates_cost_the_mean_over_all_architectures(table, free):
    """By enumeration of what the free decisions can be, each with its chance."""
    space, cost, rng = SMALL.space, LatencyCost(SMALL, table, SHAPE, 10), np.random.default_rng(0)
    full = space.arch({name: space.options(name)[-1] for name in space.decisions})
    chances = {name: rng.dirichlet(np.ones(len(space.options(name)))) for name in free}
    gates = {**one_hot(space, full), **{name: all_active(chance) for name, chance in chances.items()}}
    expected = 0.0
    for picks in itertools.product(*(range(len(chance)) for chance in chances.values())):
        arch = space.arch({**full, **{n: space.options(n)[k] for n, k in zip(free, picks, strict=True)}})
        probability = np.prod([chances[n][k] for n, k in zip(free, picks, strict=True)])
        expected += probability * cost.exact(space.indices(arch)[None])[0]
    assert float(cost(gates)) == pytest.approx(expected, rel=1e-9)


def test_its_gradient_is_that_of_differences(table):
    space, cost = SMALL.space, LatencyCost(SMALL, table, SHAPE, 10)
    rng = np.random.default_rng(0)
    weights = [torch.from_numpy(rng.dirichlet(np.ones(count))).requires_grad_() for count in space.counts]

    def expected(*weights):
        gates = {name: Gate(w, tuple(range(len(w)))) for name, w in zip(space.decisions, weights, strict=True)}
        return cost(gates)

    assert torch.autograd.gradcheck(expected, weights, fast_mode=True)


def test_a_resolution_is_one_draw_for_height_and_width():
    config = SPACES["mobilenet-v2-cifar"]()
    archs = random_archs(config.space, 60, Sampling())
    layers = {layer for arch in archs for layer in layers_of(config, arch, (3, 32, 32), 10)}
    held = made_up_table(layers)
    cost, base = LatencyCost(config, held, (3, 32, 32), 10), config.reference
    options = config.space.options("resolution")
    chance = np.random.default_rng(0).dirichlet(np.ones(len(options)))
    gates = {**one_hot(config.space, base), "resolution": all_active(chance)}
    exact = cost.exact(np.array([config.space.indices(config.space.arch({**base, "resolution": r})) for r in options]))
    assert float(cost(gates)) == pytest.approx(float(exact @ chance))


# --- building


def test_a_plan_has_the_layers_of_the_space_and_other_networks(tmp_path):
    found = plan(SMALL, SHAPE, 10, Sampling(networks=4, limit=100))
    assert len(found.layers) == len(set(found.layers)) == 100
    assert {layer.kind for layer in found.layers[:20]} == {"conv", "linear", "pool", "add"}
    assert list(found.networks) != list(plan(SMALL, SHAPE, 10, Sampling(networks=4, seed=1)).networks)
    assert found == plan(SMALL, SHAPE, 10, Sampling(networks=4, limit=100))


def test_a_killed_build_goes_on_with_what_it_has():
    sampling, kept = Sampling(limit=12, networks=2, visits=2, passes=1), []
    chosen = plan(SMALL, SHAPE, 10, sampling)

    def killed(done, of):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(chosen, SMALL, SHAPE, 10, sampling, table=Lut({}, {}), save=kept.append, show=killed)
    assert (
        sum(len(e.visits_ms) for e in [*kept[-1].layers.values(), *(n.entry for n in kept[-1].networks.values())]) == 20
    )
    done = measured(chosen, SMALL, SHAPE, 10, sampling, table=kept[-1])
    assert {len(e.visits_ms) for e in done.layers.values()} == {2}
    assert all(done.layers[layer].visits_ms[0] == e.visits_ms[0] for layer, e in kept[-1].layers.items())
    assert len(done.layers) == 12 and len(done.networks) == 2
    assert measured(chosen, SMALL, SHAPE, 10, sampling, table=done).layers == done.layers


def test_lut_build_stops_when_the_minutes_are_used():
    sampling = Sampling(limit=LEAST + 50, networks=1, minutes=0)
    done = measured(plan(SMALL, SHAPE, 10, sampling), SMALL, SHAPE, 10, sampling, table=Lut({}, {}))
    assert len(done.layers) == LEAST
    assert {len(e.visits_ms) for e in done.layers.values()} == {1}


@pytest.mark.parametrize("text", ["x", "0", "5-3", "3-", "-3", "1-2-3"])
def test_a_span_of_resolutions_is_checked(text):
    with pytest.raises(UserError, match="resolution is"):
        Sampling(resolution=text)


def test_resolutions_are_those_of_the_span():
    space = SPACES["mobilenet-v2-cifar"]().space
    found = {arch["resolution"] for arch in random_archs(space, 50, Sampling(resolution="17-25"))}
    assert found == {20, 24}
    with pytest.raises(UserError, match="16 to 32"):
        random_archs(space, 1, Sampling(resolution="100-200"))
    with pytest.raises(UserError, match="no decision"):
        random_archs(SMALL.space, 1, Sampling(resolution="16"))


def test_leaving_out_tells_how_well_the_rest_is_filled(table):
    part = replace(table, layers={layer: table.layers[layer] for layer in list(table.layers)[::4]}, thetas={})
    sparse, error = leave_out(part, 0.5)
    assert len(sparse.layers) == error.kept and error.kept + error.left_out == len(part.layers)
    assert error.median < 0.05 and error.spearman > 0.98
    assert sparse.calibration == Calibration(0.0, 1.0, 0), "it has no networks"
    with pytest.raises(UserError, match="keep is"):
        leave_out(table, 1.0)

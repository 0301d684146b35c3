"""Latency fitted to measured networks: what is a sum of counted costs is found again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot
from renascent.costs import Latency, macs, params
from renascent.costs.counts import cost_of
from renascent.costs.latency import turns
from renascent.costs.latency.fitted import Stored, fitted_latency, restored
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.resolution import input_shape

SHAPE, CLASSES = (3, 16, 16), 10
CONFIGS = {
    "topology": NatsTopology(channels=8, cells=1, nodes=3),
    "sizes": NatsSize(),
    "resnet": ResNetCifar(layers_count=14, lowest=8, highest=16),
}


def made_up(net, shape):
    """Return a fixed price and one for each multiply-accumulate."""
    return 0.3 + 2e-6 * macs(net, shape)


def made_up_exactly(config, rows):
    return 0.3 + 2e-6 * cost_of("macs", config, SHAPE, CLASSES).exact(rows)


def drawn(config, count=40):
    rng = np.random.default_rng(9)
    return [config.space.sample(rng) for _ in range(count)]


def drawn_rows(config, count=40):
    return np.stack([config.space.indices(arch) for arch in drawn(config, count)])


@pytest.fixture(scope="module", params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def fit(config):
    return fitted_latency(config, SHAPE, CLASSES, networks=14, milliseconds=made_up)


def test_a_latency_that_is_linear_in_the_costs_is_recovered(config, fit):
    rows = drawn_rows(config)
    np.testing.assert_allclose(fit.exact(rows), made_up_exactly(config, rows), rtol=1e-6)
    assert fit.error < 1e-6
    assert (fit.weights >= 0).all()


def test_expected_is_exact_where_gates_are_one_hot(config, fit):
    for arch in drawn(config, 5):
        expected = fit(one_hot(config.space, arch))
        assert expected.dtype == torch.float64
        assert float(expected) == pytest.approx(fit.exact(config.space.indices(arch)[None])[0], rel=1e-12)


def test_the_gradient_is_that_of_finite_differences(config, fit):
    rng = np.random.default_rng(0)
    weights = [torch.from_numpy(rng.dirichlet(np.ones(count))).requires_grad_() for count in config.space.counts]

    def expected(*weights):
        return fit({n: Gate(w, tuple(range(len(w)))) for n, w in zip(config.space.decisions, weights, strict=True)})

    assert torch.autograd.gradcheck(expected, weights, fast_mode=True)


def test_it_is_restored_from_json(config, fit):
    held = json.loads(json.dumps({"weights": fit.weights.tolist(), "error": fit.error}))
    again = restored(config, SHAPE, CLASSES, Stored(**held))
    rows = drawn_rows(config, 5)
    assert np.array_equal(again.exact(rows), fit.exact(rows))
    assert again.error == fit.error


def test_noise_shows_in_the_error_of_what_was_left_out():
    rng = np.random.default_rng(0)

    def noisy(net, shape):
        return made_up(net, shape) * float(np.exp(0.2 * rng.standard_normal()))

    fit = fitted_latency(CONFIGS["topology"], SHAPE, CLASSES, networks=24, milliseconds=noisy)
    assert 0.04 < fit.error < 0.4


def test_networks_of_all_sizes_are_measured_at_their_own_resolution():
    config, seen = CONFIGS["resnet"], []

    def noted(net, shape):
        seen.append((params(net), shape))
        return made_up(net, shape)

    fitted_latency(config, SHAPE, CLASSES, networks=20, milliseconds=noted)
    assert {shape[1] for _, shape in seen} == {8, 12, 16}
    whole = cost_of("params", config, SHAPE, CLASSES)
    ends = [whole.exact(np.array([[k * (n - 1) for n in config.space.counts]])) for k in (0, 1)]
    counted = [count for count, _ in seen]
    assert min(counted) < ends[0] + 0.2 * (ends[1] - ends[0])
    assert max(counted) > ends[0] + 0.8 * (ends[1] - ends[0])


@pytest.mark.parametrize("wrong", [float("nan"), 0.0, float("inf")])
def test_fitted_latency_bad_measurement_is_refused(wrong):
    with pytest.raises(UserError, match="latency could not be measured on cpu: give a look-up table"):
        fitted_latency(CONFIGS["topology"], SHAPE, CLASSES, networks=5, milliseconds=lambda net, shape: wrong)


def test_a_phase_in_which_the_machine_is_slow_says_nothing_of_the_networks_in_it(monkeypatch):
    config, slow, shown = CONFIGS["topology"], [], []

    def measured(cases, **about):
        slow.append(1.0 if slow else 3.0)
        shown.append(len(cases))
        took = [slow[-1] * made_up(net, shape) for net, shape in cases]
        return [Latency(ms, ms, ms, "by hand") for ms in took]

    monkeypatch.setattr(turns, "measure_all", measured)
    fit = fitted_latency(config, SHAPE, CLASSES, networks=40)
    rows = drawn_rows(config)
    np.testing.assert_allclose(fit.exact(rows), made_up_exactly(config, rows), rtol=1e-6)
    assert len(slow) > 2
    assert max(shown) <= 11


def test_the_reference_is_measured_too(config, fit):
    reference = config.reference
    expected = reference and made_up(config.network(reference, 3, CLASSES), input_shape(reference, SHAPE))
    assert fit.reference_ms == expected


def test_it_measures_by_itself():
    fit = fitted_latency(CONFIGS["topology"], SHAPE, CLASSES, networks=4)
    assert (fit.exact(drawn_rows(CONFIGS["topology"])) > 0).all()

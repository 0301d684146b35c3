"""Latency of whole networks, learnt from whole networks."""

import itertools

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.costs.latency.build import Sampling, random_archs
from renascent.costs.latency.predictor import ABSENT, Operators, fit_additive, fit_predictor, operators_of, rmse
from renascent.nets import SPACES
from renascent.nets.sizes.counted import Sized, macs_in
from renascent.nets.sizes.layers import columns

RNG = np.random.default_rng(0)


def test_an_additive_fit_is_exact_on_a_sum():
    counts = (3, 2, 4)
    tables = [RNG.uniform(1, 5, count) for count in counts]
    codes = np.array(list(itertools.product(*map(range, counts))))
    truth = sum(table[codes[:, k]] for k, table in enumerate(tables)) + 7
    shown = RNG.permutation(len(codes))[:14]
    terms = fit_additive(codes[shown], truth[shown])
    assert terms.predict(codes) == pytest.approx(truth, rel=1e-12)


def test_it_is_the_least_squares_solution():
    codes, y = RNG.integers(0, 3, (50, 2)), RNG.uniform(1, 2, 50)
    terms = fit_additive(codes, y)
    design = np.concatenate([codes[:, [k]] == np.arange(3) for k in range(2)], axis=1).astype(float)
    best = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert terms.predict(codes) == pytest.approx(best)


def test_features_are_counts_and_sums_by_kind():
    kinds = np.array([[0, 1, ABSENT], [1, 1, 0]])
    macs, moved = np.array([[1e6, 2e6, 0], [3e6, 4e6, 5e6]]), np.array([[1e6, 1e6, 0], [2e6, 2e6, 2e6]])
    places = np.array([[0, 1, 1], [0, 1, 1]])
    found = Operators(kinds, macs, moved, places).features()
    #         kind 0: count macs bytes at0 at1; kind 1
    assert found.tolist() == [[1, 1, 1, 1, 0, 1, 2, 1, 0, 1], [1, 5, 2, 0, 1, 2, 7, 4, 1, 1]]


@pytest.mark.parametrize("name", ["resnet20", "mobilenet-v2-cifar"])
def test_operators_of_a_space_have_its_macs(name):
    config = SPACES[name]()
    indices = np.array([config.space.indices(arch) for arch in random_archs(config.space, 25, Sampling())])
    found = operators_of(config.layers(columns(config.space, indices), (3, 32, 32), 10), 25)
    assert found.macs.sum(1) == pytest.approx(Sized(config, (3, 32, 32), 10, macs_in).exact(indices))
    assert found.features().shape[0] == 25


@pytest.mark.parametrize(
    ("name", "latency"),
    [
        ("ridge", lambda x: 1 + x @ [1.0, 2.0, 0.5]),
        ("ridge of the logarithm", lambda x: np.exp(x @ [0.9, -0.7, 0.5])),
        ("boosting", lambda x: np.where(x[:, 0] > 1.5, 3.0, 1.0) + np.where(x[:, 1] > 1.2, 2.0, 0.0)),
    ],
)
def test_the_regressor_that_fits_is_chosen(name, latency):
    x = RNG.uniform(1, 2, (600, 3))
    y, new = latency(x), RNG.uniform(1, 2, (200, 3))
    found = fit_predictor(x, y)
    assert found.name == name
    assert found.scores[name] == min(found.scores.values())
    assert rmse(found.predict(new), latency(new)) < 0.1 * y.mean()


@pytest.mark.parametrize("latency", [np.zeros(20), -np.ones(20), np.full(20, np.nan)])
def test_fit_predictor_bad_latency_is_refused(latency):
    with pytest.raises(UserError, match="above 0 ms"):
        fit_predictor(np.zeros((20, 1)), latency)
    with pytest.raises(UserError, match="10 or more"):
        fit_predictor(np.zeros((3, 1)), np.ones(3))

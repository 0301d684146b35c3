"""Proximal steps against hand-made numbers, as minimisers, and against scikit-learn's Lasso."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import Lasso

from renascent.strategies._prox import Accelerated, group_soft, heavy_step, proximal_step, soft


def begin(scales):
    return Accelerated(scales, scales, torch.zeros_like(scales))


def lasso(n=100, d=30, seed=0):
    """Return X, y and gamma of a problem of which about half the coefficients are zero."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    y = x @ (rng.standard_normal(d) * (rng.random(d) < 0.4)) + 0.5 * rng.standard_normal(n)
    return x, y, 0.1


def test_three_steps_are_those_made_by_hand():
    """The gradient is l - 2, lr 1/2, gamma 1, mu 1/2, from l = 0, all in fractions of two."""
    at, seen = begin(torch.zeros(1, dtype=torch.float64)), []
    for _ in range(3):
        at = proximal_step(at, at.ahead - 2, lr=0.5, penalty=1.0, momentum=0.5)
        seen.append(tuple(float(part) for part in at))
    # z = 1, S = 0.5, v = 0.5, l = 0.75;  z = 1.375, S = 0.875, v = 0.375, l = 1.0625;
    # z = 1.53125, S = 1.03125, v = 0.15625, l = 1.109375
    assert seen == [(0.5, 0.75, 0.5), (0.875, 1.0625, 0.375), (1.03125, 1.109375, 0.15625)]


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_iterate_becomes_the_lasso(momentum, share):
    x, y, gamma = lasso()
    wanted = Lasso(alpha=gamma, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y).coef_
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    lr = share * len(b) / float(torch.linalg.matrix_norm(a, 2)) ** 2
    at = begin(torch.ones(a.shape[1], dtype=torch.float64))
    for _ in range(2000):
        at = proximal_step(at, a.T @ (a @ at.ahead - b) / len(b), lr, gamma, momentum)
    np.testing.assert_allclose(at.kept, wanted, atol=1e-9, rtol=0)
    assert ((at.kept != 0).numpy() == (wanted != 0)).all()
    assert 0 < (wanted != 0).sum() < len(wanted)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_with_heavy_momentum_it_becomes_the_lasso_too(momentum):
    """Of the whole penalty: with the threshold of a single step it is that of 1 - momentum of it."""
    x, y, gamma = lasso()
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    lr = len(b) / float(torch.linalg.matrix_norm(a, 2)) ** 2
    w, speed = torch.ones(a.shape[1], 1, dtype=torch.float64), torch.zeros(a.shape[1], 1, dtype=torch.float64)
    for _ in range(1000):
        slope = (a.T @ (a @ w[:, 0] - b) / len(b))[:, None]
        w, speed = heavy_step(w, speed, slope, gamma, lr, momentum)
    wanted = Lasso(alpha=gamma, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y).coef_
    np.testing.assert_allclose(w[:, 0], wanted, atol=1e-9, rtol=0)
    assert ((w[:, 0] != 0).numpy() == (wanted != 0)).all()


def test_under_batch_noise_a_scale_at_zero_has_a_nonzero_look_ahead():
    x, y, gamma = lasso()
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    rng, at, apart = torch.Generator().manual_seed(0), begin(torch.ones(a.shape[1], dtype=torch.float64)), 0
    for _ in range(300):
        rows = torch.randint(len(b), (10,), generator=rng)
        at = proximal_step(at, a[rows].T @ (a[rows] @ at.ahead - b[rows]) / 10, 0.02, gamma, 0.9)
        apart += int(((at.kept == 0) & (at.ahead != 0)).sum())
    assert apart > 0


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_minimise_what_they_stand_for(seed):
    """Half the squared distance plus the threshold times the norm, by an optimiser that knows no gradient."""
    rng = np.random.default_rng(seed)
    z, threshold = 2 * rng.standard_normal(3), 0.3 + rng.random()
    found = group_soft(torch.from_numpy(z)[None], threshold, dim=1)[0].numpy()
    single = soft(torch.from_numpy(z), threshold).numpy()
    tight = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 20_000, "maxfev": 20_000}
    for mine, norm in ((found, 2), (single, 1)):

        def loss(w, norm=norm):
            return ((w - z) ** 2).sum() / 2 + threshold * np.linalg.norm(w, norm)

        best = minimize(loss, z, method="Nelder-Mead", options=tight)
        assert loss(mine) <= best.fun + 1e-12
        np.testing.assert_allclose(mine, best.x, atol=1e-5)


def test_a_group_is_shrunk_whole_and_a_group_of_one_as_a_number():
    z = torch.tensor([[[3.0, -0.2], [4.0, 0.1]]], dtype=torch.float64)  # (decisions, places, options)
    shrunk = group_soft(z, torch.tensor([[1.0, 1.0]], dtype=torch.float64), dim=1)
    assert torch.allclose(shrunk, torch.tensor([[[2.4, 0.0], [3.2, 0.0]]], dtype=torch.float64), atol=1e-15)
    assert (shrunk[0, :, 1] == 0).all()
    one = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    assert torch.allclose(group_soft(one, 0.7, dim=1), soft(one, 0.7), atol=1e-15)


def test_a_tensor_of_penalties_is_one_penalty_each():
    at = begin(torch.ones(2, 3, dtype=torch.float64))
    penalty = torch.tensor([[0.1, 0.2, 20.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
    gradient = torch.arange(6, dtype=torch.float64).reshape(2, 3) / 10
    whole = proximal_step(at, gradient, 0.1, penalty, 0.9)
    for i in range(2):
        for k in range(3):
            one = proximal_step(begin(torch.ones(1).double()), gradient[i, k], 0.1, float(penalty[i, k]), 0.9)
            assert [float(p[i, k]) for p in whole] == [float(p) for p in one]
    assert whole.kept[0, 2] == 0

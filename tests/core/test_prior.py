"""Automatic relevance determination against its closed form, its printed form, and scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import ARDRegression

from renascent.core.prior import relevance, switches


def iterated(b, noise, group=1, rounds=500):
    """Return w and gamma, after re-weighting many times, of 1/2 ||w - b||^2 + lambda sum omega ||w||.

    That is a regression on an orthonormal design, of curvature 1, and its minimiser a soft threshold.
    b: (groups, group).  noise: lambda.
    """
    gamma, w = torch.ones(len(b), dtype=torch.float64), torch.zeros_like(b)
    for _ in range(rounds):
        omega = relevance(torch.ones_like(b), gamma, noise, dim=1)
        shrunk = (b.norm(dim=1) - noise * omega).clamp_min(0)
        w = b * (shrunk / b.norm(dim=1))[:, None]
        gamma = switches(w, omega, dim=1)
    return w, gamma


def test_on_orthonormal_designs_it_is_the_closed_form():
    """Of X^T X = n I and noise variance lambda the fixed point is b (1 - lambda / (n b^2)), or exactly 0: 200 problems.

    The mean loss has the curvature 1 there, and the likelihood exp(-n loss / lambda) a shrinkage of lambda / n.
    """
    rng, seen = np.random.default_rng(0), [0, 0]
    for n, variance in ((20, 0.3), (60, 2.0), (120, 4.0), (199, 0.1)):
        found = [_projected(rng, n, variance) for _ in range(50)]
        b, border = torch.from_numpy(np.concatenate(found)), variance / n
        clear = (b**2 / border - 1).abs() > 0.1
        wanted = torch.where(b**2 > border, b * (1 - border / b**2), torch.zeros_like(b))
        w, gamma = iterated(b[:, None], border)
        assert torch.equal((w[:, 0] != 0)[clear], (wanted != 0)[clear])
        assert float((w[:, 0] - wanted)[clear].abs().max()) <= 1e-9
        assert float((gamma - (b**2 - border).clamp_min(0))[clear].abs().max()) <= 1e-9
        seen[0] += int((wanted == 0).sum())
        seen[1] += int((wanted != 0).sum())
    assert min(seen) > 200


def _projected(rng, n, variance):
    """Return X^T y / n of a random problem of 12 columns, half of them noise, with X^T X = n I."""
    design = np.linalg.qr(rng.standard_normal((n, 12)))[0] * n**0.5
    truth = rng.standard_normal(12) * (rng.random(12) < 0.5)
    return design.T @ (design @ truth + variance**0.5 * rng.standard_normal(n)) / n


@pytest.mark.parametrize("size", [2, 5])
def test_groups_have_the_known_variance(size):
    generator = torch.Generator().manual_seed(size)
    b = torch.randn(200, size, generator=generator, dtype=torch.float64) * torch.rand(200, 1, generator=generator)
    noise = 0.15
    wanted = (b**2).sum(1) / size - noise
    clear = (wanted / noise).abs() > 0.1
    w, gamma = iterated(b, noise)
    assert torch.equal((w != 0).any(1)[clear], (wanted > 0)[clear])
    assert float((gamma - wanted.clamp_min(0))[clear].abs().max()) <= 1e-9
    assert 20 < int((wanted > 0).sum()) < 180


def test_it_is_the_printed_form_without_its_cancellation():
    generator = torch.Generator().manual_seed(0)
    h, gamma = (torch.rand(50, 1, generator=generator, dtype=torch.float64) + 0.1 for _ in range(2))
    c = 1 / (1 / gamma + h / 0.3)  # 4-2
    printed = (gamma - c).sqrt() / gamma  # 4-3
    assert torch.allclose(relevance(h, gamma[:, 0], 0.3, dim=1), printed[:, 0], rtol=1e-12, atol=0)
    # where the loss is nearly flat, the printed difference is rounding
    assert float(relevance(torch.tensor([[1e-14]]), torch.ones(1), 0.01, dim=1)) == pytest.approx(1e-6, rel=1e-9)


def test_the_limits():
    none, some = torch.zeros(1, 2), torch.ones(1, 2)
    flat = relevance(none, torch.ones(1), 0.01, dim=1)
    assert flat.tolist() == [0.0]
    assert switches(some, flat, dim=1).tolist() == [float("inf")]
    assert switches(none, flat, dim=1).tolist() == [0.0]
    assert relevance(some, torch.zeros(1), 0.5, dim=1).tolist() == [2.0]


def test_on_correlated_designs_it_stays_near_scikit_learn(capsys):
    """The diagonal posterior is an approximation there: what is kept is reported, and strong coefficients agree."""
    rng = np.random.default_rng(0)
    n, d, noise = 200, 10, 0.25
    x = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d)) / d**0.5)
    truth = np.where(np.arange(d) < 4, 1.0, 0.0)
    y = x @ truth + noise**0.5 * rng.standard_normal(n)
    ard = ARDRegression(fit_intercept=False, max_iter=2000, tol=1e-10).fit(x, y).coef_
    a, b = torch.from_numpy(x.T @ x / n), torch.from_numpy(x.T @ y / n)
    gamma, w, lr = torch.ones(d, dtype=torch.float64), b.clone(), 1 / float(torch.linalg.matrix_norm(a, 2))
    for _ in range(40):
        omega = relevance(a.diagonal()[:, None], gamma, noise / n, dim=1)
        for _ in range(50):
            z = w - lr * (a @ w - b)
            w = z.sign() * (z.abs() - lr * noise / n * omega).clamp_min(0)
        gamma = switches(w[:, None], omega, dim=1)
    with capsys.disabled():
        print(f"\nkept by re-weighting {int((w != 0).sum())}, by scikit-learn {int((abs(ard) > 1e-3).sum())} of {d}")
    np.testing.assert_allclose(w[:4], ard[:4], atol=0.02)

"""Evolution strategies: the estimate of a gradient that is known, and the probabilities of a floored Gaussian."""

import pytest
import torch

from renascent.strategies._evolution import centred_ranks, estimate, floored, gaussian

CURVE = torch.tensor([[0.4, 0.1, 0.0], [0.1, 0.3, -0.2], [0.0, -0.2, 0.5]], dtype=torch.float64)
SLOPE = torch.tensor([0.7, -1.1, 0.2], dtype=torch.float64)
MEAN = torch.tensor([20.0, 21.3, 19.77], dtype=torch.float64)
SIGMA = 1.25


def quadratic(x):
    return 0.5 * (x @ CURVE * x).sum(-1) + x @ SLOPE


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("antithetic", [False, True])
def test_on_a_quadratic_it_is_sigma_times_the_gradient_half_an_option_below(antithetic):
    """floor(H + n) is H + n - U, U even on [0, 1): that is half an option below, whatever H's own fraction."""
    count = 200_000
    noise = gaussian(count, 3, SIGMA, rng(), antithetic=antithetic)
    change = quadratic((MEAN + noise).floor()) - quadratic(MEAN.floor())
    found = estimate(change, noise, SIGMA)
    each = change[:, None] * noise / SIGMA
    each = (each[: count // 2] + each[count // 2 :]) / 2 if antithetic else each
    error = each.std(0) / len(each) ** 0.5
    torch.testing.assert_close(found, each.mean(0))
    wanted = SIGMA * ((MEAN - 0.5) @ CURVE + SLOPE)
    assert ((found - wanted).abs() < 3 * error).all()
    unshifted = SIGMA * (MEAN @ CURVE + SLOPE)
    assert ((found - unshifted).abs() > 3 * error).any(), "the test can tell the two apart"


def test_opposites_come_in_pairs():
    noise = gaussian(5, 2, 0.7, rng(), antithetic=True)
    assert noise.shape == (6, 2)
    assert torch.equal(noise[:3], -noise[3:])
    assert gaussian(5, 2, 0.7, rng()).shape == (5, 2)
    assert float(gaussian(20_000, 1, 0.7, rng()).std()) == pytest.approx(0.7, rel=0.02)


def test_without_deviation_there_is_no_noise():
    assert not gaussian(4, 3, 0.0, rng()).any()


def test_opposites_cancel_what_is_even():
    noise = gaussian(6, 3, SIGMA, rng(), antithetic=True)
    even = (noise @ CURVE * noise).sum(1)
    torch.testing.assert_close(estimate(even, noise, SIGMA), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_ranks():
    assert centred_ranks(torch.tensor([0.3, -2.0, 9.0], dtype=torch.float64)).tolist() == [0.0, -0.5, 0.5]
    assert centred_ranks(torch.tensor([7.0])).tolist() == [-0.5]
    values = torch.randn(50, generator=rng())
    assert torch.equal(centred_ranks(values), centred_ranks(values.exp()))


@pytest.mark.parametrize(("mean", "sigma"), [(3.4, 1.25), (0.2, 2.0), (6.9, 0.5), (4.0, 0.1)])
def test_floored_is_how_often_it_happens(mean, sigma):
    draws = 200_000
    seen = (mean + gaussian(draws, 1, sigma, rng(3))).floor().long().clamp(0, 6)
    counts = torch.bincount(seen[:, 0], minlength=7) / draws
    found = floored(torch.tensor(mean, dtype=torch.float64), sigma, 7)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)
    assert float((found - counts).abs().max()) < 4e-3


def test_one_option_is_certain():
    assert floored(torch.tensor(0.5), 1.0, 1).tolist() == [1.0]
    assert floored(torch.tensor(0.5), 0.0, 1).tolist() == [1.0]

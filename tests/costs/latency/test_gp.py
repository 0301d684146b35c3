"""The process that fills a table, against its own formulas and against functions it has to learn."""

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from renascent.core.errors import UserError
from renascent.costs.latency.config import LayerConfig, macs_and_bytes
from renascent.costs.latency.gp import FEWEST_POINTS, MOST_POINTS, features, fit_filler, fit_process, spread_out

RNG = np.random.default_rng(0)


def layers(count, rng=RNG, **fixed):
    found = set()
    while len(found) < count:
        inputs, outputs, h = (int(rng.integers(low, high)) for low, high in ((3, 97), (3, 97), (4, 57)))
        sizes = {"inputs": inputs, "outputs": outputs, "h": h, "w": h}
        found.add(LayerConfig("conv", 3, 1, 1, True, True, 1, 1, 1, 1)._replace(**{**sizes, **fixed}))
    return sorted(found)


def latency_ms(configs):
    """A made-up machine: overhead, arithmetic by blocks of 16 channels, and memory."""
    sizes = np.array([c.sizes for c in configs])
    blocks = np.ceil(sizes[:, 1] / 16) * 16 / sizes[:, 1]
    macs, moved = macs_and_bytes(configs[0].family, sizes)
    return 0.01 + blocks * macs / 2e7 + moved / 5e6


def matern(a, b, lengths):
    """Rasmussen and Williams, Eq. 4.17."""
    r = np.sqrt((((a[:, None] - b[None]) / lengths) ** 2).sum(-1))
    s = np.sqrt(5.0) * r
    return (1 + s + s**2 / 3) * np.exp(-s)


def test_mean_and_spread_are_those_of_the_formulas():
    """Algorithm 2.1, with the hyperparameters that were learnt."""
    x, y = RNG.normal(size=(30, 2)), np.exp(RNG.normal(size=30) * 0.3)
    line = np.ones((30, 1))
    process = fit_process(x, line, y)
    variance, first, second, noise = np.exp(process.fitted.kernel_.theta)
    lengths = np.array([first, second])
    scaled, asked = (x - x.mean(0)) / x.std(0), RNG.normal(size=(7, 2))
    new = (asked - x.mean(0)) / x.std(0)
    target = np.log(y / process.roofline[0])
    covariance = variance * matern(scaled, scaled, lengths) + (noise + 1e-10) * np.eye(30)
    across = variance * matern(new, scaled, lengths)
    solved = cho_solve(cho_factor(covariance), np.stack([target, *across], axis=1))
    mean = process.roofline[0] * np.exp(across @ solved[:, 0])
    spread = np.sqrt(variance + noise - (across * solved[:, 1:].T).sum(1))
    assert process.mean_ms(asked, np.ones((7, 1))) == pytest.approx(mean, rel=1e-6)
    assert process.spread(asked) == pytest.approx(spread, rel=1e-4)


def test_the_roofline_is_the_least_squares_of_relative_errors():
    line = np.stack([np.ones(40), RNG.uniform(1, 9, 40)], axis=1)
    process = fit_process(line[:, 1:], line, line @ [0.2, 0.5], theta=[0.0, 0.0, -9.0])
    assert process.roofline == pytest.approx([0.2, 0.5])


def test_it_learns_a_machine_from_a_fifth_of_its_layers():
    configs = layers(400)
    truth = latency_ms(configs)
    shown = np.random.default_rng(1).permutation(400)[:80]
    filler = fit_filler([configs[k] for k in shown], truth[shown])
    left = np.setdiff1d(np.arange(400), shown)
    sizes = np.array([configs[k].sizes for k in left])
    predicted = filler.mean_ms(configs[0].group, sizes)
    off = np.abs(predicted / truth[left] - 1)
    assert np.median(off) < 0.05
    roofline = filler.processes[configs[0].family]
    line = np.stack([np.ones(len(left)), *(a / 1e6 for a in macs_and_bytes(configs[0].family, sizes))], axis=1)
    assert np.median(off) < 0.5 * np.median(np.abs(line @ roofline.roofline / truth[left] - 1))
    within = np.abs(np.log(truth[left] / predicted)) < 3 * filler.spread(configs[0].group, sizes)
    assert within.mean() > 0.9


def test_known_hyperparameters_give_the_same_without_a_search():
    configs = layers(60)
    first = fit_filler(configs, latency_ms(configs))
    again = fit_filler(configs, latency_ms(configs), first.thetas())
    sizes = np.array([c.sizes for c in layers(20, np.random.default_rng(5))])
    assert again.thetas() == {name: pytest.approx(theta) for name, theta in first.thetas().items()}
    assert again.mean_ms(configs[0].group, sizes) == pytest.approx(first.mean_ms(configs[0].group, sizes))


def test_too_few_layers_are_left_to_the_roofline():
    configs = layers(FEWEST_POINTS - 1)
    filler = fit_filler(configs, latency_ms(configs))
    sizes = np.array([configs[0].sizes])
    assert filler.mean_ms(configs[0].group, sizes)[0] > 0
    assert np.isinf(filler.spread(configs[0].group, sizes)[0])
    assert filler.thetas() == {}


def test_a_family_that_was_not_measured_is_told():
    filler = fit_filler(layers(4), latency_ms(layers(4, np.random.default_rng(2))))
    with pytest.raises(UserError, match=r"no layer pool-k2-s2-g1, only conv-k3-s1-g1"):
        filler.mean_ms(("pool", 2, 2, 1, False, False, 1), np.array([[1, 1, 1, 1]]))


def test_a_large_family_is_fitted_to_some_of_it():
    configs = layers(MOST_POINTS + 50)
    theta = [-2.0, *([1.0] * 10), -7.0]
    filler = fit_filler(configs, latency_ms(configs), {"conv-k3-s1-g1": theta})
    assert len(filler.processes[configs[0].family].fitted.X_train_) == MOST_POINTS


def test_the_first_chosen_are_far_from_each_other():
    configs = layers(200)
    chosen = spread_out(configs, 10)
    assert len(set(chosen)) == 10
    x = np.stack([features(configs[k].group, np.array([configs[k].sizes]))[0] for k in range(200)])
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)

    def nearest(rows):
        distance = ((x[rows][:, None] - x[rows][None]) ** 2).sum(-1)
        return distance[~np.eye(len(rows), dtype=bool)].min()

    assert nearest(chosen) > max(nearest(np.random.default_rng(s).permutation(200)[:10]) for s in range(5))


def test_activations_are_told_apart():
    plain, active = layers(40, active=False), layers(40, np.random.default_rng(3))
    configs = [*plain, *active]
    truth = latency_ms(configs) * np.repeat([1.0, 1.5], 40)
    filler = fit_filler(configs, truth)
    sizes = np.array([c.sizes for c in plain[:10]])
    ratio = filler.mean_ms(active[0].group, sizes) / filler.mean_ms(plain[0].group, sizes)
    assert np.median(ratio) == pytest.approx(1.5, rel=0.1)

"""Gates in float64: values, gradients against the formulas written out, and sampling by chi-square tests."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from renascent.core.errors import UserError
from renascent.core.gates import (
    Gate,
    all_paths,
    gumbel_hard,
    gumbel_soft,
    one_hot,
    scales,
    several_sizes,
    soft,
    two_paths,
)
from renascent.core.space import Arch, Choice, Integer, Real, Space, Subset

UNEVEN = Space({"a": Choice(("x", "y", "z")), "b": Integer((8, 16)), "c": Choice(("p", "q", "r", "s"))})
COUNTS = (3, 2, 4)
CONDITIONAL = Space(
    {
        "depth": Integer((1, 2)),
        "op": Choice(("skip", "conv"), when=("depth", (2,))),
        "extras": Subset(("se", "drop", "bn")),
    }
)


def logits(seed: int = 0, space: Space = UNEVEN) -> torch.Tensor:
    """Return (decisions, options), shorter rows padded with -inf, as the strategies pass them."""
    counts = space.counts
    values = torch.randn(len(counts), max(counts), generator=rng(seed), dtype=torch.float64)
    return values.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -math.inf)


def leaf(seed: int = 0, space: Space = UNEVEN) -> torch.Tensor:
    return logits(seed, space).requires_grad_()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exponentials(seed: int, like: torch.Tensor) -> torch.Tensor:
    """Return the noise that the Gumbel gates draw."""
    return torch.empty(like.shape, dtype=like.dtype).exponential_(generator=rng(seed))


# --- one_hot


def test_one_hot_is_the_architecture() -> None:
    gates = one_hot(UNEVEN, Arch({"a": "z", "b": 16, "c": "p"}))
    assert list(gates) == list(UNEVEN.decisions)
    assert {name: gate.weight.tolist() for name, gate in gates.items()} == {
        "a": [0, 0, 1],
        "b": [0, 1],
        "c": [1, 0, 0, 0],
    }
    assert {name: gate.active for name, gate in gates.items()} == {"a": (2,), "b": (1,), "c": (0,)}
    assert all(not gate.weight.requires_grad and gate.probe == () for gate in gates.values())
    assert all(type(k) is int for gate in gates.values() for k in gate.active)


def test_one_hot_of_a_subset_is_every_chosen_option() -> None:
    chosen = one_hot(CONDITIONAL, CONDITIONAL.arch({"depth": 1, "extras": ("bn", "se")}))["extras"]
    assert (chosen.weight.tolist(), chosen.active) == ([1, 0, 1], (0, 2))
    none = one_hot(CONDITIONAL, CONDITIONAL.arch({"depth": 1, "extras": ()}))["extras"]
    assert (none.weight.tolist(), none.active) == ([0, 0, 0], ())


def test_one_hot_of_an_inactive_decision_is_closed() -> None:
    off = one_hot(CONDITIONAL, CONDITIONAL.arch({"depth": 1, "extras": ()}))["op"]
    assert (off.weight.tolist(), off.active) == ([0, 0], ())
    on = one_hot(CONDITIONAL, CONDITIONAL.arch({"depth": 2, "op": "skip", "extras": ()}))["op"]
    assert (on.weight.tolist(), on.active) == ([1, 0], (0,))


def test_one_hot_refuses_an_architecture_of_another_space() -> None:
    with pytest.raises(UserError, match="'a' cannot be 'w'"):
        one_hot(UNEVEN, Arch({"a": "w", "b": 8, "c": "p"}))


# --- what cannot be gated


@pytest.mark.parametrize(
    "make",
    [
        lambda space, values: one_hot(space, Arch({"a": "x", "lr": 0.5})),
        lambda space, values: soft(space, values),
        lambda space, values: gumbel_soft(space, values, 1.0, rng()),
        lambda space, values: gumbel_hard(space, values, 1.0, rng()),
        lambda space, values: two_paths(space, values, rng()),
        lambda space, values: all_paths(space, values, rng()),
        lambda space, values: several_sizes(space, values, 1.0, rng()),
        lambda space, values: scales(space, values),
    ],
)
def test_a_real_decision_has_no_gate(make) -> None:
    space = Space({"a": Choice(("x", "y")), "lr": Real(0.0, 1.0)})
    with pytest.raises(UserError, match="decision 'lr' is a Real and has no options"):
        make(space, torch.zeros(2, 2))


@pytest.mark.parametrize("make", [soft, scales])
def test_a_row_for_every_decision(make) -> None:
    with pytest.raises(ValueError, match="zip"):
        make(UNEVEN, torch.zeros(2, 4))


# --- soft


@pytest.mark.parametrize("tau", [1.0, 0.3, 10.0])
def test_soft_is_the_softmax_of_each_row(tau: float) -> None:
    values = logits()
    gates = soft(UNEVEN, values, tau)
    for row, count, gate in zip(values.tolist(), COUNTS, gates.values(), strict=True):
        total = sum(math.exp(v / tau) for v in row[:count])
        assert gate.weight.tolist() == pytest.approx([math.exp(v / tau) / total for v in row[:count]], rel=1e-12)
        assert gate.active == tuple(range(count))


def test_soft_gradient_and_padding() -> None:
    values = leaf()
    toward = [torch.randn(count, dtype=torch.float64, generator=rng(k)) for k, count in enumerate(COUNTS)]
    gates = soft(UNEVEN, values, 0.7)
    sum((gate.weight * t).sum() for gate, t in zip(gates.values(), toward, strict=True)).backward()
    for row, gate, t, count in zip(values.grad, gates.values(), toward, COUNTS, strict=True):
        p = gate.weight.detach()
        torch.testing.assert_close(row[:count], p * (t - (p * t).sum()) / 0.7, rtol=1e-12, atol=1e-14)
        assert torch.equal(row[count:], torch.zeros(4 - count, dtype=torch.float64))


# --- gumbel_soft


def test_gumbel_soft_is_the_formula_with_the_noise_fixed() -> None:
    values, tau = logits(), 0.8
    gumbel = -exponentials(5, values).log()
    wanted = ((values.softmax(-1).log() + gumbel) / tau).softmax(-1)
    gates = gumbel_soft(UNEVEN, values, tau, rng(5))
    for row, count, gate in zip(wanted, COUNTS, gates.values(), strict=True):
        torch.testing.assert_close(gate.weight, row[:count], rtol=1e-12, atol=1e-14)
        assert gate.active == tuple(range(count))


def test_gumbel_soft_gradient_against_finite_differences() -> None:
    space = Space({"a": Choice(("x", "y", "z")), "b": Choice(("p", "q", "r"))})

    def weights(values: torch.Tensor) -> torch.Tensor:
        return torch.stack([gate.weight for gate in gumbel_soft(space, values, 0.8, rng(3)).values()])

    assert torch.autograd.gradcheck(weights, leaf(1, space))


@pytest.mark.parametrize("sample", [gumbel_soft, several_sizes])
@pytest.mark.parametrize("tau", [1.0, 0.1, 0.02])
def test_no_weight_is_so_small_that_a_sum_with_the_others_loses_it(sample, tau: float) -> None:
    """Products with a weight near 1e-38 fall below the least normal number: such steps took ten times as long."""
    values = 8 * logits().float()
    for seed in range(50):
        for gate in sample(UNEVEN, values, tau, rng(seed)).values():
            weight = gate.weight
            assert not ((weight > 0) & (1 + weight == 1)).any()
            assert float(weight.sum()) == pytest.approx(1, abs=1e-6)


def test_options_without_weight_leave_active_where_the_rest_drowns_them() -> None:
    values = logits()
    raw = ((values.softmax(-1).log() - exponentials(5, values).log()) / 0.02).softmax(-1)
    gates = gumbel_soft(UNEVEN, values, 0.02, rng(5))
    for row, gate in zip(raw, gates.values(), strict=True):
        assert gate.active == tuple(k for k, p in enumerate(row.tolist()) if p >= torch.finfo(torch.float64).eps)
        assert all(float(gate.weight[k]) == 0 for k in range(len(gate.weight)) if k not in gate.active)
    assert min(len(gate.active) for gate in gates.values()) == 1


# --- gumbel_hard


def test_gumbel_hard_is_exactly_one_hot() -> None:
    values = leaf()
    for seed in range(200):
        for gate, count in zip(gumbel_hard(UNEVEN, values, 0.1, rng(seed)).values(), COUNTS, strict=True):
            (k,) = gate.active
            assert type(k) is int
            assert gate.weight.tolist() == [float(j == k) for j in range(count)]
            assert gate.weight.requires_grad
            assert gate.probe == ()


@pytest.mark.parametrize("tau", [10.0, 1.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_gumbel_hard_gradient_is_the_straight_through_formula(tau: float, seed: int) -> None:
    """With dL/dh zero for every option not sampled: dL/dlogit_m = dL/dh_k p_k (delta_mk - p_m) / tau."""
    values = leaf(seed)
    gates = gumbel_hard(UNEVEN, values, tau, rng(seed))
    slopes = [1.7, -0.4, 2.5]
    # a network reads the weight of what is active only
    sum(gate.weight[gate.active[0]] * s for gate, s in zip(gates.values(), slopes, strict=True)).backward()

    noisy = ((values.detach().log_softmax(-1) - exponentials(seed, values).log()) / tau).tolist()
    for row, found, gate, slope, count in zip(noisy, values.grad, gates.values(), slopes, COUNTS, strict=True):
        top = max(row[:count])
        e = [math.exp(v - top) for v in row[:count]]
        p = [v / sum(e) for v in e]
        k = row.index(top)
        assert gate.active == (k,)
        wanted = [slope * p[k] * ((m == k) - p[m]) / tau for m in range(count)] + [0.0] * (4 - count)
        assert found.tolist() == pytest.approx(wanted, rel=1e-10, abs=1e-14)


def test_gumbel_hard_samples_the_softmax() -> None:
    values, draws = logits(3), 4000
    shared = rng(11)
    counts = [np.zeros(count) for count in COUNTS]
    for _ in range(draws):
        for seen, gate in zip(counts, gumbel_hard(UNEVEN, values, 3.0, shared).values(), strict=True):
            seen[gate.active[0]] += 1
    for seen, row, count in zip(counts, values.softmax(-1), COUNTS, strict=True):
        assert chisquare(seen, row[:count].numpy() * draws).pvalue > 1e-3


def test_gumbel_decisions_are_independent() -> None:
    space = Space({"a": Choice(("x", "y")), "b": Choice(("x", "y"))})
    shared, seen = rng(2), np.zeros((2, 2))
    for _ in range(4000):
        gates = gumbel_hard(space, torch.zeros(2, 2), 1.0, shared)
        seen[gates["a"].active[0], gates["b"].active[0]] += 1
    assert chisquare(seen.ravel()).pvalue > 1e-3


def test_a_seed_means_one_draw() -> None:
    values = logits()
    draws = [[gate.active for gate in gumbel_hard(UNEVEN, values, 1.0, rng(seed)).values()] for seed in (4, 4, 5, 6)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2] or draws[0] != draws[3]


# --- two_paths


def pair_probabilities(p: list[float]) -> dict[tuple[int, int], float]:
    """Return the chance of every unordered pair drawn one after the other without replacement."""
    return {
        (i, j): p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in itertools.combinations(range(len(p)), 2)
    }


def pair_of(gate: Gate) -> tuple[int, ...]:
    """Return the two options that take part; the open one is the only one computed."""
    assert len(gate.active) == 1
    return tuple(sorted(gate.active + gate.probe))


def test_two_paths_draws_pairs_and_opens_one_by_their_probabilities() -> None:
    values, draws, shared = logits(7), 6000, rng(8)
    p = values[2].softmax(-1).tolist()
    probabilities = pair_probabilities(p)
    pairs, opened = dict.fromkeys(probabilities, 0), dict.fromkeys(itertools.product(probabilities, (0, 1)), 0)
    for _ in range(draws):
        gate = two_paths(UNEVEN, values, shared)["c"]
        pairs[pair_of(gate)] += 1
        opened[pair_of(gate), pair_of(gate).index(gate.active[0])] += 1
    assert sum(probabilities.values()) == pytest.approx(1)
    assert chisquare(list(pairs.values()), [c * draws for c in probabilities.values()]).pvalue > 1e-3
    wanted = {((i, j), o): c * p[(i, j)[o]] / (p[i] + p[j]) for (i, j), c in probabilities.items() for o in (0, 1)}
    assert chisquare([opened[key] for key in wanted], [c * draws for c in wanted.values()]).pvalue > 1e-3


def test_two_paths_is_binary_with_the_gradient_of_the_probability() -> None:
    values = leaf(7)
    gates = two_paths(UNEVEN, values, rng(1))
    slopes = {name: torch.randn(count, dtype=torch.float64) for name, count in zip(gates, COUNTS, strict=True)}
    sum((gate.weight * slopes[name]).sum() for name, gate in gates.items()).backward()
    for (name, gate), row, found in zip(gates.items(), values.detach(), values.grad, strict=True):
        i, j = pair_of(gate)
        assert gate.weight[[*gate.active, *gate.probe]].tolist() == [1.0, 0.0]
        assert gate.weight.sum() == 1
        p = row[[i, j]].softmax(-1)
        wanted = torch.zeros(4, dtype=torch.float64)
        wanted[i] = (slopes[name][i] - slopes[name][j]) * p[0] * p[1]
        wanted[j] = -wanted[i]
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)
        assert not found[[k for k in range(4) if k not in (i, j)]].any()


def test_two_paths_never_draws_padding() -> None:
    shared = rng(0)
    for _ in range(200):
        gates = two_paths(UNEVEN, logits(), shared)
        assert pair_of(gates["b"]) == (0, 1)
        assert all(k < 3 for k in pair_of(gates["a"]))


def test_two_paths_passes_over_a_decision_of_one_option() -> None:
    space = Space({"a": Choice(("x",)), "b": Choice(("p", "q", "r"))})
    values = torch.tensor([[0.3, -math.inf, -math.inf], [0.1, 0.2, 0.3]], requires_grad=True)
    gates = two_paths(space, values, rng())
    assert (gates["a"].active, gates["a"].probe, gates["a"].weight.tolist()) == ((0,), (), [1.0])
    assert len(pair_of(gates["b"])) == 2
    (slope,) = torch.autograd.grad(gates["a"].weight.sum() * 3 + gates["b"].weight[gates["b"].active[0]], values)
    assert not slope[0].any()
    assert slope[1].abs().max() > 0
    alone = two_paths(Space({"a": Choice(("x",))}), torch.zeros(1, 1), rng())
    assert (alone["a"].active, alone["a"].probe) == ((0,), ())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_paths_draws_two_where_one_probability_alone_is_above_zero(dtype: torch.dtype) -> None:
    values = torch.tensor([[0.0, 2000.0, 0.0, -math.inf], [2000.0, 0.0, -math.inf, -math.inf], [0.0] * 4], dtype=dtype)
    assert int((values[0].softmax(-1) > 0).sum()) == 1
    shared, drawn = rng(), set()
    for _ in range(100):
        gates = two_paths(UNEVEN, values, shared)
        drawn.add(pair_of(gates["a"]))
        assert gates["a"].active == (1,)
        assert (gates["b"].active, gates["b"].probe) == ((0,), (1,))
    assert drawn == {(0, 1), (1, 2)}


# --- all_paths


def test_all_paths_opens_one_by_its_probability_and_probes_all_others() -> None:
    values, draws, shared = logits(3), 4000, rng(9)
    counts = [np.zeros(count) for count in COUNTS]
    for _ in range(draws):
        for seen, count, gate in zip(counts, COUNTS, all_paths(UNEVEN, values, shared).values(), strict=True):
            seen[gate.active[0]] += 1
            assert tuple(sorted(gate.active + gate.probe)) == tuple(range(count))
            assert gate.weight.tolist() == [float(k == gate.active[0]) for k in range(count)]
    for seen, row, count in zip(counts, values.softmax(-1), COUNTS, strict=True):
        assert chisquare(seen, row[:count].numpy() * draws).pvalue > 1e-3


def test_all_paths_has_the_gradient_of_all_probabilities() -> None:
    """dL/dlogit_i = sum_j g_j p_j (delta_ij - p_i): Eq. 4, written out."""
    values = leaf(5)
    gates = all_paths(UNEVEN, values, rng(2))
    slopes = {name: torch.randn(count, dtype=torch.float64) for name, count in zip(gates, COUNTS, strict=True)}
    sum((gate.weight * slopes[name]).sum() for name, gate in gates.items()).backward()
    for name, count, row, found in zip(gates, COUNTS, values.detach().softmax(-1), values.grad, strict=True):
        p, g = row[:count].tolist(), slopes[name].tolist()
        wanted = [sum(g[j] * p[j] * (float(i == j) - p[i]) for j in range(count)) for i in range(count)]
        assert found.tolist() == pytest.approx(wanted + [0.0] * (4 - count), rel=1e-10, abs=1e-14)


# --- several_sizes


@pytest.mark.parametrize("tau", [10.0, 0.5])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_several_sizes_is_the_formula_with_the_noise_fixed(tau: float, samples: int) -> None:
    """Weights: the Gumbel-softmax over the sampled options alone; the gradient is that of this softmax."""
    values = leaf(2)
    gates = several_sizes(UNEVEN, values, tau, rng(5), samples)
    toward = torch.randn(3, 4, dtype=torch.float64, generator=rng(6))
    sum((gate.weight * t[: len(gate.weight)]).sum() for gate, t in zip(gates.values(), toward, strict=True)).backward()
    noisy = (values.detach().softmax(-1).log() - exponentials(5, values).log()) / tau
    for row, count, gate, t, found in zip(noisy, COUNTS, gates.values(), toward, values.grad, strict=True):
        chosen = list(gate.active)
        assert len(chosen) == min(samples, count) and chosen == sorted(set(chosen)) and chosen[-1] < count
        assert gate.blend == "interpolate"
        w = torch.zeros(4, dtype=torch.float64)
        w[chosen] = row[chosen].exp() / row[chosen].exp().sum()
        torch.testing.assert_close(gate.weight.detach(), w[:count], rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(found, w * (t - (w * t).sum()) / tau, rtol=1e-9, atol=1e-14)


def test_one_size_alone_has_weight_one_and_no_gradient() -> None:
    values = leaf(1)
    gates = several_sizes(UNEVEN, values, 0.7, rng(), 1)
    assert all(float(gate.weight.detach()[gate.active[0]]) == 1 for gate in gates.values())
    sum(gate.weight[gate.active[0]] for gate in gates.values()).backward()
    assert torch.equal(values.grad, torch.zeros_like(values))


def test_several_sizes_draws_without_replacement_by_relaxed_probabilities() -> None:
    """With a large tau the relaxed probabilities are uniform, and so are all pairs."""
    shared, pairs = rng(8), dict.fromkeys(itertools.combinations(range(4), 2), 0)
    for _ in range(3000):
        pairs[several_sizes(UNEVEN, logits(7), 1e6, shared)["c"].active] += 1
    assert chisquare(list(pairs.values())).pvalue > 1e-3


def test_sizes_whose_chance_has_vanished_can_still_be_asked_for() -> None:
    values = torch.tensor([[0.0, -1e5, -1e5, -torch.inf]] * 3)
    gates = several_sizes(UNEVEN, values, 0.1, rng(), 8)
    assert [gate.active for gate in gates.values()] == [(0, 1, 2), (0, 1), (0, 1, 2, 3)]


# --- scales


def test_scales_at_zero_leave_active_and_keep_the_gradient_of_others() -> None:
    values = torch.tensor([[0.5, 0.0, -2.0, 0.0], [0.0] * 4, [1e-30, 0, 0, 3.0]], requires_grad=True)
    gates = scales(UNEVEN, values)
    assert [gate.active for gate in gates.values()] == [(0, 2), (), (0, 3)]
    assert gates["a"].weight.tolist() == [0.5, 0.0, -2.0]
    sum(gate.weight[list(gate.active)].sum() for gate in gates.values()).backward()
    assert values.grad.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]]


def test_scales_ignores_padding() -> None:
    values = torch.ones(3, 4)
    assert scales(UNEVEN, values)["b"].active == (0, 1)


# --- Gate


def test_a_gate_is_frozen() -> None:
    gate = Gate(torch.ones(2), (0,))
    with pytest.raises(AttributeError):
        gate.active = (1,)  # type: ignore[misc]

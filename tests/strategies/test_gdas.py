"""GDAS: its architecture step through the real network against the formula of the paper."""

import pytest
import torch

from renascent.core.gates import Gate, gumbel_hard
from renascent.core.protocols import Progress
from renascent.strategies._bilevel import arch_step
from renascent.strategies.gdas import GDAS


@pytest.mark.parametrize("tau", [10.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_arch_step_is_the_straight_through_formula(cell, tau, seed):
    held = cell(GDAS())
    s = held.state
    logits = s.policy.logits.detach().clone()
    noise = torch.empty_like(logits).exponential_(generator=torch.Generator().manual_seed(seed))
    noisy = (logits.log_softmax(-1) - noise.log()) / tau
    p, picks = noisy.softmax(-1), noisy.argmax(-1)

    # dL/dh of what was sampled: the slope along the weight of the one path that is computed
    h = torch.ones(len(picks), dtype=torch.float64, requires_grad=True)
    gates = {
        name: Gate(torch.zeros(5, dtype=torch.float64).index_put((k,), h[row]), (int(k),))
        for row, (name, k) in enumerate(zip(s.setup.space.decisions, picks, strict=True))
    }
    loss = s.setup.task.loss(s.net, held.val, gates).loss
    (slope,) = torch.autograd.grad(loss, [h], allow_unused=True)
    slope = torch.zeros_like(h) if slope is None else slope
    wanted = torch.zeros_like(logits)
    for row, k in enumerate(picks.tolist()):
        for m in range(5):
            wanted[row, m] = slope[row] * p[row, k] * (float(m == k) - p[row, m]) / tau

    s.rng.manual_seed(seed)
    sampled = gumbel_hard(s.setup.space, s.policy(), tau, s.rng)
    assert [gate.active for gate in sampled.values()] == [(k,) for k in picks.tolist()]
    metrics = arch_step(s, held.val, sampled)
    torch.testing.assert_close(metrics["val_loss"], loss.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-9, atol=1e-12)


def test_some_seeds_of_that_test_learn_something(cell):
    s = cell(GDAS()).state
    learns = []
    for seed in range(4):
        s.rng.manual_seed(seed)
        arch_step(s, cell(GDAS()).val, gumbel_hard(s.setup.space, s.policy(), 10.0, s.rng))
        learns.append(bool(s.policy.logits.grad.abs().max() > 1e-6))
    assert sum(learns) >= 2


def test_a_step_draws_once_for_the_weights_and_once_for_the_architecture(watched):
    strategy = GDAS()
    held = watched(strategy)
    data = held.data
    for k in range(20):
        strategy.step(held.state, data, Progress(k, 20, 8))
    assert all(len(option) == 1 for picks, _, _ in held.seen for option in picks)
    weights, archs = held.seen[::2], held.seen[1::2]
    assert not any(frozen for _, frozen, _ in weights)
    assert all(frozen for _, frozen, _ in archs)
    assert any(w[0] != a[0] for w, a in zip(weights, archs, strict=True))


def test_the_temperature_falls_on_a_straight_line(temperatures):
    seen = temperatures(GDAS(tau_start=4.0, tau_end=1.0), "gumbel_hard")
    assert seen == pytest.approx([4, 4, 3, 3, 2, 2, 1, 1])


def test_the_paper_setting():
    assert GDAS() == GDAS(arch_lr="auto", arch_weight_decay=1e-3, tau_start=10.0, tau_end=0.1)

"""Which sizes come one at a time, and the warm-up of filters."""

import dataclasses

import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from renascent.core.errors import UserError
from renascent.core.gates import ONE_HOT_DECISIONS, gumbel_soft, one_hot, several_sizes, soft
from renascent.core.protocols import Goal, Loss, Progress, Setup, Supernet, WeightRule
from renascent.core.space import Choice, Integer, Space
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.strategies._sizes import (
    all_filters,
    resolution_reinforce_loss,
    sample_resolution,
    with_filter_warmup,
)
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.rsps import RSPS
from renascent.strategies.tas import TAS
from renascent.tasks.toy import ToyTask


class ByResolution(Supernet):
    """A network that does the same at every resolution."""

    space = Space({"resolution": Integer((16, 24, 32)), "width": Integer((8, 16))})

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(48, 4)

    def forward(self, x, gates):
        return self.linear(x.flatten(1)) * gates["width"].weight.sum()

    def extract(self, arch):
        raise NotImplementedError


class ResolutionTask(ToyTask):
    """A toy task whose loss grows with the resolution."""

    def loss(self, net, batch, gates=None, *, smoothing=0.0):
        loss, score = super().loss(net, batch, gates, smoothing=smoothing)
        return Loss(loss + 0.3 * gates["resolution"].active[0], score)


SPACE = Space(
    {
        "resolution": Integer((16, 24, 32)),
        "depth": Integer((1, 2)),
        "op": Choice(("a", "b", "c")),
        "width": Integer((8, 16, 24), when=("depth", (2,))),
    }
)


def logits():
    values = torch.randn(4, 3, dtype=torch.float64, generator=rng())
    values[1, 2] = -torch.inf
    return values.requires_grad_()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_resolution_is_what_the_networks_call_it():
    assert frozenset({RESOLUTION}) == ONE_HOT_DECISIONS


def test_resolution_is_sampled_by_its_softmax():
    values, shared = logits(), rng(2)
    gates, counts = gumbel_soft(SPACE, values, 1.0, rng(1)), [0, 0, 0]
    for _ in range(3000):
        found = sample_resolution(SPACE, gates, values, shared)
        (k,) = found["resolution"].active
        assert found["resolution"].weight.tolist() == [float(j == k) for j in range(3)]
        assert not found["resolution"].weight.requires_grad
        counts[k] += 1
    assert all(found[name] is gates[name] for name in SPACE.decisions if name != "resolution")
    assert chisquare(counts, (values[0].detach().softmax(-1) * 3000).numpy()).pvalue > 1e-3


def test_the_mean_of_its_gradient_is_that_of_the_expected_loss(watched):
    """Sum over the resolutions of p(k) x the gradient where k was drawn = gradient of sum p(k) L(k)."""
    s = watched(RSPS()).state
    s.setup = dataclasses.replace(s.setup, space=SPACE)
    values, losses = logits(), torch.tensor([0.9, 0.4, 0.7], dtype=torch.float64)
    p = values[0].softmax(-1)
    (wanted,) = torch.autograd.grad((p * losses).sum(), values, retain_graph=True)
    mean = torch.zeros_like(values)
    for k, loss in enumerate(losses):
        # decay 0.95: what is subtracted is 0.95 b + 0.05 L, so that 0.95 (L - b) is left
        s.extra["baseline"] = torch.tensor(-0.6, dtype=torch.float64)
        gates = one_hot(SPACE, SPACE.arch({"resolution": (16, 24, 32)[k], "depth": 1, "op": "a"}))
        (slope,) = torch.autograd.grad(resolution_reinforce_loss(s, gates, values, loss), values, retain_graph=True)
        mean += p[k].detach() * slope / 0.95
    torch.testing.assert_close(mean, wanted, rtol=1e-10, atol=1e-12)
    assert wanted[0].abs().min() > 1e-3


def test_without_a_resolution_nothing_is_drawn_and_nothing_added(watched):
    space = Space({"width": Integer((8, 16))})
    shared, values = rng(), torch.zeros(1, 2)
    gates = several_sizes(space, values, 1.0, shared)
    before = shared.get_state()
    assert sample_resolution(space, gates, values, shared) is gates
    assert torch.equal(shared.get_state(), before)
    s = watched(RSPS()).state
    assert float(resolution_reinforce_loss(s, gates, values, torch.tensor(2.0))) == 0
    assert "baseline" not in s.extra


def expected_cost(gates):
    """Return a cost that depends on the resolution and on the width."""
    resolution, width = (gates[name].weight for name in ("resolution", "width"))
    return (resolution @ torch.tensor([1.0, 2.0, 3.0])) * (width @ torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(("limit", "over"), [(1.5, True), (9.0, False)])
@pytest.mark.parametrize(
    "strategy", [FBNetV2(arch_every=1, policy_warmup=0.0, arch_weight_decay=0.0), TAS(arch_weight_decay=0.0)]
)
def test_a_resolution_is_taught_by_all_that_is_minimised(strategy, limit, over, monkeypatch):
    """The mean over draws of a step's gradient is that of what is expected: the cost's factor takes part, where it is.

    Two widths that sum to 1 leave the output as it is: the loss depends on the drawn resolution alone.
    """
    task = ResolutionTask()
    goal = Goal("macs", limit, expected_cost, lambda rows: (rows[:, 0] + 1.0) * (rows[:, 1] + 1.0))
    setup = Setup(ByResolution(), task, ByResolution.space, WeightRule(lr=0.0, lr_end=0.0), goals=(goal,))
    values = torch.tensor([[0.3, -0.2, 0.4], [0.1, 0.2, -torch.inf]], requires_grad=True)
    p, losses, found = values[0].softmax(-1), [], torch.zeros(2, 3)
    for k, size in enumerate((16, 24, 32)):
        s, data = strategy.init(setup), task.streams(0, 32)
        with torch.no_grad():
            s.policy.logits.copy_(values)
        s.extra["baseline"] = torch.tensor(-0.6)
        drawn = one_hot(setup.space, setup.space.arch({"resolution": size, "width": 8}))
        monkeypatch.setattr("renascent.strategies._sizes.gumbel_hard", lambda *_, drawn=drawn: drawn)
        losses.append(strategy.step(s, data, Progress(0, 60, 60))["val_loss"])
        found += p[k].detach() * s.policy.logits.grad
    usage = expected_cost(soft(setup.space, values)) / limit
    # decay 0.95: what is subtracted is 0.95 b + 0.05 L, so that 0.95 (L - b) is left
    loss = 0.95 * (p @ torch.stack(losses)) + 0.05 * (p.detach() @ torch.stack(losses))
    cost = 2.0 * usage.log() if over else -2.0 * usage.log()
    (wanted,) = torch.autograd.grad(
        loss * (1 + usage.clamp_min(1).log()) ** 0.6 if isinstance(strategy, FBNetV2) else loss + cost, values
    )
    assert (float(usage.detach()) > 1) == over
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert wanted[0].abs().max() > 1e-1


@pytest.mark.parametrize("strategy", [TAS(arch_lr=0.05), FBNetV2(arch_lr=0.05, arch_every=1)])
def test_the_better_resolution_is_found(strategy):
    """The loss depends on which resolution was drawn, and on nothing that carries gradient."""
    task = ResolutionTask()
    setup = Setup(ByResolution(), task, ByResolution.space, WeightRule(lr=0.0, lr_end=0.0))
    s = strategy.init(setup)
    data = task.streams(0, 32)
    for k in range(60):
        strategy.step(s, data, Progress(k, 60, 60))
    probabilities = strategy.probabilities(s)["resolution"]
    assert int(probabilities.argmax()) == 0
    assert probabilities[0] > 0.6


@pytest.mark.parametrize("kind", [TAS, FBNetV2])
def test_warm_up_trains_all_filters_and_leaves_the_policy_alone(kind, sized, streams):
    strategy = kind(arch_every=1, filter_warmup=0.5, policy_warmup=0.3)
    held = sized(strategy, 0.5)
    s, data, seen = held.state, streams(held), []
    s.net.register_forward_hook(lambda m, given, out: seen.append(given[1]["stem"].active))
    logits = s.policy.logits.detach().clone()
    for k in range(3):
        assert set(strategy.step(s, data, Progress(k, 11, 11))) == {"train_loss", "train_score"}
    assert torch.equal(s.policy.logits, logits)
    assert seen[0] == (7,)
    assert data.val.given == 0
    assert "cost_macs" in strategy.step(s, data, Progress(3, 11, 11))
    assert not torch.equal(s.policy.logits, logits)


@pytest.mark.parametrize("kind", [TAS, FBNetV2])
def test_the_policy_learns_after_every_so_many_weight_steps(kind, sized, streams):
    strategy = kind(arch_every=4, policy_warmup=0.0)
    held = sized(strategy, 0.5)
    data = streams(held)
    learnt = ["val_loss" in strategy.step(held.state, data, Progress(k, 11, 11)) for k in range(11)]
    assert learnt == [False, False, False, True] * 2 + [False] * 3
    assert data.val.given == 2
    with pytest.raises(UserError, match="arch_every is 0: give a number of at least 1"):
        kind(arch_every=0)


def test_all_filters_are_the_largest_of_every_size():
    arch = SPACE.arch({"resolution": 24, "depth": 1, "op": "b"})
    found = all_filters(SPACE, one_hot(SPACE, arch))
    assert {name: gate.active for name, gate in found.items()} == {
        "resolution": (1,),
        "depth": (1,),
        "op": (1,),
        "width": (2,),
    }
    assert found["width"].weight.tolist() == [0, 0, 1]
    soft_ones = all_filters(SPACE, soft(SPACE, logits()))
    assert soft_ones["op"].active == (0, 1, 2)
    assert soft_ones["width"].weight.tolist() == [0, 0, 1]
    assert not soft_ones["width"].weight.requires_grad


def test_the_chance_of_all_filters_falls_from_one_to_nothing():
    gates = one_hot(SPACE, SPACE.arch({"resolution": 16, "depth": 1, "op": "a"}))
    shared, steps = rng(3), 101
    for number, probability in ((0, 1.0), (5, 0.8), (20, 0.2), (24, 0.04), (25, 0.0), (90, 0.0)):
        t = Progress(number, steps, steps)
        wide = sum(with_filter_warmup(SPACE, gates, t, 0.25, shared)["width"].active == (2,) for _ in range(1000))
        assert wide / 1000 == pytest.approx(probability, abs=0.05)


def test_without_warm_up_nothing_is_drawn():
    gates = one_hot(SPACE, SPACE.arch({"resolution": 16, "depth": 1, "op": "a"}))
    shared = rng()
    before = shared.get_state()
    assert with_filter_warmup(SPACE, gates, Progress(0, 10, 10), 0.0, shared) is gates
    assert torch.equal(shared.get_state(), before)

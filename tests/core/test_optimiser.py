"""Steps within a region, against torch.optim.SGD on the slim tensors; what lies outside stays bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.optimiser import CroppedSGD, WeightRule
from renascent.core.protocols import Progress
from renascent.core.schema import written

SETTINGS = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.02},
    {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02},
    {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02, "nesterov": True},
]
NAMES = ["plain", "decay", "momentum", "nesterov"]


class Net(nn.Module):
    """Two weights that are cropped, one that never is, and one that no step touches."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        for name, shape in (("conv", (6, 4, 3, 3)), ("norm", (6,)), ("head", (3, 2)), ("idle", (2,))):
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=rng, dtype=torch.float64)))


def gradients(net, regions, rng):
    """Give every parameter but `idle` a gradient that is zero outside its region, as a crop does."""
    for name, p in net.named_parameters():
        p.grad = None if name == "idle" else torch.zeros_like(p)
        if name in regions:
            where = regions[name]
            p.grad[where] = torch.randn(p[where].shape, generator=rng, dtype=p.dtype)
        elif name != "idle":
            p.grad += torch.randn(p.shape, generator=rng, dtype=p.dtype)


def slices(width, inputs):
    return {"conv": (slice(0, width), slice(0, inputs)), "norm": (slice(0, width),)}


def masks(width, inputs):
    """Return regions that no slice describes: every other filter."""
    conv, norm = torch.zeros(6, 4, 3, 3, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    conv[: 2 * width : 2, :inputs], norm[:width:2] = True, True
    return {"conv": conv, "norm": norm}


def momentum_of(optimiser, p):
    held = optimiser.state.get(p, {}).get("momentum_buffer")
    return None if held is None else held.clone()


def slim_step(p, held, where, settings):
    """Return value and momentum of the region after one step of torch's own SGD on a tensor that is all of it."""
    slim = p.detach()[where].clone().requires_grad_()
    slim.grad = p.grad[where].clone()
    reference = torch.optim.SGD([slim], **settings)
    if held is not None:
        reference.state[slim]["momentum_buffer"] = held[where].clone()
    reference.step()
    return slim.detach(), momentum_of(reference, slim)


def outside_of(tensor, where):
    untouched = torch.ones(tensor.shape, dtype=torch.bool)
    untouched[where] = False
    return tensor[untouched]


@pytest.mark.parametrize("kind", [slices, masks])
@pytest.mark.parametrize("settings", SETTINGS, ids=NAMES)
def test_inside_it_is_torchs_sgd_on_the_slim_tensors_and_outside_nothing_moves(settings, kind):
    net, rng = Net(), torch.Generator().manual_seed(1)
    optimiser = CroppedSGD(net, **settings)
    for width, inputs in ((2, 1), (3, 4), (1, 2), (3, 3), (2, 1), (3, 4)):
        regions = kind(width, inputs)
        gradients(net, regions, rng)
        params = dict(net.named_parameters())
        before = {name: p.detach().clone() for name, p in params.items()}
        held = {name: momentum_of(optimiser, p) for name, p in params.items()}
        expected = {
            name: slim_step(p, held[name], regions.get(name, ...), settings)
            for name, p in params.items()
            if name != "idle"
        }
        optimiser.step_inside(regions)
        for name, (value, momentum) in expected.items():
            where, p = regions.get(name, ...), params[name].detach()
            torch.testing.assert_close(p[where], value, rtol=1e-14, atol=1e-15)
            assert torch.equal(outside_of(p, where), outside_of(before[name], where))
            now = momentum_of(optimiser, params[name])
            if momentum is None:
                assert now is None
                continue
            torch.testing.assert_close(now[where], momentum, rtol=1e-14, atol=1e-15)
            old = torch.zeros_like(now) if held[name] is None else held[name]
            assert torch.equal(outside_of(now, where), outside_of(old, where))
        assert torch.equal(params["idle"], before["idle"])
        assert momentum_of(optimiser, params["idle"]) is None


@pytest.mark.parametrize("settings", SETTINGS, ids=NAMES)
def test_without_a_region_it_is_torchs_sgd(settings):
    one, two = Net(), Net()
    mine, reference = CroppedSGD(one, **settings), torch.optim.SGD(two.parameters(), **settings)
    assert isinstance(mine, torch.optim.SGD)
    for seed in range(4):
        for net in (one, two):
            gradients(net, {}, torch.Generator().manual_seed(seed))
        # whole steps, of both kinds, follow each other
        if seed % 2:
            mine.step()
        else:
            mine.step_inside({})
        reference.step()
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-14, atol=1e-15)


def test_a_plain_step_would_move_what_lies_outside():
    """What the regions are there for: without them, momentum and decay carry on."""
    net, rng = Net(), torch.Generator().manual_seed(1)
    optimiser = CroppedSGD(net, **SETTINGS[3])
    gradients(net, slices(6, 4), rng)
    optimiser.step_inside(slices(6, 4))
    before = net.conv.detach().clone()
    gradients(net, slices(2, 1), rng)
    optimiser.step()
    assert not torch.equal(
        outside_of(net.conv.detach(), slices(2, 1)["conv"]), outside_of(before, slices(2, 1)["conv"])
    )


# --- the rule


def test_the_rate_is_a_cosine_between_its_ends():
    rule = WeightRule(lr=0.3, lr_end=0.1)
    assert [rule.rate(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0.3, 0.2, 0.1])


def test_the_rate_can_fall_by_a_factor_an_epoch():
    rule = WeightRule(lr=0.1, decay_per_epoch=0.97)
    assert [rule.rate(t, epoch) for t, epoch in ((0.0, 0), (0.5, 1), (1.0, 2))] == [0.1, 0.1 * 0.97, 0.1 * 0.97**2]
    net = Net()
    optimiser = rule.optimiser(net)
    rule.apply(optimiser, 0.3, epochs=2)
    assert optimiser.param_groups[0]["lr"] == 0.1 * 0.97**2
    new = {"decay_per_epoch", "linear", "restart_epochs", "restart_factor"}
    assert not new & written(WeightRule()).keys()  # as run folders of before have it


def test_the_rate_can_fall_on_a_line():
    rule = WeightRule(lr=0.5, lr_end=0.0, linear=True)
    assert [rule.rate(t, 9.0) for t in (0.0, 0.25, 1.0)] == pytest.approx([0.5, 0.375, 0.0])


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_rate_restarts_as_that_of_torch(factor):
    """Every third of an epoch of 80, the reference in closed form by torch's own scheduler."""
    rule = WeightRule(lr=0.05, lr_end=0.001, restart_epochs=10, restart_factor=factor)
    reference = torch.optim.SGD(Net().parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(reference, 10, factor, eta_min=0.001)
    highest = []
    for step in range(240):
        t = Progress(step, 240, 3)
        schedule.step(t.epochs)
        assert rule.rate(t.fraction, t.epochs) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        highest += [t.epochs] if rule.rate(t.fraction, t.epochs) == 0.05 else []
    assert highest == {1: [*range(0, 80, 10)], 2: [0, 10, 30, 70], 3: [0, 10, 40]}[factor]


def test_six_periods_each_twice_as_long_are_the_papers_630_epochs():
    rule = WeightRule(lr=0.05, lr_end=0.001, restart_epochs=10, restart_factor=2)
    begins = [epoch for epoch in range(631) if rule.rate(0.0, epoch) == 0.05]
    assert begins == [10 * (2**k - 1) for k in range(7)] == [0, 10, 30, 70, 150, 310, 630]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decay_per_epoch": 0.9, "linear": True}, "decay_per_epoch is 0.9, and linear says otherwise"),
        ({"decay_per_epoch": 0.9, "restart_epochs": 3}, "decay_per_epoch is 0.9, and restart_epochs says otherwise"),
        ({"restart_factor": 2}, "restart_factor is 2, and nothing restarts"),
    ],
)
def test_two_ways_for_the_rate_to_fall_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        WeightRule(**given)


@pytest.mark.parametrize("regions", [None, slices(2, 1)], ids=["whole", "cropped"])
def test_applying_the_rule_clips_and_steps_at_the_rate(regions):
    net, rule = Net(), WeightRule(lr=0.3, lr_end=0.1, momentum=0.0, weight_decay=0.0, clip=0.5)
    optimiser = rule.optimiser(net)
    gradients(net, regions or {}, torch.Generator().manual_seed(4))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    norm = float(torch.sqrt(sum((g**2).sum() for g in found.values())))
    assert norm > 0.5
    rule.apply(optimiser, 0.5, regions)
    for name, p in net.named_parameters():
        moved = 0.2 * found[name] * 0.5 / (norm + 1e-6) if name in found else torch.zeros_like(p)
        torch.testing.assert_close(p.detach(), before[name] - moved, rtol=1e-12, atol=1e-14)


def test_no_momentum_means_no_nesterov():
    assert WeightRule(momentum=0.0).optimiser(Net()).param_groups[0]["nesterov"] is False
    assert WeightRule().optimiser(Net()).param_groups[0]["nesterov"] is True


@pytest.mark.parametrize(
    "wrong", [{"lr": -1}, {"lr_end": float("nan")}, {"momentum": 1.5}, {"weight_decay": -1}, {"clip": -1}]
)
def test_impossible_rules_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        WeightRule(**wrong)

"""Networks with places for what is decided, against the plain networks they stand for."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.gates import Gate, one_hot, soft
from renascent.core.space import Choice, Space
from renascent.nets.cells.ops import Zero
from renascent.nets.cells.slots import ChoiceSpace, Slot

SIDES = {"conv1": 1, "conv3": 3, "conv5": 5}


@dataclass(frozen=True)
class Twice(ChoiceSpace):
    """Two decisions, the first at two places."""

    space = Space({name: Choice(("none", *SIDES)) for name in ("first", "second")}, name="twice")

    def build(self, place, norm, channels_in, classes):
        def option(name):
            if name == "none":
                return Zero()
            conv = nn.Conv2d(4, 4, SIDES[name], padding=SIDES[name] // 2, bias=False)
            return nn.Sequential(conv, norm(4), nn.Tanh())

        parts = [place(name, option) for name in ("first", "second", "first")]
        return nn.Sequential(nn.Conv2d(channels_in, 4, 1), *parts, nn.Flatten(), nn.Linear(100, classes))

    def draw(self, arch):
        return ", ".join(arch.values())


@pytest.fixture
def net():
    return Twice().supernet(3, 2)


@pytest.fixture
def x():
    return torch.randn(4, 3, 5, 5)


def test_the_supernet_at_one_hot_gates_is_the_extracted_network(net, x):
    rng = np.random.default_rng(0)
    for arch in (net.space.sample(rng) for _ in range(6)):
        plain = net.extract(arch)
        torch.testing.assert_close(net(x, one_hot(net.space, arch)), plain(x), rtol=1e-12, atol=1e-12)
        assert {type(m) for m in plain.modules()} & {Slot} == set()


def test_places_of_one_decision_have_weights_of_their_own(net):
    slots = [m for m in net.modules() if isinstance(m, Slot)]
    assert [slot.decision for slot in slots] == ["first", "second", "first"]
    assert len({p.data_ptr() for p in net.parameters()}) == len(list(net.parameters())) == 2 + 3 * 3 * 3 + 2


def test_soft_gates_are_the_sum_of_all_options_by_weight(net, x):
    logits = torch.randn(2, 4, requires_grad=True)
    gates = soft(net.space, logits)
    value = net.net[0](x)
    for slot in (net.net[1], net.net[2], net.net[3]):
        parts = [option(value) for option in slot.mixed.options]
        value = sum(w * part for w, part in zip(gates[slot.decision].weight, parts, strict=True))
    ours, theirs = net(x, gates), net.net[4:](value)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    found = [torch.autograd.grad(out.sin().sum(), logits, retain_graph=True)[0] for out in (ours, theirs)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_probes_have_the_gradient_of_active_options_of_weight_zero(net, x):
    found = []
    for active, probe in (((1,), (0, 2, 3)), ((0, 1, 2, 3), ())):
        weight = torch.tensor([0.0, 1.0, 0.0, 0.0], requires_grad=True)
        gates = {name: Gate(weight, active, probe) for name in net.space.decisions}
        found.append(torch.autograd.grad(net(x, gates).sin().sum(), weight)[0])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    assert found[0][0] == 0
    assert found[0][1:].abs().min() > 1e-6


def test_outside_of_a_forward_pass_a_slot_says_what_it_belongs_to(net):
    with pytest.raises(AssertionError, match="part of a supernet"):
        net.net[1](torch.zeros(1, 4, 5, 5))

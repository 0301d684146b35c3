"""Supernets of sizes: what masks, interpolation and depths compute, against the papers' formulas written out."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from renascent.core.gates import Gate, one_hot, several_sizes
from renascent.core.space import Integer, Space
from renascent.nets import SPACES
from renascent.nets.context import GateContext
from renascent.nets.sizes.mixture import stretching
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.sized import MixedDepth, MixedSkip, MixedUnit
from renascent.nets.sizes.units import Skip, Stage, Unit

WIDTHS, BEFORE, DEPTHS = (2, 3, 5, 8), (3, 4, 6), (0, 1, 2)
SPACE = Space({"width": Integer(WIDTHS), "before": Integer(BEFORE), "depth": Integer(DEPTHS)})


def gates(width, before=(2,), depth=(2,), blend="sum", *, learning=True):
    found = {}
    for name, active in (("width", width), ("before", before), ("depth", depth)):
        count = len(SPACE.decisions[name].options)
        weight = torch.zeros(count)
        weight[list(active)] = torch.rand(len(active)).softmax(0)
        found[name] = Gate(weight.requires_grad_(learning and len(active) > 1), active, blend=blend)
    return found


def run(module, context, x, given):
    with context.active(given):
        return module(x)


def norm(x, unit, width):
    return functional.batch_norm(x, None, None, unit.norm.weight[:width], unit.norm.bias[:width], training=True)


def shaped(unit):
    """Give the normalisation a scale and a shift of its own."""
    with torch.no_grad():
        for p in (unit.norm.weight, unit.norm.bias):
            p.normal_()
    return unit


UNITS = [(6, 3, 1), (6, 1, 1), (6, 1, 2), (9, 1, 1), (6, 3, 2)]
"""Inputs, kernel and stride; a 1x1 convolution of stride 1 that widens is computed in another way."""


def unit_of(inputs, kernel, stride):
    unit = shaped(Unit(inputs, 8, kernel, stride, activation="relu", decision="width"))
    context = GateContext(SPACE)
    return unit, MixedUnit(unit, context), context


@pytest.mark.parametrize(("inputs", "kernel", "stride"), UNITS)
@pytest.mark.parametrize("active", [(0, 1, 2, 3), (0, 2), (1, 3)])
def test_fbnet_v2_runs_the_sum_over_masked_copies(assert_alike, inputs, kernel, stride, active):
    """arXiv:2004.05565, Eq. 3: masks of all widths on the widest output."""
    unit, mixed, context = unit_of(inputs, kernel, stride)
    given, x = gates(active), torch.randn(4, inputs, 5, 5)
    wide = WIDTHS[active[-1]]
    full = norm(functional.conv2d(x, unit.conv.weight[:wide], None, stride, kernel // 2), unit, wide)
    copies = [given["width"].weight[k] * full * (torch.arange(wide) < WIDTHS[k])[:, None, None] for k in active]
    wanted = sum(copies).relu()
    assert_alike(run(mixed, context, x, given), wanted, (given["width"].weight, *unit.parameters()))


@pytest.mark.parametrize(("inputs", "kernel", "stride"), UNITS)
@pytest.mark.parametrize("active", [(0, 1, 2, 3), (0, 2), (1, 3), (1, 2)])
def test_tas_runs_the_written_sum_over_interpolated_crops(assert_alike, inputs, kernel, stride, active):
    """arXiv:1905.09717, Eq. 5: crop, normalise, stretch to the widest, weigh, one width after the other."""
    unit, mixed, context = unit_of(inputs, kernel, stride)
    given, x = gates(active, blend="interpolate"), torch.randn(4, inputs, 5, 5)
    wide = WIDTHS[active[-1]]
    total = 0
    for k in active:
        crop = functional.conv2d(x, unit.conv.weight[: WIDTHS[k]], None, stride, kernel // 2)
        out = norm(crop, unit, WIDTHS[k])
        total = total + given["width"].weight[k] * torch.einsum("nchw,dc->ndhw", out, stretching(WIDTHS[k], wide))
    assert_alike(run(mixed, context, x, given), total.relu(), (given["width"].weight, *unit.parameters()))


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_gradient_of_the_weights_of_widths_is_that_of_finite_differences(kernel):
    _, mixed, context = unit_of(6, kernel, 1)
    x, slope = torch.randn(4, 6, 4, 4), torch.randn(4, 8, 4, 4)

    def value(weight):
        given = gates((1, 3), blend="interpolate", learning=False)
        given["width"] = replace(given["width"], weight=weight)
        return (run(mixed, context, x, given) * slope).sum()

    assert torch.autograd.gradcheck(value, (torch.tensor([0.0, 0.4, 0.0, 0.6], requires_grad=True),))


def test_channels_of_a_depthwise_unit_are_masked_again_and_not_stretched_again():
    unit, context = shaped(Unit(8, 8, 3, depthwise=True, tied="width")), GateContext(SPACE)
    mixed, x = MixedUnit(unit, context), torch.randn(4, 5, 6, 6)
    plain = norm(functional.conv2d(x, unit.conv.weight[:5], None, 1, 1, groups=5), unit, 5)
    given = gates((0, 2))
    opened = sum(given["width"].weight[k] * (torch.arange(5) < WIDTHS[k]) for k in (0, 2))
    torch.testing.assert_close(run(mixed, context, x, given), (plain * opened[:, None, None]).relu())
    torch.testing.assert_close(run(mixed, context, x, gates((0, 2), blend="interpolate")), plain.relu())


def test_widths_without_a_normalisation_come_together_too():
    unit, context = Unit(3, 8, 1, activation="none", decision="width", norm=False), GateContext(SPACE)
    mixed, x = MixedUnit(unit, context), torch.randn(2, 3, 4, 4)
    out = functional.conv2d(x, unit.conv.weight[:5])
    given = gates((0, 2))
    opened = sum(given["width"].weight[k] * (torch.arange(5) < WIDTHS[k]) for k in (0, 2))
    torch.testing.assert_close(run(mixed, context, x, given), out * opened[:, None, None])
    given = gates((0, 2), blend="interpolate")
    w = given["width"].weight
    wanted = w[0] * torch.einsum("nchw,dc->ndhw", out[:, :2], stretching(2, 5)) + w[2] * out
    torch.testing.assert_close(run(mixed, context, x, given), wanted)


@pytest.mark.parametrize("blend", ["sum", "interpolate"])
@pytest.mark.parametrize("active", [(0, 1, 2), (0, 2), (1, 2)])
def test_depths_are_the_weighted_sum_of_the_outputs_at_each(assert_alike, active, blend):
    """TAS, Eq. 7. A block may be wider than the one before."""
    blocks, context = [nn.Conv2d(2, 3, 1), nn.Conv2d(3, 5, 1)], GateContext(SPACE)
    mixed = MixedDepth(Stage(blocks, "depth", {0: 0, 1: 1, 2: 2}), context)
    given, x = gates((3,), depth=active, blend=blend), torch.randn(2, 2, 3, 3)
    outputs = [x, blocks[0](x), blocks[1](blocks[0](x))]
    wanted = torch.zeros(2, 5, 3, 3)
    for k in active:
        narrow = outputs[k].shape[1]
        matrix = stretching(narrow, 5) if blend == "interpolate" else torch.eye(5)[:, :narrow]
        wanted = wanted + given["depth"].weight[k] * torch.einsum("nchw,dc->ndhw", outputs[k], matrix)
    leaves = (given["depth"].weight, *blocks[0].parameters())
    assert_alike(run(mixed, context, x, given), wanted, leaves)


def test_depths_of_as_many_blocks_are_one():
    """A network's depth may say nothing about one of its stages."""
    context = GateContext(SPACE)
    mixed = MixedDepth(Stage([nn.ReLU(), nn.Identity()], "depth", {0: 1, 1: 1, 2: 2}), context)
    x = torch.randn(2, 2, 3, 3)
    assert torch.equal(run(mixed, context, x, gates((3,), depth=(0, 1))), x.relu())
    torch.testing.assert_close(run(mixed, context, x, gates((3,), depth=(0, 1, 2))), x.relu())


def test_a_skip_is_nothing_between_one_width_and_itself():
    skip, context = Skip(6, 8, "before", "width", forced=True), GateContext(SPACE)
    mixed, x = MixedSkip(skip, context), torch.randn(2, 3, 4, 4)
    skip.unit = mixed.unit = MixedUnit(skip.unit, context)
    assert run(mixed, context, x, gates((1,), before=(0,))) is x
    assert run(mixed, context, x, gates((2,), before=(0,))).shape[1] == 5
    assert run(mixed, context, x, gates((0, 1), before=(0,))).shape[1] == 3


def test_the_gate_context_is_empty_outside_of_a_forward_pass():
    net = SPACES["nats-size"]().supernet(1, 2)
    given = one_hot(net.space, net.space.at(0))
    with pytest.raises(RuntimeError):
        net(torch.zeros(2, 3, 4, 4), given)  # of another number of channels
    with pytest.raises(AssertionError, match="call that, with gates"):
        net.context.gate("width-0")
    assert net(torch.randn(2, 1, 4, 4), given).shape == (2, 2)


@pytest.mark.parametrize("space", ["nats-size", "resnet20"])
def test_supernet_one_sampled_size_gives_no_gate_gradient(space):
    """TAS, arXiv:1905.09717, Table 3.6 of the thesis: with one sample there is no gradient."""
    net = SPACES[space]().supernet(1, 3)
    counts = [len(d.options) for d in net.space.decisions.values()]
    logits = torch.randn(len(counts), max(counts))
    logits = logits.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -torch.inf).requires_grad_()
    for samples in (1, 2):
        given = several_sizes(net.space, logits, 1.0, torch.Generator().manual_seed(0), samples)
        loss = net(torch.randn(4, 1, 8, 8), given).logsumexp(1).sum()
        (slope,) = torch.autograd.grad(loss, logits)
        assert bool(slope.abs().max() > 1e-6) is (samples == 2)


@pytest.mark.parametrize("opened", [0, 1])
def test_a_probed_size_is_one_that_is_computed_at_weight_zero(opened):
    net, x = ResNetCifar(layers_count=8, depths=False).supernet(1, 3), torch.randn(4, 1, 8, 8)
    both = [(0, len(net.space.options(name)) - 1) for name in net.space.decisions]
    weights = [
        torch.eye(count)[pair[opened]].requires_grad_() for count, pair in zip(net.space.counts, both, strict=True)
    ]
    named = list(zip(net.space.decisions, weights, both, strict=True))
    probed = {name: Gate(weight, (pair[opened],), (pair[1 - opened],)) for name, weight, pair in named}
    outs = [net(x, gates) for gates in (probed, {name: Gate(weight, pair) for name, weight, pair in named})]
    torch.testing.assert_close(*outs)
    found, wanted = (torch.stack(torch.autograd.grad(out.logsumexp(1).sum(), weights)) for out in outs)
    torch.testing.assert_close(found, wanted)
    assert found[:, 0].abs().min() > 1e-5  # the wider one's channels end at ReLU's zero while it is closed

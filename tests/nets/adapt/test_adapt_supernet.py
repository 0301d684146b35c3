"""The supernet of a user's model under gates that are not one-hot, against hooks that mix maps as the papers write."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from renascent.core.errors import UserError
from renascent.core.gates import Gate, gumbel_hard, one_hot, soft
from renascent.costs import macs, params
from renascent.nets.adapt import adapt

SHAPE = (3, 8, 8)


class Small(nn.Module):
    """Two branches side by side, a row of blocks, a flattened map: every way in which a weight reads channels."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.join = nn.Conv2d(10, 4, 1)
        self.row = nn.Sequential(Block(), Block(), Block())
        self.fc = nn.Linear(4 * 16, 5)

    def forward(self, x):
        x = self.join(torch.cat([F.relu(self.left(x)), torch.tanh(self.right(x))], 1))
        return self.fc(F.avg_pool2d(self.row(x), 2).flatten(1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x):
        return x + self.b(F.relu(self.norm(self.a(x))))


@pytest.fixture
def given():
    """Return (space, supernet, inputs)."""
    torch.manual_seed(0)
    space = adapt(Small(), SHAPE, multiple=2)
    return space, space.supernet(3, 5), torch.randn(4, *SHAPE)


def logits(space, seed=0):
    counts = space.space.counts
    values = torch.randn(len(counts), max(counts), generator=torch.Generator().manual_seed(seed))
    return values.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -torch.inf)


def reference(space, **changed):
    return {**one_hot(space.space, space.reference), **changed}


def mixed(x, gate, options, kind):
    """Return the mixture of the first channels of x for every option, written as the papers do."""
    total = 0
    for k, size in enumerate(options):
        part = x[:, :size]
        if kind == "sum":
            part = F.pad(part, (0, 0, 0, 0, 0, x.shape[1] - size))
        else:
            part = F.adaptive_avg_pool3d(part[:, None], (x.shape[1], *x.shape[2:]))[:, 0]
        total = total + gate.weight[k] * part
    return total


@pytest.mark.parametrize("kind", ["sum", "interpolate"])
@pytest.mark.parametrize("name", ["left", "right", "row.0.a", "join"])
def test_several_widths_are_mixed_where_they_are_read(given, kind, name):
    space, net, x = given
    options = space.space.decisions[name].options
    weight = torch.tensor([0.25, 0.4, 0.35][: len(options)])
    gate = Gate(weight, tuple(range(len(options))), blend=kind)
    found = net(x, reference(space, **{name: gate}))

    plain = net.extract(space.reference).train()
    readers = {"left": ["join"], "right": ["join"], "row.0.a": ["row.0.b"]}
    offset = {"left": slice(0, 4), "right": slice(4, 10)}.get(name, slice(None))
    for reader in readers.get(name, [f"row.{k}.a" for k in range(3)]):

        def before(module, args):
            x = args[0].clone()
            x[:, offset] = mixed(x[:, offset], gate, options, kind)
            return (x,)

        plain.get_submodule(reader).register_forward_pre_hook(before)
    if name == "join":  # the stream is read by the last layer too
        fc = plain.fc
        plain.fc = nn.Identity()
        flat = plain(x).unflatten(1, (4, 4, 4))
        wanted = fc(mixed(flat, gate, options, kind).flatten(1))
    else:
        wanted = plain(x)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_several_depths_are_mixed_behind_the_last(given):
    space, net, x = given
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = net(x, reference(space, **{"depth.row": Gate(weight, (1, 2, 3))}))
    plain = net.extract(space.reference).train()
    start = plain.join(torch.cat([F.relu(plain.left(x)), torch.tanh(plain.right(x))], 1))
    outs = list(itertools.accumulate(plain.row, lambda h, block: block(h), initial=start))
    mean = sum(w * out for w, out in zip(weight[1:], outs[1:], strict=True))
    wanted = plain.fc(F.avg_pool2d(mean, 2).flatten(1))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_blocks_that_are_not_active_are_not_computed(given):
    space, net, x = given
    gates = reference(space, **{"depth.row": Gate(torch.tensor([0.5, 0.5, 0.0, 0.0]), (0, 1))})
    net(x, gates).sum().backward()
    computed = {k for k in range(3) if net.model.row[k].a.weight.grad is not None}
    assert computed == {0}


@pytest.mark.parametrize("kind", ["sum", "interpolate"])
def test_every_gate_learns_and_its_slope_is_right(given, kind):
    space, net, x = given
    values = logits(space).requires_grad_()

    def loss(values):
        gates = {n: dataclasses.replace(g, blend=kind) for n, g in soft(space.space, values).items()}
        return net(x, gates).pow(2).mean()

    (slope,) = torch.autograd.grad(loss(values), values)
    assert (slope.abs().sum(1) > 1e-8).all()
    towards = torch.randn_like(values).masked_fill(values.isinf(), 0.0)
    step = 1e-5
    with torch.no_grad():
        numeric = (loss(values + step * towards) - loss(values - step * towards)) / (2 * step)
    torch.testing.assert_close((slope.nan_to_num() * towards).sum(), numeric, rtol=1e-6, atol=1e-9)


def test_a_sampled_width_has_its_value_and_its_slope(given):
    space, net, x = given
    values = logits(space).requires_grad_()
    gates = gumbel_hard(space.space, values, 1.0, torch.Generator().manual_seed(0))
    picks = [gates[name].active[0] for name in space.space.decisions]
    arch = space.space.from_indices(picks)
    out = net(x, gates)
    torch.testing.assert_close(out, net.extract(arch).train()(x), rtol=1e-10, atol=1e-10)
    out.pow(2).sum().backward()
    assert values.grad.abs().sum() > 0


def test_only_the_part_that_is_kept_is_computed(given):
    space, net, x = given
    arch = space.space.arch({**space.reference, "right": 2, "join": 2})
    shapes = {}

    def seen(module, args, out):
        shapes[next(n for n, m in net.model.named_modules() if m is module)] = (args[0].shape[1], out.shape[1])

    for module in net.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(seen)
    net(x, one_hot(space.space, arch))
    assert shapes["right"] == (3, 2)
    assert shapes["join"] == (4 + 2, 2)
    assert shapes["row.1.a"] == (2, 6)


def test_supernet_forward_restores_the_model_even_after_an_error(given):
    space, net, x = given
    arch = space.space.arch({**space.reference, "left": 2, "depth.row": 1})
    before = {name: (p.shape, p.data_ptr()) for name, p in net.named_parameters()}
    counts = {name: b.clone() for name, b in net.named_buffers()}

    def state():
        conv, norm = net.model.left, net.model.row[0].norm
        blocks = [type(block).__name__ for block in net.model.row]
        return conv.out_channels, norm.training, norm.track_running_stats, blocks, len(net.model.row[0]._forward_hooks)

    first = state()
    net(x, one_hot(space.space, arch))
    assert state() == first
    mixture = {**reference(space), "depth.row": Gate(torch.full((4,), 0.25), (0, 1, 2, 3))}
    for gates in (one_hot(space.space, arch), mixture):
        with pytest.raises(UserError):
            net(torch.randn(4, 7, 8, 8), gates)
        assert state() == first
    assert {name: (p.shape, p.data_ptr()) for name, p in net.named_parameters()} == before
    assert all(torch.equal(b, counts[name]) for name, b in net.named_buffers()), "running statistics must stay"


def test_regions_are_what_a_one_hot_pass_gives_a_gradient(given):
    space, net, x = given
    rng = np.random.default_rng(0)
    narrow = space.space.arch({**space.reference, "left": 2, "right": 2})
    for arch in [*(space.space.sample(rng) for _ in range(5)), narrow]:
        gates = one_hot(space.space, arch)
        net.zero_grad(set_to_none=True)
        net(x, gates).pow(2).sum().backward()
        regions = net.crops(gates)
        for name, p in net.named_parameters():
            if p.grad is not None:
                inside = torch.zeros(p.shape, dtype=torch.bool)
                inside[regions.get(name, ())] = True
                assert (p.grad[~inside] == 0).all()
    assert any(isinstance(region, torch.Tensor) for region in regions.values()), "join reads two parts: a mask"
    assert any(isinstance(region, tuple) for region in regions.values())


def test_memory_layout_is_that_the_model_can_have(given):
    """`view` fails on maps in channels_last; a model that does not use it may have them."""
    space, net, x = given
    gates = reference(space)
    wanted = net(x, gates)
    net = net.to(memory_format=torch.channels_last)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(last, gates), wanted)
    assert space.memory_format == torch.channels_last
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Viewed(), nn.Linear(8 * 64, 5))
    space = adapt(flat, SHAPE, multiple=2)
    net = space.supernet(3, 5)
    assert space.memory_format == torch.contiguous_format
    gates = {"0": Gate(torch.full((4,), 0.25), (0, 1, 2, 3))}
    wanted = net(x, gates)
    torch.testing.assert_close(net.to(memory_format=torch.channels_last)(last, gates), wanted)


class Viewed(nn.Module):
    def forward(self, x):
        return x.view(x.shape[0], -1)


# --- resolution


def test_resolution_is_a_decision_where_the_model_takes_any_size():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    space = adapt(model, SHAPE, multiple=4, resolutions=(4, 6, 8))
    net, x = space.supernet(3, 5), torch.randn(4, *SHAPE)
    for size, width in itertools.product((4, 6, 8), (4, 8)):
        arch = space.space.arch({"resolution": size, "0": width})
        small = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False) if size < 8 else x
        plain = net.extract(arch)
        torch.testing.assert_close(net(x, one_hot(space.space, arch)), plain(small))
        assert macs(plain, (3, size, size)) == space.macs.exact(space.space.indices(arch)[None])[0]
    with pytest.raises(UserError, match="'resolution' has 3 active options: give gates that are one-hot there"):
        net(x, soft(space.space, torch.zeros(2, 3)))


def test_a_resolution_the_model_does_not_take_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 64, 5))
    with pytest.raises(UserError, match="resolution 4 cannot be offered: the model fails on inputs"):
        _ = adapt(model, SHAPE, resolutions=(4, 8)).space


# --- costs


def test_expected_costs_are_those_of_all_architectures_and_learn():
    """Against enumeration: every combination of options, counted on the extracted network, times its chance."""
    torch.manual_seed(0)
    space = adapt(Small(), SHAPE, multiple=2, least=0.5)
    net = space.supernet(3, 5)
    values = logits(space, seed=3).requires_grad_()
    probabilities = {name: gate.weight for name, gate in soft(space.space, values).items()}
    counted = {}
    expected = {"macs": 0.0, "params": 0.0}
    for picks in itertools.product(*(range(n) for n in space.space.counts)):
        arch = space.space.from_indices(picks)
        if arch not in counted:
            plain = net.extract(arch)
            counted[arch] = {"macs": macs(plain, SHAPE), "params": params(plain)}
        probability = torch.stack(
            [probabilities[n][k] for n, k in zip(space.space.decisions, picks, strict=True)]
        ).prod()
        expected = {key: total + probability * counted[arch][key] for key, total in expected.items()}
    assert len(counted) > 50
    for key, wanted in expected.items():
        cost = getattr(space, key)(soft(space.space, values))
        torch.testing.assert_close(cost, wanted, rtol=1e-12, atol=0)
        slopes = [torch.autograd.grad(c, values, retain_graph=True)[0].nan_to_num() for c in (cost, wanted)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)
    indices = np.array([space.space.indices(arch) for arch in counted])
    for key in expected:
        assert getattr(space, key).exact(indices).tolist() == [costs[key] for costs in counted.values()]


def test_listed_layers_have_the_multiply_accumulates_of_the_network(given):
    """For one architecture, for many at once, and expected under gates."""
    from renascent.nets.sizes.layers import columns, product, spreads

    space, _, _ = given

    def total(layers):
        found = 0
        for layer in layers:
            if layer.kind in ("conv", "linear"):
                h, w = layer.size
                found = found + layer.presence * product(layer.inputs, layer.outputs) * layer.kernel**2 * h * w
        return found

    rng = np.random.default_rng(0)
    archs = [space.space.sample(rng) for _ in range(20)]
    indices = np.stack([space.space.indices(arch) for arch in archs])
    assert total(space.layers(columns(space.space, indices), SHAPE, 5)).tolist() == space.macs.exact(indices).tolist()
    one = space.layers(dict(archs[0]), SHAPE, 5)
    assert total(one) == space.macs.exact(indices[:1])[0]
    assert {layer.kind for layer in one} == {"conv", "linear", "pool", "add"}
    gates = soft(space.space, logits(space))
    torch.testing.assert_close(total(space.layers(spreads(space.space, gates), SHAPE, 5)), space.macs(gates))

"""The chain of inverted residual blocks: published counts, and against a network written out a second time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot, soft
from renascent.costs import cost_of
from renascent.nets.cells.mbconv import BLOCKS, MBConv

TINY = MBConv(width=0.125, small=True, blocks=(2, 1, 1, 2, 1, 1))


def every(space, option):
    """Return the architecture of one option everywhere; `zero` where that can be chosen, mb3_k3 elsewhere."""
    return space.arch({name: option if option in space.options(name) else "mb3_k3" for name in space.decisions})


# --- what is published


def test_the_space_has_21_blocks_and_2e17_architectures():
    space = MBConv().space
    assert len(space.decisions) == 21
    assert sorted(space.counts) == [6] * 6 + [7] * 15
    assert space.size == 6**6 * 7**15 == 221502229807900608
    assert space == MBConv(width=0.25, small=True).space


@pytest.fixture(scope="module")
def priced():
    return [cost_of(name, MBConv(), (3, 224, 224), 1000).exact for name in ("params", "macs")]


@pytest.mark.parametrize(
    ("option", "params", "macs"),
    [
        ("mb6_k7", 5_103_336, 606_590_720),
        ("mb6_k3", 4_684_776, 472_620_800),
        ("mb3_k3", 3_191_928, 257_422_208),
        ("zero", 2_154_984, 102_528_896),
    ],
)
def test_parameters_and_macs_at_224(option, params, macs, priced):
    space = MBConv().space
    row = space.indices(every(space, option))[None]
    assert [float(exact(row)[0]) for exact in priced] == [params, macs]


def test_the_reference_is_every_block_mb6_k3():
    config = MBConv()
    assert config.reference == every(config.space, "mb6_k3")


# --- settings


def test_channels_are_multiples_of_eight_and_eight_at_least():
    assert MBConv(width=0.5).channels(32, 16, 24, 40, 80, 96, 192, 320, 1280) == [16, 8, 8, 16, 40, 48, 96, 160, 640]
    assert MBConv(width=0.01).channels(32, 1280) == [8, 8]


def test_blocks_of_equal_width_that_begin_a_stage_have_no_shortcut():
    """So that a narrow network has the decisions of the original."""
    firsts = [block for block in TINY.places() if block.decision.endswith("block1")]
    assert any(block.inputs == block.outputs and block.stride == 1 for block in firsts)
    assert not any(block.shortcut for block in firsts)
    assert MBConv(width=0.125).space == MBConv().space


@pytest.mark.parametrize("side", [32, 28])
def test_small_images_keep_a_map_of_4_pixels(side):
    config = MBConv(small=True, width=0.125, blocks=(1,) * 6)
    net, sizes = config.network(config.reference, 1, 10), []
    net.get_submodule("last").register_forward_hook(lambda *given: sizes.append(given[2].shape[2]))
    assert net(torch.randn(2, 1, side, side)).shape == (2, 10)
    assert sizes == [4]


def test_images_whose_maps_shrink_to_one_pixel_before_the_last_stride_are_refused():
    for config, least in ((MBConv(width=0.125, blocks=(1,) * 6), 17), (TINY, 5)):
        config.check_size((3, least, least))
        with pytest.raises(UserError, match=f"images of {least - 1} x 40 are too small for 'mbconv'"):
            config.check_size((3, least - 1, 40))


@pytest.mark.parametrize("blocks", [(4, 4), (4, 4, 4, 4, 4, 0), ()])
def test_blocks_that_cannot_be_are_refused(blocks):
    with pytest.raises(UserError, match=r"blocks is .*: give"):
        MBConv(blocks=blocks)


def test_the_drawing_has_a_line_a_block():
    lines = TINY.draw(every(TINY.space, "zero")).splitlines()
    assert len(lines) == 8
    assert lines[1].split() == ["stage1.block2", "-", "8", "->", "8,", "stride", "1"]
    assert lines[0].split()[:4] == ["stage1.block1", "3x3", "MB3", "###"]


# --- a second time


def written_out(state, arch, x, strides, statistics=None):
    """Compute one architecture by its formulas. state: the weights by the names of the plain network."""

    def unit(name, x, stride=1, active=True):
        kernel = state[f"{name}.conv.weight"]
        groups = 1 if kernel.shape[1] > 1 or kernel.shape[2] == 1 else len(kernel)
        x = F.conv2d(x, kernel, None, stride, kernel.shape[2] // 2, groups=groups)
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        scale, shift = (state[f"{name}.bn.{what}"][:, None, None] for what in ("weight", "bias"))
        x = (x - mean) / (var + 1e-5).sqrt() * scale + shift
        return x.clamp(0, 6) if active else x

    x = unit("stem", x)
    x = unit("first.1", unit("first.0", x), active=False)
    for k, (name, option) in enumerate(arch.items()):
        if option == "zero":
            continue
        first = name.endswith("block1")
        inner = f"blocks.{k}" if first else f"blocks.{k}.inside"
        stride = strides[int(name[5]) - 1] if first else 1
        out = unit(f"{inner}.2", unit(f"{inner}.1", unit(f"{inner}.0", x), stride), active=False)
        x = out if first else x + out
    x = unit("last", x).mean((2, 3))
    return x @ state["classifier.linear.weight"].T + state["classifier.linear.bias"]


@pytest.fixture
def net():
    net = TINY.supernet(3, 5)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return net


@pytest.mark.parametrize("seed", range(3))
def test_one_hot_gates_are_the_network_written_out_a_second_time(net, seed, assert_alike):
    arch = TINY.space.sample(np.random.default_rng(seed))
    plain, x = net.extract(arch).train(), torch.randn(4, 3, 16, 16, requires_grad=True)
    theirs = written_out(dict(plain.named_parameters()), arch, x, (1, 2, 2, 1, 2, 1))
    assert_alike(net(x, one_hot(net.space, arch)), theirs, [x])
    assert_alike(plain(x), theirs, [x, *plain.parameters()])


def test_soft_gates_are_the_weighted_sum_of_the_options_and_x(net):
    logits = torch.randn(len(net.space.counts), 7, dtype=torch.float64)
    counts = torch.tensor(net.space.counts)
    logits = logits.masked_fill(torch.arange(7) >= counts[:, None], -torch.inf)
    gates, x = soft(net.space, logits), torch.randn(4, 3, 16, 16)
    value = net.net.first(net.net.stem(x))
    for block, place in zip(net.net.blocks, TINY.places(), strict=True):
        options = (block.inside if place.shortcut else block).mixed.options
        weight = gates[place.decision].weight
        mixture = sum(w * option(value) for w, option in zip(weight, options, strict=True))
        value = value + mixture if place.shortcut else mixture
    torch.testing.assert_close(net(x, gates), net.net.classifier(net.net.last(value)), rtol=1e-10, atol=1e-10)


def test_probes_have_the_gradient_of_all_options_active_at_the_binary_gates_values(net):
    """Mathematics of ProxylessNAS, arXiv:1812.00332, Eq. 9: dL / d gate of closed paths, too."""
    x, found = torch.randn(4, 3, 16, 16), []
    weights = [
        torch.nn.functional.one_hot(torch.tensor(n - 1 - k % 2), n).double() for k, n in enumerate(net.space.counts)
    ]
    for probing in (True, False):
        leaves = [weight.clone().requires_grad_() for weight in weights]
        gates = {}
        for name, weight in zip(net.space.decisions, leaves, strict=True):
            opened = int(weight.argmax())
            closed = tuple(k for k in range(len(weight)) if k != opened)
            gates[name] = Gate(weight, (opened,), closed) if probing else Gate(weight, tuple(range(len(weight))))
        found.append(torch.autograd.grad(net(x, gates).sin().sum(), leaves))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)
    assert all(slope.abs().max() > 1e-6 for slope in found[0])


# --- costs


def test_the_expected_cost_is_its_definition_and_its_slopes_are_the_options_costs():
    space = TINY.space
    cost = cost_of("memory_access_bytes", TINY, (3, 16, 16), 5)
    logits = torch.randn(len(space.counts), 7, dtype=torch.float64, requires_grad=True)
    counts = torch.tensor(space.counts)
    gates = soft(space, logits.masked_fill(torch.arange(7) >= counts[:, None], -torch.inf))
    slopes = torch.autograd.grad(cost(gates), [gate.weight for gate in gates.values()], retain_graph=True)
    expected, first = cost.base, space.from_indices([0] * len(counts))
    rows = [space.indices(first)] * 2
    for row, (name, gate) in enumerate(gates.items()):
        for k, weight in enumerate(gate.weight.tolist()):
            rows = np.stack([space.indices(first), space.indices(space.arch({**first, name: space.options(name)[k]}))])
            change = float(np.diff(cost.exact(rows))[0])
            assert float(slopes[row][k] - slopes[row][0]) == change
            expected += weight * float(slopes[row][k])
    assert float(cost(gates).detach()) == pytest.approx(expected, rel=1e-14)


def test_the_bytes_of_a_block_are_those_of_its_layers():
    """mb3_k5 at a map of 16 x 16 with 8 channels: three convolutions, each normalised, and the addition."""
    layers = TINY.option_layers("stage1.block2", "mb3_k5", (3, 16, 16))
    assert [(layer.kind, layer.kernel, layer.inputs, layer.outputs, layer.norm, layer.active) for layer in layers] == [
        ("conv", 1, 8, 24, True, True),
        ("depthwise", 5, 24, 24, True, True),
        ("conv", 1, 24, 8, True, False),
        ("add", 1, 8, 8, False, False),
    ]
    assert {layer.size for layer in layers} == {(16, 16)}
    assert TINY.option_layers("stage1.block2", "zero", (3, 16, 16)) == ()
    cost, base = cost_of("memory_access_bytes", TINY, (3, 16, 16), 5), every(TINY.space, "zero")
    rows = np.stack([TINY.space.indices(arch) for arch in (base, TINY.space.arch({**base, "stage1.block2": "mb3_k5"}))])
    weights = 8 * 24 + 2 * 24 + 25 * 24 + 2 * 24 + 24 * 8 + 2 * 8
    maps = (8 + 24) + (24 + 24) + (24 + 8) + (8 + 8 + 8)
    assert np.diff(cost.exact(rows)).tolist() == [4 * (weights + maps * 256)]


@pytest.mark.parametrize("option", BLOCKS)
def test_layers_of_an_architecture_are_the_fixed_ones_and_those_of_its_options(option):
    arch = every(TINY.space, option)
    found = [layer for layer in TINY.layers(arch, (3, 16, 16), 5) if layer.presence]
    assert len(found) == 1 + 2 + 1 + 1 + 6 * 3 + 2 * 4
    assert len(TINY.fixed_layers((3, 16, 16), 5)) == 5

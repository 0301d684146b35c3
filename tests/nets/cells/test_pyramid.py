"""PyramidNet of tree cells: its sizes as published, and against a network written out a second time."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot
from renascent.costs import cost_of, macs, params
from renascent.nets.cells.pyramid import OPERATIONS, PyramidTree, grown

TINY = PyramidTree(blocks=1, final_channels=72)


# --- sizes


def test_18_blocks_a_stage_are_648_decisions():
    space = PyramidTree().space
    assert len(space.decisions) == 648
    assert set(space.counts) == {7}
    assert list(space.decisions)[:2] == ["block0.e0", "block0.e1"]
    assert list(space.decisions)[-1] == "block53.e11"


def test_it_widens_from_16_to_a_quarter_of_the_last_channels():
    blocks = list(PyramidTree().backbone())
    assert len(blocks) == 54
    assert blocks[0] == (16, 16, 64, 1)  # 16 + 84 / 54 is 17.6, rounded down to even
    assert blocks[-1].outputs == 400
    assert all(block.inner == int(16 + 84 * (k + 1) / 54) // 2 * 2 for k, block in enumerate(blocks[:-1]))
    assert all(block.inputs == before.outputs for before, block in pairwise(blocks))
    assert [k for k, block in enumerate(blocks) if block.stride == 2] == [18, 36]


@pytest.mark.parametrize(
    ("channels", "words"), [(64, "of at least 68"), (70, "a multiple of 4"), (402, "multiple of 4")]
)
def test_last_channels_that_cannot_be_are_refused(channels, words):
    with pytest.raises(UserError, match=f"final_channels is {channels}: give .*{words}"):
        PyramidTree(final_channels=channels)


def test_images_of_two_pixels_are_too_small():
    TINY.check_size((3, 3, 3))
    with pytest.raises(UserError, match="images of 2 x 2 are too small for 'pyramid-tree'"):
        TINY.check_size((3, 2, 2))


def test_the_reference_is_every_edge_sep_3x3():
    assert set(TINY.reference.values()) == {"sep_3x3"}


def test_parameters_and_macs_by_hand():
    """One block of each stage, every edge a separable 3x3 convolution, 8 x 8 images of 3 channels, 5 classes."""
    shape, widths = (3, 8, 8), [block.inner for block in TINY.backbone()]
    assert widths == [16, 16, 18]
    inputs, sides, weights, work = [16, 64, 64], [8, 4, 2], 3 * 16 * 9 + 2 * 16, 3 * 16 * 9 * 64
    for c_in, c, before, after in zip(inputs, widths, [8, 8, 4], sides, strict=True):
        separable = 9 * c + c * c
        weights += c_in * c + 2 * (9 * c * c // 2) + 12 * (separable + 2 * c) + 4 * c * c
        weights += 2 * (c_in + c + c + 4 * c)
        work += c_in * c * before**2 + (2 * (9 * c * c // 2) + 12 * separable + 4 * c * c) * after**2
    weights, work = weights + 2 * 72 + 72 * 5 + 5, work + 72 * 5
    net = TINY.network(TINY.reference, 3, 5)
    assert (params(net), macs(net, shape)) == (weights, work)
    row = TINY.space.indices(TINY.reference)[None]
    assert [cost_of(name, TINY, shape, 5).exact(row).tolist() for name in ("params", "macs")] == [[weights], [work]]


def test_bytes_of_an_edge_are_those_of_its_layers():
    layers = TINY.option_layers("block1.e4", "dil_sep_3x3", (3, 8, 8))
    assert [(layer.kind, layer.kernel, layer.dilation, layer.norm, layer.active) for layer in layers] == [
        ("norm", 1, 1, False, True),
        ("depthwise", 3, 2, False, False),
        ("conv", 1, 1, False, False),
    ]
    assert TINY.option_layers("block1.e4", "identity", (3, 8, 8)) == ()
    cost, base = cost_of("memory_access_bytes", TINY, (3, 8, 8), 5), dict.fromkeys(TINY.space.decisions, "identity")
    rows = np.stack(
        [TINY.space.indices(TINY.space.arch({**base, "block1.e4": o})) for o in ("identity", "dil_sep_3x3")]
    )
    assert np.diff(cost.exact(rows)).tolist() == [4 * (2 * 16 + 9 * 16 + 16 * 16 + 3 * 2 * 16 * 16)]


# --- trees


def test_a_node_copies_its_input_and_adds_what_comes_back():
    """A tree of unequal branches, whose edges multiply by 2, 3, 5, ... in the order in which they are made."""

    class Times(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return self.factor * x

    primes, depths = iter((2, 3, 5, 7, 11)), []

    def edge(depth):
        depths.append(depth)
        return Times(next(primes))

    node = grown((((), ((),)), ()), edge)
    assert node(torch.ones(1)).item() == 2 * (3 + 5 * 7) + 11
    assert depths == [0, 1, 1, 2, 0]


def test_the_drawing_has_a_line_a_block():
    lines = TINY.draw(TINY.reference).splitlines()
    assert [line.split() for line in lines] == [[f"block{k}", *["sep3"] * 12] for k in range(3)]
    other = TINY.space.arch({**TINY.reference, "block1.e0": "identity", "block1.e1": "dil_sep_3x3"})
    assert TINY.draw(other).splitlines()[1].split()[1:4] == ["-", "dil3", "sep3"]


# --- a second time


def written_out(state, arch, x):
    """Compute one architecture by its formulas. state: the weights by the names of the plain network."""

    def norm(name, x):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        scale, shift = (state[f"{name}.{what}"][:, None, None] for what in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def run(option, name, x):
        if option == "identity":
            return x
        if option == "max_pool_3x3":
            padded = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
            return padded.unfold(2, 3, 1).unfold(3, 3, 1).amax((-1, -2))
        if option == "avg_pool_3x3":
            sums, there = (F.pad(v, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).sum((-1, -2)) for v in (x, x * 0 + 1))
            return sums / there
        x = F.relu(norm(f"{name}.0", x))
        kernel, dilation = state[f"{name}.2.weight"], 2 if option.startswith("dil") else 1
        assert kernel.shape[2] == int(option[-1])
        x = F.conv2d(x, kernel, None, 1, kernel.shape[2] // 2 * dilation, dilation, len(kernel))
        return torch.einsum("bchw,dc->bdhw", x, state[f"{name}.3.weight"][:, :, 0, 0])

    x = norm("stem.1", F.conv2d(x, state["stem.0.weight"], padding=1))
    for k, strides in enumerate((1, 2, 2)):
        place, ops = f"blocks.{k}.inside", iter([arch[f"block{k}.e{e}"] for e in range(12)])
        out = F.relu(norm(f"{place}.2", F.conv2d(norm(f"{place}.0", x), state[f"{place}.1.weight"])))
        total = 0
        for a in range(2):
            root, cell = f"{place}.4.edges.{a}", 0
            child = F.conv2d(out, state[f"{root}.0.weight"], None, strides, 1, groups=2)
            for b in range(2):
                edge = f"{root}.1.edges.{b}"
                grandchild = run(next(ops), f"{edge}.0", child)
                cell = cell + sum(run(next(ops), f"{edge}.1.edges.{c}", grandchild) for c in range(2))
            total = total + cell
        out = norm(f"{place}.8", F.conv2d(F.relu(norm(f"{place}.5", total)), state[f"{place}.7.weight"]))
        pooled = x if strides == 1 else F.adaptive_avg_pool2d(x, x.shape[2] // 2)
        x = out + torch.cat([pooled, pooled.new_zeros(len(x), out.shape[1] - x.shape[1], *out.shape[2:])], 1)
    x = F.relu(norm("last.0", x)).mean((2, 3))
    return x @ state["classifier.linear.weight"].T + state["classifier.linear.bias"]


@pytest.fixture
def net():
    return TINY.supernet(3, 5)


@pytest.mark.parametrize("seed", range(2))
def test_one_hot_gates_are_the_network_written_out_a_second_time(net, seed, assert_alike):
    arch = TINY.space.sample(np.random.default_rng(seed))
    plain, x = net.extract(arch).train(), torch.randn(4, 3, 8, 8, requires_grad=True)
    theirs = written_out(dict(plain.named_parameters()), arch, x)
    assert_alike(net(x, one_hot(net.space, arch)), theirs, [x])
    assert_alike(plain(x), theirs, [x, *plain.parameters()])


def test_probes_have_the_gradient_of_all_options_active_at_the_binary_gates_values(net):
    """ProxylessNAS, arXiv:1812.00332, Eq. 9."""
    x, found = torch.randn(2, 3, 8, 8), []
    for probing in (True, False):
        leaves = [F.one_hot(torch.tensor(k % 7), 7).double().requires_grad_() for k in range(36)]
        gates = {}
        for name, weight in zip(net.space.decisions, leaves, strict=True):
            opened = int(weight.argmax())
            closed = tuple(k for k in range(7) if k != opened)
            gates[name] = Gate(weight, (opened,), closed) if probing else Gate(weight, tuple(range(7)))
        found.append(torch.autograd.grad(net(x, gates).sin().sum(), leaves))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)
    assert all(slope.abs().max() > 1e-8 for slope in found[0])


def test_every_operation_is_drawn_by_the_seeds_above():
    picked = {option for seed in range(2) for option in TINY.space.sample(np.random.default_rng(seed)).values()}
    assert picked == set(OPERATIONS)


def test_a_dropped_path_leaves_the_shortcut_of_that_image_in_training_only():
    plain, x = TINY.network(TINY.reference, 3, 5).train(), torch.randn(64, 16, 4, 4)
    block = plain.blocks[0]
    whole, shortcut = block(x, 0.0), F.pad(x, (0, 0, 0, 0, 0, 48))
    out = block(x, 0.25)
    dropped = (out == shortcut).flatten(1).all(1)
    assert 4 <= int(dropped.sum()) <= 30
    torch.testing.assert_close(out[~dropped], ((whole - shortcut) / 0.75 + shortcut)[~dropped])
    assert torch.equal(block.eval()(x, 0.25), block(x, 0.0))

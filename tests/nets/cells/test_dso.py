"""DSO-NAS's blocks: Eqs 3 and 4 written out a second time, what is dead, and what all of it costs."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot, scales
from renascent.core.space import Arch
from renascent.costs import cost_of, macs, params
from renascent.nets.cells.auxiliary import AuxiliaryHead
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.dso_network import OPERATIONS, complete, living
from renascent.nets.cells.listing import Placed, ran
from renascent.nets.sizes.counted import memory_access_in
from tests.nets.conftest import one_less

TINY = DSO(channels=3, blocks=(1, 1), levels=2)
ONE = DSO(channels=3, blocks=(1,), levels=2)
SHARED = dataclasses.replace(TINY, share=True)
SHAPE = (3, 6, 6)


# --- sizes


def test_a_block_of_four_levels_has_128_scales():
    assert sum(map(len, complete(4).values())) == 4 * (1 + 5 + 9 + 13) + 16 == 128
    assert complete(4)["2.3"] == ("input", "1.1", "1.2", "1.3", "1.4")
    assert "input" not in complete(4)["out"]


def test_the_published_networks_have_the_published_sizes():
    full, share = DSO().space, DSO(share=True).space
    assert (len(full.decisions), sum(full.counts)) == (24 * 17, 3072)
    assert (len(share.decisions), sum(share.counts)) == (17, 128)
    assert {"block7.3.2", "block23.out"} <= full.decisions.keys()
    assert {"op.1.1", "op.4.4", "out"} <= share.decisions.keys()
    with torch.device("meta"):
        net = DSO().network(DSO().reference, 3, 10)
        large = DSO(blocks=(2, 2, 13, 6), stem="imagenet", share=True)
        wide = large.network(large.reference, 3, 1000)
    assert (len(net.blocks), len(net.reductions), net.classifier.in_features) == (24, 2, 64)
    assert (len(wide.blocks), len(wide.reductions), wide.classifier.in_features) == (23, 3, 128)


def test_a_complete_network_counted_by_hand():
    """Levels of 3x3 and 5x5 separable convolutions, 1x1 at the output, every one with its normalisation."""
    c, levels, pixels = 8, 4, 8 * 8
    convolutions = levels * (9 * c + 25 * c + 2 * c * c)
    wide = 16 * c * c
    config = DSO(channels=c, blocks=(1,), levels=levels)
    net = config.network(config.reference, 3, 10)
    stem, linear = 27 * c, 10 * c
    assert macs(net, (3, 8, 8)) == (stem + convolutions + wide) * pixels + linear
    normalised = 2 * c * (2 * levels + 2)
    assert params(net) == stem + convolutions + wide + normalised + linear + 10


# --- Eqs 3 and 4


def written_out(block, x, scale):
    """Compute a block, scale[node][k] on the k-th of what a node reads."""
    maps = {"input": x}

    def read(node):
        return [s * maps[source] for s, source in zip(scale[node], complete(block_levels(scale))[node], strict=True)]

    for node in complete(block_levels(scale)):
        if node == "out":
            break
        z, name = sum(read(node)), OPERATIONS[int(node[-1]) - 1]
        if name.startswith("sep"):
            depthwise, (point, norm, _) = block.operations[node.replace(".", "-")]
            z = F.conv2d(z, depthwise.weight, padding=int(name[-1]) // 2, groups=x.shape[1])
            z = F.batch_norm(F.conv2d(z, point.weight), None, None, None, norm.bias, training=True).relu()
        elif name == "avg_pool_3x3":
            z = F.avg_pool2d(z, 3, 1, 1, count_include_pad=False)
        else:
            z = F.max_pool2d(z, 3, 1, 1)
        maps[node] = z
    nodes = complete(block_levels(scale))["out"]
    z = F.conv2d(torch.cat(read("out"), 1), block.join.weight(nodes))
    return F.batch_norm(z, None, None, None, block.join.bn.bias, training=True).relu() + x


def block_levels(scale):
    return (len(scale) - 1) // 4


def random_scales(levels):
    return {node: torch.randn(len(row)).requires_grad_() for node, row in complete(levels).items()}


def shifted(net):
    """Give every normalisation a shift, so that what is fed with zeros differs from what is not computed."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("bias"):
                p.uniform_(0.2, 1.0)
    return net


def on_block(net, number, x, gates):
    """Compute one block of a supernet under gates."""
    with net.context.active(gates):
        return net.net.blocks[number](x, 0.0)


@pytest.mark.parametrize("levels", [1, 3])
def test_a_block_is_equations_3_and_4(levels, assert_alike):
    config = DSO(channels=3, blocks=(1,), levels=levels)
    net, x = shifted(config.supernet(3, 5)), torch.randn(2, 3, 5, 5, requires_grad=True)
    scale = random_scales(levels)
    gates = {f"block0.{node}": Gate(row, tuple(range(len(row)))) for node, row in scale.items()}
    leaves = [x, *scale.values(), *net.net.blocks[0].parameters()]
    assert_alike(on_block(net, 0, x, gates), written_out(net.net.blocks[0], x, scale), leaves)


def test_blocks_that_share_decisions_read_a_row_of_scales_each(assert_alike):
    config = DSO(channels=3, blocks=(2,), levels=1, share=True)
    net, x = config.supernet(3, 5), torch.randn(2, 3, 5, 5)
    assert (net.places("out"), TINY.supernet(3, 5).places("block0.out")) == (2, 1)
    both = [random_scales(1) for _ in range(2)]
    gates = {
        name: Gate(torch.stack([s[node] for s in both]), (0, 1, 2, 3)[: len(both[0][node])])
        for node, name in config.parts[0].items()
    }
    for number, scale in enumerate(both):
        ours, theirs = on_block(net, number, x, gates), written_out(net.net.blocks[number], x, scale)
        assert_alike(ours, theirs, [row for s in both for row in s.values()])


@pytest.mark.parametrize("out", [(), ("1.1",)])
def test_a_block_is_the_identity_where_nothing_leads_through_it(out):
    values = dict.fromkeys(SHARED.space.decisions, ())
    arch = SHARED.space.arch(values | {"op.2.1": ("input",), "out": out})
    assert set(arch.values()) == {()}
    x = torch.randn(2, 3, 4, 4)
    assert all(torch.equal(block(x, 0.0), x) for block in SHARED.network(arch, 3, 5).blocks)
    net = SHARED.supernet(3, 5)
    assert torch.equal(on_block(net, 0, x, one_hot(SHARED.space, arch)), x)


# --- what is dead


def raw(config, rng, chance=0.4):
    """Return any connections, dead ones among them, as scales of one (decisions, options)."""
    counts = config.space.counts
    there = np.arange(max(counts)) < np.array(counts)[:, None]
    return torch.from_numpy((rng.random(there.shape) < chance) & there).double()


def arch_of(config, values):
    names = config.space.decisions
    options = (config.space.options(name) for name in names)
    return Arch(
        {
            n: tuple(o for o, v in zip(row, vs, strict=False) if v)
            for n, row, vs in zip(names, options, values.tolist(), strict=True)
        }
    )


def dead_ends(config, arch):
    """Return how many nodes read something and lead nowhere, and how many read nodes that read nothing."""
    alive = config.space.arch(arch)
    return sum(len(arch[name]) - len(alive[name]) for name in arch)


@pytest.mark.parametrize(("config", "count"), [(TINY, 20), (SHARED, 5)])
def test_the_supernet_is_what_it_extracts_whatever_is_dead(config, count):
    net, rng, x = shifted(config.supernet(3, 5)), np.random.default_rng(0), torch.randn(2, *SHAPE)
    dead = 0
    for _ in range(count):
        values = raw(config, rng)
        arch = arch_of(config, values)
        dead += dead_ends(config, arch)
        whole, alive = (scales(config.space, v) for v in (values, _kept(config, values)))
        assert torch.equal(net(x, whole), net(x, alive))
        plain = net.extract(arch).train()
        torch.testing.assert_close(plain(x), net(x, whole), rtol=1e-10, atol=1e-10)
        assert torch.equal(plain(x), net.extract(config.space.arch(arch)).train()(x))
    assert dead > 2 * count


def _kept(config, values):
    """Return the scales of what is alive."""
    arch = config.space.arch(arch_of(config, values))
    kept = torch.zeros_like(values)
    for row, (name, options) in zip(kept, arch.items(), strict=True):
        row[[config.space.options(name).index(option) for option in options]] = 1.0
    return kept


def test_dead_scales_have_no_gradient_and_dead_weights_none():
    net, x = TINY.supernet(3, 5), torch.randn(2, *SHAPE)
    values = raw(TINY, np.random.default_rng(1)).requires_grad_()
    alive = _kept(TINY, values.detach())
    assert 0 < alive.sum() < values.sum()
    net(x, scales(TINY.space, values)).pow(2).sum().backward()
    assert ((values.grad != 0) <= (alive != 0)).all()


def test_living_is_a_fixed_point_and_keeps_what_is_on_a_path():
    chain = {"1.1": ("input",), "2.1": ("1.1", "1.2"), "2.2": ("1.1",), "out": ("2.1", "1.3")}
    assert living(chain) == {"1.1": ("input",), "2.1": ("1.1",), "out": ("2.1",)}
    assert living(living(chain)) == living(chain)


def test_the_gradient_of_a_scale_at_zero_is_that_with_the_connection_in_the_sum():
    config = DSO(channels=3, blocks=(1,), levels=3)
    net, x = shifted(config.supernet(3, 5)), torch.randn(2, 3, 5, 5)
    rng, scale = np.random.default_rng(0), random_scales(3)
    with torch.no_grad():  # what is read from the input and by the output keeps every node alive
        for node, row in scale.items():
            row[1:] *= 1.0 if node == "out" else torch.from_numpy(rng.random(len(row) - 1) < 0.4)
    assert sum(int((row == 0).sum()) for row in scale.values()) > 20
    support = {node: (row != 0).nonzero().flatten().tolist() for node, row in scale.items()}
    gates = {
        f"block0.{node}": Gate(row, tuple(support[node]), tuple(sorted(set(range(len(row))) - set(support[node]))))
        for node, row in scale.items()
    }
    ours, theirs = on_block(net, 0, x, gates), written_out(net.net.blocks[0], x, scale)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    slope = torch.randn_like(ours)
    found, wanted = (torch.autograd.grad(out, list(scale.values()), slope, retain_graph=True) for out in (ours, theirs))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    unasked = {name: dataclasses.replace(gate, weight=gate.weight.detach()) for name, gate in gates.items()}
    torch.testing.assert_close(on_block(net, 0, x, unasked), ours, rtol=1e-10, atol=1e-10)


# --- costs


def memory_access(config, arch):
    layers = ran(Placed(arch), lambda _: config.network(arch, 3, 5), SHAPE)
    return sum(memory_access_in(layer) for _, layer in layers)


def test_costs_of_sub_graphs_are_those_of_the_networks_built():
    rng = np.random.default_rng(0)
    for config, count in ((ONE, 30), (SHARED, 6)):
        costs = [cost_of(name, config, SHAPE, 5) for name in config.costs]
        archs = [arch_of(config, raw(config, rng)) for _ in range(count)]
        rows = np.stack([config.space.indices(config.space.arch(arch)) for arch in archs])
        found = np.stack([cost.exact(rows) for cost in costs], 1)
        for k, arch in enumerate(archs):
            with torch.device("meta"):
                net = config.network(arch, 3, 5)
            assert found[k, :2].tolist() == [macs(net, SHAPE), params(net)]
        assert found[:6, 2].tolist() == [memory_access(config, arch) for arch in archs[:6]]


def test_costs_count_what_is_alive_of_any_rows():
    rng = np.random.default_rng(0)
    for cost in (cost_of(name, TINY, SHAPE, 5) for name in TINY.costs):
        for _ in range(20):
            values = raw(TINY, rng)
            masks = (values.long().numpy() << np.arange(values.shape[1])).sum(1)
            alive = TINY.space.indices(TINY.space.arch(arch_of(TINY, values)))
            both = cost.exact(np.stack([masks, alive]))
            assert both[0] == both[1] == float(cost(scales(TINY.space, values)))


def test_costs_never_rise_when_a_connection_goes():
    rng = np.random.default_rng(0)
    rows = np.stack([(raw(TINY, rng, 0.7).long().numpy() << np.arange(8)).sum(1) for _ in range(1000)])
    less = one_less(rows, rng)
    for name in TINY.costs:
        before, after = (cost_of(name, TINY, SHAPE, 5).exact(each) for each in (rows, less))
        assert (after <= before).all()
        assert (after < before).sum() > 300


def test_the_reference_is_the_largest_network():
    assert all(TINY.reference[name] == TINY.space.options(name) for name in TINY.space.decisions)


# --- adaptive weights


def test_adaptive_macs_are_the_living_part_of_each_block():
    """Eq. 9 by hand: 3 channels, 1.1 is the separable 3x3, 1.2 the 5x5, the complete block has two of each."""
    values = dict.fromkeys(TINY.space.decisions, ()) | {"block0.1.1": ("input",), "block0.out": ("1.1",)}
    values["block0.1.2"] = ("input",)  # which leads nowhere
    net = TINY.supernet(3, 5)
    found = net.penalties("macs", TINY.space.arch(values), (6, 6))
    complete_block = 2 * (9 * 3 + 9) + 2 * (25 * 3 + 9) + 8 * 9
    assert found.shape == (18, 8)
    np.testing.assert_allclose(found[:9], (9 * 3 + 9 + 9) / complete_block, rtol=1e-12)
    assert not found[9:].any()
    np.testing.assert_array_equal(net.penalties("macs", TINY.reference, (6, 6)), 1.0)


def test_adaptive_memory_access_is_of_the_operation_over_the_largest():
    """Eq. 10 by hand, in numbers moved, which are 4 bytes each: weights, what is read, what is written."""
    values = dict.fromkeys(TINY.space.decisions, ())
    values |= {"block0.1.1": ("input",), "block0.1.3": ("input",), "block0.2.2": ("input", "1.1")}
    values["block0.out"] = ("1.3", "2.2")
    size = 3 * 6 * 6
    one = (9 + 2 * 3) + 9 * 3 + 4 * size
    wide = (9 + 2 * 3) + 25 * 3 + 4 * size

    def output(count):
        """A 1x1 convolution of so many maps, and the addition of the input."""
        return count * 9 + 2 * 3 + (count + 1) * size + 3 * size

    largest = max(wide + 4 * 3 * size, output(8))
    found = TINY.supernet(3, 5).penalties("memory_access_bytes", TINY.space.arch(values), (6, 6))
    by_node = dict(zip(complete(2), found[:9], strict=True))
    for node, wanted in {"1.1": one, "1.3": 2 * size, "2.2": wide + 3 * size, "out": output(2), "1.2": 0}.items():
        np.testing.assert_allclose(by_node[node], wanted / largest, rtol=1e-12)


def test_adaptive_weights_of_shared_blocks_are_those_of_each():
    """Of one stage: between stages, depthwise convolutions are another part of all."""
    share = DSO(channels=3, blocks=(2,), levels=2, share=True)
    full = dataclasses.replace(share, share=False)
    arch = share.space.sample(np.random.default_rng(3))
    each = {f"block{k}.{node}": arch[name] for k in range(2) for node, name in share.parts[0].items()}
    found, both = (
        config.supernet(3, 5).penalties("macs", config.space.arch(values), (6, 6))
        for config, values in ((share, arch), (full, each))
    )
    assert 0 < found.max() < 1
    np.testing.assert_allclose(np.vstack([found, found]), both, rtol=1e-12)


# --- training, and what cannot be


def test_the_auxiliary_head_reads_the_end_of_the_second_stage():
    config = DSO(channels=2, blocks=(1, 1, 1), levels=1)
    net = config.network(config.reference, 3, 5)
    head = net.auxiliary_head()
    assert isinstance(head, AuxiliaryHead)
    assert net.auxiliary_size == 32
    seen = []
    head.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    out, aside = net(torch.randn(2, 3, 32, 32), head)
    assert (seen[0].shape, out.shape, aside.shape) == ((2, 8, 8, 8), (2, 5), (2, 5))


@pytest.mark.parametrize(("blocks", "least"), [((1,), 8), ((1, 1), 16), ((1, 1, 1, 1), 32)])
def test_the_auxiliary_head_has_a_place_in_any_number_of_stages(blocks, least):
    config = DSO(channels=2, blocks=blocks, levels=1)
    net = config.network(config.reference, 3, 5)
    assert net.auxiliary_size == least
    assert net(torch.randn(2, 3, least, least), net.auxiliary_head())[1].shape == (2, 5)


def test_drop_path_and_dropout_are_there_in_training_only():
    config = DSO(channels=4, blocks=(1,), levels=2, dropout=0.6)
    net, x = config.network(config.reference, 3, 5), torch.randn(2, 3, 6, 6)
    given = []
    net.classifier.register_forward_hook(lambda module, inputs, out: given.append(inputs[0]))
    net.train()(x)
    assert (given[0] == 0).any()
    net.eval()
    assert torch.equal(net(x), net(x))
    net.dropout, net.drop_path = 0.0, 0.5
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"levels": 0}, "levels is 0: give a number from 1 to 15"),
        ({"blocks": ()}, r"blocks is \(\): give how many each stage has"),
        ({"blocks": (0, 1)}, "blocks is 0: give a number from 1 to 100"),
        ({"dropout": 1.0}, "dropout is 1.0: give a number from 0 to 0.9999"),
        ({"stem": "big"}, "unknown stem 'big'"),
    ],
)
def test_settings_that_cannot_be_are_refused(about, words):
    with pytest.raises(UserError, match=words):
        DSO(**about)


def test_images_that_are_too_small_are_refused():
    DSO().check_size((3, 3, 3))
    with pytest.raises(UserError, match=r"images of 2 x 2 are too small for 'dso': .* at least 3"):
        DSO().check_size((3, 2, 2))


def test_it_is_drawn_by_what_each_node_reads():
    values = dict.fromkeys(SHARED.space.decisions, ()) | {"op.1.3": ("input",), "out": ("1.3",)}
    assert SHARED.draw(SHARED.space.arch(values)).splitlines() == [
        "op.1.3  avg_pool_3x3  <-  input",
        "out     out           <-  1.3",
    ]
    nothing = SHARED.space.arch(dict.fromkeys(values, ()))
    assert SHARED.draw(nothing) == "out  out  <-  nothing: the identity"
    values = dict.fromkeys(TINY.space.decisions, ()) | {"block1.1.3": ("input",), "block1.out": ("1.3",)}
    assert TINY.draw(TINY.space.arch(values)).splitlines() == [
        "block0  0 connections  the identity",
        "block1  2 connections  1.3",
    ]


def test_a_reduction_is_the_sum_of_two_convolutions_of_stride_2():
    reduction = TINY.supernet(3, 5).net.reductions[0].to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 7, 8).contiguous(memory_format=torch.channels_last)
    parts = [
        F.batch_norm(F.conv2d(x, part.conv.weight, stride=2, padding=k), None, None, None, part.bn.bias, training=True)
        for k, part in enumerate((reduction.small, reduction.large))
    ]
    torch.testing.assert_close(reduction(x), sum(part.relu() for part in parts), rtol=1e-12, atol=1e-12)

"""Networks of DARTS cells: published counts, and the cells written out a second time."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.nn import functional as F

from renascent.core.codecs.darts_cells import DARTS_V2, OPERATIONS, cells_space
from renascent.core.errors import UserError
from renascent.core.gates import Gate, gumbel_hard, one_hot, soft
from renascent.core.protocols import Goal
from renascent.core.space import Arch
from renascent.core.within import within
from renascent.costs import cost_of, macs, params
from renascent.nets.cells.auxiliary import AuxiliaryHead
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.darts_ops import FactorisedReduction, operation

TINY = {"channels": 4, "layers_count": 3, "nodes": 2}
CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)

COUNTED = [
    # configuration, shape, classes -> parameters, those of the auxiliary head, multiply-accumulates
    (DartsCells(channels=36, cells=6), CIFAR, 10, 3_349_342, 476_426, 528_359_040),
    (DartsCells(channels=36, cells=6, reduction="fixed"), CIFAR, 10, 3_442_654, 476_426, 539_639_424),
    (DartsCells(channels=48, cells=4, stem="imagenet"), IMAGENET, 1000, 4_718_752, 1_262_312, 529_911_552),
]


@pytest.mark.parametrize(("config", "shape", "classes", "weights", "heads", "multiplied"), COUNTED)
def test_the_published_cells_have_the_published_counts(config, shape, classes, weights, heads, multiplied):
    with torch.device("meta"):
        net = config.network(config.reference, shape[0], classes)
        head = net.auxiliary_head()
    assert (params(net), params(head), macs(net, shape)) == (weights, heads, multiplied)


def test_the_auxiliary_head_is_counted_as_published():
    assert 3_349_342 + 476_426 == 3_825_768


@pytest.mark.parametrize(("layers", "cells"), [(8, 2), (20, 6), (14, 4)])
def test_cells_of_a_block_and_of_the_whole_are_placed_alike(layers, cells):
    assert DartsCells(layers_count=layers).placing == DartsCells(cells=cells).placing
    assert DartsCells(cells=6).placing == ((6, 13), 20)


def test_the_reference_is_the_published_cell():
    assert DartsCells().reference == cells_space().parse(DARTS_V2)
    fixed = DartsCells(reduction="fixed")
    assert len(fixed.space.decisions) == 14
    assert fixed.reference.items() <= cells_space().parse(DARTS_V2).items()
    assert DartsCells(nodes=3).reference is None


# --- the cells, written out


def norm(x, layer):
    return F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=1e-5)


def squeezed(x, net):
    return norm(F.conv2d(x.relu(), net.conv.weight), net.bn)


def reduced(x, net):
    parts = [F.conv2d(x.relu()[:, :, k:, k:], conv.weight, stride=2) for k, conv in enumerate((net.conv_a, net.conv_b))]
    return norm(torch.cat(parts, 1), net.bn)


def separable(x, net, stride, size, dilation):
    for k in range(0, len(net), 4):
        stride, pad = (stride if k == 0 else 1), dilation * (size // 2)
        weight = net[k + 1].weight
        x = F.conv2d(x.relu(), weight, None, stride, pad, dilation, groups=len(weight))
        x = norm(F.conv2d(x, net[k + 2].weight), net[k + 3])
    return x


def candidate(name, x, net, stride):
    """Compute one operation of one edge by its name, with the weights of `net`."""
    if name == "none":
        return torch.zeros_like(x[:, :, ::stride, ::stride])
    if name == "max_pool_3x3":
        return F.max_pool2d(x, 3, stride, 1)
    if name == "avg_pool_3x3":
        return F.avg_pool2d(x, 3, stride, 1) * 9 / F.avg_pool2d(torch.ones_like(x), 3, stride, 1).mul(9)
    if name == "skip_connect":
        return x if stride == 1 else reduced(x, net)
    return separable(x, net, stride, int(name[-1]), 2 if name.startswith("dil") else 1)


def cell(shared, first, last, gates, kind, before_reduced, nodes=2):
    inputs = shared.inputs
    values = [reduced(first, inputs.first) if before_reduced else squeezed(first, inputs.first)]
    values.append(squeezed(last, inputs.last))
    for target in range(2, nodes + 2):
        total = 0
        for source in range(target):
            stride = 2 if kind == "reduce" and source < 2 else 1
            options = shared.edges[f"{source}-{target}"].mixed.options
            for k, name in enumerate(OPERATIONS):
                weight = gates[f"{kind}.{source}-{target}"].weight[k]
                total = total + weight * candidate(name, values[source], options[k], stride)
        values.append(total)
    return torch.cat(values[2:], 1)


def written_out(net, x, gates):
    stem, plain = net.net.stem[0], net.net
    first = last = norm(F.conv2d(x, stem[0].weight, padding=1), stem[1])
    before_reduced = False
    for shared, kind in zip(plain.cells, ("normal", "reduce", "reduce"), strict=True):
        first, last = last, cell(shared, first, last, gates, kind, before_reduced)
        before_reduced = kind == "reduce"
    return plain.classifier(last.mean((2, 3)))


def make(**about):
    config = DartsCells(**TINY | about)
    net, x = config.supernet(2, 5), torch.randn(3, 2, 8, 8)
    with torch.no_grad():  # away from the initial scale 1 and shift 0, which would hide mistakes
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return config, net, x


def logits(space, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(space.decisions), len(OPERATIONS), generator=generator).requires_grad_()


def test_the_supernet_is_the_sum_of_all_candidates(assert_alike):
    config, net, x = make()
    alphas = logits(config.space)
    gates = soft(config.space, alphas)
    assert_alike(net(x, gates), written_out(net, x, gates), [alphas, *net.parameters()])


def test_a_sample_is_the_network_of_its_operations(assert_alike):
    config, net, x = make()
    alphas = logits(config.space, 1)
    gates = gumbel_hard(config.space, alphas, 1.0, torch.Generator().manual_seed(2))
    picked = {n: Gate(torch.zeros(8).index_fill(0, torch.tensor(g.active), 1.0), g.active) for n, g in gates.items()}
    assert_alike(net(x, gates), written_out(net, x, picked), list(net.parameters()))


def test_a_node_that_nothing_reaches_is_zero():
    config, net, x = make()
    arch = Arch({name: "none" if "-3" in name else "avg_pool_3x3" for name in config.space.decisions})
    gates = one_hot(config.space, arch)
    torch.testing.assert_close(net(x, gates), written_out(net, x, gates), rtol=1e-10, atol=1e-10)
    nothing = Arch(dict.fromkeys(config.space.decisions, "none"))
    wanted = net.net.classifier.bias.expand(3, -1)
    assert torch.equal(net(x, one_hot(config.space, nothing)), wanted)
    assert torch.equal(net.extract(nothing).train()(x), wanted)


def test_the_fixed_reduction_cell_is_four_branches_of_both_inputs():
    config = DartsCells(channels=4, layers_count=3, nodes=2, reduction="fixed")
    net, x = config.network(config.space.sample(np.random.default_rng(0)), 2, 5).train(), torch.randn(3, 8, 8, 8)
    last = net.cells[1]
    first = torch.randn(3, 12, 8, 8)
    inputs = [squeezed(first, last.inputs.first), squeezed(x, last.inputs.last)]

    def crossed(x, branch):
        x = F.conv2d(x.relu(), branch[1].weight, None, (1, 2), (0, 1), groups=8)
        x = norm(F.conv2d(x, branch[2].weight, None, (2, 1), (1, 0), groups=8), branch[3])
        return norm(F.conv2d(x.relu(), branch[5].weight), branch[6])

    wanted = [crossed(v, branch) for v, branch in zip(inputs, last.convolutions, strict=True)]
    wanted += [norm(F.max_pool2d(v, 3, 2, 1), branch[1]) for v, branch in zip(inputs, last.pools, strict=True)]
    torch.testing.assert_close(last(first, x, 0.0), torch.cat(wanted, 1), rtol=1e-10, atol=1e-10)


def test_the_stem_for_large_images_halves_three_times():
    config = DartsCells(**TINY, stem="imagenet")
    net, seen = config.network(config.space.sample(np.random.default_rng(0)), 3, 5), []
    net.cells[0].register_forward_pre_hook(lambda _, given: seen.extend(given[:2]))
    net(torch.randn(2, 3, 64, 64))
    assert [value.shape[1:] for value in seen] == [(4, 16, 16), (4, 8, 8)]
    assert isinstance(net.cells[0].inputs.first, FactorisedReduction)


@pytest.mark.parametrize("reduction", ["searched", "fixed"])
@pytest.mark.parametrize("size", [28, 30, 7])
def test_images_of_any_size_go_through(size, reduction):
    config = DartsCells(**TINY, reduction=reduction)
    net = config.network(config.space.sample(np.random.default_rng(0)), 1, 5)
    assert net(torch.randn(2, 1, size, size)).shape == (2, 5)


# --- training


def test_paths_are_dropped_for_whole_images_but_not_those_that_are_identities():
    config = DartsCells(channels=4, cells=1, nodes=1)
    arch = config.space.parse("normal=|skip_connect~0|avg_pool_3x3~1|,reduce=|skip_connect~0|max_pool_3x3~1|")
    net = config.network(arch, 2, 5).train()
    first, last = torch.randn(64, 12, 8, 8), torch.randn(64, 12, 8, 8)
    inputs = net.cells[0].inputs(first, last)
    torch.manual_seed(3)
    rest = net.cells[0](first, last, 0.25) - inputs[0]
    kept = rest.flatten(1).abs().sum(1) > 1e-12
    assert 32 < int(kept.sum()) < 62
    pooled = operation("avg_pool_3x3", 4)(inputs[1]) / 0.75
    torch.testing.assert_close(rest[kept], pooled[kept], rtol=1e-10, atol=1e-10)
    net.eval()
    a, b = (net.cells[0](first, last, p) for p in (0.25, 0.0))
    assert torch.equal(a, b)


def test_the_auxiliary_head_reads_the_last_reduction_cell():
    config = DartsCells(**TINY)
    net = config.network(config.space.sample(np.random.default_rng(0)), 3, 5).train()
    head, x, seen = net.auxiliary_head(), torch.randn(2, 3, 32, 32), []
    net.cells[2].register_forward_hook(lambda _, given, out: seen.append(out))
    out, aside = net(x, head)
    assert torch.equal(aside, head(seen[0]))
    assert out.shape == aside.shape == (2, 5)
    y = F.avg_pool2d(seen[0].relu(), 5, 3)
    y = norm(F.conv2d(y, head[2].weight), head[3]).relu()
    y = norm(F.conv2d(y, head[5].weight), head[6]).relu().flatten(1)
    torch.testing.assert_close(aside, head[10](y), rtol=1e-10, atol=1e-10)
    assert y.shape == (2, 768)


def test_the_head_of_large_images_takes_a_map_of_seven():
    head = AuxiliaryHead(8, 5, 2).eval()
    maps = []
    head[6].register_forward_hook(lambda _, given, out: maps.append(out.shape))
    assert head(torch.randn(2, 8, 7, 7)).shape == (2, 5)
    assert maps == [(2, 768, 1, 1)]


# --- what keeps to the two edges of a node


def legal(space, arch):
    """Return whether each node of a cell keeps two edges, counted by hand."""
    nodes = {name.split(".")[0] + name.split("-")[1] for name in space.decisions}
    kept = dict.fromkeys(nodes, 0)
    for name, chosen in arch.items():
        kept[name.split(".")[0] + name.split("-")[1]] += chosen != "none"
    return set(kept.values()) == {2}


def test_there_are_as_many_architectures_as_published():
    """DARTS, Sec. 3.1: 10^18; of each cell 1, 3, 6 and 10 pairs of inputs, with two of 7 operations."""
    assert DartsCells().space.size == (1 * 3 * 6 * 10 * 7**8) ** 2
    assert DartsCells(reduction="fixed").space.size == 1 * 3 * 6 * 10 * 7**8


def test_samples_and_mutations_are_legal_and_samples_uniform():
    space, rng = DartsCells(reduction="fixed").space, np.random.default_rng(0)
    pairs, operations = Counter(), Counter()
    for number in range(10_000):
        arch = space.sample(rng)
        assert legal(space, arch)
        kept = {name: op for name, op in arch.items() if op != "none"}
        pairs[tuple(name for name in kept if name.endswith("-5"))] += 1
        operations[kept[next(name for name in kept if name.endswith("-4"))]] += 1
        if number % 10 == 0:
            other = space.mutate(arch, rng)
            assert legal(space, other) and other != arch
    for found, count in ((pairs, 10), (operations, 7)):
        assert len(found) == count
        assert chisquare(list(found.values())).pvalue > 1e-4


@pytest.mark.parametrize("seed", range(2))
def test_the_strongest_operations_of_the_two_strongest_edges_are_kept(seed):
    """The rule written out: an edge counts as its best operation does, and `none` is never one."""
    space, rng = DartsCells().space, np.random.default_rng(seed)
    scores = {name: rng.standard_normal(8) for name in space.decisions}
    arch = space.discretise(scores)
    for kind in ("normal", "reduce"):
        for target in range(2, 6):
            names = [f"{kind}.{source}-{target}" for source in range(target)]
            best = sorted(names, key=lambda name: -scores[name][1:].max())[:2]
            for name in names:
                wanted = OPERATIONS[1 + scores[name][1:].argmax()] if name in best else "none"
                assert arch[name] == wanted
    tied = space.discretise(dict.fromkeys(space.decisions, np.zeros(8)))
    assert {name for name in tied if tied[name] != "none"} == {n for n in tied if n.split(".")[1][0] in "01"}


def test_what_a_budget_derives_and_its_random_rivals_are_legal_and_inside():
    config, rng = DartsCells(channels=4, layers_count=3), np.random.default_rng(0)
    space, reference = config.space, config.space.indices(config.reference)[None]
    goals = []
    for name, share in (("macs", 0.5), ("params", 0.6)):
        cost = cost_of(name, config, (3, 8, 8), 10)
        limit = float(cost.base + share * (cost.exact(reference)[0] - cost.base))
        goals.append(Goal(name, limit, cost, cost.exact, (cost.base, cost.table)))
    for bounds in (goals[:1], goals[1:], goals):
        for _ in range(3):
            probabilities = {name: rng.dirichlet(np.ones(8)) for name in space.decisions}
            arch = within(space, probabilities, tuple(bounds), lambda arch: 0.0, samples=3)
            assert legal(space, arch)
            assert all(goal.exact(space.indices(arch)[None])[0] <= goal.limit for goal in bounds)


# --- mistakes


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"nodes": 0}, "nodes is 0"),
        ({"operations": ("none", "conv")}, "unknown operation 'conv'"),
        ({"channels": 6, "reduction": "fixed"}, "channels is 6, and the fixed reduction cell has twice as many in 8"),
        ({"layers_count": 2}, "layers_count is 2: give at least 3"),
        ({"reduction": "none"}, "unknown reduction 'none'"),
        ({"stem": "mnist"}, "unknown stem 'mnist'"),
        ({"operations": ("none",)}, "cannot make a cell"),
    ],
)
def test_mistakes_are_one_line(about, words):
    with pytest.raises(UserError) as found:
        DartsCells(**about)
    assert words in str(found.value)
    assert "\n" not in str(found.value)

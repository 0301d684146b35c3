"""The shared-weight network against one that computes every candidate on its own, written here with plain loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from renascent.core.codecs.nats_topology import needed, reachable, topology_space
from renascent.core.gates import Gate, all_paths, gumbel_hard, gumbel_soft, one_hot, scales, soft, two_paths
from renascent.core.protocols import WeightRule
from renascent.core.space import Arch
from renascent.nets.cells.nats import NatsTopology

SMALL = {"channels": 3, "cells": 1}


def make(nodes=4, **about):
    config = NatsTopology(**SMALL, nodes=nodes, **about)
    net, x = config.supernet(2, 5), torch.randn(4, 2, 8, 8)
    with torch.no_grad():  # away from the initial scale 1 and shift 0, which would hide mistakes
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return config, net, x


def sample(config, seed) -> Arch:
    return config.space.sample(np.random.default_rng(seed))


# --- the reference


def norm(x, weight=None, bias=None):
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)


def candidate(name, x, kernel):
    if name == "none":
        return torch.zeros_like(x)
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return norm(F.conv2d(F.relu(x), kernel, padding=kernel.shape[-1] // 2))


def cell(config, p, prefix, x, gates):
    values = [x]
    for target in range(1, config.nodes):
        total = torch.zeros_like(x)
        for source in range(target):
            gate = gates[f"{source}-{target}"]
            for k in (*gate.active, *gate.probe):
                name = config.operations[k]
                kernel = p.get(f"{prefix}.edges.{source}-{target}.{name}.conv.weight")
                total = total + gate.weight[k] * candidate(name, values[source], kernel)
        values.append(total)
    return values[-1]


def residual(p, prefix, x):
    def unit(x, name, stride):
        out = F.conv2d(F.relu(x), p[f"{prefix}.{name}.conv.weight"], stride=stride, padding=1)
        return norm(out, p[f"{prefix}.{name}.bn.weight"], p[f"{prefix}.{name}.bn.bias"])

    return F.conv2d(F.avg_pool2d(x, 2), p[f"{prefix}.shortcut.1.weight"]) + unit(unit(x, "conv_a", 2), "conv_b", 1)


def naive(config, net, x, gates):
    p = dict(net.named_parameters())
    x = norm(F.conv2d(x, p["stem.0.weight"], padding=1), p["stem.1.weight"], p["stem.1.bias"])
    for k in range(len(net.cells)):
        down = f"cells.{k}.conv_a.conv.weight" in p
        x = residual(p, f"cells.{k}", x) if down else cell(config, p, f"cells.{k}", x, gates)
    x = F.relu(norm(x, p["last.0.weight"], p["last.0.bias"])).mean((2, 3))
    return F.linear(x, p["classifier.weight"], p["classifier.bias"])


GATES = {
    "soft": lambda space, logits, rng: soft(space, logits),
    "gumbel_soft": lambda space, logits, rng: gumbel_soft(space, logits, 2.0, rng),
    "gumbel_hard": lambda space, logits, rng: gumbel_hard(space, logits, 2.0, rng),
    "two_paths": lambda space, logits, rng: two_paths(space, logits, rng),
    "all_paths": lambda space, logits, rng: all_paths(space, logits, rng),
    "scales": lambda space, logits, rng: scales(space, logits * (logits > -0.5)),
}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_merged_forward_is_the_naive_one(assert_alike, kind, nodes):
    config, net, x = make(nodes)
    logits = torch.randn(len(config.space.decisions), 5, requires_grad=True)
    gates, same = (GATES[kind](config.space, logits, torch.Generator().manual_seed(nodes)) for _ in range(2))
    # the naive one spends work where nothing arrives
    assert_alike(net(x, gates), naive(config, net, x, same), [logits, *net.parameters()])


def test_merged_second_derivatives_are_the_naive_ones():
    config, net, x = make(3)
    logits = torch.randn(3, 5, requires_grad=True)

    def mixed_derivative(forward):
        loss = forward(soft(config.space, logits)).tanh().pow(2).sum()
        slopes = torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
        return torch.autograd.grad(sum(s.pow(2).sum() for s in slopes), [logits, *net.parameters()])

    found = mixed_derivative(lambda gates: net(x, gates))  # each call makes gates of its own
    wanted = mixed_derivative(lambda gates: naive(config, net, x, gates))
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("operations", [("nor_conv_3x3", "none"), ("skip_connect", "avg_pool_3x3", "nor_conv_1x1")])
def test_any_choice_of_operations(operations):
    config, net, x = make(operations=operations)
    gates = soft(config.space, torch.randn(6, len(operations)))
    torch.testing.assert_close(net(x, gates), naive(config, net, x, gates), rtol=1e-10, atol=1e-10)


def test_the_memory_layout_changes_nothing():
    config, net, x = make()
    gates = soft(config.space, torch.randn(6, 5))
    wanted = net(x, gates)
    last = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last), gates)
    torch.testing.assert_close(last, wanted, rtol=1e-10, atol=1e-10)


# --- one architecture


def test_extract_keeps_the_numbers_exactly():
    config, net, x = make()
    arch = sample(config, 3)
    plain, shared = net.extract(arch), net.state_dict()
    assert plain.classifier.weight.dtype == x.dtype
    assert torch.equal(plain.classifier.weight, net.classifier.weight)
    kernels = {k: v for k, v in plain.state_dict().items() if ".edges." in k and k.endswith("conv.weight")}
    for key, value in kernels.items():
        edge = key.split(".edges.")[1].split(".")[0]
        assert torch.equal(value, shared[key.replace(f"{edge}.", f"{edge}.{arch[edge]}.")])
    assert kernels
    torch.testing.assert_close(plain.train()(x), net(x, one_hot(config.space, arch)), rtol=1e-10, atol=1e-10)


def test_extract_shares_no_memory():
    config, net, _ = make()
    plain = net.extract(sample(config, 0))
    with torch.no_grad():
        for p in plain.parameters():
            p.zero_()
    assert all(p.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_supernet_uses_batch_statistics_in_either_mode(training):
    config, net, x = make()
    gates = soft(config.space, torch.randn(6, 5))
    torch.testing.assert_close(net.train(training)(x, gates), naive(config, net, x, gates), rtol=1e-10, atol=1e-10)
    assert not list(net.buffers())


def test_a_gate_with_nothing_active_gives_zeros():
    config, net, x = make()
    closed = scales(config.space, torch.zeros(6, 5))
    out = net(x, closed)
    assert out.shape == (4, 5)
    torch.testing.assert_close(out, naive(config, net, x, closed), rtol=1e-10, atol=1e-10)
    empty = one_hot(config.space, Arch(dict.fromkeys(config.space.decisions, "none")))
    torch.testing.assert_close(net(x, empty), out)
    captured = []
    net.cells[0].register_forward_hook(lambda module, given, result: captured.append((given[0], result)))
    net(x, closed)
    ((before, after),) = captured
    assert torch.equal(after, torch.zeros_like(before))


# --- what takes no part


def on_path(config, arch, name) -> bool:
    """Say whether a weight is used: the skeleton's are, an edge's if its operation is chosen and reachable."""
    if ".edges." not in name:
        return True
    edge, operation = name.split(".edges.")[1].split(".")[:2]
    return arch[edge] == operation and edge in reachable(arch, config.nodes)


def whole_path(config, seeds=range(100)) -> list[Arch]:
    """Return random architectures through which something flows, so that the stem learns."""
    return [arch for arch in (sample(config, s) for s in seeds) if reachable(arch, config.nodes)]


def test_only_active_and_reachable_weights_get_a_gradient():
    config, net, x = make()
    for arch in whole_path(config)[:8]:
        net.zero_grad(set_to_none=True)
        net(x, one_hot(config.space, arch)).pow(2).sum().backward()
        used = {name for name, p in net.named_parameters() if p.grad is not None}
        assert used == {name for name, _ in net.named_parameters() if on_path(config, arch, name)}


def test_inactive_weights_stay_bit_identical_through_momentum_and_decay():
    config, net, x = make()
    first, second = whole_path(config)[:2]
    rule = WeightRule(lr=0.1)
    optimiser = rule.optimiser(net)

    def step(arch):
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        optimiser.zero_grad(set_to_none=True)
        net(x, one_hot(config.space, arch)).pow(2).sum().backward()
        rule.apply(optimiser, 0.0)
        return {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}

    def used(arch):
        return {name for name, _ in net.named_parameters() if on_path(config, arch, name)}

    assert used(first) - used(second), "the momentum of these must not move them in the second step"
    assert step(first) == used(first)
    assert step(second) == used(second)


def test_frozen_weights_do_not_stop_the_gates_gradient():
    config, net, x = make()
    net.requires_grad_(False)
    logits = torch.randn(6, 5, requires_grad=True)
    net(x, soft(config.space, logits)).sum().backward()
    assert logits.grad.abs().sum() > 0


# --- the plain network


def copied(plain, other):
    """Give `other` the weights that `plain` has under the same names."""
    own = plain.state_dict()
    other.load_state_dict({key: own[key] for key in other.state_dict()})
    return other


def trained(net, steps=3):
    """Train a few steps, at a rate that takes weights and statistics far from where they start."""
    optimiser, images = torch.optim.SGD(net.parameters(), lr=0.5), torch.randn(steps, 8, 2, 8, 8)
    for x in images:
        optimiser.zero_grad()
        F.cross_entropy(net(x), torch.randint(5, (8,))).backward()
        optimiser.step()
    return net


CELLS = topology_space()
SHIFTED = [arch for arch in CELLS if needed(arch) != reachable(arch)]
"""Cells with a convolution that leaves a node without input, and whose shift reaches the output."""

RNG = np.random.default_rng(0)
DRAWN = [*(SHIFTED[k] for k in RNG.choice(len(SHIFTED), 16)), *(CELLS.sample(RNG) for _ in range(8))]


def test_prune_counts_the_cells_whose_shift_reaches_the_output_by_a_walk_over_paths():
    def feeds(arch, node):
        """Whether anything but zeros arrives at a node."""
        ways = [(k, arch[f"{k}-{node}"]) for k in range(node)]
        return node == 0 or any("conv" in name or (name != "none" and feeds(arch, k)) for k, name in ways)

    def leads(arch, node):
        return node == 3 or any(arch[f"{node}-{k}"] != "none" and leads(arch, k) for k in range(node + 1, 4))

    for arch in [*SHIFTED[::10], *(CELLS.sample(RNG) for _ in range(500))]:
        edges = {f"{i}-{j}" for j in range(4) for i in range(j) if leads(arch, j)}
        used = {e for e in edges if "conv" in arch[e] or (arch[e] != "none" and feeds(arch, int(e[0])))}
        assert needed(arch) == used
    assert len(SHIFTED) == 2140


@pytest.mark.parametrize("arch", DRAWN, ids=CELLS.format)
def test_prune_keeps_what_a_trained_network_computes(arch):
    config = NatsTopology(**SMALL)
    torch.manual_seed(0)
    plain = trained(config.network(arch, 2, 5))
    pruned, x = copied(plain, config.network(arch, 2, 5, prune=True)), torch.randn(4, 2, 8, 8)
    assert set(pruned.cells[0].edges) == needed(arch) and set(plain.cells[0].edges) == set(CELLS.decisions)
    for training in (False, True):
        torch.testing.assert_close(pruned.train(training)(x), plain.train(training)(x), rtol=1e-8, atol=1e-8)


def edge_outputs(plain, x, drop_path):
    """Return what went into the first cell, of one edge, and what came out."""
    plain.drop_path = drop_path
    seen = []
    hook = plain.cells[0].register_forward_hook(lambda m, given, result: seen.append((given[0], result)))
    plain(x)
    hook.remove()
    return seen[0]


def test_drop_path_drops_an_edge_for_a_whole_image_and_keeps_the_mean():
    config = NatsTopology(**SMALL, nodes=2)
    plain = config.network(Arch({"0-1": "nor_conv_1x1"}), 2, 5).train()
    x = torch.randn(400, 2, 4, 4)
    torch.manual_seed(0)
    _, full = edge_outputs(plain, x, 0.0)
    _, dropped = edge_outputs(plain, x, 0.3)
    gone = (dropped == 0).flatten(1).all(1)
    assert float(gone.double().mean()) == pytest.approx(0.3, abs=0.07)  # three standard deviations of 400 coins
    torch.testing.assert_close(dropped[~gone], full[~gone] / 0.7)


def test_drop_path_spares_skips_and_evaluation():
    config = NatsTopology(**SMALL, nodes=2)
    x = torch.randn(50, 2, 4, 4)
    skip = config.network(Arch({"0-1": "skip_connect"}), 2, 5).train()
    before, after = edge_outputs(skip, x, 0.9)
    assert torch.equal(before, after)
    conv = config.network(Arch({"0-1": "nor_conv_1x1"}), 2, 5).eval()
    assert torch.equal(edge_outputs(conv, x, 0.9)[1], edge_outputs(conv, x, 0.0)[1])


# --- probes


@pytest.mark.parametrize("seed", range(4))
def test_probes_give_the_gradient_of_weight_zero(seed):
    """One sampled option an edge is active and all others are probed, against all active with weight zero."""
    config, net, x = make()
    arch = whole_path(config)[seed]
    picks = [config.operations.index(arch[name]) for name in config.space.decisions]
    weights = F.one_hot(torch.tensor(picks), 5).to(x.dtype).requires_grad_()
    names, rows = list(config.space.decisions), weights.unbind(0)
    probed = {
        n: Gate(row, (k,), tuple(o for o in range(5) if o != k)) for n, row, k in zip(names, rows, picks, strict=True)
    }
    full = {n: Gate(row, tuple(range(5))) for n, row in zip(names, rows, strict=True)}
    plain = {n: Gate(row.detach(), (k,)) for n, row, k in zip(names, rows, picks, strict=True)}

    def slopes(gates):
        out = net(x, gates)
        return out, torch.autograd.grad(out.pow(2).sum(), [weights, *net.parameters()], materialize_grads=True)

    out, found = slopes(probed)
    wanted_out, wanted = slopes(full)
    torch.testing.assert_close(out, wanted_out, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out, net(x, plain), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)
    assert (found[0] != 0).sum() > len(names), "more than the sampled options must have a slope"


def test_an_edge_with_probes_only_is_left_out_of_the_output():
    config, net, x = make(3)
    weight = torch.zeros(5, requires_grad=True)
    gates = {name: Gate(torch.ones(5), (1,)) for name in config.space.decisions}
    net(x, gates | {"0-2": Gate(weight, (), (2, 3))}).pow(2).sum().backward()
    assert weight.grad[[2, 3]].abs().min() > 0
    assert weight.grad[[0, 1, 4]].abs().max() == 0
    wanted = net(x, gates | {"0-2": Gate(torch.zeros(5), ())})
    torch.testing.assert_close(net(x, gates | {"0-2": Gate(weight, (), (2, 3))}), wanted)

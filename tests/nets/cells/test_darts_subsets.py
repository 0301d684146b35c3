"""Cells of DARTS whose edges keep any of their operations."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot, scales
from renascent.core.schema import written
from renascent.core.space import Arch
from renascent.costs import cost_of, params
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.listing import Placed, ran
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.cells.slots import Slot
from renascent.nets.sizes.counted import memory_access_in
from tests.nets.conftest import one_less

TINY = DartsCells(channels=4, layers_count=3, nodes=2, decisions="subset")
SHAPE = (3, 8, 8)


def raw(rng, chance=0.15):
    """Return any operations, those of unfed nodes among them: option indices, and scales of one."""
    there = rng.random((len(TINY.space.decisions), 7)) < chance
    return (there << np.arange(7)).sum(1), torch.from_numpy(there).double()


def arch_of(values):
    names = TINY.space.decisions
    rows = zip(names, values.tolist(), strict=True)
    return Arch({name: tuple(o for o, v in zip(TINY.space.options(name), row, strict=True) if v) for name, row in rows})


def bare(net):
    """Take out the normalisations behind pools and of the last map, which the same cells by choice have not."""
    assert isinstance(net.last_norm, torch.nn.BatchNorm2d)
    net.last_norm, pools = torch.nn.Identity(), 0
    for cell in net.cells:
        for name, op in cell.edges.items():
            if "Pool" in type(next(iter(op.children()), None)).__name__:
                assert isinstance(op[1], torch.nn.BatchNorm2d)
                cell.edges[name], pools = op[0], pools + 1
    assert pools
    return net


def test_an_edge_decides_on_seven_operations_and_the_published_cells_are_among_them():
    config = DartsCells(decisions="subset")
    assert (len(config.space.decisions), set(config.space.counts)) == (28, {7})
    assert not config.space.rules
    choice = DartsCells()
    nets = []
    for each in (config, choice):
        with torch.device("meta"):
            nets.append(each.network(each.reference, 3, 10))
    assert params(bare(nets[0])) == params(nets[1])
    assert sum(map(len, config.reference.values())) == 16
    with pytest.raises(UserError, match="unknown decisions 'both'"):
        DartsCells(decisions="both")


def test_the_published_cells_compute_what_they_do_by_choice():
    config = dataclasses.replace(TINY, nodes=4, layers_count=4)
    choice = dataclasses.replace(config, decisions="choice")
    nets = [each.network(each.reference, 3, 5).train() for each in (config, choice)]
    bare(nets[0]).load_state_dict(nets[1].state_dict())
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(nets[0](x), nets[1](x), rtol=1e-12, atol=1e-12)


def test_the_classifier_reads_a_map_of_the_scale_of_one_however_many_operations_are_summed():
    config = dataclasses.replace(TINY, nodes=4, layers_count=4)
    net, x, seen = config.supernet(3, 5), torch.randn(8, *SHAPE), []
    net.net.last_norm.register_forward_hook(
        lambda module, given, out: seen.extend([float(given[0].detach().std()), float(out.detach().std())])
    )
    net(x, one_hot(config.space, config.space.arch({n: config.space.options(n) for n in config.space.decisions})))
    before, after = seen
    assert before > 3
    assert after == pytest.approx(1, abs=0.1)


def test_what_reads_an_unfed_node_is_taken_out_and_not_computed():
    net, rng, x, dead = TINY.supernet(3, 5), np.random.default_rng(2), torch.randn(2, *SHAPE), 0
    with torch.no_grad():  # so that what is fed with zeros differs from what is not computed
        for name, p in net.named_parameters():
            if name.endswith("bias"):
                p.uniform_(0.2, 1.0)
    for _ in range(10):
        values = raw(rng, 0.1)[1]
        arch = arch_of(values)
        alive = TINY.space.arch(arch)
        dead += sum(len(arch[name]) - len(alive[name]) for name in arch)
        out = net(x, scales(TINY.space, values))
        assert torch.equal(out, net(x, one_hot(TINY.space, alive)))
        plain = TINY.network(arch, 3, 5).train()
        assert plain.state_dict().keys() == TINY.network(alive, 3, 5).state_dict().keys()
        torch.testing.assert_close(net.extract(arch).train()(x), out, rtol=1e-10, atol=1e-10)
    assert dead > 3


def test_costs_are_those_of_the_networks_built_and_never_rise_when_an_operation_goes():
    rng = np.random.default_rng(1)
    cost = cost_of("memory_access_bytes", TINY, SHAPE, 5)
    for _ in range(4):
        row, values = raw(rng, 0.3)
        net = TINY.network(arch_of(values), 3, 5)
        layers = ran(Placed(Arch({})), lambda _, net=net: net, SHAPE)
        wanted = sum(memory_access_in(layer) for _, layer in layers)
        assert cost.exact(row[None]).tolist() == [wanted] == [float(cost(scales(TINY.space, values)))]
    rows = np.stack([raw(rng, 0.3)[0] for _ in range(1000)])
    less = one_less(rows, rng)
    for name in TINY.costs:
        before, after = (cost_of(name, TINY, SHAPE, 5).exact(each) for each in (rows, less))
        assert (after <= before).all()
        assert (after < before).any()


def test_every_cell_of_a_kind_reads_a_row_of_scales():
    net = dataclasses.replace(TINY, layers_count=5, nodes=1).supernet(3, 5)
    assert [net.places(f"{kind}.0-2") for kind in ("normal", "reduce")] == [3, 2]
    assert TINY.supernet(3, 5).places("normal.0-2") == 1
    weights = {name: torch.randn(net.places(name), 7) for name in net.space.decisions}
    seen = []
    for module in net.modules():
        if isinstance(module, Slot):
            module.register_forward_hook(lambda slot, given, out: seen.append((slot, given[0], out)))
    net(torch.randn(2, *SHAPE), {name: Gate(weight, tuple(range(7))) for name, weight in weights.items()})
    assert len(seen) == 2 * 5
    assert {(slot.decision, slot.number) for slot, _, _ in seen} >= {("normal.0-2", 2), ("reduce.1-2", 1)}
    for slot, x, out in seen:
        row = weights[slot.decision][slot.number]
        wanted = sum(w * option(x) for w, option in zip(row, slot.mixed.options, strict=False))
        torch.testing.assert_close(out, wanted, rtol=1e-10, atol=1e-10)


def test_paths_are_dropped_one_operation_at_a_time_and_no_skip():
    config = dataclasses.replace(TINY, nodes=1)
    arch = dict.fromkeys(config.space.decisions, ()) | {"normal.0-2": ("skip_connect", "max_pool_3x3")}
    cell = config.network(config.space.arch(arch), 3, 5).train().cells[0]
    x = torch.randn(400, 12, 4, 4)
    first = cell.inputs(x, x)[0]
    pooled = F.batch_norm(F.max_pool2d(first, 3, 1, 1), None, None, training=True)
    kept = (cell(x, x, 0.5) - first) / pooled
    assert set(kept.flatten(1).mean(1).round(decimals=6).tolist()) == {0.0, 2.0}


def test_what_was_recorded_before_there_was_a_choice_goes_on():
    """A search of choices, or of the full tree, has the configuration that it had."""
    for config, name in ((TINY, "decisions"), (PyramidTree(blocks=1, tree="A"), "tree")):
        assert written(config)[name] == getattr(config, name)
        assert name not in written(before := dataclasses.replace(config, **{name: getattr(type(config)(), name)}))
        assert type(config)(**written(before)).space == before.space


def test_it_is_drawn_by_edges_that_keep_something():
    arch = dict.fromkeys(TINY.space.decisions, ()) | {"normal.0-2": ("skip_connect", "max_pool_3x3")}
    arch["normal.2-3"] = ("sep_conv_3x3",)
    assert TINY.draw(TINY.space.arch(arch)).splitlines() == [
        "normal  node 2  0 ->  max_pool_3x3 skip_connect",
        "normal  node 3  2 ->  sep_conv_3x3",
    ]

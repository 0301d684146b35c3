"""Which work is shared, and which is never begun."""

import pytest
import torch

from renascent.core.codecs.nats_topology import OPERATIONS, reachable, topology_space
from renascent.core.gates import Gate, one_hot, soft
from renascent.nets.cells.routes import departures

CPU = torch.device("cpu")
SPACE = topology_space(4)


def leaving(gates, nodes=4):
    return departures(gates, nodes, OPERATIONS, CPU)


def found(gates, nodes=4):
    """Return (source, operation, targets) of every route."""
    return [(i, r.operation, r.targets) for i, d in enumerate(leaving(gates, nodes)) for r in d.routes]


def test_all_active_is_one_route_an_operation_and_node_and_none_for_none():
    routes = found(soft(SPACE, torch.zeros(6, 5)))
    assert routes == [
        (source, name, tuple(range(source + 1, 4))) for source in range(3) for name in OPERATIONS if name != "none"
    ]


@pytest.mark.parametrize("index", range(0, 15625, 397))
def test_one_hot_routes_are_the_reachable_edges(index):
    arch = SPACE.at(index)
    routes = found(one_hot(SPACE, arch))
    assert {f"{i}-{t}" for i, _, targets in routes for t in targets} == reachable(arch)
    assert all(arch[f"{i}-{t}"] == name for i, name, targets in routes for t in targets)
    assert len({(i, name) for i, name, _ in routes}) == len(routes)


def test_constant_ones_need_no_weight_and_anything_else_does():
    ones = one_hot(SPACE, SPACE.parse("|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|"))
    assert [r.weight for d in leaving(ones) for r in d.routes] == [None, None]
    name = "0-2"
    for weight in (ones[name].weight.clone().requires_grad_(), ones[name].weight * 0.5):
        routes = [r for d in leaving({**ones, name: Gate(weight, ones[name].active)}) for r in d.routes]
        (held,) = [r.weight for r in routes if r.operation == "nor_conv_3x3"]
        assert held.tolist() == [weight[3].item()]


def test_the_scale_of_merged_channels_repeats_each_edges_weight():
    gates = soft(SPACE, torch.randn(6, 5))
    route = next(r for d in leaving(gates) for r in d.routes if r.operation == "nor_conv_1x1")
    w = [gates[f"0-{t}"].weight[2].item() for t in (1, 2, 3)]
    assert route.scale(2).tolist() == [w[0], w[0], w[1], w[1], w[2], w[2]]


def test_a_probe_keeps_a_path_open():
    closed = {name: Gate(torch.zeros(5), ()) for name in SPACE.decisions}
    skip = Gate(torch.ones(5), (1,))
    probed = Gate(torch.zeros(5, requires_grad=True), (), (3,))
    assert found({**closed, "0-1": skip}) == []
    gates = {**closed, "0-1": skip, "1-3": probed}
    assert found(gates) == [(0, "skip_connect", (1,))]
    assert dict(leaving(gates)[1].probes) == {(1, 3): (("nor_conv_3x3",), probed)}
    only_none = Gate(torch.zeros(5, requires_grad=True), (), (0,))
    assert found({**closed, "0-1": skip, "1-3": only_none}) == []

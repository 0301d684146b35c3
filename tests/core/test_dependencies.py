"""Dependencies between edges against the logic of on and off and their formula, and what pruning by them leaves."""

import itertools
import math

import numpy as np
import pytest

from renascent.core.dependencies import LEAST_VARIANCE, Graph, Switch, connected, gammas, prune
from renascent.core.errors import UserError

FEW = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]
ALL = list(itertools.combinations(range(5), 2))


def graph(edges, strengths):
    """Return two switches an edge."""
    pairs = [(*edge, op) for edge in edges for op in ("a", "b")]
    return [Switch(*pair, float(s)) for pair, s in zip(pairs, strengths, strict=True)]


def logic(edges, on, open_):
    """Return Eq. 3-3 of every switch, zero switches included: it is on, and so is one that leads to its source."""
    own = {(e, k): open_[n] and on[2 * n + k] for n, e in enumerate(edges) for k in range(2)}
    fed = {node: node == 0 or any(own[e, k] for e, k in own if e[1] == node) for node in range(5)}
    return [own[e, k] and fed[e[0]] for e, k in own]


def of(on):
    return [math.inf if each else 0.0 for each in on]


def agree(edges, on, open_):
    found = gammas(graph(edges, of(on)), [0], dict(zip(edges, of(open_), strict=True)))
    assert found == of(logic(edges, on, open_))


def test_of_infinite_and_zero_strengths_it_is_the_logic_for_every_assignment():
    for bits in itertools.product((False, True), repeat=15):
        agree(FEW, bits[:10], bits[10:])


def test_and_for_random_assignments_of_the_complete_graph():
    for bits in np.random.default_rng(0).random((2000, 30)) < 0.4:
        agree(ALL, bits[:20].tolist(), bits[20:].tolist())


def test_finite_strengths_follow_the_formula():
    rng = np.random.default_rng(1)
    for _ in range(50):
        s, s0 = rng.uniform(0.01, 3, (10, 2)), rng.uniform(0.01, 3, 10)
        found = np.array(gammas(graph(ALL, s.flatten()), [0], dict(zip(ALL, s0, strict=True)))).reshape(10, 2)
        t = 1 / (1 / s0[:, None] + 1 / s)
        for n, (source, _) in enumerate(ALL):
            into = sum(t[m].sum() for m, edge in enumerate(ALL) if edge[1] == source)
            for k in range(2):
                wanted = t[n, k] if source == 0 else 1 / (1 / into + 1 / t[n, k])
                assert found[n, k] == pytest.approx(wanted, rel=1e-12)


def test_the_bound_is_the_variance_of_entropy_zero():
    assert pytest.approx(0.0585, abs=5e-5) == LEAST_VARIANCE
    assert math.log(2 * math.pi * math.e * LEAST_VARIANCE) / 2 == pytest.approx(0, abs=1e-15)
    pair = graph([(0, 1)], [LEAST_VARIANCE, LEAST_VARIANCE * 1.001])
    assert [s.operation for s in prune(pair, [s.strength for s in pair])] == ["b"]


def test_an_edge_may_outlive_all_that_leads_to_it():
    """Strengths 0.05, 0.05 into node 1 and 1 out of it give 0.0909, above the bound, and both others are pruned."""
    three = [Switch(0, 1, "a", 0.05), Switch(0, 1, "b", 0.05), Switch(1, 2, "a", 1.0), Switch(0, 2, "a", 1.0)]
    found = gammas(three, [0])
    assert found == pytest.approx([0.05, 0.05, 1 / 11, 1.0])
    left = prune(three, found)
    assert left == three[2:]
    assert connected(left, [0], [2]) == ([three[3]], 1)


def test_what_is_connected_has_no_unfed_edge_and_no_dead_end():
    rng, removed, cut = np.random.default_rng(2), 0, 0
    for _ in range(1000):
        switches = graph(ALL, 10 ** rng.uniform(-3, 0.5, 20))
        left = prune(switches, gammas(switches, [0]))
        try:
            kept, count = connected(left, [0], [4])
        except UserError:
            cut += 1
            continue
        removed += count
        assert len(kept) + count == len(left)
        assert set(kept) <= set(left)
        sources, targets = {s.source for s in kept}, {s.target for s in kept}
        assert sources <= targets | {0}
        assert targets <= sources | {4}
    assert removed > 0
    assert 0 < cut < 500


def test_a_graph_that_is_cut_is_one_line():
    for left in ([], [Switch(0, 1, "a", 1.0)], [Switch(1, 2, "a", 1.0)]):
        with pytest.raises(UserError, match="all edges are pruned: give a smaller `shrinkage`"):
            connected(left, [0], [2])


def test_an_edge_may_come_back_between_nodes_that_are_alive():
    edges = {"a": ((0, 1), (0, 2), None), "b": ((1, 3), (2, 3), (0, 3))}
    graph_ = Graph(edges, frozenset([0]), frozenset([3]))
    on = {"a": [True, False, True], "b": [True, True, False]}
    # node 2 is fed by nothing: neither the edge into it nor the one out of it is any use
    assert graph_.joining(on) == {"a": [True, False, False], "b": [True, False, True]}
    off = {name: [False] * 3 for name in edges}
    assert graph_.joining(off) == {"a": [False] * 3, "b": [False, False, True]}

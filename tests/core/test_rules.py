"""Rules of spaces: of some decisions, exactly so many are kept."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Kept, Space

EDGES = ("0-2", "1-2", "0-3", "1-3", "2-3")
OPERATIONS = ("none", "skip", "conv")
RULES = (Kept(EDGES[:2], 2), Kept(EDGES[2:], 2))
CELL = Space({name: Choice(OPERATIONS) for name in EDGES}, "cell", rules=RULES)


def enumerated():
    """Every row of five operations of which node 2 reads two edges, and node 3 two."""
    rows = np.array(list(itertools.product(range(3), repeat=5)))
    return rows[((rows[:, :2] > 0).sum(1) == 2) & ((rows[:, 2:] > 0).sum(1) == 2)]


def darts_like(nodes=4, operations=8):
    names = [[f"{i}-{j}" for i in range(j)] for j in range(2, 2 + nodes)]
    options = ("none", *(f"op{k}" for k in range(operations - 1)))
    cells = [[[f"{cell}.{edge}" for edge in node] for node in names] for cell in ("normal", "reduce")]
    edges = [edge for cell in cells for node in cell for edge in node]
    return Space({e: Choice(options) for e in edges}, rules=tuple(Kept(tuple(n), 2) for cell in cells for n in cell))


def test_legal_rows_are_those_of_enumeration():
    rows, legal = np.array(list(itertools.product(range(3), repeat=5))), enumerated()
    assert (rows[CELL.legal(rows)] == legal).all()
    assert CELL.legal(legal[0]).shape == () and CELL.legal(legal).shape == (48,)
    assert Space({"a": Choice(("x", "y"))}).legal(np.array([[0], [1]])).all()


def test_size_and_listing_count_legal_architectures_only():
    assert CELL.size == len(CELL) == len(list(CELL)) == len(enumerated()) == 48
    assert {tuple(CELL.indices(arch)) for arch in CELL} == set(map(tuple, enumerated()))
    assert darts_like().size == (1 * 3 * 6 * 10 * 7**8) ** 2


def test_an_illegal_architecture_is_refused():
    three = dict(zip(EDGES, ("conv",) * 5, strict=True))
    with pytest.raises(UserError, match="3 of 0-3, 1-3, 2-3 are not 'none': let 2 of them be something else"):
        CELL.arch(three)
    with pytest.raises(UserError, match="1 of 0-2, 1-2 are not 'none'"):
        CELL.parse("0-2=conv,1-2=none,0-3=none,1-3=skip,2-3=conv")


def test_the_most_important_edges_are_kept_with_their_best_operation():
    """`none` is never chosen for its score, and of equal edges the earlier is kept."""
    scores = {name: [9.0, 0.0, 0.0] for name in EDGES}
    assert CELL.indices(CELL.discretise(scores)).tolist() == [1, 1, 1, 1, 0]
    scores |= {"0-3": [0.0, 0.1, 0.2], "1-3": [5.0, -1.0, -2.0], "2-3": [0.0, 0.0, 0.9]}
    assert CELL.indices(CELL.discretise(scores)).tolist() == [1, 1, 2, 0, 2]
    table = np.array([scores[name] for name in EDGES])
    both = CELL.strongest(np.stack([table, -table]))
    assert both[0].tolist() == [1, 1, 2, 0, 2] and both[1].tolist() == [1, 1, 0, 2, 1]


def test_samples_are_uniform():
    rng = np.random.default_rng(0)
    counts = Counter(tuple(CELL.indices(CELL.sample(rng))) for _ in range(9600))
    assert len(counts) == 48 and chisquare(list(counts.values())).pvalue > 1e-3


def test_mutants_are_legal_different_and_reach_everything():
    rng, space = np.random.default_rng(0), darts_like(3, 3)
    arch, seen, kinds = space.sample(rng), set(), Counter()
    for _ in range(2000):
        other = space.mutate(arch, rng)
        changed = [name for name in arch if other[name] != arch[name]]
        assert bool(space.legal(space.indices(other))) and len(changed) in (1, 2)
        if len(changed) == 2:  # another input of the same node
            assert len({name.partition("-")[2] for name in changed}) == 1
            assert sum(arch[name] == "none" for name in changed) == 1
        kinds[len(changed)] += 1
        arch = other
        seen.add(tuple(space.indices(arch)))
    assert min(kinds.values()) > 300 and len(seen) > 1500
    walked, start = set(), CELL.sample(rng)
    for _ in range(3000):
        start = CELL.mutate(start, rng)
        walked.add(start)
    assert walked == set(CELL)


def test_a_space_without_another_legal_architecture_has_nothing_to_mutate():
    space = Space({name: Choice(("none", "conv")) for name in "ab"}, rules=(Kept(("a", "b"), 2),))
    assert space.size == 1
    with pytest.raises(UserError, match="nothing to mutate"):
        space.mutate(next(iter(space)), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("decisions", "rules", "message"),
    [
        ({"a": Choice(("none", "x"))}, (Kept(("a", "b"), 1),), "binds 'b'"),
        ({"a": Choice(("x", "y"))}, (Kept(("a",), 1),), "with 'none' in each"),
        ({"a": Integer((1, 2))}, (Kept(("a",), 1),), "binds 'a': give Choices"),
        ({"a": Choice(("none", "x"))}, (Kept(("a",), 2),), "at most as many kept"),
        ({"a": Choice(("none", "x"))}, (Kept(("a",), 1), Kept(("a",), 0)), "no other rule binds"),
        ({"a": Choice(("none", "x")), "b": Choice(("y",), when=("a", ("x",)))}, (Kept(("a",), 1),), "depends on"),
    ],
)
def test_rules_that_do_not_fit_are_refused(decisions, rules, message):
    with pytest.raises(UserError, match=message):
        Space(decisions, rules=rules)

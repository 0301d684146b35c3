"""Which edges of a graph lie on a path, against all paths written out; and spaces that know what is alive."""

import copy
import itertools
import pickle

import numpy as np

from renascent.core.flow import flowing
from renascent.core.space import Choice, Space, Subset


def paths(edges, node, outputs):
    """Yield every path from a node to an output, each a list of edges."""
    if node in outputs:
        yield []
    for edge in edges:
        if edge[0] == node:
            yield from ([edge, *rest] for rest in paths(edges, edge[1], outputs))


def test_what_flows_is_what_some_path_uses():
    rng, inputs, outputs = np.random.default_rng(0), {0, 1}, {4, 5}
    every = [(i, j, k) for i, j in itertools.combinations(range(6), 2) for k in range(2)]
    for _ in range(300):
        edges = [every[k] for k in rng.permutation(len(every))[: rng.integers(0, 14)]]
        used = {edge for node in inputs for path in paths(edges, node, outputs) for edge in path}
        assert flowing(edges, inputs, outputs) == used


def living(values):
    """A chain of two nodes, each also fed by the input: (input) -> a -> b -> (output)."""
    edges = [(source, name) for name in ("a", "b") for source in values[name]]
    kept = flowing([*edges, ("b", "out")], ["input"], ["out"])
    return {name: tuple(s for s in values[name] if (s, name) in kept) for name in ("a", "b")}


SPACE = Space({"a": Subset(("input",)), "b": Subset(("input", "a"))}, name="chain", alive=living)


def test_architectures_that_differ_in_dead_edges_are_one():
    unfed, dangling = SPACE.arch({"a": (), "b": ("input", "a")}), SPACE.arch({"a": ("input",), "b": ("input",)})
    assert unfed == dangling == SPACE.arch({"a": (), "b": ("input",)})
    assert SPACE.format(dangling) == SPACE.format(unfed) and SPACE.parse("a=input,b=input") == unfed
    assert SPACE.from_indices([1, 1]) == SPACE.from_indices([0, 3]) == SPACE.at(SPACE.index(unfed)) == unfed
    assert SPACE.indices({"a": ("input",), "b": ()}).tolist() == [0, 0]
    assert len(list(SPACE)) == len(set(SPACE)) == 4


def test_mutation_changes_what_is_alive_even_from_nothing():
    nothing, rng = SPACE.arch({"a": (), "b": ()}), np.random.default_rng(0)
    found = [SPACE.mutate(nothing, rng) for _ in range(50)]
    assert nothing not in found and all(SPACE.arch(arch) == arch for arch in found)
    assert all(SPACE.sample(rng) in set(SPACE) for _ in range(20))


def test_a_space_keeps_what_it_knows_when_it_is_joined_copied_and_pickled():
    other = Space({"c": Choice(("x", "y"))}, name="other")
    twin = Space({"d": Subset(("x",))}, name="twin", alive=lambda values: {"d": ()})
    given = {"a": ("input",), "b": ("input",), "c": "y", "d": ("x",)}
    for joined in (SPACE.join(other).join(twin), twin.join(other).join(SPACE)):
        assert joined.arch(given) == {"a": (), "b": ("input",), "c": "y", "d": ()}
    for same in (copy.deepcopy(SPACE), pickle.loads(pickle.dumps(SPACE))):
        assert same == SPACE and same.arch({"a": ("input",), "b": ()}) == {"a": (), "b": ()}

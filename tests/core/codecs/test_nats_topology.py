"""The topology space agrees with NAS-Bench-201, string by string and index by index."""

from __future__ import annotations

import itertools
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renascent.core.codecs.nats_topology import (
    OPERATIONS,
    draw,
    official_arch,
    official_index,
    official_order,
    reachable,
    topology_space,
)
from renascent.core.errors import UserError
from renascent.core.space import Arch, Choice, Space

SPACE = topology_space()

# from the published table; 6111, 9930, 857: the best test accuracy on CIFAR-10, CIFAR-100, ImageNet16-120
KNOWN = {
    0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    1: "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    3: "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|",
    857: "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    6111: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    7812: "|skip_connect~0|+|skip_connect~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    9930: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    15624: "|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",
}


def cell(*operations: str) -> Arch:
    return Arch(dict(zip(SPACE.decisions, operations, strict=True)))


def test_space_is_the_paper_s() -> None:
    assert SPACE.name == "nats-topology"
    assert tuple(SPACE.decisions) == ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
    assert all(decision == Choice(OPERATIONS) for decision in SPACE.decisions.values())
    assert SPACE.size == SPACE.span == len(SPACE) == 15625


@pytest.mark.parametrize(("index", "text"), KNOWN.items())
def test_known_cells(index: int, text: str) -> None:
    arch = SPACE.parse(text)
    assert official_index(arch) == index
    assert official_arch(index) == arch
    assert SPACE.format(arch) == text


def test_order_is_a_permutation_and_read_only() -> None:
    order = official_order()
    assert order.shape == (15625, 6)
    assert len(np.unique(order @ 5 ** np.arange(6))) == 15625
    with pytest.raises(ValueError, match="read-only"):
        order[0, 0] = 1
    assert official_order() is order


def test_order_leaves_the_global_generator_alone() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    official_order.__wrapped__()
    assert random.random() == expected


def test_official_index_inverts_official_arch_everywhere() -> None:
    assert [official_index(official_arch(index)) for index in range(0, 15625, 25)] == list(range(0, 15625, 25))


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    folder = os.environ.get("RENASCENT_DATA")
    if not folder:
        pytest.skip("RENASCENT_DATA is not set: name the folder that holds nas/nb201.npz")
    path = Path(folder) / "nas" / "nb201.npz"
    if not path.is_file():
        pytest.skip("RENASCENT_DATA holds no nas/nb201.npz")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in ("arch_str", "arch_ops", "acc200_c10_test")}


def test_all_cells_of_the_real_table(table: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(official_order(), table["arch_ops"])
    texts = [text.decode() for text in table["arch_str"]]
    archs = [SPACE.parse(text) for text in texts]
    assert [SPACE.format(arch) for arch in archs] == texts
    assert [official_index(arch) for arch in archs] == list(range(15625))
    assert [official_arch(index) for index in range(15625)] == archs


def test_best_cell_of_the_real_table(table: dict[str, np.ndarray]) -> None:
    assert SPACE.format(official_arch(int(table["acc200_c10_test"].argmax()))) == KNOWN[6111]


@pytest.mark.parametrize("index", [-1, 15625])
def test_official_arch_out_of_range(index: int) -> None:
    with pytest.raises(UserError, match=f"index {index} is not in NAS-Bench-201: give 0 to 15624"):
        official_arch(index)


def test_official_index_of_another_space() -> None:
    with pytest.raises(UserError, match="decision '0-3' has no value"):
        official_index(topology_space(3).at(0))
    with pytest.raises(UserError, match="cannot be 'conv_7x7': give one of none, skip_connect"):
        official_index(cell("conv_7x7", *["none"] * 5))


@given(st.integers(2, 6), st.integers(0, 2**31))
def test_exchange_round_trips_for_any_node_count(nodes: int, seed: int) -> None:
    space = topology_space(nodes, ("none", "a b", "x:1"))
    arch = space.sample(np.random.default_rng(seed))
    assert space.parse(space.format(arch)) == arch


GOOD = KNOWN[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 1 groups joined by +: a cell of 4 nodes has 3"),
        ("|none~0|", "has 1 groups"),
        (GOOD + "+|none~0|none~1|none~2|none~3|", "has 4 groups"),
        (GOOD.replace("avg_pool_3x3", "max_pool_3x3"), "'max_pool_3x3~0' in group '|max_pool_3x3~0|'"),
        (GOOD.replace("avg_pool_3x3", "max_pool_3x3"), "op one of none, skip_connect, nor_conv_1x1"),
        (GOOD.replace("avg_pool_3x3~0", "avg_pool_3x3~1"), "'avg_pool_3x3~1' in group"),
        (GOOD.replace("avg_pool_3x3~0", "avg_pool_3x3"), "'avg_pool_3x3' in group"),
        (GOOD[1:], "group 'avg_pool_3x3~0|' of node 1 cannot be read: write |op~0|"),
        (GOOD[:-1], "of node 3 cannot be read: write |op~0|op~1|op~2|"),
        (GOOD + " ", "of node 3 cannot be read"),
        (GOOD.replace("|+|", "|+|+|"), "groups joined by +"),
        ("|+|none~0|none~1|+|none~0|none~1|none~2|", "group '|' of node 1"),
        ("||+|none~0|none~1|+|none~0|none~1|none~2|", "'' in group '||'"),
        (GOOD.replace("skip_connect~1|+", "skip_connect~01|+"), "'skip_connect~01' in group"),
    ],
)
def test_parse_names_the_bad_part(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        SPACE.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_spaces() -> None:
    with pytest.raises(UserError, match="1 nodes: give at least 2"):
        topology_space(1)
    with pytest.raises(UserError, match=r"operation 'a\|b' cannot be written"):
        topology_space(4, ("none", "a|b"))
    with pytest.raises(UserError, match="distinct"):
        topology_space(4, ("none", "none"))


def test_space_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(SPACE))
    assert copy == SPACE and copy.parse(GOOD) == SPACE.parse(GOOD)


def reachable_by_paths(arch: Arch, nodes: int) -> set[str]:
    """Walk every path from node 0 to the last: slow and plainly right."""
    found: set[str] = set()
    paths: list[tuple[int, ...]] = [(0,)]
    while paths:
        path = paths.pop()
        if path[-1] == nodes - 1:
            found |= {f"{a}-{b}" for a, b in itertools.pairwise(path)}
        paths += [(*path, t) for t in range(path[-1] + 1, nodes) if arch[f"{path[-1]}-{t}"] != "none"]
    return found


@given(st.integers(2, 6), st.integers(0, 2**31))
def test_reachable_is_the_union_of_paths(nodes: int, seed: int) -> None:
    arch = topology_space(nodes, ("none", "conv")).sample(np.random.default_rng(seed))
    assert reachable(arch, nodes) == reachable(arch) == reachable_by_paths(arch, nodes)


def test_reachable_by_hand() -> None:
    assert reachable(cell(*["none"] * 6), 4) == frozenset()
    assert reachable(cell(*["skip_connect"] * 6), 4) == frozenset(SPACE.decisions)
    dead_end = cell("nor_conv_3x3", "none", "none", "skip_connect", "none", "none")
    assert reachable(dead_end) == {"0-3"}
    no_source = cell("none", "none", "nor_conv_3x3", "skip_connect", "nor_conv_3x3", "avg_pool_3x3")
    assert reachable(no_source) == {"0-3"}


def test_reachable_and_draw_pass_over_decisions_of_a_joined_space() -> None:
    arch = SPACE.parse(GOOD)
    joined = SPACE.join(Space({"lr": Choice(("low", "high"))})).arch({**arch, "lr": "low"})
    assert reachable(joined) == reachable(arch)
    assert draw(joined) == draw(arch)


def test_reachable_and_draw_of_no_cell() -> None:
    with pytest.raises(UserError, match="lacks the edge '0-3'"):
        reachable(topology_space(3).at(0), 4)
    for function in (reachable, draw):
        with pytest.raises(UserError, match="is no cell"):
            function(Arch({"op": "conv"}))


def test_draw_aligns_and_marks() -> None:
    arch = cell("none", "nor_conv_3x3", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "none")
    assert draw(arch).splitlines() == [
        "node 0  input",
        "node 1  0 -> none",
        "node 2  0 -> nor_conv_3x3*  1 -> avg_pool_3x3*",
        "node 3  0 -> skip_connect   1 -> nor_conv_1x1*  2 -> none  output",
        "* on no path from input to output",
    ]


def test_draw_without_marks_has_no_legend() -> None:
    assert "*" not in draw(SPACE.parse(KNOWN[6111]))

"""The cells of DARTS as they are written and drawn."""

import numpy as np
import pytest

from renascent.core.codecs.darts_cells import DARTS_V2, KINDS, OPERATIONS, cells_space, draw, edges
from renascent.core.errors import UserError

PUBLISHED = {
    "normal": [
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("skip_connect", 0),
        ("dil_conv_3x3", 2),
    ],
    "reduce": [
        ("max_pool_3x3", 0),
        ("max_pool_3x3", 1),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
        ("max_pool_3x3", 0),
        ("skip_connect", 2),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
    ],
}
"""The cells of second-order DARTS as they were published: (operation, source), two for each of four nodes."""


def test_decisions_are_the_edges_of_both_cells_in_order():
    names = list(cells_space().decisions)
    assert names[:5] == ["normal.0-2", "normal.1-2", "normal.0-3", "normal.1-3", "normal.2-3"]
    assert (names[13], names[14], len(names)) == ("normal.4-5", "reduce.0-2", 28)
    assert len(edges(4)) == 14


def test_the_published_cell_is_read():
    arch = cells_space().parse(DARTS_V2)
    wanted = dict.fromkeys(cells_space().decisions, "none")
    for kind in KINDS:
        for place, (operation, source) in enumerate(PUBLISHED[kind]):
            wanted[f"{kind}.{source}-{2 + place // 2}"] = operation
    assert dict(arch) == wanted
    assert cells_space().format(arch) == DARTS_V2


@pytest.mark.parametrize("kinds", [KINDS, KINDS[:1]])
@pytest.mark.parametrize("nodes", [1, 3])
def test_what_is_written_is_read(nodes, kinds):
    space, rng = cells_space(nodes, kinds=kinds), np.random.default_rng(0)
    for _ in range(20):
        arch = space.sample(rng)
        assert space.parse(space.format(arch)) == arch
        assert len(draw(arch).splitlines()) == nodes * len(kinds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write normal=...,reduce=..."),
        ("reduce=|a~0|,normal=|a~0|", "write normal=...,reduce=..."),
        ("normal=|skip_connect~0|+|skip_connect~1|,reduce=||", "has 2 groups joined by +: a cell of 1 nodes has 1"),
        ("normal=skip_connect~0,reduce=||", "'skip_connect~0' of node 2 cannot be read"),
        ("normal=|skip~0|,reduce=||", "op one of max_pool_3x3, avg_pool_3x3"),
        ("normal=|skip_connect~2|,reduce=||", "sources rising from 0 to 1"),
        ("normal=|skip_connect~1|skip_connect~0|,reduce=||", "sources rising from 0 to 1"),
        ("normal=|skip_connect~1|skip_connect~1|,reduce=||", "sources rising from 0 to 1"),
        ("normal=|none~1|,reduce=||", "cannot be read"),
        ("normal=|,reduce=||", "'|' of node 2 cannot be read"),
        ("normal=|skip_connect~0||,reduce=||", "cannot be read"),
    ],
)
def test_text_that_cannot_be_read_is_one_line(text, words):
    with pytest.raises(UserError) as found:
        cells_space(nodes=1).parse(text)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("about", [{"nodes": 0}, {"operations": ("none",)}, {"operations": OPERATIONS[1:]}])
def test_a_cell_without_anything_to_choose_is_refused(about):
    with pytest.raises(UserError, match=r"cannot (have|make)"):
        cells_space(**about)

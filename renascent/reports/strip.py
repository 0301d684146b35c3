"""Chains of blocks as strips: the kernel and the expansion of each, under the sizes of its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from markupsafe import Markup

from renascent.core.spaces import ChainBlock
from renascent.reports.plots import COLOURS, INK, RULE, SOFT, WIDTH, Picture, bare, draw, tip
from renascent.reports.policy import Drawing
from renascent.results.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KERNELS = {3: COLOURS[0], 5: COLOURS[1], 7: COLOURS[2]}
"""Colour of the blocks of a kernel size."""

TALL, LEAST = 0.42, 0.12
"""Height of the widest block, in rows, and what every block has, so that it is seen."""

CAPTION = Markup(
    "A column is a block, in order, under the height and width of its map. The number above it, and its colour: the "
    "kernel size. Its height, and the number below it: the expansion. A dash: no such block stands there."
)


def strip(result: Record) -> list[Drawing]:
    """Draw the chosen blocks; nothing where a space is no chain of them."""
    blocks = result.space.chain(result.arch, (result.shape[1], result.shape[2]))
    return [(strips({"": blocks}, "kernel and expansion of each block"), CAPTION)] if blocks else []


def strips(chains: Mapping[str, Sequence[ChainBlock]], title: str) -> Picture:
    """Draw chains of equally many blocks below each other, each with its name on the left."""
    first = next(iter(chains.values()))
    widest = max(max(block.expansion for block in blocks) for blocks in chains.values()) or 1

    def paint(axes: Axes) -> None:
        for row, blocks in enumerate(chains.values()):
            for k, block in enumerate(blocks):
                _block(axes, k, row, block, widest)
        axes.set(xlim=(-0.6, len(first) - 0.4), ylim=(-0.75, len(chains) - 0.68))
        bare(axes, list(chains), [row - TALL / 2 for row in range(len(chains))])
        _sizes(axes, first)

    return draw(title, paint, height=62 * len(chains) + 24, head="")


def _block(axes: Axes, k: int, row: int, block: ChainBlock, widest: int) -> None:
    """Draw the block at place `k` of the chain in that row: its column stands on the row's line."""
    if not block.kernel:
        said = tip(f"{block.decision}: {block.option}")
        axes.bar(k, -0.03, 0.5, bottom=row, color=SOFT, gid=said)
        return
    said = tip(f"{block.decision}: {block.option}, kernel {block.kernel}, expansion {block.expansion}")
    high = LEAST + (TALL - LEAST) * block.expansion / widest
    axes.bar(k, -high, 0.8, bottom=row, color=KERNELS.get(block.kernel, SOFT), gid=said)
    axes.text(k, row - high - 0.03, str(block.kernel), color=INK, ha="center", va="bottom")
    axes.text(k, row + 0.03, str(block.expansion), color=SOFT, ha="center", va="top")


def _sizes(axes: Axes, blocks: Sequence[ChainBlock]) -> None:
    """Name runs of blocks of one map size above, where there is room, with a line between them."""
    begin, marks = 0, {}
    for (h, w), run in groupby(blocks, key=lambda block: block.size):
        count, name = len(list(run)), f"{h}x{w}"
        if begin:
            axes.axvline(begin - 0.5, color=RULE, linewidth=1)
        if 0.8 * WIDTH * count / len(blocks) > 6.5 * len(name):
            marks[begin + (count - 1) / 2] = name
        begin += count
    axes.xaxis.tick_top()
    axes.set_xticks(list(marks), list(marks.values()))
    axes.tick_params(axis="x", length=0)

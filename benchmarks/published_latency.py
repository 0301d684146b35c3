"""Latencies that others have published: tables of blocks, and measurements of whole networks.

Blocks: ProxylessNAS, Cai, Zhu and Han, ICLR 2019, arXiv:1812.00332 (Google Pixel 1); Once-for-All, Cai et al., ICLR
2020, arXiv:1908.09791 (Samsung Note10). Networks: HELP, Lee et al., NeurIPS 2021, arXiv:2106.08630, of the FBNet space
on CIFAR-100 images and of Once-for-All's MobileNetV3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from renascent.costs.latency.gp import MOST_POINTS, fit_process
from renascent.costs.latency.predictor import ABSENT, Codes, Floats, Operators, rank
from renascent.costs.latency.published import (
    fbnet_measurements,
    latencies,
    proxyless_entries,
    read_arrays,
    read_published,
)

ONCE_FOR_ALL, OFA_NETWORKS = "latency_lut_ofa_mbv3_note10.json", "ofa_help_latency.npz"


class Block(NamedTuple):
    """One inverted residual block. inputs, middle, outputs: channels.  h, w: of its input map.

    squeeze: whether it has squeeze-and-excitation.  swish: whether its activation is hard swish.
    """

    inputs: int
    middle: int
    outputs: int
    h: int
    w: int
    kernel: int
    stride: int
    shortcut: bool
    squeeze: bool
    swish: bool


@dataclass(frozen=True)
class Blocks:
    """A published table. device: in words.  latency_ms: (n,), the mean of each."""

    device: str
    blocks: tuple[Block, ...]
    latency_ms: Floats


def proxyless_table(folder: str | Path) -> Blocks:
    """Read ProxylessNAS's table of blocks from a folder. Raises UserError when it is not there or damaged."""
    table = proxyless_entries(folder)
    return _blocks(table.device, {k: {"mean": e.mean} for k, e in table.entries.items()}, expand_is_ratio=True)


def once_for_all_table(folder: str | Path) -> Blocks:
    """Read Once-for-All's table of blocks, of all its resolutions. Raises UserError when it is not there or damaged."""
    tree = read_published(Path(folder) / ONCE_FOR_ALL)
    merged: dict[str, Any] = {}
    for entries in tree["resolutions"].values():
        merged |= entries  # a block that two resolutions share was measured in both: the later one stands
    return _blocks(tree["device"], merged, expand_is_ratio=False)


class Networks(NamedTuple):
    """Whole networks and their latencies. codes: option index of each decision, (n, decisions).

    latency_ms: device -> (n,).
    """

    codes: Codes
    operators: Operators
    latency_ms: Mapping[str, Floats]


FBNET_STAGES = ((1, 16, 1), (4, 24, 1), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))
"""Blocks, channels and first stride of FBNet's stages on 32 x 32 images, arXiv:1812.03443, Table 1, as HELP has it."""

OFA_STAGES = ((4, 24, 2), (4, 40, 2), (4, 80, 2), (4, 112, 1), (4, 160, 2))
"""Blocks, channels and first stride of Once-for-All's MobileNetV3, behind a stem that halves the image."""


def fbnet_networks(folder: str | Path) -> Networks:
    """Read 5,000 networks of the FBNet space. Raises UserError when the file is not there or damaged."""
    names, codes, latency_ms = fbnet_measurements(folder)
    skip = names.index("skip")
    options = [_fbnet_option(name) for name in names]
    kernel, expand, groups = (np.array(column)[codes] for column in zip(*options, strict=True))
    kinds = np.where(codes == skip, ABSENT, codes)
    side = np.full(len(codes), 32)
    return Networks(codes, _operators(kinds, kernel, expand, groups, FBNET_STAGES, 16, side), latency_ms)


def once_for_all_networks(folder: str | Path) -> Networks:
    """Read 5,000 networks of Once-for-All's MobileNetV3. Raises UserError when the file is not there or damaged."""
    stored = read_arrays(Path(folder) / OFA_NETWORKS)
    kernel, expand, depth, side = (stored[key].astype(np.int64) for key in ("ks", "e", "d", "r"))
    there = np.tile(np.arange(4), 5) < np.repeat(depth, 4, axis=1)
    which = np.searchsorted((3, 5, 7), kernel) * 3 + np.searchsorted((3, 4, 6), expand)
    sides = np.unique(side)
    codes = np.concatenate([np.where(there, 1 + which, 0), np.searchsorted(sides, side)[:, None]], axis=1)
    ones = np.ones_like(kernel)
    operators = _operators(np.where(there, which, ABSENT), kernel, expand, ones, OFA_STAGES, 16, -(-side // 2))
    return Networks(codes, operators, latencies(stored))


class BlockError(NamedTuple):
    """Errors of a Gaussian process on held-out blocks. kept: shown.  median, p90: relative errors."""

    kept: int
    left_out: int
    median: float
    p90: float
    spearman: float


def block_error(table: Blocks, keep: float, seed: int = 0) -> BlockError:
    """Fit a Gaussian process to a random share of a published table, at most `MOST_POINTS`, and test on the rest."""
    order = np.random.default_rng(seed).permutation(len(table.blocks))
    count = min(max(round(keep * len(order)), 8), MOST_POINTS, len(order) - 2)
    shown, left = order[:count], order[count:]
    x, line = block_features(table.blocks)
    process = fit_process(x[shown], line[shown], table.latency_ms[shown])
    predicted, truth = process.mean_ms(x[left], line[left]), table.latency_ms[left]
    off = np.abs(predicted / truth - 1)
    return BlockError(count, len(left), float(np.median(off)), float(np.percentile(off, 90)), rank(predicted, truth))


def block_features(blocks: tuple[Block, ...]) -> tuple[Floats, Floats]:
    """Return the features of blocks, (n, features), and the columns of their roofline, (n, 4)."""
    b = {
        name: np.array(column, dtype=np.float64) for name, column in zip(Block._fields, np.array(blocks).T, strict=True)
    }
    macs, moved, deep = _block_counts(b["inputs"], b["middle"], b["outputs"], b["h"], b["w"], b["kernel"], b["stride"])
    logs = [np.log(part) for part in (b["inputs"], b["middle"], b["outputs"], b["h"], macs, moved, deep, b["kernel"])]
    flags = [b[name] for name in ("stride", "shortcut", "squeeze", "swish")]
    return np.stack([*logs, *flags], axis=1), np.stack(
        [np.ones_like(macs), macs / 1e6, moved / 1e6, deep / 1e6], axis=1
    )


def _block_counts(
    inputs: Any, middle: Any, outputs: Any, h: Any, w: Any, kernel: Any, stride: Any, groups: Any = 1
) -> tuple[Floats, Floats, Floats]:
    """Return macs of the 1x1 convolutions, bytes moved, and macs of the depthwise convolution of blocks."""
    before, after = h * w, np.ceil(h / stride) * np.ceil(w / stride)
    weights = (inputs * middle + middle * outputs) / groups
    macs = inputs * middle * before / groups + middle * outputs * after / groups
    moved = 4 * (weights + inputs * before + 2 * middle * (before + after) + outputs * after)
    return macs, moved, middle * kernel**2 * after


def _operators(
    kinds: Codes,
    kernel: Codes,
    expand: Codes,
    groups: Codes,
    stages: tuple[tuple[int, int, int], ...],
    stem: int,
    side: Codes,
) -> Operators:
    """Return the blocks of networks, place by place; side: of the map before the first, (n,)."""
    columns, width, k = [], stem, 0
    shapes: dict[tuple[int, int, int], int] = {}
    for stage, (count, channels, first) in enumerate(stages):
        for block in range(count):
            stride, middle = first if block == 0 else 1, width * expand[:, k]
            macs, moved, deep = _block_counts(width, middle, channels, side, side, kernel[:, k], stride, groups[:, k])
            there, shape = kinds[:, k] != ABSENT, shapes.setdefault((stage, width, stride), len(shapes))
            columns.append((kinds[:, k], (macs + deep) * there, moved * there, np.full(len(kinds), shape)))
            side, width, k = -(-side // stride), channels, k + 1
    return Operators(*(np.stack(parts, axis=1) for parts in zip(*columns, strict=True)))


def _fbnet_option(name: str) -> tuple[int, int, int]:
    """Return kernel, expansion and groups of an operation such as k5_e1_g2; ones for a skip."""
    found = {word[0]: int(word[1:]) for word in name.split("_")} if name != "skip" else {}
    return found.get("k", 1), found.get("e", 1), found.get("g", 1)


def _blocks(device: str, entries: Mapping[str, Any], *, expand_is_ratio: bool) -> Blocks:
    """Return the inverted residual blocks of a table; what comes before and behind them is left out."""
    rows = {key: float(entry["mean"]) for key, entry in entries.items() if key.startswith("expanded_conv-")}
    blocks = tuple(_block(key, expand_is_ratio) for key in rows)
    return Blocks(device, blocks, np.array(list(rows.values())))


def _block(key: str, expand_is_ratio: bool) -> Block:
    parts = dict(word.split(":") for word in key.split("-")[1:])
    h, w, inputs = map(int, parts["input"].split("x"))
    outputs, expand = int(parts["output"].split("x")[-1]), int(parts["expand"])
    flags = [parts.get(name, "0") == "1" for name in ("idskip", "se", "hs")]
    middle = inputs * expand if expand_is_ratio else expand
    return Block(inputs, middle, outputs, h, w, int(parts["kernel"]), int(parts["stride"]), *flags)

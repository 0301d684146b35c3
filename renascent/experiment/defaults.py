"""The strategy that searches a space where none is named: one for every kind of space, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from renascent.core.decisions import Integer, Subset
from renascent.core.names import name_of
from renascent.nets import RECORDED
from renascent.strategies import STRATEGIES

if TYPE_CHECKING:
    from renascent.core.protocols import OneShot, SpaceConfig


class Default(NamedTuple):
    """What searches a kind of space. why: what was measured, and in which part of benchmarks/results."""

    strategy: str
    why: str


DEFAULTS: Mapping[str, Default] = {
    "sizes": Default(
        "fbnetv2",
        "highest mean of the four that aim at a budget, over twelve networks (Sizes under a budget: Does it pay?)",
    ),
    "nats-topology": Default(
        "setn",
        "91.66 % after 20 epochs over two seeds, the highest mean of four; a random cell has 87.06 (Topology search)",
    ),
    "cells": Default(
        "rsps",
        "1.8 points above the mean of random cells at the cost of a plain training; darts was 3.2 above at 9.6 times "
        "that for its weight steps alone (one seed, Cells and chains)",
    ),
    "chains": Default(
        "proxyless",
        "as good as all that aim at a budget, which lie within 0.2 points of a random network (one seed, Cells and "
        "chains): nothing speaks against the method made for them",
    ),
    "trees": Default(
        "rsps",
        "not measured; proxyless ended 1.6 points below a random tree (one seed, Cells and chains), and this one "
        "learns no preference too early",
    ),
    "subsets": Default("dso-nas", "not compared; it prunes by strengths, so that a budget takes the weakest first"),
}
"""By kind of space."""

KINDS = {
    "nats-topology": "nats-topology",
    "darts-cells": "cells",
    "dso": "subsets",
    "mbconv": "chains",
    "fbnet": "chains",
    "pyramid-tree": "trees",
}
"""The kind of each space by name that is not one of sizes."""

SUBSETS = {"darts-cells": ("--decisions", "subset"), "pyramid-tree": ("--tree", "A")}
"""Flags that make a space one of subsets."""


def named_default(space: str, flags: Mapping[str, str]) -> str:
    """Return the strategy for a space by its name. flags: of a command line, as they were given.

    >>> named_default("resnet20", {}), named_default("darts-cells", {"--decisions": "subset"})
    ('fbnetv2', 'dso-nas')
    """
    flag, value = SUBSETS.get(space, ("", ""))
    kind = "subsets" if flag and flags.get(flag) == value else KINDS.get(space, "sizes")
    return DEFAULTS[kind].strategy


def default_strategy(space: SpaceConfig) -> OneShot:
    """Return the strategy, with its default settings, for a space of any making.

    >>> from renascent.nets.sizes.resnet_cifar import ResNetCifar
    >>> type(default_strategy(ResNetCifar())).__name__
    'FBNetV2'
    """
    decisions = space.space.decisions.values()
    if any(isinstance(decision, Subset) for decision in decisions):
        kind = "subsets"
    elif all(isinstance(decision, Integer) for decision in decisions):
        kind = "sizes"
    else:
        kind = KINDS.get(name_of(space, RECORDED), "cells")
    return STRATEGIES[DEFAULTS[kind].strategy]()

"""The plane of accuracy and cost: the reference scaled uniformly, against scaling it by hand."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest

from renascent.core.protocols import Goal, Priced
from renascent.core.space import Arch, Integer, Space
from renascent.costs.counts import cost_of
from renascent.costs.scaling import is_size_space
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.space import SizedSpace
from renascent.results.plane import plane

SHAPE, CLASSES = (3, 16, 16), 10


@functools.cache
def cost(config: SizedSpace) -> Priced:
    return cost_of("macs", config, SHAPE, CLASSES)


def macs(config: SizedSpace, arch: Arch) -> float:
    return float(cost(config).exact(config.space.indices(arch)[None])[0])


def test_points_hold_the_costs_of_the_budget_and_the_scores() -> None:
    config = ResNetCifar(layers_count=14)
    space = config.space
    arch = space.sample(np.random.default_rng(0))
    cost = cost_of("params", config, SHAPE, CLASSES)
    limit = 0.4 * float(cost.exact(space.indices(config.reference)[None])[0])
    seen: list[Arch] = []

    def score(given: Arch) -> float:
        seen.append(given)
        return 0.5 + 0.01 * len(seen)

    points = plane(config, arch, [Goal("params", limit, cost, cost.exact)], score, SHAPE, CLASSES)
    assert [p.name for p in points] == ["found", "reference", "0.1x", "0.25x", "0.4x", "0.75x"]  # 0.5x is that of 0.4x
    assert seen[:2] == [arch, config.reference]
    for point, given in zip(points, seen, strict=True):
        assert point.costs["params"] == cost.exact(space.indices(given)[None])[0]
        assert set(point.costs) == {"params"}
    assert [p.score for p in points] == pytest.approx([0.51 + 0.01 * k for k in range(6)])
    assert points[4].costs["params"] <= limit


@dataclass(frozen=True)
class Unpriced:
    """Sizes, but no layers to count."""

    reference: Arch = Arch({"width": 16})  # noqa: RUF009
    layered = False

    @property
    def space(self) -> Space:
        return Space({"width": Integer((8, 16))})


def test_spaces_without_a_reference_or_a_price_have_no_plane() -> None:
    topology = NatsTopology(channels=2, cells=1)
    arch = next(iter(topology.space))
    assert plane(topology, arch, (), lambda a: 0.0, SHAPE, CLASSES) == []
    assert not is_size_space(topology)
    unpriced = Unpriced()
    assert is_size_space(unpriced)  # type: ignore[arg-type]
    assert plane(unpriced, unpriced.reference, (), lambda a: 0.0, SHAPE, CLASSES) == []  # type: ignore[arg-type]

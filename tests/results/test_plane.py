"""The plane of accuracy and cost: the reference scaled uniformly, against scaling it by hand."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest

from renascent.core.protocols import Goal, Priced
from renascent.core.space import Arch, Integer, Space
from renascent.costs.counts import cost_of
from renascent.costs.scaling import FACTORS, is_size_space, scaled_to
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.space import SizedSpace
from renascent.results.plane import SHARES, plane

SHAPE, CLASSES = (3, 16, 16), 10


@functools.cache
def cost(config: SizedSpace) -> Priced:
    return cost_of("macs", config, SHAPE, CLASSES)


def macs(config: SizedSpace, arch: Arch) -> float:
    return float(cost(config).exact(config.space.indices(arch)[None])[0])


def by_hand(config: ResNetCifar, factor: float, *, depths: bool) -> Arch:
    """Return the reference with its widths, or everything, nearest to a factor of its own."""
    values = {}
    for name, value in config.reference.items():
        options = config.space.decisions[name].options  # type: ignore[union-attr]
        wanted = value if name.startswith("depth") and not depths else factor * int(value)  # type: ignore[arg-type]
        values[name] = min(options, key=lambda option, wanted=wanted: abs(option - wanted))  # type: ignore[misc]
    return config.space.arch(values)


def test_shares_are_the_largest_scale_that_fits() -> None:
    config = ResNetCifar(layers_count=14)
    whole, exact = macs(config, config.reference), cost(config).exact
    found = scaled_to(config, config.reference, exact, SHARES)
    assert list(found) == ["0.1x", "0.25x", "0.5x", "0.75x"]
    deep, every = (
        {a: macs(config, a) for a in dict.fromkeys(by_hand(config, f, depths=depths) for f in FACTORS)}
        for depths in (False, True)
    )
    for share, arch in zip(SHARES, found.values(), strict=True):
        # widths alone reach it, or everything is scaled
        fits, other = ([a for a, cost in row.items() if cost <= share * whole] for row in (deep, every))
        assert arch == (fits or other)[-1]
        assert macs(config, arch) == max(macs(config, a) for a in fits or other) <= share * whole


def test_scaled_to_omits_unreachable_and_repeated_networks() -> None:
    config = ResNetCifar(layers_count=14)
    exact = cost_of("macs", config, SHAPE, CLASSES).exact
    assert scaled_to(config, config.reference, exact, (1e-6,)) == {}
    assert list(scaled_to(config, config.reference, exact, (0.5, 0.5001))) == ["0.5x"]


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
    assert [p.name for p in points] == ["found", "reference", "0.1x", "0.25x", "0.4x", "0.5x", "0.75x"]
    assert seen[:2] == [arch, config.reference]
    for point, given in zip(points, seen, strict=True):
        assert point.costs["params"] == cost.exact(space.indices(given)[None])[0]
        assert set(point.costs) == {"params"}
    assert [p.score for p in points] == pytest.approx([0.51 + 0.01 * k for k in range(7)])
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

"""Groups: the units that one decision keeps or drops, and where they lie in every parameter."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from renascent.nets.adapt.labelling import Labelling, Site
from renascent.nets.adapt.units import along_axis
from renascent.nets.sizes.resolution import RESOLUTION

Sizes = Mapping[int, int]
"""Number of a group -> how many of its units are kept: the first ones. A group without an entry is whole."""


@dataclass(frozen=True)
class Group:
    """Units that are kept or dropped by one decision.

    name: the first layer that makes them.  layers: all that have them.  units: how many.
    each: channels of the first layer that one unit is: 1, or one of every group, or those of a head.
    heads: whether they are heads of attention, which are counted as such.
    """

    name: str
    layers: tuple[str, ...]
    units: int
    each: int
    heads: bool = False

    @property
    def scale(self) -> int:
        """What a decision counts for one unit."""
        return 1 if self.heads else self.each

    def options(self, multiple: int, least: float) -> tuple[int, ...]:
        """Return the numbers of units to choose from: heads, or channels in multiples of `multiple`, up to all.

        >>> Group("conv", ("conv",), 32, 1).options(8, 0.25), Group("qkv", ("qkv",), 3, 24, True).options(8, 0.25)
        ((8, 16, 24, 32), (1, 2, 3))
        """
        step = 1 if self.heads else multiple // math.gcd(multiple, self.each)
        lowest = max(math.ceil(least * self.units / step), 1) * step
        return (*range(lowest, self.units, step), self.units)


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter. group, place, slot: of each element (size,): its group, -1 if it is always kept; which
    unit of the group it is; and which of that unit's elements on this axis.
    makes, reads: whether it is the outputs, or the inputs, of a layer.
    mixes: groups whose widths are mixed here when several are active.
    """

    group: NDArray[np.int64]
    place: NDArray[np.int64]
    slot: NDArray[np.int64]
    makes: bool = False
    reads: bool = False
    mixes: tuple[int, ...] = ()

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The groups along this axis."""
        return tuple(int(g) for g in np.unique(self.group) if g >= 0)

    def kept(self, sizes: Sizes) -> NDArray[np.bool_]:
        """Return which elements are kept, (size,)."""
        keep = np.ones(len(self.group), dtype=np.bool_)
        for group in self.groups:
            if group in sizes:
                keep &= (self.group != group) | (self.place < sizes[group])
        return keep

    def first(self, sizes: Sizes) -> int | NDArray[np.int64]:
        """Return how many elements are kept where these are the first ones, else which are.

        Of one group it is computed once for each of its sizes: a step of a search asks for every weight.
        """
        if len(self.groups) != 1:
            return _first(self.kept(sizes))
        size = sizes.get(self.groups[0], -1)
        if size not in self._firsts:
            self._firsts[size] = _first(self.kept(sizes))
        return self._firsts[size]

    @cached_property
    def _firsts(self) -> dict[int, int | NDArray[np.int64]]:
        return {}

    def count(self) -> tuple[int, dict[int, int]]:
        """Return how many elements are always kept, and how many one unit of each group is."""
        return int((self.group < 0).sum()), {g: int(((self.group == g) & (self.place == 0)).sum()) for g in self.groups}

    def only(self, groups: Iterable[int]) -> Axis:
        """Return the axis with all other groups always kept whole."""
        return replace(self, group=np.where(np.isin(self.group, list(groups)), self.group, -1))


def _first(keep: NDArray[np.bool_]) -> int | NDArray[np.int64]:
    count = int(keep.sum())
    return count if keep[:count].all() else np.flatnonzero(keep)


@dataclass(frozen=True)
class Grouping:
    """All groups of a model, and where they are. axes: parameter name -> axis -> what lies along it.

    fixed: layer -> why its outputs cannot change.
    """

    groups: tuple[Group, ...]
    axes: Mapping[str, Mapping[int, Axis]]
    fixed: Mapping[str, str]
    unit_group: NDArray[np.int64]
    unit_place: NDArray[np.int64]

    def axis_of(self, labels: Tensor, axis: int) -> Axis:
        """Return what lies along one axis of any labelled tensor."""
        return axis_from(along_axis(labels, axis), self.unit_group, self.unit_place)


def axis_from(labels: Tensor, unit_group: NDArray[np.int64], unit_place: NDArray[np.int64]) -> Axis:
    """Return the axis of labels (size,), given group and place of each unit."""
    units = np.maximum(labels.numpy(), 0)
    group, place = unit_group[units], unit_place[units]
    seen: dict[tuple[int, int], int] = defaultdict(int)
    slot = np.zeros(len(units), dtype=np.int64)
    for k, key in enumerate(zip(group.tolist(), place.tolist(), strict=True)):
        slot[k] = seen[key]
        seen[key] += 1
    return Axis(group, place, slot)


def layer_of(parameter: str) -> str:
    """Return the layer a parameter belongs to: its name without the last part, unless that names what it is.

    >>> layer_of("features.3.weight"), layer_of("pos_embed"), layer_of("attn.in_proj_weight")
    ('features.3', 'pos_embed', 'attn.in_proj')
    """
    for ending in (".weight", ".bias", ".running_mean", ".running_var", "_weight", "_bias"):
        if parameter.endswith(ending):
            return parameter.removesuffix(ending)
    return parameter


def grouped(state: Labelling, taken: Iterable[str] = ()) -> Grouping:
    """Form groups: units that lie on the same axes, as often, are one group, in the order of the first of these.

    taken: names of other decisions, which no group has.
    """
    sites = list(state.sites.values())
    roots = state.units.roots()
    stuck = {int(roots[unit]) for unit in state.units.reasons}
    of_site = [np.where(s.labels.numpy() > 0, roots[np.maximum(s.labels.numpy(), 0)], 0) for s in sites]
    where: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, found in enumerate(of_site):
        units, counts = np.unique(found, return_counts=True)
        for unit, count in zip(units.tolist(), counts.tolist(), strict=True):
            if unit > 0 and unit not in stuck:
                where[unit].append((number, count))
    alike: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for unit, places in where.items():
        alike[tuple(places)].append(unit)
    return _numbered(state, sites, of_site, {k: v for k, v in alike.items() if len(v) > 1}, taken)


def _numbered(
    state: Labelling,
    sites: list[Site],
    of_site: list[NDArray[np.int64]],
    alike: Mapping[tuple[tuple[int, int], ...], list[int]],
    others: Iterable[str],
) -> Grouping:
    roots = state.units.roots()
    of_root, place_of = np.full(state.units.count, -1), np.zeros(state.units.count, dtype=np.int64)
    groups: list[Group] = []
    heads = {int(roots[u]) for labels in state.heads for u in np.unique(labels.numpy()).tolist() if u > 0}
    taken: dict[str, int] = defaultdict(int, dict.fromkeys((RESOLUTION, *others), 1))  # other decisions
    for places, members in sorted(alike.items()):
        first, each = next(((n, c) for n, c in places if sites[n].makes), places[0])
        order = [unit for unit in dict.fromkeys(of_site[first].tolist()) if unit in set(members)]
        of_root[order], place_of[order] = len(groups), np.arange(len(order))
        layers = tuple(dict.fromkeys(layer_of(sites[n].name) for n, _ in places))
        name = layer_of(sites[first].name)
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name}[{taken[name]}]"
        groups.append(Group(name, layers, len(members), each, not heads.isdisjoint(members)))
    unit_group, unit_place = of_root[roots], place_of[roots]
    axes: dict[str, dict[int, Axis]] = defaultdict(dict)
    for site in sites:
        axis = axis_from(site.labels, unit_group, unit_place)
        if axis.groups:
            axes[site.name][site.axis] = replace(axis, makes=site.makes, reads=site.reads)
    return Grouping(tuple(groups), axes, _reasons(state, sites, unit_group), unit_group, unit_place)


def _reasons(state: Labelling, sites: Sequence[Site], unit_group: NDArray[np.int64]) -> dict[str, str]:
    """Return why the outputs of some layers, or part of them, cannot change."""
    roots = state.units.roots()
    of_root: dict[int, str] = {}
    for unit, reason in state.units.reasons.items():
        of_root.setdefault(int(roots[unit]), reason)
    found: dict[str, str] = {}
    for site in sites:
        units = site.labels[site.labels > 0].numpy()
        left = units[unit_group[units] < 0]
        if site.makes and (len(left) or not len(units)):
            known = [of_root[int(r)] for r in roots[left] if int(r) in of_root]
            alone = "it has one channel" if not len(units) else "all its channels must stay together"
            found[layer_of(site.name)] = known[0] if known else alone
    return found

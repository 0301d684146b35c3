"""Verify every group and block by trying it: those whose change breaks the model stay fixed.

A group is right if its units can change places without changing what the model computes, and if the model runs with
fewer of them, every tensor on the way of the shape that was foreseen. A group or block that fails is fixed, with the
reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.randomness import seeded
from renascent.nets.adapt.blocks import Run
from renascent.nets.adapt.edits import Attribute, Change, shrunk
from renascent.nets.adapt.groups import Axis, Grouping
from renascent.nets.adapt.labelling import Labelling
from renascent.nets.adapt.order import ordered
from renascent.nets.adapt.trace import BATCH, evaluating, example, failing, first_line, refs, trace
from renascent.nets.macs import unfused

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


@dataclass(frozen=True)
class Verified:
    """What held. groups: numbers of those that can change.  attributes: numbers in the user's code that follow them.

    runs: blocks that can be left out.  reasons: group or run's name -> why it cannot.
    """

    groups: tuple[int, ...]
    runs: tuple[Run, ...]
    attributes: Mapping[int, tuple[Attribute, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A model, what was found about it, and the shape of inputs to try it on.

    choices: units that a group could have, its number -> options.
    """

    model: nn.Module
    shape: tuple[int, ...]
    state: Labelling
    grouping: Grouping
    choices: Mapping[int, tuple[int, ...]]

    def why_not(
        self,
        groups: Sequence[int],
        runs: Sequence[Run] = (),
        attributes: Mapping[int, tuple[Attribute, ...]] | None = None,
        known: Iterable[int] = (),
    ) -> str | None:
        """Return why these groups and runs cannot change together, None if they can.

        known: axes whose units are known to be equal.
        """
        rng = np.random.default_rng(0)
        new = [group for group in groups if group not in set(known)]
        found = self._moved(new, rng) if new else None
        if found is not None:
            return found
        for draw in range(3):
            sizes = {g: self.choices[g][0 if draw == 0 else int(rng.integers(len(self.choices[g])))] for g in groups}
            kept = [(run, run.fewest if draw == 0 else int(rng.choice(run.options))) for run in runs]
            found = self._small(Change(sizes, kept, attributes or {}))
            if found is not None:
                return found
        return None

    def _moved(self, groups: Sequence[int], rng: np.random.Generator) -> str | None:
        """Return why units cannot change places."""
        orders = {g: rng.permutation(self.grouping.groups[g].units) for g in groups}
        moved = ordered(self.model, restricted(self.grouping, groups), orders)
        before, after = self._before, output(moved, self.shape)
        scale = float(before.abs().max()) or 1.0
        far = float((before - after).abs().max()) / scale
        return None if far <= TOLERANCE.get(before.dtype, 0.1) else "its channels are not alike: their order matters"

    @cached_property
    def _before(self) -> Tensor:
        return output(self.model, self.shape)

    def _small(self, change: Change) -> str | None:
        """Return why the model cannot be so small: it fails, or a tensor has another shape than foreseen."""
        try:
            with torch.random.fork_rng([]):
                found = trace(shrunk(self.model, restricted(self.grouping, change.sizes), change), self.shape)
        except Exception as e:  # a user's code may raise anything for sizes it was not written for
            cause = e.__cause__ if isinstance(e.__cause__, Exception) else e
            return f"with fewer of them, the model fails ({first_line(cause)})"
        spans = [run.spans[run.blocks.index(block)] for run, block in change.dropped]
        nodes = self.state.graph.nodes
        left = [n for k, n in enumerate(nodes) if not any(start <= k < end for start, end in spans)]
        if [node.name for node in found.nodes] != [node.name for node in left]:
            return "with fewer of them, the model computes other operations"
        for mine, foreseen in zip(found.nodes, left, strict=True):
            for new, old in zip(refs(mine.result), refs(foreseen.result), strict=True):
                got, other = found.shapes[new.value], self._shape(old.value, change)
                if other is not None and got != other:
                    return f"the code has sizes of its own: '{mine.name}' returns {list(got)} in place of {list(other)}"
        return None

    def _shape(self, value: int, change: Change) -> tuple[int, ...] | None:
        """Return the shape of a tensor under `change`, None where it is not known."""
        if value not in self.state.labels:
            return None
        shape = list(self.state.graph.shapes[value])
        for number, axis in self._changing[value]:
            shape[number] = int(axis.kept(change.sizes).sum())
        return tuple(shape)

    @cached_property
    def _changing(self) -> dict[int, list[tuple[int, Axis]]]:
        """The axes of every tensor along which units differ."""
        found: dict[int, list[tuple[int, Axis]]] = {}
        known: dict[int, list[tuple[int, Axis]]] = {}
        for value, labels in self.state.labels.items():
            if id(labels) not in known:
                axes = self.state.units.varying(labels)
                known[id(labels)] = [(axis, self.grouping.axis_of(labels, axis)) for axis in axes]
            found[value] = known[id(labels)]
        return found


def output(model: nn.Module, shape: tuple[int, ...], batch: int = BATCH) -> Tensor:
    """Return what a model computes of the same random inputs and random numbers each time.

    Raises UserError when it fails on them.
    """
    fails = failing(f"the model fails on inputs of shape {(batch, *shape)} ({{}}): give one that takes any batch")
    with torch.no_grad(), evaluating(model), unfused(), seeded(0), fails:
        out: Tensor = model(example(model, shape, batch=batch))
    return out


def restricted(grouping: Grouping, groups: Iterable[int]) -> dict[str, dict[int, Axis]]:
    """Return the axes along which only some groups change."""
    found = {name: {k: axis.only(groups) for k, axis in axes.items()} for name, axes in grouping.axes.items()}
    left = {name: {k: axis for k, axis in axes.items() if axis.groups} for name, axes in found.items()}
    return {name: axes for name, axes in left.items() if axes}


def verified(trial: Trial, runs: Sequence[Run]) -> Verified:
    """Find the groups and runs that can change, all together."""
    groups = tuple(trial.choices)
    variants = {group: _attributes(trial, group) for group in groups}
    for k in range(3):  # most models pass as a whole, at once or with what all their heads need
        attributes = {g: found[min(k, len(found) - 1)] for g, found in variants.items()}
        if trial.why_not(groups, runs, attributes) is None:
            return Verified(groups, tuple(runs), {g: a for g, a in attributes.items() if a})
    good, reasons = _sifted(trial, variants)
    kept: list[Run] = []
    for run in runs:
        for fewest in (run.fewest, max(run.fewest, 1)):  # code may ask the first block of a list for something
            tried = replace(run, fewest=fewest)
            why = trial.why_not(tuple(good), [*kept, tried], good, known=good)
            if why is None:
                kept.append(tried)
                reasons.pop(run.name, None)
                break
            reasons[run.name] = why
    return Verified(tuple(good), tuple(kept), {g: a for g, a in good.items() if a}, reasons)


def _sifted(
    trial: Trial, variants: Mapping[int, Sequence[tuple[Attribute, ...]]]
) -> tuple[dict[int, tuple[Attribute, ...]], dict[str, str]]:
    """Return the groups that can change together, each with the attributes it needs, and why the others cannot.

    Groups are added in halves, and halves of these, as long as the model runs: few of them are wrong.
    """
    good: dict[int, tuple[Attribute, ...]] = {}
    reasons: dict[str, str] = {}
    left = [list(variants)]
    while left:
        groups = left.pop()
        plain = {group: variants[group][0] for group in groups}
        why = trial.why_not([*good, *groups], (), {**good, **plain}, known=good)
        if why is None:
            good |= plain
        elif len(groups) > 1:
            left += [groups[len(groups) // 2 :], groups[: len(groups) // 2]]
        else:
            (group,) = groups
            tries = variants[group][1:] if "order" not in why else ()
            all_of = [*good, group]
            found = next((a for a in tries if not trial.why_not(all_of, (), {**good, group: a}, known=all_of)), None)
            if found is None:
                # alone: that tells the reason of this group, not of one it belongs to
                reasons[trial.grouping.groups[group].name] = trial.why_not([group]) or why
            else:
                good[group] = found
    return good, reasons


def _attributes(trial: Trial, number: int) -> list[tuple[Attribute, ...]]:
    """Return what may have to follow a group: nothing; the counts of its units; these and the widths made of them."""
    group = trial.grouping.groups[number]
    parents = [layer.rpartition(".")[0] for layer in group.layers]
    owners = dict.fromkeys([*parents, *(parent.rpartition(".")[0] for parent in parents)])
    counts, widths = [], []
    inner = {
        axis.count()[1].get(number, 0) * group.units for axes in trial.grouping.axes.values() for axis in axes.values()
    }
    for owner in owners:
        module = trial.model.get_submodule(owner)
        for name, value in vars(module).items():
            if isinstance(value, int) and not isinstance(value, bool) and not name.startswith("_"):
                if value == group.units:
                    counts.append(Attribute(owner, name, value, group.units))
                elif value in inner and value > 0:
                    widths.append(Attribute(owner, name, value, group.units))
    # a head may be as wide as there are heads: then only one of two equal numbers follows
    single = [pick for one in counts for pick in ((one,), (one, *widths))]
    found = [(), tuple(counts), (*counts, *widths), tuple(widths), *single]
    return list(dict.fromkeys(found))

"""The whole analysis of a model: what is decided, what each decision changes, what it costs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.space import Arch, Integer, Space
from renascent.nets.adapt.blocks import Run, runs
from renascent.nets.adapt.counting import Costs
from renascent.nets.adapt.coverage import Coverage, NothingToSearch, Row, shortened
from renascent.nets.adapt.edits import Attribute, Axes, Change
from renascent.nets.adapt.groups import Group, Grouping, grouped, layer_of
from renascent.nets.adapt.labelling import Labelling, label
from renascent.nets.adapt.listing import Entry, Lengths, entries
from renascent.nets.adapt.polynomial import Polynomial
from renascent.nets.adapt.rules import RULES
from renascent.nets.adapt.trace import BATCH, Graph, Ref, Untraceable, evaluating, example, trace
from renascent.nets.adapt.verify import Trial, Verified, output, restricted, verified
from renascent.nets.sizes.resolution import RESOLUTION

NAME = "adapted"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What may become a decision. shape: of one input, (channels, h, w).

    multiple: widths are multiples of this, or the model's own.  least: no width is below this share of the model's own.
    depth: whether blocks can be left out.  resolutions: sizes of the input to choose from.
    """

    shape: tuple[int, int, int]
    multiple: int = 8
    least: float = 0.25
    depth: bool = True
    resolutions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A model's decisions and what they change. widths: decision -> number of its group.  depths: decision -> run.

    groups: by number.  axes: where they lie.  attributes: what follows them.  outputs: classes of the model.
    channels_last: whether the model runs with maps in that layout of memory.  layers: what latency tables look up.
    """

    space: Space
    widths: Mapping[str, int]
    depths: Mapping[str, Run]
    groups: Mapping[int, Group]
    axes: Axes
    attributes: Mapping[int, tuple[Attribute, ...]]
    outputs: int
    coverage: Coverage
    macs: Polynomial
    params: Polynomial
    channels_last: bool
    layers: tuple[Entry, ...]

    @property
    def reference(self) -> Arch:
        """The model as given: every width and depth its own, the largest resolution."""
        decisions = self.space.decisions.items()
        return self.space.arch({name: d.options[-1] for name, d in decisions if isinstance(d, Integer)})

    def change(self, values: Mapping[str, int]) -> Change:
        """Return what the values of decisions change."""
        sizes = {g: int(values[name]) // self.groups[g].scale for name, g in self.widths.items()}
        kept = [(run, int(values[name])) for name, run in self.depths.items()]
        return Change(sizes, kept, self.attributes)


def planned(model: nn.Module, rules: Rules) -> Plan:
    """Analyse a model. Raises UserError when it cannot be traced, or nothing in it can change."""
    graph = trace(model, rules.shape)
    classes = _classes(graph)
    if not bool(output(model, rules.shape).isfinite().all()):
        raise UserError("the model gives numbers that are not finite: give one whose weights are")
    state = label(graph, RULES)
    grouping = grouped(state)
    options = {k: g.options(rules.multiple, rules.least) for k, g in enumerate(grouping.groups)}
    choices = {k: found for k, found in options.items() if len(found) > 1}
    rows = runs(graph) if rules.depth else ()
    rows = tuple(run for run in rows if len(run.options(rules.least)) > 1)
    good = verified(Trial(model, rules.shape, state, grouping, choices, rules.least), rows)
    states = _resized(model, rules, state)
    table = _rows(rules, grouping, good, choices, rows)
    if not good.groups and not good.runs and len(rules.resolutions) < 2:
        raise NothingToSearch(Coverage(table, 0.0, "no part of the model can change: its coverage table says why"))
    space, widths, depths = _space(rules, grouping, good, choices)
    axes = _mixable(restricted(grouping, good.groups), good.groups)
    costs = Costs(model, space, grouping, axes, widths, depths)
    macs = costs.macs(states)
    return Plan(
        space,
        widths,
        depths,
        {g: grouping.groups[g] for g in good.groups},
        axes,
        good.attributes,
        classes,
        Coverage(table, costs.share(state)),
        macs,
        costs.params(),
        _runs_channels_last(model, rules.shape),
        entries(states, Lengths(grouping, costs.names), costs.block_at),
    )


def _classes(graph: Graph) -> int:
    """Return how many numbers the model returns for an input. Raises Untraceable for anything but one vector."""
    shape = graph.shapes[graph.returned.value] if isinstance(graph.returned, Ref) else ()
    if len(shape) == 2 and shape[0] == BATCH:
        return shape[1]
    kind = f"a tensor {list(shape)}" if shape else f"a {type(graph.returned).__name__}"
    raise Untraceable(f"the model returns {kind} for {BATCH} inputs: give one that returns (batch, classes)")


def _mixable(axes: Axes, groups: Sequence[int]) -> Axes:
    """Let groups that no weight reads, such as what two queries and keys meet in, be mixed where they are made."""
    read = {g for held in axes.values() for axis in held.values() if axis.reads for g in axis.groups}
    found = {name: dict(held) for name, held in axes.items()}
    for group in set(groups) - read:
        first = next((n for n, held in axes.items() for a in held.values() if a.makes and group in a.groups), "")
        for name, held in found.items():
            if first and layer_of(name) == layer_of(first) and 0 in held and group in held[0].groups:
                held[0] = replace(held[0], mixes=(*held[0].mixes, group))
    for held in found.values():
        for number, axis in held.items():
            if axis.reads:
                held[number] = replace(axis, mixes=axis.groups)
    return found


def _runs_channels_last(model: nn.Module, shape: tuple[int, ...]) -> bool:
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with torch.no_grad(), torch.random.fork_rng([]), evaluating(other):
            other(example(other, shape).to(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    return True


def _resized(model: nn.Module, rules: Rules, state: Labelling) -> list[Labelling]:
    """Return the labels at each resolution, or the given ones where there is no choice."""
    found = []
    for size in rules.resolutions:
        try:
            other = label(trace(model, (rules.shape[0], size, size)), RULES)
        except UserError as e:
            raise UserError(f"resolution {size} cannot be offered: {e}") from None
        if [n.name for n in other.graph.nodes] != [n.name for n in state.graph.nodes]:
            raise UserError(f"resolution {size} cannot be offered: the model computes other operations at that size")
        found.append(other)
    return found or [state]


def _space(
    rules: Rules, grouping: Grouping, good: Verified, choices: Mapping[int, tuple[int, ...]]
) -> tuple[Space, dict[str, int], dict[str, Run]]:
    decisions: dict[str, Integer] = {}
    if len(rules.resolutions) > 1:
        decisions[RESOLUTION] = Integer(rules.resolutions)
    depths = {f"depth.{run.name}": run for run in good.runs}
    decisions |= {name: Integer(run.options(rules.least)) for name, run in depths.items()}
    widths: dict[str, int] = {}
    for number in good.groups:
        group = grouping.groups[number]
        widths[group.name] = number
        options = tuple(k * group.scale for k in choices[number])
        decisions[group.name] = Integer(options, _when(group, depths, rules.least))
    return Space(decisions, NAME), widths, depths


def _when(group: Group, depths: Mapping[str, Run], least: float) -> tuple[str, tuple[int, ...]] | None:
    """Return the condition of a group that lies within one block."""
    for name, run in depths.items():
        for position, block in enumerate(run.blocks):
            if all(f"{layer}.".startswith(f"{block}.") for layer in group.layers):
                options = run.options(least)
                there = tuple(k for k in options if k > position)
                return None if there == options else (name, there)
    return None


def _rows(
    rules: Rules,
    grouping: Grouping,
    good: Verified,
    choices: Mapping[int, tuple[int, ...]],
    found: Sequence[Run],
) -> tuple[Row, ...]:
    rows: list[Row] = []
    if rules.resolutions:
        rows.append(Row(RESOLUTION, str(rules.shape[1]), rules.resolutions, "size of the input"))
    for run in found:
        why = good.reasons.get(run.name)
        about = f"left out from the last: {shortened(run.blocks)}" if why is None else why
        options = next((other.options(rules.least) for other in good.runs if other.name == run.name), ())
        rows.append(Row(f"depth.{run.name}", f"{len(run.blocks)} blocks", options, about))
    for number, group in enumerate(grouping.groups):
        now = f"{group.units * group.scale} {'heads' if group.heads else 'channels'}"
        if number in good.groups:
            options = tuple(k * group.scale for k in choices[number])
            rows.append(Row(group.name, now, options, shortened(group.layers)))
        else:
            few = f"no smaller multiple of {rules.multiple} is left"
            rows.append(Row(group.name, now, (), good.reasons.get(group.name, few)))
    return (*rows, *(Row(layer, "", (), why) for layer, why in grouping.fixed.items()))

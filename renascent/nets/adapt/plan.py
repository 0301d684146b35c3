"""The whole analysis of a model: what is decided, what each decision changes, what it costs."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.space import Arch, Integer, Space, When
from renascent.nets.adapt.blocks import Run, block_where, runs
from renascent.nets.adapt.counting import Costs
from renascent.nets.adapt.coverage import Coverage, NothingToSearch, Row, shortened
from renascent.nets.adapt.edits import Attribute, Axes, Change
from renascent.nets.adapt.groups import Group, Grouping, grouped, layer_of
from renascent.nets.adapt.labelling import Labelling, label
from renascent.nets.adapt.listing import Entry, entries
from renascent.nets.adapt.polynomial import Polynomial
from renascent.nets.adapt.rules import RULES
from renascent.nets.adapt.trace import BATCH, Graph, Ref, Untraceable, counted, evaluating, example
from renascent.nets.adapt.verify import Trial, Verified, output, restricted, verified
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.nets.sizes.sized import widest_arch
from renascent.nets.sizes.units import FEWEST

NAME = "adapted"


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
        return widest_arch(self.space)

    def change(self, values: Mapping[str, Any]) -> Change:
        """Return what the values of decisions change."""
        sizes = {g: values[name] // self.groups[g].scale for name, g in self.widths.items()}
        kept = [(run, values[name]) for name, run in self.depths.items()]
        return Change(sizes, kept, self.attributes)


def planned(
    model: nn.Module,
    *,
    shape: tuple[int, ...],
    multiple: int,
    least: float,
    depth: bool,
    resolutions: tuple[int, ...],
) -> Plan:
    """Analyse a model. Raises UserError when it cannot be traced, or nothing in it can change.

    shape: of one input, (channels, h, w).  multiple: widths are multiples of this, or the model's own.
    least: no width is below this share of the model's own, and no run of blocks is shorter.
    depth: whether blocks can be left out.  resolutions: sizes of the input to choose from.
    """
    graph = counted(model, shape)
    classes = _classes(graph)
    _takes_batches(model, shape, classes)
    state = label(graph, RULES)
    rows = runs(graph, least) if depth else ()
    grouping = grouped(state, [f"depth.{run.name}" for run in rows])
    options = {k: g.options(multiple, least) for k, g in enumerate(grouping.groups)}
    choices = {k: found for k, found in options.items() if len(found) > 1}
    good = verified(Trial(model, shape, state, grouping, choices), rows)
    states = _resized(model, shape[0], resolutions, state)
    table = _rows(grouping, good, choices, rows, f"no smaller multiple of {multiple} is left")
    if resolutions:
        table = [Row(RESOLUTION, str(shape[1]), resolutions, "size of the input"), *table]
    if not good.groups and not good.runs and len(resolutions) < 2:
        nothing = "no part of the model can change: its coverage table says why"
        raise NothingToSearch(Coverage(tuple(table), 0.0, nothing))
    depths = {f"depth.{run.name}": run for run in good.runs}
    widths = {grouping.groups[number].name: number for number in good.groups}
    space = _space(resolutions, depths, {number: grouping.groups[number] for number in good.groups}, choices)
    axes = _mixable(restricted(grouping, good.groups), good.groups)
    costs = Costs(model, space, grouping, axes, widths, depths)
    return Plan(
        space,
        widths,
        depths,
        {g: grouping.groups[g] for g in good.groups},
        axes,
        good.attributes,
        classes,
        Coverage(tuple(table), costs.share(state), unknown=graph.unknown),
        costs.macs(states),
        costs.params(),
        not _aborts(model, multiple) and _runs_channels_last(model, shape),
        entries(states, costs),
    )


def _classes(graph: Graph) -> int:
    """Return how many numbers the model returns for an input. Raises Untraceable for anything but one vector."""
    out = graph.returned
    shape = graph.shapes[out.value] if isinstance(out, Ref) else ()
    if len(shape) == 2 and shape[0] == BATCH and shape[1] > 0 and out.value not in graph.whole:
        return shape[1]
    kind = f"a tensor {list(shape)}" if isinstance(out, Ref) else f"a {type(out).__name__}"
    if isinstance(out, Ref) and out.value in graph.whole:
        kind = f"{str(graph.whole[out.value].dtype).removeprefix('torch.')} numbers"
    raise Untraceable(f"the model returns {kind} for {BATCH} inputs: give one that returns (batch, classes), floats")


def _takes_batches(model: nn.Module, shape: tuple[int, ...], classes: int) -> None:
    """Raise UserError unless one input has a vector of finite numbers, and as many as one may be given have."""
    for batch in (1, BATCH, BATCH + 1):
        out = output(model, shape, batch)
        if out.numel() != batch * classes:
            kind = f"a tensor {list(out.shape)} for {batch} inputs, of {classes} classes"
            raise Untraceable(f"the model returns {kind}: give one that returns (batch, classes)")
        if not bool(out.isfinite().all()):
            raise UserError("the model gives numbers that are not finite: give one whose weights are")


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


def _aborts(model: nn.Module, multiple: int) -> bool:
    """Return whether some width could end the process in channels_last: see `nets.sizes.units.convolve`."""
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    strided = [conv for conv in convs if conv.kernel_size == (1, 1) and max(conv.stride) > 1]
    return any(min(multiple, conv.in_channels // conv.groups) < FEWEST for conv in strided)


def _runs_channels_last(model: nn.Module, shape: tuple[int, ...]) -> bool:
    other = copy.deepcopy(model)
    try:
        other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad(), torch.random.fork_rng([]), evaluating(other):
            other(example(other, shape).to(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    return True


def _resized(model: nn.Module, channels: int, resolutions: tuple[int, ...], state: Labelling) -> list[Labelling]:
    """Return the labels at each resolution, or the given ones where there is no choice."""
    found = []
    for size in resolutions:
        try:
            other = label(counted(model, (channels, size, size)), RULES)
        except UserError as e:
            raise UserError(f"resolution {size} cannot be offered: {e}") from None
        same = [n.name for n in other.graph.nodes] == [n.name for n in state.graph.nodes]
        if not same or [p.node for p in other.products] != [p.node for p in state.products]:
            raise UserError(f"resolution {size} cannot be offered: the model computes other operations at that size")
        found.append(other)
    return found or [state]


def _space(
    resolutions: tuple[int, ...],
    depths: Mapping[str, Run],
    groups: Mapping[int, Group],
    choices: Mapping[int, tuple[int, ...]],
) -> Space:
    decisions = {RESOLUTION: Integer(resolutions)} if len(resolutions) > 1 else {}
    decisions |= {name: Integer(run.options) for name, run in depths.items()}
    for number, group in groups.items():
        decisions[group.name] = Integer(tuple(k * group.scale for k in choices[number]), _when(group, depths))
    return Space(decisions, NAME)


def _when(group: Group, depths: Mapping[str, Run]) -> When:
    """Return the condition of a group that lies within one block."""
    place = block_where(depths, lambda block, _: all(f"{layer}.".startswith(f"{block}.") for layer in group.layers))
    if place is None:
        return None
    name, position = place
    there = tuple(k for k in depths[name].options if k > position)
    return None if there == depths[name].options else (name, there)


def _rows(
    grouping: Grouping, good: Verified, choices: Mapping[int, tuple[int, ...]], found: Sequence[Run], few: str
) -> list[Row]:
    """Return the coverage of blocks and widths. few: why a group that could be tried was not."""
    rows: list[Row] = []
    for run in found:
        why = good.reasons.get(run.name)
        about = f"left out from the last: {shortened(run.blocks)}" if why is None else why
        options = next((other.options for other in good.runs if other.name == run.name), ())
        rows.append(Row(f"depth.{run.name}", f"{len(run.blocks)} blocks", options, about))
    for number, group in enumerate(grouping.groups):
        now = f"{group.units * group.scale} {'heads' if group.heads else 'channels'}"
        if number in good.groups:
            options = tuple(k * group.scale for k in choices[number])
            rows.append(Row(group.name, now, options, shortened(group.layers)))
        else:
            rows.append(Row(group.name, now, (), good.reasons.get(group.name, few)))
    return [*rows, *(Row(layer, "", (), why) for layer, why in grouping.fixed.items())]

"""Stages of a search that trains plainly, then with a penalty, and prunes; and what it prunes by."""

from typing import NamedTuple

import torch
from torch import Tensor

from renascent.core.dependencies import Switch, connected, gammas, prune
from renascent.core.protocols import Progress, Supernet
from renascent.core.space import Subset

LARGEST = 1e30
"""Stands for an infinite variance in what is computed on."""


class Stage(NamedTuple):
    """What a step does. joint: scales move.  measures: their curvature is taken.  ends: an iteration, by pruning."""

    joint: bool
    measures: bool
    ends: bool


def stage(t: Progress, iterations: int, warmup: float, draws: int) -> Stage:
    """Return the stage of a step, a function of progress alone. Iterations have the same length.

    warmup: share of each in which scales rest.  draws: last steps of each that measure, in its last epoch.

    >>> [sum(stage(Progress(k, 4, 2), 1, 0.5, 9)) for k in range(4)]
    [0, 0, 2, 3]
    """
    number = t.step * iterations // t.steps
    begin, end = (-(-k * t.steps // iterations) for k in (number, number + 1))
    left = end - t.step
    joint = t.step - begin >= warmup * (end - begin) or left == 1
    return Stage(joint, joint and left <= min(draws, t.steps_per_epoch), left == 1)


def restarted(there: Tensor, kept: Tensor) -> dict[str, Tensor]:
    """Return scales and zero switches at 1 and their momentum at 0, as an iteration begins, by their names.

    there: (decisions, places), where a decision has a place.  kept: (decisions, options), what is not pruned.
    """
    found = {"scales": (there[..., None] & kept[:, None]).float(), "zeros": there.float()}
    return found | {f"{name}_momentum": torch.zeros_like(value) for name, value in found.items()}


def switched(net: Supernet) -> Tensor:
    """Return which decisions have a zero switch, (decisions,), bool: those with several operations on one edge."""
    return torch.tensor([len(rows := _edges(net, name)) > 1 and len(set(rows)) == 1 for name in net.space.decisions])


def dependent(net: Supernet, kept: Tensor, strengths: Tensor, zeros: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return each option's variance given what leads to it, what is kept by that, and how many edges led nowhere.

    kept: what is not pruned yet.  strengths: s of each; both, and the first two returned, (decisions, options).
    zeros: s0 of each decision, (decisions,).
    Raises UserError where subsets leave no path from input to output.
    """
    variances, left, loose = torch.zeros_like(strengths), torch.zeros_like(kept), 0
    place = {name: k for k, name in enumerate(net.space.decisions)}
    for graph in net.graphs:
        listed = [
            Switch(*edge, (place[name], k), float(strengths[place[name], k]))
            for name, row in graph.edges.items()
            for k, edge in enumerate(row)
            if edge is not None and kept[place[name], k]
        ]
        found = gammas(listed, graph.inputs, {s[:2]: float(zeros[s.operation[0]]) for s in listed})  # type: ignore[index]
        for switch, gamma in zip(listed, found, strict=True):
            variances[switch.operation] = min(gamma, LARGEST)  # type: ignore[index]
        needed = not graph.bypassed and any(isinstance(net.space.decisions[name], Subset) for name in graph.edges)
        alive, cut = connected(prune(listed, found), graph.inputs, graph.outputs, needed=needed)
        loose += cut
        for switch in alive:
            left[switch.operation] = True  # type: ignore[index]
    return variances, left, loose


def _edges(net: Supernet, name: str) -> list[object]:
    rows = [graph.edges[name] for graph in net.graphs if name in graph.edges]
    return [edge for row in rows for edge in row if edge is not None]

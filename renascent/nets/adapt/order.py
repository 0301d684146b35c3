"""The most important channels first, so that the first k of a trained model are the ones to keep."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.nets.adapt.edits import Axes
from renascent.nets.adapt.groups import Axis

Orders = Mapping[int, NDArray[np.int64]]
"""Group -> its units, the first to keep first."""


def magnitude(model: nn.Module, axes: Axes, units: Mapping[int, int]) -> dict[int, NDArray[np.int64]]:
    """Return the units of each group by their weights' L2 norm, the largest first; equal ones stay in order."""
    return {group: np.argsort(-norms, kind="stable") for group, norms in squares(model, axes, units).items()}


def strengths(model: nn.Module, axes: Axes, units: Mapping[int, int]) -> dict[int, NDArray[np.float64]]:
    """Return how strong the units of each group are, the strongest first: squared norms over their mean.

    Fang et al., arXiv:2301.12900, Sec. 3.3. Of a group without any weight that is not zero, all units are alike.
    """
    found = {group: -np.sort(-norms) for group, norms in squares(model, axes, units).items()}
    return {group: norms / norms.mean() if norms.any() else np.ones_like(norms) for group, norms in found.items()}


def squares(model: nn.Module, axes: Axes, units: Mapping[int, int]) -> dict[int, NDArray[np.float64]]:
    """Return the squared L2 norm of all weights of each unit, (units,) of each group.

    All weights with at least two axes count, on every axis where the group lies. units: how many each group has.
    """
    total = {group: np.zeros(count) for group, count in units.items()}
    for name, tensor in model.named_parameters():
        if tensor.dim() < 2:
            continue
        for number, axis in axes.get(name, {}).items():
            squares = tensor.detach().cpu().double().pow(2).movedim(number, 0).flatten(1).sum(1).numpy()
            for group in axis.groups:
                here = axis.group == group
                np.add.at(total[group], axis.place[here], squares[here])
    return total


def ordered(model: nn.Module, axes: Axes, orders: Orders) -> nn.Module:
    """Return a copy of `model` that computes the same, the units of its groups in another order."""
    new = copy.deepcopy(model)
    with torch.no_grad():
        for name, tensor in [*new.named_parameters(), *new.named_buffers()]:
            if name in axes:
                tensor.copy_(_permuted(tensor, axes[name], orders))
    return new


def _permuted(tensor: Tensor, axes: Mapping[int, Axis], orders: Orders) -> Tensor:
    for number, axis in axes.items():
        source = np.arange(len(axis.group))
        for group in axis.groups:
            here = np.flatnonzero(axis.group == group)
            at = {(p, s): k for k, p, s in zip(here, axis.place[here], axis.slot[here], strict=True)}
            for (place, slot), k in at.items():
                source[k] = at[int(orders[group][place]), slot]
        tensor = tensor.index_select(number, torch.from_numpy(source).to(tensor.device))
    return tensor

"""The user's model with shared weights: every architecture runs the user's own code on a part of each weight."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.hooks import RemovableHandle

from renascent.core.devices import autocast_as
from renascent.core.errors import UserError
from renascent.core.gates import Gates, moved, with_probes_active
from renascent.core.optimiser import Region, Regions
from renascent.core.protocols import Supernet
from renascent.core.space import Arch
from renascent.nets.adapt.edits import Change, Setting, changed, cropped, modules_of, settings, shrunk
from renascent.nets.adapt.groups import Axis
from renascent.nets.adapt.plan import Plan
from renascent.nets.adapt.trace import failing
from renascent.nets.macs import unfused
from renascent.nets.sizes.mixture import stretching
from renascent.nets.sizes.resolution import RESOLUTION, resize


def mask_sum(sizes: Sequence[int], weight: Tensor, width: int) -> Tensor:
    """Return by what each unit is multiplied, (width,): the weights of all sizes that have it.

    sizes: of the active options, in units.  weight: theirs.  FBNet-V2, arXiv:2004.05565, Eq. 3.
    """
    has = torch.arange(width) < torch.tensor(sizes)[:, None]
    return torch.mv(has.to(weight).T, weight)


def stretched_sum(sizes: Sequence[int], weight: Tensor, width: int) -> Tensor:
    """Return what mixes units, (width, width): each size stretched to the widest by averaging, times its weight.

    sizes: of the active options, in units.  weight: theirs.  TAS, arXiv:1905.09717, Eqs 5 and 6.
    """
    parts = [functional.pad(stretching(n, width), (0, width - n)) for n in sizes]
    return torch.einsum("s,sij->ij", weight, torch.stack(parts).to(weight))


class AdaptedNet(Supernet):
    """All architectures of an adapted model. Batch normalisation uses batch statistics, training or not.

    The weights are those of the user's model. Gates that have several widths active run the widest; the layers that
    read it see the mixture of all, by one matrix on the inputs of their weights.

    Its modules are noted once: replace none inside it afterwards.
    """

    def __init__(self, plan: Plan, model: nn.Module) -> None:
        super().__init__()
        self.plan, self.space = plan, plan.space
        self.model = model
        self._modules_of_model = modules_of(model)

    def _apply(self, fn: Any, recurse: bool = True) -> AdaptedNet:
        # code such as x.view(len(x), -1) needs maps that lie in memory one channel after the other
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for p in self.parameters() if not self.plan.channels_last else ():
            p.data = p.data.contiguous()
        return self

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        gates, x = moved(with_probes_active(gates), x.device), x if self.plan.channels_last else x.contiguous()
        if RESOLUTION in self.space.decisions:
            active = self._active(gates, RESOLUTION)
            if len(active) != 1:
                raise UserError(f"'resolution' has {len(active)} active options: give gates that are one-hot there")
            x = resize(x, active[0])
        change = self.plan.change(self._widest(gates))
        held = list(_weights(self._modules_of_model.items()))
        with autocast_as(x.device, None):
            parts = self._parts(held, gates, change)
        shapes = {name: tuple(parts[id(t)].shape) for name, t in held if id(t) in parts}
        values = [*settings(self._modules_of_model, self.plan.axes, shapes, change), *self._batch_statistics()]
        with unfused(), changed(values), contextlib.ExitStack() as hooks:
            self._mix_depths(gates, hooks)
            if change.dropped:  # blocks are left out by now, under all of their names
                held = list(_weights(self.model.named_modules()))
            there = {name: parts[id(t)] for name, t in held if id(t) in parts}
            with failing("the model fails while it is searched ({}): try it on such data first"):
                return functional_call(self.model, there, (x,), tie_weights=False)  # type: ignore[no-any-return]

    def extract(self, arch: Arch) -> nn.Module:
        """Return the user's model with the widths and depths of `arch`, and a copy of the shared weights.

        Its modules are of the user's own classes; its input is the image at the resolution of `arch`.
        """
        return shrunk(self.model, self.plan.axes, self.plan.change(self.space.arch(arch)))

    def crops(self, gates: Gates) -> Regions:
        """Return the part of each weight that belongs to the widest active width."""
        sizes = self.plan.change(self._widest(gates)).sizes
        named = {name: p for name, p in self.model.named_parameters() if name in self.plan.axes}
        return {f"model.{name}": _region(p, self.plan.axes[name], sizes) for name, p in named.items()}

    def _widest(self, gates: Gates) -> dict[str, int]:
        """Return the widest active option of every width and depth; the first where none is active."""
        names = (*self.plan.widths, *self.plan.depths)
        return {name: max(self._active(gates, name), default=self.space.options(name)[0]) for name in names}

    def _active(self, gates: Gates, name: str) -> tuple[int, ...]:
        options = self.space.options(name)
        return tuple(options[k] for k in gates[name].active)

    def _mixing(self, gates: Gates, name: str, width: int) -> Tensor | None:
        """Return what mixes the widths of a decision, factors or a matrix; None when one is taken as it is.

        width: of the widest, in units.
        """
        gate, scale = gates[name], self.plan.groups[self.plan.widths[name]].scale
        if not gate.active or (len(gate.active) == 1 and not gate.weight.requires_grad):
            return None
        sizes = tuple(option // scale for option in self._active(gates, name))
        return (stretched_sum if gate.blend == "interpolate" else mask_sum)(sizes, gate.opened, width)

    def _parts(self, held: Iterable[tuple[str, Tensor]], gates: Gates, change: Change) -> dict[int, Tensor]:
        """Return what is kept of every weight, by its identity; of those that read a mixed group, mixed."""
        found = {group: self._mixing(gates, name, change.sizes[group]) for name, group in self.plan.widths.items()}
        mixed = {group: mix for group, mix in found.items() if mix is not None}
        axes = self.plan.axes
        return {id(t): self._part(t, axes[name], change, mixed) for name, t in held if name in axes}

    def _part(self, tensor: Tensor, axes: Mapping[int, Axis], change: Change, mixed: Mapping[int, Tensor]) -> Tensor:
        part = cropped(tensor, axes, change.sizes)
        for number, axis in axes.items() if mixed else ():
            here = {g: mixed[g] for g in axis.mixes if g in mixed}
            if here:
                part = _mixed(part, number, axis, change, here)
        return part if self.plan.channels_last else part.contiguous()

    def _batch_statistics(self) -> list[Setting]:
        norms = [module for module in dict.fromkeys(self._modules_of_model.values()) if isinstance(module, _NormBase)]
        return [(m, name, value) for m in norms for name, value in (("training", True), ("track_running_stats", False))]

    def _mix_depths(self, gates: Gates, hooks: contextlib.ExitStack) -> None:
        """Let the last block return the mixture over depths if several are active.

        TAS, arXiv:1905.09717, Eq. 8; all depths have the same width here.
        """
        for name, run in self.plan.depths.items():
            active, weight = self._active(gates, name), gates[name].weight
            if active and (len(active) > 1 or weight.requires_grad) and max(active) > 0:
                blocks = [self.model.get_submodule(block) for block in run.blocks[: max(active)]]
                for hook in _depth_hooks(blocks, active, gates[name].opened):
                    hooks.enter_context(hook)


def _weights(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[str, Tensor]]:
    """Give every weight of some modules: tied ones by each name, no module by a second one.

    Put in its place twice, a weight would not be given back.
    """
    seen = set[nn.Module]()
    for owner, module in modules:
        if module in seen:
            continue
        seen.add(module)
        for leaf, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                yield f"{owner}.{leaf}" if owner else leaf, tensor


def _depth_hooks(blocks: Sequence[nn.Module], active: tuple[int, ...], weight: Tensor) -> list[RemovableHandle]:
    """Return hooks that note what each block of a run returns, and mix it behind the last one computed."""
    seen: dict[int, Tensor] = {}

    def before(module: nn.Module, args: Any) -> None:
        seen[0] = args[0]

    def after(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        seen[len(seen)] = out
        if len(seen) <= len(blocks):
            return out
        weights = weight.to(out.dtype)
        total = weights[0] * seen[active[0]]
        for w, depth in zip(weights[1:], active[1:], strict=True):
            total = torch.addcmul(total, w, seen[depth])  # a third of the time of a stack that is summed
        return total

    return [blocks[0].register_forward_pre_hook(before), *(block.register_forward_hook(after) for block in blocks)]


def _mixed(part: Tensor, number: int, axis: Axis, change: Change, mixed: Mapping[int, Tensor]) -> Tensor:
    """Let a weight read mixed units, W A, or make them, A W, A being the matrix that mixes them, or its diagonal."""
    keep = np.flatnonzero(axis.kept(change.sizes))
    group, place, slot = axis.group[keep], axis.place[keep], axis.slot[keep]
    factors, matrix = None, None
    for g, mix in mixed.items():
        here = np.flatnonzero(group == g)
        if mix.dim() == 1:
            factors = torch.ones(len(keep)).to(part) if factors is None else factors
            factors = factors.index_put((torch.from_numpy(here),), mix.to(part)[place[here]])
        elif len(here):
            matrix = torch.eye(len(keep)).to(part) if matrix is None else matrix
            rows, columns = np.meshgrid(here, here, indexing="ij")
            same = torch.from_numpy(slot[rows] == slot[columns]).to(part.device)
            block = torch.where(same, mix.to(part)[place[rows], place[columns]], 0.0)
            matrix = matrix.index_put((torch.from_numpy(rows), torch.from_numpy(columns)), block)
    moved = part.movedim(number, -1)
    moved = moved if factors is None else moved * factors
    moved = moved if matrix is None else moved @ (matrix if axis.reads else matrix.T)
    return moved.movedim(-1, number)


def _region(p: Tensor, axes: Mapping[int, Axis], sizes: Mapping[int, int]) -> Region:
    """Return slices where what is kept lies at the start of every axis, else a mask."""
    keeps = {number: axis.kept(sizes) for number, axis in axes.items()}
    counts = {number: int(keep.sum()) for number, keep in keeps.items()}
    if all(keep[: counts[number]].all() for number, keep in keeps.items()):
        return tuple(slice(0, counts.get(k, p.shape[k])) for k in range(p.dim()))
    mask = torch.ones((), dtype=torch.bool)
    for k in range(p.dim()):
        keep = torch.from_numpy(keeps[k]) if k in keeps else torch.ones(p.shape[k], dtype=torch.bool)
        mask = mask[..., None] & keep
    return mask.to(p.device)

"""A model with fewer channels and blocks: smaller weights, the attributes that say their size, blocks left out."""

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from renascent.nets.adapt.blocks import Run
from renascent.nets.adapt.groups import Axis, Sizes

Axes = Mapping[str, Mapping[int, Axis]]
"""Parameter or buffer -> axis -> what lies along it."""

Setting = tuple[nn.Module, str, Any]
"""A module, one of its attributes, and the value that this is to have."""


@dataclass(frozen=True)
class Attribute:
    """A number that the user's code keeps in a module and that follows the units of a group: how many heads.

    value: at `units` units.
    """

    module: str
    name: str
    value: int
    units: int


@dataclass(frozen=True)
class Change:
    """What is different from the model as given. sizes: units kept of each group.  attributes: that follow a group.

    kept: for each run of blocks, how many are kept.
    """

    sizes: Sizes
    kept: Sequence[tuple[Run, int]] = ()
    attributes: Mapping[int, tuple[Attribute, ...]] = field(default_factory=dict)

    @property
    def dropped(self) -> list[tuple[Run, str]]:
        """The blocks that are left out."""
        return [(run, block) for run, kept in self.kept for block in run.blocks[kept:]]


def cropped(tensor: Tensor, axes: Mapping[int, Axis], sizes: Sizes) -> Tensor:
    """Return what is kept of a parameter: a view where that is possible."""
    for number, axis in axes.items():
        keep = axis.first(sizes)
        if not isinstance(keep, int):
            tensor = tensor.index_select(number, torch.from_numpy(keep).to(tensor.device))
        elif keep < tensor.shape[number]:
            tensor = tensor.narrow(number, 0, keep)
    return tensor


def shrunk(model: nn.Module, axes: Axes, change: Change) -> nn.Module:
    """Return a copy of `model` with `change`: modules of the same classes, with weights of their own."""
    small = copy.deepcopy(model)
    made: dict[int, Tensor] = {}
    with torch.no_grad():
        for name, old in tensors(small):
            if name in axes and id(old) not in made:
                part = cropped(old, axes[name], change.sizes).clone(memory_format=torch.contiguous_format)
                made[id(old)] = nn.Parameter(part, old.requires_grad) if isinstance(old, nn.Parameter) else part
            if id(old) in made:
                owner, _, leaf = name.rpartition(".")
                setattr(small.get_submodule(owner), leaf, made[id(old)])
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors(small)}
    for module, attribute, value in settings(modules_of(small), axes, shapes, change):
        setattr(module, attribute, value)
    return small


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module by each of its names."""
    return dict(model.named_modules(remove_duplicate=False))


def settings(
    modules: Mapping[str, nn.Module], axes: Axes, shapes: Mapping[str, tuple[int, ...]], change: Change
) -> list[Setting]:
    """Return what modules must say of their sizes and hold as children.

    modules: the model's, by name.  shapes: of the changed tensors.
    """
    found: list[Setting] = []
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in axes):
        module = modules[owner]
        own = {name: shapes.get(f"{owner}.{name}" if owner else name) for name in _OWN}
        found += [(module, key, value) for key, value in sized(module, own).items() if getattr(module, key) != value]
    for group, attributes in change.attributes.items():
        for a in attributes:
            value = a.value * change.sizes.get(group, a.units) // a.units
            found.append((modules[a.module], a.name, value))
    return found + [(module, "_modules", children) for module, children in _children(modules, change).items()]


_OWN = ("weight", "bias", "running_mean", "in_proj_weight")


def sized(module: nn.Module, shapes: Mapping[str, tuple[int, ...] | None]) -> dict[str, Any]:
    """Return the attributes of a layer of PyTorch's own that follow the shapes of its weights.

    >>> sized(nn.Linear(4, 6), {"weight": (3, 2)})
    {'in_features': 2, 'out_features': 3}
    """
    weight = shapes.get("weight")
    if isinstance(module, nn.MultiheadAttention):
        width = (shapes.get("in_proj_weight") or (0, module.embed_dim))[1]
        heads = module.num_heads * width // module.embed_dim
        return {"embed_dim": width, "kdim": width, "vdim": width, "num_heads": heads}
    if isinstance(module, _NormBase):
        given = weight or shapes.get("running_mean")
        return {"num_features": given[0]} if given else {}
    if weight is None:
        return {}
    match module:
        case _ConvNd():
            return _convolution(module, weight)
        case nn.Linear():
            return {"in_features": weight[1], "out_features": weight[0]}
        case nn.LayerNorm() | nn.RMSNorm():
            return {"normalized_shape": weight}
        case nn.GroupNorm():
            alone = module.num_groups == module.num_channels
            return {"num_channels": weight[0], "num_groups": weight[0] if alone else module.num_groups}
        case nn.PReLU():
            return {"num_parameters": weight[0]}
    return {}


def _convolution(module: _ConvNd, weight: tuple[int, ...]) -> dict[str, Any]:
    first, second = weight[:2]
    depthwise = module.groups == module.in_channels > 1
    if module.transposed:
        groups = first if depthwise else module.groups
        return {"in_channels": first, "out_channels": second * groups, "groups": groups}
    groups = first * module.groups // module.out_channels if depthwise else module.groups
    return {"in_channels": second * groups, "out_channels": first, "groups": groups}


@contextlib.contextmanager
def changed(values: Iterable[Setting]) -> Iterator[None]:
    """Let attributes of modules have other values for the length of one forward pass."""
    before: list[Setting] = []
    try:
        for module, name, value in values:
            before.append((module, name, getattr(module, name)))
            _set(module, name, value)
        yield
    finally:
        for module, name, value in reversed(before):
            _set(module, name, value)


def _set(module: nn.Module, name: str, value: Any) -> None:
    """Set an attribute, past `nn.Module.__setattr__` where it is a plain one: that takes ten times as long."""
    if name in vars(module) and not hasattr(type(module), name):
        vars(module)[name] = value
    else:
        setattr(module, name, value)


def _children(modules: Mapping[str, nn.Module], change: Change) -> dict[nn.Module, dict[str, nn.Module | None]]:
    """Return the children of each module that loses some: identities in their place, or nothing in a list."""
    found: dict[nn.Module, dict[str, nn.Module | None]] = {}
    for run, block in change.dropped:
        parent, _, leaf = block.rpartition(".")
        module = modules[parent]
        children = found.setdefault(module, dict(module._modules))
        if run.plain:
            children[leaf] = nn.Identity()
        else:
            del children[leaf]
    return found


def tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return all parameters and buffers, tied ones by each of their names."""
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]

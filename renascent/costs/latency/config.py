"""One layer of decided size as latency sees it: what a look-up table is keyed by, and how it is timed by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.text import short
from renascent.nets.sizes.layers import Layer


class LayerConfig(NamedTuple):
    """One layer configuration: kind, kernel, stride, groups, norm and active of `nets.layers.Layer`, then its sizes.

    inputs, outputs: channels.  h, w: of its input map.  dilation: of its kernel.
    """

    kind: str
    kernel: int
    stride: int
    groups: int
    norm: bool
    active: bool
    inputs: int
    outputs: int
    h: int
    w: int
    dilation: int = 1

    @property
    def key(self) -> str:
        """Name in a table.

        >>> LayerConfig("conv", 3, 2, 1, True, True, 16, 32, 28, 28).key
        'conv-k3-s2-g1-norm-act-16x28x28-32'
        """
        flags = ("-norm" if self.norm else "") + ("-act" if self.active else "")
        return f"{family_name(self.family)}{flags}-{self.inputs}x{self.h}x{self.w}-{self.outputs}"

    @classmethod
    def read(cls, key: str) -> LayerConfig:
        """Return the configuration of a name. Raises ValueError for another text.

        >>> LayerConfig.read("pool-k2-s2-g1-16x28x28-16").inputs
        16
        """
        kinds = "|".join(KINDS)
        match = re.fullmatch(rf"({kinds})-k(\d+)-s(\d+)-g(\d+)(?:-d(\d+))?(-norm)?(-act)?-(\d+)x(\d+)x(\d+)-(\d+)", key)
        numbers = [text or "1" for text in match.group(2, 3, 4, 5, 8, 11, 9, 10)] if match else []
        if match is None or max(map(len, numbers)) > DIGITS:
            raise ValueError(
                f"{short(key)} is no layer of a latency table: names look like conv-k3-s2-g1-norm-act-16x28x28-32"
            )
        kernel, stride, groups, dilation, inputs, outputs, h, w = values = list(map(int, numbers))
        norm, active = match[6] is not None, match[7] is not None
        found = cls(match[1], kernel, stride, groups, norm, active, inputs, outputs, h, w, dilation)
        if min(values) < 1 or found.key != key:
            raise ValueError(f"{short(key)} is no layer: all numbers are at least 1 and have no zeros in front")
        return found

    @property
    def group(self) -> Group:
        """What it has beside its sizes."""
        return *self[:6], self.dilation

    @property
    def family(self) -> Family:
        """What it has in common with those whose latencies say something about its own."""
        return family_of(self.group)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Its inputs, outputs, h and w."""
        return self[6:10]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of its input."""
        return self.inputs, self.h, self.w

    def module(self) -> nn.Module:
        """Return the layer as a module by itself, with fresh weights."""
        if self.kind == "linear":
            return PooledLinear(self.inputs, self.outputs)
        if self.kind == "pool":
            return nn.AvgPool2d(self.kernel, self.stride, self.kernel // 2 * (self.kernel % 2), ceil_mode=True)
        if self.kind == "add":
            return Add(self.active)
        norm = [nn.BatchNorm2d(self.outputs)] if self.norm or self.kind == "norm" else []
        active = [nn.ReLU()] if self.active else []
        if self.kind == "norm":
            return nn.Sequential(*norm, *active)
        groups = self.inputs if self.kind == "depthwise" else self.groups
        window = self.kernel, self.stride, self.kernel // 2 * self.dilation, self.dilation
        conv = nn.Conv2d(self.inputs, self.outputs, *window, groups, bias=not self.norm)
        return nn.Sequential(conv, *norm, *active)


Family = tuple[str, int, int, int, int]
"""Kind, kernel, stride, groups and dilation of a `LayerConfig`."""

Group = tuple[str, int, int, int, bool, bool, int]
"""All but its sizes: its first six fields, and the dilation."""

DIGITS = 6
"""Of a number in the name of a layer, at most."""

KINDS = ("conv", "depthwise", "linear", "pool", "add", "norm")


class Add(nn.Module):
    """The sum of a map with itself, as a shortcut adds two of one shape."""

    def __init__(self, active: bool) -> None:
        super().__init__()
        self.active = nn.ReLU() if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.active(x + x)  # type: ignore[no-any-return]


class PooledLinear(nn.Module):
    """Mean over the map, then linear, as classifiers are."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


def group_of(layer: Layer) -> Group:
    """Return the group of a layer, whatever its sizes."""
    groups = 1 if layer.kind == "depthwise" else layer.groups
    norm = layer.norm and layer.kind in ("conv", "depthwise", "norm")
    active = layer.active and layer.kind not in ("linear", "pool")
    return layer.kind, layer.kernel, layer.stride, groups, norm, active, layer.dilation


def family_of(group: Group) -> Family:
    """Return the family of a group."""
    return *group[:4], group[6]


def config_of(group: Group, sizes: Sequence[int]) -> LayerConfig:
    """Return the configuration of a group and of inputs, outputs, h and w."""
    inputs, outputs, h, w = sizes
    return LayerConfig(*group[:6], inputs, outputs, h, w, group[6])


def configs_of(layers: Iterable[Layer]) -> list[LayerConfig]:
    """Return the configurations of the layers of one architecture that are there, in order, repetitions included."""
    return [config_of(group_of(layer), size_rows(layer, 1)[0].tolist()) for layer in layers if layer.presence]


def distinct(layers: Iterable[Layer], count: int) -> list[LayerConfig]:
    """Return the different configurations among the layers of `count` architectures."""
    found: set[LayerConfig] = set()
    for layer in layers:
        group = group_of(layer)
        rows = np.unique(size_rows(layer, count)[np.broadcast_to(layer.presence, count).astype(bool)], axis=0)
        found.update(config_of(group, row) for row in rows.tolist())
    return sorted(found)


def size_rows(layer: Layer, count: int) -> NDArray[np.int64]:
    """Return inputs, outputs, h and w of a layer of `count` architectures, (count, 4)."""
    sizes = (layer.inputs, layer.outputs, *layer.size)
    return np.stack([np.broadcast_to(np.asarray(size, dtype=np.int64), count) for size in sizes], axis=1)


def family_name(family: Family) -> str:
    """Return how a family is written.

    >>> family_name(("conv", 3, 2, 1, 1)), family_name(("depthwise", 3, 1, 1, 2))
    ('conv-k3-s2-g1', 'depthwise-k3-s1-g1-d2')
    """
    kind, kernel, stride, groups, dilation = family
    return f"{kind}-k{kernel}-s{stride}-g{groups}{f'-d{dilation}' if dilation > 1 else ''}"


def macs_and_bytes(family: Family, sizes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return multiply-accumulates and bytes moved (n,) of layers of a family; sizes: inputs, outputs, h, w, (n, 4).

    >>> [a.tolist() for a in macs_and_bytes(("conv", 1, 1, 1, 1), np.array([[2, 4, 3, 3]]))]
    [[72.0], [248.0]]
    """
    kind, kernel, stride, groups, _ = family
    inputs, outputs, h, w = sizes.astype(np.float64).T
    read, places = inputs * h * w, np.ceil(h / stride) * np.ceil(w / stride)
    if kind == "linear":
        return inputs * outputs, 4 * (inputs * outputs + read + outputs)
    written = outputs * places
    if kind in ("pool", "add", "norm"):
        return np.zeros_like(written), 4 * (read * (2 if kind == "add" else 1) + written)
    weights = outputs * (1 if kind == "depthwise" else inputs / groups) * kernel**2
    return weights * places, 4 * (weights + read + written)


def sizes_of(configs: Sequence[LayerConfig]) -> NDArray[np.int64]:
    """Return inputs, outputs, h and w of configurations, (n, 4)."""
    return np.array([config.sizes for config in configs], dtype=np.int64).reshape(-1, 4)

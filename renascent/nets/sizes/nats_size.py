"""The NATS-Bench size space: five widths of a fixed network of cells, arXiv:2009.00437, Sec. 3.2."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.codecs.nats_size import LAYERS, size_space
from renascent.core.protocols import Supernet
from renascent.core.space import Arch, Space
from renascent.nets.sizes.counted import SizedSpace
from renascent.nets.sizes.drawing import draw_sizes
from renascent.nets.sizes.layers import Layer, Quantity, Spread, strided, widest
from renascent.nets.sizes.sized import SizedSupernet, widest_arch
from renascent.nets.sizes.units import Classifier, Norm, Skip, Unit

CONVOLUTIONS = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
"""Edges of the cell that are ReLU, 3x3 convolution, BN; the edge from 0 to 3 is a skip. It is the best cell of the
topology space on CIFAR-100: number 9930."""

BLOCKS = (1, 3)
"""Which of the five are residual blocks that halve the map; the others are cells."""


@dataclass(frozen=True, kw_only=True)
class NatsSize(SizedSpace):
    """The widths of a small network: of the stem and first cell, of a residual block, a cell, a block and a cell.

    A skip between unequal widths is a 1x1 convolution with its normalisation; in the shared-weight network, wherever
    the two widths may be unequal.

    References:
        Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437, Sec. 3.2.
    """

    @property
    def space(self) -> Space:
        return size_space()

    @property
    def reference(self) -> Arch:
        """The widest network."""
        return widest_arch(self.space)

    def supernet(self, channels_in: int, classes: int) -> Supernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        whole = NatsSizeNetwork(self.reference, channels_in, classes, forced=True)
        return SizedSupernet(self, channels_in, classes, whole)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> NatsSizeNetwork:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        return NatsSizeNetwork(arch, channels_in, classes)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text."""
        return draw_sizes(self.space, self.reference, arch)

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> list[Layer]:
        """List the layers, as `nets.layers.SizedSpace` says."""
        width = values[LAYERS[0]]
        size: tuple[Quantity, Quantity] = (shape[1], shape[2])
        found = [Layer(name="stem", kind="conv", inputs=shape[0], outputs=width, kernel=3, size=size)]
        for k, (source, name) in enumerate(zip((LAYERS[0], *LAYERS), LAYERS, strict=False)):
            if k in BLOCKS:
                found += _block_layers(f"parts.{k}", width, values[name], size)
            else:
                found += _cell_layers(f"parts.{k}", width, values[name], size, skip=source != name)
            size, width = found[-1].size, values[name]
        found.append(Layer(name="last", kind="norm", inputs=width, outputs=width, size=size))
        return [*found, Layer(name="classifier.linear", kind="linear", inputs=width, outputs=classes, size=(1, 1))]


class Cell(nn.Module):
    """The fixed cell, (batch, inputs, h, w) to (batch, width, h, w); a ReLU comes before each convolution."""

    def __init__(self, inputs: int, width: int, source: str, decision: str, *, forced: bool) -> None:
        super().__init__()
        for start, end in CONVOLUTIONS:
            channels = inputs if start == 0 else width
            unit = Unit(channels, width, 3, activation="none", decision=decision)
            self.add_module(f"conv{start}{end}", unit)
        same = source == decision
        self.skip = nn.Identity() if same else Skip(inputs, width, source, decision, forced=forced)

    def forward(self, x: Tensor) -> Tensor:
        rectified = functional.relu(x)
        first = functional.relu(self.get_submodule("conv01")(rectified))
        second = functional.relu(self.get_submodule("conv02")(rectified) + self.get_submodule("conv12")(first))
        out: Tensor = self.skip(x) + self.get_submodule("conv13")(first) + self.get_submodule("conv23")(second)
        return out


class Block(nn.Module):
    """The residual block that halves the map and changes the width."""

    def __init__(self, inputs: int, width: int, decision: str) -> None:
        super().__init__()
        self.conv_a = Unit(inputs, width, 3, 2, activation="none", decision=decision)
        self.conv_b = Unit(width, width, 3, activation="none", decision=decision)
        self.shortcut = Unit(inputs, width, activation="none", decision=decision, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv_b(functional.relu(self.conv_a(functional.relu(x))))
        return self.shortcut(functional.avg_pool2d(x, 2, ceil_mode=True)) + out  # type: ignore[no-any-return]


class NatsSizeNetwork(nn.Module):
    """One architecture, a plain module: (batch, channels, h, w) to (batch, classes).

    forced: hold the convolutions of skips although their widths are equal.
    """

    def __init__(self, arch: Arch, channels_in: int, classes: int, *, forced: bool = False) -> None:
        super().__init__()
        widths = [int(arch[name]) for name in LAYERS]  # type: ignore[arg-type]
        self.stem = Unit(channels_in, widths[0], 3, activation="none", decision=LAYERS[0])
        self.parts = nn.ModuleList()
        before = [(LAYERS[0], widths[0]), *zip(LAYERS, widths, strict=True)]
        for k, (name, width) in enumerate(zip(LAYERS, widths, strict=True)):
            source, inputs = before[k]
            part = Block(inputs, width, name) if k in BLOCKS else Cell(inputs, width, source, name, forced=forced)
            self.parts.append(part)
        self.last = Norm(widths[-1], tied=LAYERS[-1])
        self.classifier = Classifier(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for part in self.parts:
            x = part(x)
        return self.classifier(self.last(x))  # type: ignore[no-any-return]


def _cell_layers(
    place: str, inputs: Quantity, width: Quantity, size: tuple[Quantity, Quantity], *, skip: bool
) -> list[Layer]:
    """Return the layers of a cell, the last of them an addition of its output. skip: it may be a convolution."""
    given, node = (inputs, *size), (width, *size)
    kept = {"01": (), "02": (given, node), "12": (given, node), "13": (given, node), "23": (given, node)}
    convs = {}
    for start, end in CONVOLUTIONS:
        channels = inputs if start == 0 else width
        convs[f"{start}{end}"] = Layer(
            name=f"{place}.conv{start}{end}", kind="conv", inputs=channels, outputs=width, kernel=3, size=size,
            active=end == 1, held=kept[f"{start}{end}"],
        )  # fmt: skip
    plus = Layer(name=f"{place}.add", kind="add", inputs=width, outputs=width, size=size, held=(given, node))
    halfway = replace(plus, active=False, held=(node,))
    thin = _skip_layers(f"{place}.skip.unit", inputs, width, size) if skip else []
    first, second = list(convs.values())[:3], list(convs.values())[3:]
    return [*first, plus, second[0], *thin, halfway, second[1], replace(plus, held=())]


def _skip_layers(name: str, inputs: Quantity, width: Quantity, size: tuple[Quantity, Quantity]) -> list[Layer]:
    """Return the convolution of a skip, there if the widths are unequal; under gates, one for each pair of widths."""
    skip = Layer(name=name, kind="conv", inputs=inputs, outputs=width, size=size, active=False)
    if not isinstance(inputs, Spread) and not isinstance(width, Spread):
        return [replace(skip, share=inputs != width)]
    pairs = itertools.product(_outcomes(inputs), _outcomes(width))
    return [replace(skip, inputs=a, outputs=b, share=p * q) for (a, p), (b, q) in pairs if a != b]


def _outcomes(number: Quantity) -> list[tuple[int, Any]]:
    if isinstance(number, Spread):
        return list(zip(number.values.tolist(), number.chances.unbind(), strict=True))
    assert not isinstance(number, np.ndarray), "arrays and random numbers do not mix"
    return [(number, 1)]


def _block_layers(place: str, inputs: Quantity, width: Quantity, size: tuple[Quantity, Quantity]) -> list[Layer]:
    """Return the layers of a residual block, the last of them the addition of its output."""
    half = strided(size[0], 2), strided(size[1], 2)
    given, inner = (inputs, *size), (width, *half)
    conv = Layer(name=f"{place}.conv_a", kind="conv", inputs=inputs, outputs=width, kernel=3, stride=2, size=size)
    after = replace(conv, name=f"{place}.conv_b", inputs=width, stride=1, size=half, active=False, held=(given,))
    pool = Layer(
        name=f"{place}.pool", kind="pool", inputs=inputs, outputs=inputs, kernel=2, stride=2, size=size, held=(inner,)
    )
    thin = Layer(
        name=f"{place}.shortcut", kind="conv", inputs=inputs, outputs=width, size=half, norm=False, active=False,
        held=(inner,),
    )  # fmt: skip
    return [
        conv,
        after,
        pool,
        thin,
        Layer(name=f"{place}.add", kind="add", inputs=width, outputs=widest(width), size=half),
    ]

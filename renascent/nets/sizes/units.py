"""What networks of decided size are built of: plain modules, with the name of the decision that sets their width."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from renascent.nets.sizes.mixture import padded_sum

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "none": nn.Identity}


FEWEST = 8
"""Channels below which a 1x1 convolution is not left to stride by itself."""


def convolve(x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """Convolve, (batch, inputs, h, w) to (batch, outputs, h', w').

    oneDNN ends the process in the backward pass of a 1x1 convolution of few channels (2 to 6 were seen) that strides,
    in channels_last (PyTorch 2.13): there the places between are left out before.
    """
    if stride > 1 and weight.shape[-1] == 1 and weight.shape[1] < FEWEST:
        x, stride = x[..., ::stride, ::stride], 1
    return functional.conv2d(x, weight, None, stride, padding, groups=groups)


class Convolution(nn.Conv2d):
    """A square convolution without bias."""

    def forward(self, x: Tensor) -> Tensor:
        stride, padding = self.stride[0], self.padding[0]
        return convolve(x, self.weight, stride, int(padding), self.groups)


class Unit(nn.Module):
    """Convolution, batch normalisation, activation: (batch, inputs, h, w) to (batch, outputs, h', w').

    decision: what sets the number of outputs; None where they are fixed, or, in a depthwise unit, those of its input.
    tied: what sets the number of channels of a depthwise unit, through the unit before it.
    norm: whether there is a normalisation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activation: str = "relu",
        decision: str | None = None,
        tied: str | None = None,
        norm: bool = True,
    ) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.decision, self.tied = decision, tied
        self.conv = Convolution(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.active = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.active(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class Norm(nn.Module):
    """Batch normalisation and activation by themselves. tied: what sets the number of channels, before it."""

    def __init__(self, channels: int, *, activation: str = "relu", tied: str | None = None) -> None:
        super().__init__()
        self.tied = tied
        self.norm = nn.BatchNorm2d(channels)
        self.active = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.active(self.norm(x))  # type: ignore[no-any-return]


class Skip(nn.Module):
    """The identity between equal widths; else a 1x1 convolution and its normalisation, the unit.

    source, decision: what sets the width of its input and of its output.
    forced: hold the unit in any case, as a network of all widths has to.
    """

    def __init__(self, inputs: int, outputs: int, source: str, decision: str, *, forced: bool = False) -> None:
        super().__init__()
        self.source, self.decision = source, decision
        unit = Unit(inputs, outputs, activation="none", decision=decision)
        self.unit = unit if forced or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(x)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks one after the other.

    decision: what sets how many of them there are; None where that is fixed.
    counts: number of blocks for each option of that decision.
    """

    def __init__(
        self, blocks: Iterable[nn.Module], decision: str | None = None, counts: Mapping[int, int] | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.decision, self.counts = decision, dict(counts or {})

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Residual(nn.Module):
    """Units and the shortcut around them; the sum, the narrower padded with channels of zeros, is rectified.

    shortcut: brings the input to the new width; None for the identity.  pooled: halve the map before it.
    """

    def __init__(self, units: Sequence[Unit], shortcut: Unit | None = None, *, pooled: bool = False) -> None:
        super().__init__()
        for number, unit in enumerate(units, start=1):
            self.add_module(f"conv{number}", unit)
        self.count, self.shortcut, self.pooled = len(units), shortcut, pooled

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for number in range(1, self.count + 1):
            out = self.get_submodule(f"conv{number}")(out)
        if self.shortcut is not None:
            x = self.shortcut(functional.avg_pool2d(x, 2, ceil_mode=True) if self.pooled else x)
        return functional.relu(padded_sum(out, x))


class Chain(nn.Sequential):
    """Named modules one after the other."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__(OrderedDict(parts))


class Classifier(nn.Module):
    """Mean over the map, then linear: (batch, inputs, h, w) to (batch, classes)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]

"""The supernet of any size space: its widest network, whose layers read how much of them takes part.

`SizedSupernet` builds the widest architecture as a plain network and replaces its convolutions, normalisations,
stages and classifier by ones that follow the gates. They read them from one `GateContext`, which the supernet owns and
fills for the length of one forward pass: the one hidden hand-over, so that a space's network is written once, plainly.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.gates import Gate, Gates, certain, moved, with_probes_active
from renascent.core.optimiser import Regions
from renascent.core.protocols import SpaceConfig, Supernet
from renascent.core.space import Arch, Space
from renascent.nets.cells.pointwise import convolve_1x1, folded
from renascent.nets.context import GateContext
from renascent.nets.sizes.inherit import first_k
from renascent.nets.sizes.layers import largest_active
from renascent.nets.sizes.mixture import interpolated, interpolated_rows, mask, padded, stretch
from renascent.nets.sizes.resolution import RESOLUTION, resize
from renascent.nets.sizes.units import Classifier, Norm, Skip, Stage, Unit, convolve


class CroppedConv(nn.Module):
    """A convolution by the first filters and the first channels of its weight."""

    def __init__(self, conv: nn.Conv2d, decision: str | None, context: GateContext) -> None:
        super().__init__()
        self.weight, self.stride, self.padding = conv.weight, conv.stride, conv.padding
        self.depthwise, self.decision, self.context = conv.groups > 1, decision, context
        self.pointwise = conv.kernel_size == (1, 1) and conv.stride == (1, 1) and not self.depthwise

    def forward(self, x: Tensor) -> Tensor:
        groups = x.shape[1] if self.depthwise else 1
        return convolve(x, self.kernel(x.shape[1]), self.stride[0], int(self.padding[0]), groups)

    def kernel(self, inputs: int) -> Tensor:
        """Return the part of the weight that reads `inputs` channels and makes the widest active output."""
        if self.depthwise:
            return self.weight[:inputs]
        outputs = self.context.widest(self.decision) if self.decision else len(self.weight)
        # inputs that the weight does not have are for the convolution to refuse
        beyond = min(inputs - self.weight.shape[1], 0), outputs - len(self.weight)
        # one step back to the whole weight in the backward pass, where slicing twice would be two
        return functional.pad(self.weight, (0, 0, 0, 0, 0, beyond[0], 0, beyond[1])) if any(beyond) else self.weight


class MixedWidth(nn.Module):
    """Batch normalisation of the first channels, by the batch's statistics; then their widths come together.

    One active width passes as it is. Several are a sum of masks (folded into the scale and the shift), or are each
    interpolated to the widest behind the normalisation, as the gate says.

    norm: None where there is no normalisation, only widths.
    decision: what set the width.  tied: the same, where an earlier layer has it from that decision already.
    """

    def __init__(
        self, norm: nn.BatchNorm2d | None, decision: str | None, tied: str | None, context: GateContext
    ) -> None:
        super().__init__()
        self.weight: Tensor | None = norm.weight if norm else None
        self.bias: Tensor | None = norm.bias if norm else None
        self.eps = norm.eps if norm else 0.0
        self.decision, self.tied, self.context = decision, tied, context

    def forward(self, x: Tensor) -> Tensor:
        opened = self.context.mixed(self.decision or self.tied, "sum")
        out = self._normalised(x, mask(*opened, x.shape[1]).to(x) if opened else None)
        between = self.between()
        return out if between is None else interpolated(out, *between)

    def between(self) -> tuple[Gate, tuple[int, ...]] | None:
        """Return the gate and the widths to interpolate between, if that is to be done here."""
        # a depthwise layer's channels are interpolated already: its input was
        return self.context.mixed(self.decision, "interpolate")

    def _normalised(self, x: Tensor, opened: Tensor | None) -> Tensor:
        if self.weight is None or self.bias is None:
            return x if opened is None else x * opened[:, None, None]
        width = x.shape[1]
        scale, shift = self.weight[:width], self.bias[:width]
        if opened is not None:
            scale, shift = scale * opened, shift * opened
        return functional.batch_norm(x, None, None, scale, shift, True, 0.0, self.eps)


class MixedUnit(nn.Module):
    """A unit that follows the gates. The same numbers as convolution, normalisation, interpolation, activation.

    Where a 1x1 convolution widens, its normalisation and its interpolation are folded into its kernel: on the wide map
    they would cost several times what the convolution does.
    """

    def __init__(self, unit: Unit, context: GateContext) -> None:
        super().__init__()
        norm = unit.norm if isinstance(unit.norm, nn.BatchNorm2d) else None
        self.conv = CroppedConv(unit.conv, unit.decision, context)
        self.norm = MixedWidth(norm, unit.decision, unit.tied, context)
        self.active = unit.active

    def forward(self, x: Tensor) -> Tensor:
        between = self.norm.between()
        if between and self.conv.pointwise and self.norm.weight is not None:
            kernel = self.conv.kernel(x.shape[1])
            if len(kernel) > kernel.shape[1]:
                return self.active(self._folded(x, kernel, *between))  # type: ignore[no-any-return]
        return self.active(self.norm(self.conv(x)))  # type: ignore[no-any-return]

    def _folded(self, x: Tensor, kernel: Tensor, gate: Gate, options: tuple[int, ...]) -> Tensor:
        assert self.norm.weight is not None and self.norm.bias is not None
        weights, shift = folded(x, kernel, self.norm.weight[: len(kernel)])
        shift = shift + self.norm.bias[: len(kernel)]
        rows = interpolated_rows(torch.cat([weights, shift[:, None]], 1), gate, options)
        return convolve_1x1(x, rows[:, :-1], rows[:, -1])


class MixedSkip(nn.Module):
    """The identity if one and the same width is active before and behind it; else its unit."""

    def __init__(self, skip: Skip, context: GateContext) -> None:
        super().__init__()
        self.unit, self.source, self.decision, self.context = skip.unit, skip.source, skip.decision, context

    def forward(self, x: Tensor) -> Tensor:
        single = all(len(self.context.gate(name).active) == 1 for name in (self.source, self.decision))
        if single and self.context.widest(self.source) == self.context.widest(self.decision):
            return x
        return self.unit(x)  # type: ignore[no-any-return]


class MixedDepth(nn.Module):
    """Blocks of which the last are left out: the weighted sum of the outputs at every active depth.

    TAS, arXiv:1905.09717, Eq. 7: outputs of several widths are brought to the widest as the gate says.
    """

    def __init__(self, stage: Stage, context: GateContext) -> None:
        super().__init__()
        assert stage.decision is not None
        self.blocks, self.decision, self.counts, self.context = stage.blocks, stage.decision, stage.counts, context

    def forward(self, x: Tensor) -> Tensor:
        gate = self.context.gate(self.decision)
        options = self.context.space.options(self.decision)
        weights: dict[int, Tensor] = {}
        for k in gate.active:
            count = self.counts[options[k]]
            weights[count] = weights[count] + gate.weight[k] if count in weights else gate.weight[k]
        outputs = {0: x} if 0 in weights else {}
        for count in range(1, max(weights, default=0) + 1):
            x = self.blocks[count - 1](x)
            if count in weights:
                outputs[count] = x
        # the same number of blocks at every active depth, or one depth for sure: nothing to bring together
        if certain(gate) or (len(weights) == 1 and len(gate.active) > 1):
            return x
        together = stretch if gate.blend == "interpolate" else padded
        width = max(out.shape[1] for out in outputs.values())
        counts, parts = list(outputs), [together(out, width) for out in outputs.values()]
        total = parts[0] * weights[counts[0]].to(x)
        for count, part in zip(counts[1:], parts[1:], strict=True):
            total.addcmul_(part, weights[count].to(x))
        return total


class CroppedClassifier(nn.Module):
    """Mean over the map, and a linear layer that reads the channels that are there."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.linear = classifier.linear

    def forward(self, x: Tensor) -> Tensor:
        weight = self.linear.weight[:, : x.shape[1]]
        return functional.linear(x.mean((2, 3)), weight, self.linear.bias)


class SizedSupernet(Supernet):
    """A size space with shared weights: an architecture uses the first channels of every layer.

    Batch normalisation uses batch statistics, training or not.

    net: the plain network of the widest architecture, with all layers that any has.
    """

    def __init__(self, config: SpaceConfig, net: nn.Module, channels_in: int, classes: int) -> None:
        super().__init__()
        self.config, self.space = config, config.space
        self.channels_in, self.classes = channels_in, classes
        self.context = GateContext(self.space)
        self.net = net
        replace_modules(self.net, self.context)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        with self.context.active(moved(with_probes_active(gates), x.device)):
            if RESOLUTION in self.space.decisions:
                x = resize(x, self.context.widest(RESOLUTION))
            return self.net(x)  # type: ignore[no-any-return]

    def extract(self, arch: Arch) -> nn.Module:
        """Return `arch` with a copy of the shared weights; its running statistics are still to be estimated."""
        net = self.config.network(arch, self.channels_in, self.classes).to(next(self.parameters()))
        first_k(net, self.net.state_dict())
        return net

    @property
    def plain(self) -> nn.Module:
        return self.net

    def crops(self, gates: Gates) -> Regions:
        """Return the leading part of each parameter that the widest active options use."""
        values = largest_active(self.space, gates)
        layers = self.config.layers(values, (self.channels_in, 1, 1), self.classes)
        return {
            f"net.{name}": tuple(slice(0, int(length)) for length in shape)
            for layer in layers
            for name, shape in layer.shapes().items()
        }


def widest_arch(space: Space) -> Arch:
    """Return the architecture of the largest option of every decision."""
    return space.arch({name: space.options(name)[-1] for name in space.decisions})


def replace_modules(net: nn.Module, context: GateContext) -> None:
    """Replace, everywhere in `net`, what has to follow the gates."""
    for name, child in net.named_children():
        replace_modules(child, context)
        if isinstance(child, Unit):
            setattr(net, name, MixedUnit(child, context))
        elif isinstance(child, Norm):
            child.norm = MixedWidth(child.norm, None, child.tied, context)  # type: ignore[assignment]
        elif isinstance(child, Skip):
            setattr(net, name, MixedSkip(child, context))
        elif isinstance(child, Stage) and len(set(child.counts.values())) > 1 and child.decision:
            setattr(net, name, MixedDepth(child, context))
        elif isinstance(child, Classifier):
            setattr(net, name, CroppedClassifier(child))


def has_depthwise(net: nn.Module) -> bool:
    """Return whether some convolution of a network has a filter of its own for each channel."""
    return any(map(_is_depthwise, net.modules()))


def _is_depthwise(module: nn.Module) -> bool:
    if isinstance(module, CroppedConv):
        return module.depthwise
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1

"""A user's model as a search space."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import InitVar, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.fields import Count, OneOf, Share, settings
from renascent.core.fingerprint import fingerprint
from renascent.core.optimiser import check_learns
from renascent.core.protocols import SpaceConfig
from renascent.core.space import Arch, Space
from renascent.core.spaces import Ranked
from renascent.nets.adapt.checks import copied, resolutions_of, trains_alike, unknown_macs, usable
from renascent.nets.adapt.coverage import Coverage, NothingToSearch, nothing
from renascent.nets.adapt.described import drawn
from renascent.nets.adapt.edits import shrunk
from renascent.nets.adapt.factory import called, load_weights, made
from renascent.nets.adapt.listing import listed
from renascent.nets.adapt.order import magnitude, ordered, strengths
from renascent.nets.adapt.plan import Plan, planned
from renascent.nets.adapt.polynomial import Polynomial
from renascent.nets.adapt.recipe import recipe
from renascent.nets.adapt.supernet import AdaptedNet
from renascent.nets.adapt.trace import failing
from renascent.nets.macs import uncounted
from renascent.nets.sizes.layers import Layer

ORDERS = ("magnitude", "given")


@settings
class Adapted(SpaceConfig):
    """A model of your own: the widths of its layers, the number of its blocks, the size of its input.

    It runs once and every operation is written down; channels that an operation ties are one decision. Each decision
    is tried before it is offered, and what fails is left as it is; `coverage` says what became of every layer.

    Blocks are left out from the last.

    Args:
        factory: package.module:function that makes the model, called without arguments.
        weights: .safetensors file with its trained weights; those the factory gives it if empty.
        shape: channels,height,width of one input.
        multiple: widths are multiples of this, or the model's own.
        least: no width is below this share of the model's own, and no row of blocks shorter.
        depth: let blocks that add to their input be left out.
        resolutions: smaller sizes of the input to choose from, besides its own; none if empty.
        order: which channels a narrower layer keeps: those of the largest weights (magnitude), or the first ones
            (given).

    References:
        The groups are those of dependency graphs: Fang et al., DepGraph, arXiv:2301.12900.
    """

    factory: str = ""
    weights: str = ""
    shape: tuple[int, ...] = (3, 32, 32)
    multiple: Count = 8
    least: Share = 0.25
    depth: bool = True
    resolutions: tuple[int, ...] = ()
    order: Annotated[str, OneOf("order", ORDERS)] = "magnitude"
    model: InitVar[nn.Module | Callable[[], nn.Module] | None] = None

    def __post_init__(self, model: nn.Module | Callable[[], nn.Module] | None) -> None:
        object.__setattr__(self, "shape", _whole("shape", self.shape))
        object.__setattr__(self, "resolutions", _whole("resolutions", self.resolutions))
        if len(self.shape) != 3:
            raise UserError(f"shape is {','.join(map(str, self.shape))}: give channels,height,width, as in 3,32,32")
        if self.resolutions:
            object.__setattr__(self, "resolutions", resolutions_of(self.shape, self.resolutions))
        maker = model if callable(model) and not isinstance(model, nn.Module) else None
        object.__setattr__(self, "_maker", maker)
        object.__setattr__(self, "_given", None if model is None or maker else copied(usable(model)))

    @cached_property
    def source(self) -> nn.Module:
        """The model as given, with its trained weights. Raises UserError when it cannot be had."""
        given: nn.Module | None = self.__dict__["_given"]
        if given is not None:
            return given
        make = self.__dict__["_maker"]
        if not self.factory and make is None:
            raise UserError("no model is given: give factory=package.module:function, which makes it")
        model = usable(called(make) if make else made(self.factory))
        if self.weights:
            load_weights(model, self.weights)
        return model

    @property
    def trained(self) -> nn.Module | None:
        """A copy of the model with its own weights; None where only a function that makes it is known.

        Laid out in memory as a search runs it: a teacher takes longer than a small student, and less so.
        """
        return self.given.to(memory_format=self.memory_format) if self.is_trained else None  # type: ignore[call-overload]

    @property
    def given(self) -> nn.Module:
        """A copy of the model with the weights it came with."""
        return copied(self.source)

    @property
    def is_trained(self) -> bool:
        """Whether its weights were given, and not only a function that makes it."""
        return bool(self.weights) or self.__dict__["_given"] is not None

    @property
    def model_fingerprint(self) -> str:
        """Names and shapes of the model's weights; their values too, where a file holds them."""
        state = self.source.state_dict()
        return fingerprint(state if self.is_trained else {k: torch.tensor(v.shape) for k, v in state.items()})

    def inherit(self, arch: Arch, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights that `arch` keeps of the model, whose weights are in `state`: the most important first."""
        model = copied(self.source).cpu()
        model.load_state_dict({name: value.cpu() for name, value in state.items()})
        return AdaptedNet(self.plan, self._ordered(model)).extract(arch).state_dict()

    @cached_property
    def plan(self) -> Plan:
        """The analysis of the model. Raises UserError when nothing of it can be searched."""
        model = copied(self.source).cpu()
        plan = planned(
            model,
            shape=self.shape,
            multiple=self.multiple,
            least=self.least,
            depth=self.depth,
            resolutions=self.resolutions,
        )
        check_learns(model)
        net = AdaptedNet(plan, model)
        trains_alike(net, self.shape)
        return replace(plan, coverage=replace(plan.coverage, unknown=unknown_macs(net, self.shape)))

    @property
    def space(self) -> Space:
        """Every architecture that can be chosen."""
        return self.plan.space

    @property
    def coverage(self) -> Coverage:
        """What of the model can be searched, what cannot, and why. A model that cannot be traced has one, too."""
        try:
            return self.plan.coverage
        except NothingToSearch as e:
            return e.coverage
        except UserError as e:
            return nothing(self.source, str(e))

    @property
    def reference(self) -> Arch:
        """The model as given."""
        return self.plan.reference

    @property
    def macs(self) -> Polynomial:
        """Multiply-accumulates of one input of `shape`, or of the resolution chosen.

        Raises UserError where they are not known: `coverage.unknown`.
        """
        if self.coverage.unknown:
            raise uncounted(self.coverage.unknown)
        return self.plan.macs

    @property
    def params(self) -> Polynomial:
        """Parameters."""
        return self.plan.params

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of maps that the model runs with: channels_last, unless its code needs the other (`view`)."""
        return torch.channels_last if self.plan.channels_last else torch.contiguous_format

    def supernet(self, channels_in: int, classes: int) -> AdaptedNet:
        """Return the model with shared weights, those it was given with. Raises UserError when the data do not fit."""
        self.check(channels_in, classes)
        return AdaptedNet(self.plan, copy.deepcopy(self._arranged))

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Return one architecture: the model's own classes, the weights drawn afresh by each layer's own rule.

        Parameters that no layer of PyTorch's own has, and frozen ones, stay those of the model. prune: there is nothing
        to prune.
        """
        self.check(channels_in, classes)
        net = shrunk(self._arranged, self.plan.axes, self.plan.change(self.space.arch(arch)))
        frozen = [(p, p.detach().clone()) for p in net.parameters() if not p.requires_grad]
        for module in net.modules():
            learns = any(p.requires_grad for p in module.parameters()) or not list(module.parameters())
            reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
            if learns and callable(reset):
                with failing(f"`reset_parameters` of {type(module).__name__} fails ({{}}): mend it, or rename it"):
                    reset()
        for p, held in frozen:  # for layers that learn in part
            p.data.copy_(held)
        return net

    def cost(self, name: str, shape: tuple[int, int, int], classes: int) -> Polynomial:
        """Return "macs" or "params". Raises UserError for bytes, and for data that the model does not take."""
        if name not in ("macs", "params"):
            raise UserError(f"{name} is not counted for a model of your own: bound macs, params or latency_ms")
        self._fits(shape, classes)
        return self.macs if name == "macs" else self.params

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> list[Layer]:
        """List the layers that latency tables look up; attention's own products are not among them.

        values: of all decisions, as in `renascent.nets.sizes.layers`.  shape, classes: those of the model.
        """
        self._fits(shape, classes)
        scales = {name: self.plan.groups[number].scale for name, number in self.plan.widths.items()}
        return listed(self.plan.layers, values, scales, self.resolutions)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text: each decision beside the model's own value."""
        return drawn(self.space, self.reference, arch)

    def recipe(self, arch: Arch) -> str:
        """Return Python code that shrinks the model to `arch` with PyTorch alone, to load extracted weights into."""
        return recipe(self.source, self.plan, arch)

    @cached_property
    def _arranged(self) -> nn.Module:
        return self._ordered(self.source)

    def _ordered(self, model: nn.Module) -> nn.Module:
        """Return the model with its channels in the order in which they are kept."""
        if self.order != "magnitude":
            return model
        units = {number: group.units for number, group in self.plan.groups.items()}
        return ordered(model, self.plan.axes, magnitude(model, self.plan.axes, units))

    def ranked(self, state: Mapping[str, Tensor] | None, channels_in: int, classes: int) -> Ranked:
        """Return how strong the model's channels are; `supernet` has them in order.

        Raises UserError where they are to be kept in the order given.
        """
        if self.order != "magnitude":
            raise UserError(
                f"order is {self.order}, and without a search the strongest are kept: leave it at magnitude"
            )
        groups = self.plan.groups
        found = strengths(self.source, self.plan.axes, {number: group.units for number, group in groups.items()})
        widths = {name: np.repeat(found[number], groups[number].scale) for name, number in self.plan.widths.items()}
        return Ranked(state or {}, widths)

    def check(self, channels_in: int, classes: int) -> None:
        """Raise UserError unless the model takes these channels and returns as many numbers as there are classes."""
        given = (channels_in, classes)
        if given != (self.shape[0], self.plan.outputs):
            raise UserError(
                f"the data have {channels_in} channels and {classes} classes, the model takes {self.shape[0]} channels "
                f"and returns {self.plan.outputs} numbers: give a model for these data"
            )

    def _fits(self, shape: tuple[int, int, int], classes: int) -> None:
        self.check(shape[0], classes)
        if shape != self.shape and not self.resolutions:
            raise UserError(
                f"the data are {list(shape)}, the model was analysed at {list(self.shape)}: give that shape"
            )


def _whole(name: str, values: Any) -> tuple[int, ...]:
    try:
        found = tuple(int(value) for value in values)
    except (TypeError, ValueError):
        found = (0,)
    if any(value < 1 for value in found):
        raise UserError(f"{name} is {values!r}: give whole numbers of at least 1, as in 3,32,32")
    return found

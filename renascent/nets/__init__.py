"""Search spaces by name: frozen dataclasses that build supernets and networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from renascent.core.errors import unknown
from renascent.core.names import Names
from renascent.core.outside import Others, made

if TYPE_CHECKING:
    from renascent.core.protocols import SpaceConfig

RESNET_CIFAR = "renascent.nets.sizes.resnet_cifar:ResNetCifar"
RESNET_IMAGES = "renascent.nets.sizes.resnet:ResNetImages"
MOBILENET_V2 = "renascent.nets.sizes.mobile_v2:MobileNetV2"

OTHERS = Others(
    "space",
    "renascent.spaces",
    (("space", "supernet", "network", "draw", "reference", "cost", "memory_format"),),
    "make it a class of SpaceConfig (renascent.core.protocols) that has these",
)
"""What other packages may add to the spaces."""

SPACES: Names[Callable[..., SpaceConfig]] = Names(
    {
        "nats-topology": "renascent.nets.cells.nats:NatsTopology",
        "darts-cells": "renascent.nets.cells.darts:DartsCells",
        "dso": "renascent.nets.cells.dso:DSO",
        "mbconv": "renascent.nets.cells.mbconv:MBConv",
        "fbnet": "renascent.nets.cells.fbnet:FBNet",
        "pyramid-tree": "renascent.nets.cells.pyramid:PyramidTree",
        "nats-size": "renascent.nets.sizes.nats_size:NatsSize",
        "resnet20": (RESNET_CIFAR, {"layers_count": 20}),
        "resnet32": (RESNET_CIFAR, {"layers_count": 32}),
        "resnet56": (RESNET_CIFAR, {"layers_count": 56}),
        "resnet110": (RESNET_CIFAR, {"layers_count": 110}),
        "resnet164": (RESNET_CIFAR, {"layers_count": 164}),
        "resnet18": (RESNET_IMAGES, {"layers_count": 18}),
        "resnet50": (RESNET_IMAGES, {"layers_count": 50}),
        "mobilenet-v1": "renascent.nets.sizes.mobile_v1:MobileNetV1",
        "mobilenet-v2": MOBILENET_V2,
        "mobilenet-v2-cifar": (
            MOBILENET_V2,
            {"small": True, "width": 0.5, "lowest": 16, "highest": 32, "resolution_step": 4},
        ),
    },
    others=OTHERS,
)

UNLISTED = ("nats-topology", "dso")

MEASURED: Names[Callable[..., SpaceConfig]] = Names({k: v for k, v in SPACES.places.items() if k not in UNLISTED})
"""The spaces that can list their layers."""

ADAPTED = "adapted"

RECORDED: Names[Callable[..., SpaceConfig]] = Names({**SPACES.places, ADAPTED: "renascent.nets.adapt.config:Adapted"})
"""Spaces by the name that a run folder has for them: those by name, and a model of the user's own."""


def settings_from(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space's parameters from JSON, which has lists in the place of tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


def space_from(name: str, config: Mapping[str, Any], *, trusted: bool = False) -> SpaceConfig:
    """Return the space of a name and its parameters as JSON holds them.

    trusted: the user names it, and no file that may come from anywhere, so that it may be another package's.
    Raises UserError for one that is unknown.
    """
    values = settings_from(config)
    if name in RECORDED:
        return RECORDED[name](**values)
    if not trusted:
        raise unknown("space", name, RECORDED)
    space: SpaceConfig = made(OTHERS.find(name), values)
    return space

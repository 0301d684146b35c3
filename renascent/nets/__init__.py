"""Search spaces by name: what makes a frozen dataclass that builds supernets and networks."""

from collections.abc import Callable
from functools import partial

from renascent.core import SpaceConfig
from renascent.nets.mobile_v1 import MobileNetV1
from renascent.nets.mobile_v2 import MobileNetV2
from renascent.nets.nats import NatsTopology
from renascent.nets.nats_size import NatsSize
from renascent.nets.resnet import ResNetImages
from renascent.nets.resnet_cifar import ResNetCifar

SPACES: dict[str, Callable[..., SpaceConfig]] = {
    "nats-topology": NatsTopology,
    "nats-size": NatsSize,
    "resnet20": partial(ResNetCifar, layers_count=20),
    "resnet32": partial(ResNetCifar, layers_count=32),
    "resnet56": partial(ResNetCifar, layers_count=56),
    "resnet110": partial(ResNetCifar, layers_count=110),
    "resnet164": partial(ResNetCifar, layers_count=164),
    "resnet18": partial(ResNetImages, layers_count=18),
    "resnet50": partial(ResNetImages, layers_count=50),
    "mobilenet-v1": MobileNetV1,
    "mobilenet-v2": MobileNetV2,
    "mobilenet-v2-cifar": partial(MobileNetV2, small=True, width=0.5, lowest=16, highest=32, resolution_step=4),
}
"""Name -> a class, or a class with some of its settings."""

__all__ = ["SPACES", "MobileNetV1", "MobileNetV2", "NatsSize", "NatsTopology", "ResNetCifar", "ResNetImages"]

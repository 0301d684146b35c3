"""Search spaces by name: frozen dataclasses that build supernets and networks."""

from renascent.core import SpaceConfig
from renascent.nets.nats import NatsTopology

SPACES: dict[str, type[SpaceConfig]] = {"nats-topology": NatsTopology}

__all__ = ["SPACES", "NatsTopology"]

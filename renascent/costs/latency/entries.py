"""What a latency table holds of layers, networks and itself, and what a file of it may say."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, Range, Whole, limits, settings
from renascent.core.files import parsed, read_bytes
from renascent.core.schema import checked
from renascent.core.text import short
from renascent.costs.latency.config import LayerConfig, family_name
from renascent.costs.latency.gp import check_theta
from renascent.costs.latency.measure import quiet

FORMAT, VERSION = "renascent-latency-table", 1

ADVICE = "build it again"

MILLISECONDS = Range(1e-6, 1e9)
"""What a visit can have taken."""

LARGEST = 4096
"""Channels, height or width of the data, or number in the settings of a space, at most."""


@dataclass(frozen=True)
class Entry:
    """What was measured of one layer or network. visits_ms: median of each visit to it.  passes: timed in a visit."""

    visits_ms: tuple[float, ...]
    passes: int

    @property
    def median_ms(self) -> float:
        """The median of the quieter half of its visits."""
        return quiet(self.visits_ms)

    def facts(self) -> dict[str, Any]:
        """Return what the file holds of it: median, spread over the visits, number of passes."""
        p10, p90 = (round(float(p), 6) for p in np.percentile(self.visits_ms, (10, 90)))
        rounded = [round(ms, 6) for ms in self.visits_ms]
        spread = {"median_ms": round(self.median_ms, 6), "p10_ms": p10, "p90_ms": p90}
        return {**spread, "count": len(self.visits_ms) * self.passes, "passes": self.passes, "visits_ms": rounded}


@dataclass(frozen=True)
class Network:
    """A whole network that was measured. layers: its configurations, repetitions included."""

    layers: tuple[LayerConfig, ...]
    entry: Entry


@dataclass(frozen=True)
class Calibration:
    """What single layers miss: latency of a network = constant_ms + scale * the sum of its layers.

    networks: measured for it.
    Raises UserError for numbers that cannot be.
    """

    constant_ms: Annotated[float, Range(0, 1e9)] = 0.0
    scale: Annotated[float, Range(1e-6, 1e6)] = 1.0
    networks: Whole = 0

    def __post_init__(self) -> None:
        for name, limit in limits(Calibration).items():
            limit.check(f"calibration.{name}", getattr(self, name))


@dataclass(frozen=True)
class _StoredCalibration:
    """A calibration in a file, where no number can be left out."""

    constant_ms: float
    scale: float
    networks: int


@dataclass(frozen=True, kw_only=True)
class _StoredEntry:
    """An entry in a file; all but the visits and their passes can be left out, for it follows from them."""

    visits_ms: tuple[float, ...]
    passes: int
    median_ms: float | None = None
    p10_ms: float | None = None
    p90_ms: float | None = None
    count: int | None = None

    def entry(self, key: str) -> Entry:
        """Return it. Raises ValueError for times that are none, and for what does not follow from them."""
        if not self.visits_ms or not all(ms in MILLISECONDS for ms in self.visits_ms):
            raise ValueError(f"visits_ms of {key:.80} are {short(list(self.visits_ms))}, no milliseconds")
        if self.passes not in Range(1, 1e9):
            raise ValueError(f"passes of {key:.80} is {short(self.passes)}, none")
        found = Entry(self.visits_ms, self.passes)
        for name, value in found.facts().items():
            stored = getattr(self, name)
            # of visits that were rounded to six places after it was
            if isinstance(stored, int | float) and not abs(stored - value) <= 2e-6:
                raise ValueError(f"{name} of {key:.80} is {short(stored)}, and its visits say {value}")
        return found


@dataclass(frozen=True, kw_only=True)
class _StoredNetwork(_StoredEntry):
    layers: tuple[str, ...]


@settings
class _About:
    """What a table says of itself, as far as it is read. input: channels, height and width."""

    space: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    input: tuple[int, int, int] = (3, 32, 32)
    classes: Annotated[int, Range(1, 1_000_000)] = 10
    sampling: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    processor: str = ""
    runtime: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""
    seconds: NonNegative = 0.0

    def __post_init__(self) -> None:
        if not all(1 <= side <= LARGEST for side in self.input):
            raise UserError(f"input is {short(list(self.input))}: give channels, height and width from 1 to {LARGEST}")


@dataclass(frozen=True)
class Stored:
    """What a file holds."""

    about: dict[str, Any]
    calibration: _StoredCalibration
    thetas: dict[str, list[float]]
    layers: dict[str, _StoredEntry]
    networks: dict[str, _StoredNetwork]

    def content(self) -> tuple[dict[LayerConfig, Entry], dict[str, Network]]:
        """Return layers and networks. Raises ValueError for names that are no layers, and times that are none."""
        layers = {LayerConfig.read(key): stored.entry(key) for key, stored in self.layers.items()}
        networks = {
            name: Network(tuple(map(LayerConfig.read, stored.layers)), stored.entry(name))
            for name, stored in self.networks.items()
        }
        families = {family_name(layer.family) for layer in layers}
        for name, theta in self.thetas.items():
            if name not in families:
                raise ValueError(f"thetas has {short(name)}, of which it has no layer")
            check_theta(name, theta)
        if empty := [name for name, network in networks.items() if not network.layers]:
            raise ValueError(f"network {short(empty[0])} has no layers")
        return layers, networks


def read_stored(path: Path) -> Stored:
    """Return what a file holds. Raises UserError when it is missing, damaged, or something else."""
    try:
        tree = parsed(read_bytes(path).removeprefix(codecs.BOM_UTF8))
        if not isinstance(tree, dict) or (tree.get("format"), tree.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"it does not say format {FORMAT}, version {VERSION}")
    except FileNotFoundError:
        raise UserError(
            f"there is no latency table {path}: build it with `renascent latency measure SPACE --out {path}`"
        ) from None
    except (OSError, ValueError) as e:
        raise UserError(f"{path} is no latency table, or damaged ({e!s:.200}): {ADVICE}") from None
    stored = checked(Stored, tree, path, ADVICE)
    checked(_About, stored.about, path, ADVICE)
    return stored

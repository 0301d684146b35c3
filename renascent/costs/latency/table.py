"""A look-up table of latency per layer configuration, in one JSON file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.files import write_text
from renascent.costs.latency.config import Group, LayerConfig
from renascent.costs.latency.gp import Filler, Floats, fit_filler
from renascent.costs.latency.measure import quiet

FORMAT, VERSION = "renascent-latency-table", 1


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
    """

    constant_ms: float = 0.0
    scale: float = 1.0
    networks: int = 0


@dataclass(frozen=True)
class Lut:
    """Latency of layers on one device. about: space, device, processor, runtime, versions, date, as they were.

    layers: configuration -> what was measured.  networks: name -> whole networks, for calibration.
    thetas: hyperparameters of the Gaussian processes that fill it, by family, where they were fitted.

    >>> layer = LayerConfig("conv", 3, 1, 1, True, True, 8, 8, 16, 16)
    >>> table = Lut({"device": "cpu"}, {layer: Entry((0.2, 0.1), 5)})
    >>> table.sum_ms([layer, layer])
    0.2
    """

    about: Mapping[str, Any]
    layers: Mapping[LayerConfig, Entry]
    networks: Mapping[str, Network] = field(default_factory=dict)
    calibration: Calibration = Calibration()
    thetas: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @cached_property
    def filler(self) -> Filler:
        """The Gaussian processes fitted to all of its layers."""
        return fit_filler(list(self.layers), self._medians(list(self.layers)), self.thetas)

    def layer_ms(self, group: Group, sizes: NDArray[np.int64]) -> Floats:
        """Return milliseconds (n,) of layers of a group; sizes: inputs, outputs, h, w, (n, 4).

        Measured where they were measured, filled in elsewhere. Raises UserError where nothing alike was measured.
        """
        held = self._groups.get(group, {})
        found = np.array([held.get(tuple(row), math.nan) for row in sizes.tolist()], dtype=np.float64)
        missing = np.isnan(found)
        if missing.any():
            found[missing] = self.filler.mean_ms(group, sizes[missing])
        return found

    def sum_ms(self, configs: Sequence[LayerConfig]) -> float:
        """Return the sum over layers, not calibrated."""
        return float(sum(self.layer_ms(c.group, np.array([c[6:]]))[0] for c in configs))

    def filled(self) -> Lut:
        """Return the table with its processes fitted and its networks used for calibration."""
        fitted = replace(self, thetas=fit_filler(list(self.layers), self._medians(list(self.layers))).thetas())
        return replace(fitted, calibration=fitted.calibrated(self.networks.values()))

    def calibrated(self, networks: Iterable[Network]) -> Calibration:
        """Return the constant and scale that fit some measured networks best, relative errors squared."""
        nets = list(networks)
        if not nets:
            return Calibration()
        from scipy.optimize import nnls  # only here: it takes a second to load

        sums = np.array([self.sum_ms(net.layers) for net in nets])
        measured = np.array([net.entry.median_ms for net in nets])
        columns = np.stack([np.ones(len(nets)), sums], axis=1) / measured[:, None]
        constant, scale = nnls(columns, np.ones(len(nets)))[0] if len(nets) > 2 else (0.0, np.mean(measured / sums))
        return Calibration(float(constant), float(scale), len(nets))

    def predict(self, network: Network) -> float:
        """Return the milliseconds of a network by its layers, calibrated."""
        return self.calibration.constant_ms + self.calibration.scale * self.sum_ms(network.layers)

    def error(self) -> float | None:
        """Return the median relative error on the networks of its calibration; None where there are none."""
        off = [abs(self.predict(net) / net.entry.median_ms - 1) for net in self.networks.values()]
        return float(np.median(off)) if off else None

    def only(self, kept: Sequence[LayerConfig]) -> Lut:
        """Return a table of some of its layers, its processes forgotten."""
        return replace(self, layers={config: self.layers[config] for config in kept}, thetas={})

    def save(self, path: str | Path) -> Path:
        """Write the table, whole or not at all. Raises UserError when it cannot be written."""
        path = Path(path)
        write_text(path, json.dumps(self._tree(), indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Lut:
        """Read a table. Raises UserError when it is missing, damaged, or something else."""
        path = Path(path)
        try:
            return cls._read(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(
                f"there is no latency table {path}: build it with `renascent latency measure SPACE --out {path}`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as e:
            raise UserError(f"{path} is no latency table, or damaged ({e}): build it again") from None

    @cached_property
    def sha256(self) -> str:
        """Tell this table from every other."""
        return hashlib.sha256(json.dumps(self._tree(), sort_keys=True, default=str).encode()).hexdigest()

    def _tree(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "about": dict(self.about),
            "calibration": asdict(self.calibration),
            "thetas": {name: list(theta) for name, theta in self.thetas.items()},
            "layers": {config.key: entry.facts() for config, entry in self.layers.items()},
            "networks": {
                name: {**net.entry.facts(), "layers": [config.key for config in net.layers]}
                for name, net in self.networks.items()
            },
        }

    @classmethod
    def _read(cls, tree: Any) -> Lut:
        if tree["format"] != FORMAT or tree["version"] != VERSION:
            raise ValueError(f"it says {tree['format']} {tree['version']}, not {FORMAT} {VERSION}")
        networks = {
            name: Network(tuple(LayerConfig.read(key) for key in net["layers"]), _entry(net))
            for name, net in tree["networks"].items()
        }
        layers = {LayerConfig.read(key): _entry(entry) for key, entry in tree["layers"].items()}
        return cls(tree["about"], layers, networks, Calibration(**tree["calibration"]), tree["thetas"])

    @cached_property
    def _groups(self) -> dict[Group, dict[tuple[int, ...], float]]:
        found: dict[Group, dict[tuple[int, ...], float]] = {}
        for config, entry in self.layers.items():
            found.setdefault(config.group, {})[config[6:]] = entry.median_ms
        return found

    def _medians(self, configs: Sequence[LayerConfig]) -> Floats:
        return np.array([self.layers[config].median_ms for config in configs])


def _entry(facts: Mapping[str, Any]) -> Entry:
    visits = tuple(float(ms) for ms in facts["visits_ms"])
    if not visits or not all(0 < ms < math.inf for ms in visits):
        raise ValueError(f"{facts['visits_ms']!r:.40} are no milliseconds")
    return Entry(visits, int(facts["passes"]))

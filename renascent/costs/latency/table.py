"""A look-up table of latency per layer configuration, in one JSON file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.files import write_text
from renascent.core.text import short
from renascent.costs.latency.config import Group, LayerConfig, config_of, sizes_of
from renascent.costs.latency.entries import ADVICE, FORMAT, VERSION, read_stored
from renascent.costs.latency.entries import Calibration as Calibration
from renascent.costs.latency.entries import Entry as Entry
from renascent.costs.latency.entries import Network as Network
from renascent.costs.latency.gp import FEWEST_POINTS, Filler, Floats, by_family, fit_filler
from renascent.costs.latency.predictor import rank

MOST_OFF = 2.0
"""By which factor networks may differ from what their layers say."""

MOST_SCALE = 100.0
"""By which factor a calibration may scale layers, or one over it: beyond, one of both is in another unit."""


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
    calibration: Calibration = field(default_factory=Calibration)
    thetas: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @cached_property
    def filler(self) -> Filler:
        """The Gaussian processes fitted to all of its layers."""
        return fit_filler(list(self.layers), np.array(list(self._medians.values())), self.thetas)

    def layer_ms(self, group: Group, sizes: NDArray[np.int64]) -> Floats:
        """Return milliseconds (n,) of layers of a group; sizes: inputs, outputs, h, w, (n, 4).

        Measured where they were measured, filled in elsewhere. Raises UserError where nothing alike was measured.
        """
        medians = (self._medians.get(config_of(group, row), math.nan) for row in sizes.tolist())
        found = np.fromiter(medians, dtype=np.float64, count=len(sizes))
        missing = np.isnan(found)
        if missing.any():
            found[missing] = self.filler.mean_ms(group, sizes[missing])
        return found

    def sum_ms(self, configs: Sequence[LayerConfig]) -> float:
        """Return the sum over layers, not calibrated."""
        return float(sum(self.layer_ms(c.group, np.array([c.sizes]))[0] for c in configs))

    def filled(self) -> Lut:
        """Return the table with its processes fitted and its networks used for calibration."""
        fitted = replace(self, thetas=replace(self, thetas={}).filler.thetas())
        return replace(fitted, calibration=fitted.calibrated())

    def calibrated(self) -> Calibration:
        """Return the constant and scale that fit its networks best, relative errors squared."""
        if not self.networks:
            return Calibration()
        from scipy.optimize import nnls  # only here: it takes a second to load

        sums = np.array([self.sum_ms(net.layers) for net in self.networks.values()])
        measured = np.array([net.entry.median_ms for net in self.networks.values()])
        columns = np.stack([np.ones(len(sums)), sums], axis=1) / measured[:, None]
        constant, scale = nnls(columns, np.ones(len(sums)))[0] if len(sums) > 2 else (0.0, 0.0)
        if scale < 1 / MOST_SCALE:  # a constant alone would price all architectures alike
            constant, scale = 0.0, np.mean(measured / sums)
        return Calibration(float(constant), float(scale), len(sums))

    @property
    def whole(self) -> dict[str, Network]:
        """Its networks whose layers were all measured."""
        return {name: net for name, net in self.networks.items() if all(layer in self.layers for layer in net.layers)}

    def contradiction(self) -> str | None:
        """Say which network its layers contradict by more than a factor of two, if most networks are so; None if not.

        The calibration is part of what layers say: what a device adds to every layer, or saves, is in its scale, unless
        that can only be a slip of units. Of an unfinished table those networks are compared whose layers are all there.
        """
        nets = self.networks if self.calibration.networks == len(self.networks) else self.whole
        plain = replace(self, calibration=Calibration())
        plausible = 1 / MOST_SCALE <= self.calibration.scale <= MOST_SCALE
        for says in (self.predict,) if plausible else (self.predict, plain.predict):
            ratios = sorted((net.entry.median_ms / says(net), name) for name, net in nets.items())
            # the network in the middle: a single one may have met a busy machine
            middle = ratios[(len(ratios) - 1) // 2 : len(ratios) // 2 + 1] if ratios else []
            ratio, name = max(middle, key=lambda pair: abs(math.log(pair[0])), default=(1.0, ""))
            if not 1 / MOST_OFF <= ratio <= MOST_OFF:
                took, count = nets[name].entry.median_ms, len(nets[name].layers)
                return f"network {short(name)} took {took:.4g} ms, and its {count} layers say {took / ratio:.4g} ms"
        return None

    def predict(self, network: Network) -> float:
        """Return the milliseconds of a network by its layers, calibrated."""
        return self.calibration.constant_ms + self.calibration.scale * self.sum_ms(network.layers)

    def error(self) -> float | None:
        """Return the median relative error on the networks of its calibration; None where there are none."""
        off = [abs(self.predict(net) / net.entry.median_ms - 1) for net in self.networks.values()]
        return float(np.median(off)) if off else None

    def save(self, path: str | Path) -> Path:
        """Write the table, whole or not at all. Raises UserError when it cannot be written."""
        path = Path(path)
        write_text(path, json.dumps(self._tree(), indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Lut:
        """Read a table. Raises UserError when it is missing, damaged, contradicts itself, or is something else."""
        stored = read_stored(Path(path))
        try:
            calibration = Calibration(**asdict(stored.calibration))
            table = cls(stored.about, *stored.content(), calibration, stored.thetas)
            if 0 < len(table.networks) < table.calibration.networks:
                many = f"{table.calibration.networks} networks, of which it has {len(table.networks)}"
                raise ValueError(f"its calibration is of {many}")
            why = table.contradiction()
        except (UserError, ValueError) as e:
            raise UserError(f"{path} is damaged ({e!s:.300}): {ADVICE}") from None
        if why is not None:
            raise UserError(f"{path} contradicts itself: {why}; were they in one unit, and of one device? {ADVICE}")
        return table

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

    @cached_property
    def _medians(self) -> dict[LayerConfig, float]:
        return {config: entry.median_ms for config, entry in self.layers.items()}


class Error(NamedTuple):
    """Errors of predictions. kept, left_out: layers.  median, p90: of the relative errors.  spearman: of the ranks.

    within: share of layers whose latency lies within two predicted standard deviations.
    """

    kept: int
    left_out: int
    median: float
    p90: float
    spearman: float
    within: float


def leave_out(table: Lut, keep: float, seed: int = 0) -> tuple[Lut, Error]:
    """Return a table of a random part of the layers of each family, filled, and its error on the others.

    Of a family at least as many are kept as a process needs. Raises UserError unless both parts have some.
    """
    if not 0 < keep < 1:
        raise UserError(f"keep is {keep}: give a share of the layers above 0 and below 1, such as 0.2")
    configs, rng = list(table.layers), np.random.default_rng(seed)
    kept: dict[LayerConfig, Entry] = {}
    for rows in by_family(configs).values():
        count = max(round(keep * len(rows)), min(FEWEST_POINTS, len(rows)))
        kept |= {configs[rows[k]]: table.layers[configs[rows[k]]] for k in sorted(rng.permutation(len(rows))[:count])}
    left = [config for config in configs if config not in kept]
    if len(left) < 2:
        raise UserError(f"the table has {len(configs)} layers, too few to leave any out: measure more")
    sparse = replace(table, layers=kept, thetas={}).filled()
    truth = np.array([table.layers[config].median_ms for config in left])
    predicted = np.array([sparse.sum_ms([config]) for config in left])
    spread = np.array([sparse.filler.spread(config.group, sizes_of([config]))[0] for config in left])
    off = np.abs(predicted / truth - 1)
    within = np.abs(np.log(truth / predicted)) <= 2 * spread
    numbers = (float(np.median(off)), float(np.percentile(off, 90)), rank(predicted, truth), float(within.mean()))
    return sparse, Error(len(kept), len(left), *numbers)

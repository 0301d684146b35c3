"""Latency by a look-up table, as a cost of a size space: exact for architectures, expected under gates."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.gates import Gates
from renascent.core.protocols import SpaceConfig
from renascent.costs.latency.config import group_of, size_rows
from renascent.costs.latency.table import Lut
from renascent.nets.sizes.layers import Layer, Quantity, RandomWidth, columns, spreads

Floats = NDArray[np.float64]

MOST_KEPT = 2_000_000
"""Table values of layers kept for the next call."""


class LatencyCost:
    """Milliseconds of one forward pass. Call it with gates for the expected latency, with gradient.

    The sum over layers is calibrated by the table's constant and scale. Widths that are decided apart are independent;
    what depends on the same draw is taken together, so that a soft gate's cost is that of the exact latencies of all
    its values, each with its probability.

    table: where single layers are looked up, or filled in.  shape: (channels, h, w) of the data.
    """

    def __init__(self, config: SpaceConfig, table: Lut, shape: tuple[int, int, int], classes: int) -> None:
        self.config, self.space, self.table = config, config.space, table
        self.shape, self.classes = shape, classes
        self._grids: dict[Any, Floats] = {}

    def __call__(self, gates: Gates) -> Tensor:
        """Return the expected latency of normalised gates, a float64 scalar; exact if they are one-hot."""
        layers = self.config.layers(spreads(self.space, gates), self.shape, self.classes)
        terms = [
            self._expected(layer) * torch.as_tensor(layer.presence, dtype=torch.float64)
            for layer in layers
            if isinstance(layer.presence, Tensor) or layer.presence
        ]
        return torch.stack(terms).sum() * self.table.calibration.scale + self.table.calibration.constant_ms

    def exact(self, indices: NDArray[np.integer]) -> Floats:
        """Return the latency (n,) of architectures given as option indices (n, decisions)."""
        count, total = len(indices), np.zeros(len(indices))
        for layer in self.config.layers(columns(self.space, indices), self.shape, self.classes):
            there = np.broadcast_to(np.asarray(layer.presence, dtype=bool), count)
            if there.any():
                rows, places = np.unique(size_rows(layer, count)[there], axis=0, return_inverse=True)
                total[there] += self.table.layer_ms(group_of(layer), rows)[places.reshape(-1)]
        return total * self.table.calibration.scale + self.table.calibration.constant_ms

    def _expected(self, layer: Layer) -> Tensor:
        """Return the expected latency of a layer, given that it is there."""
        sizes = (layer.inputs, layer.outputs, *layer.size)
        values, probabilities = [], []
        for places, probability in _draws(sizes):
            rows = np.stack([np.asarray(sizes[k].values) for k in places], axis=1)  # type: ignore[union-attr]
            different, back = np.unique(rows, axis=0, return_inverse=True)
            index = torch.as_tensor(back.reshape(-1), device=probability.device)
            probabilities.append(probability.new_zeros(len(different)).index_add(0, index, probability))
            values.append((places, different))
        found = torch.as_tensor(self._grid(layer, sizes, values))
        for probability in reversed(probabilities):
            found = found.to(probability.device) @ probability
        return found

    def _grid(self, layer: Layer, sizes: tuple[Quantity, ...], values: list[tuple[list[int], NDArray[Any]]]) -> Floats:
        """Return the latency of all combinations of what a layer's draws can give, an axis a draw."""
        plain = tuple(0 if isinstance(size, RandomWidth) else int(size) for size in sizes)
        key = (group_of(layer), plain, *((tuple(places), rows.tobytes()) for places, rows in values))
        if key in self._grids:
            return self._grids[key]
        extent = tuple(len(rows) for _, rows in values)
        full = np.empty((*extent, 4), dtype=np.int64)
        full[...] = plain
        for axis, (places, rows) in enumerate(values):
            spread = rows.reshape(*(len(rows) if k == axis else 1 for k in range(len(extent))), len(places))
            full[..., places] = spread
        found = self.table.layer_ms(group_of(layer), full.reshape(-1, 4)).reshape(extent)
        if sum(grid.size for grid in self._grids.values()) + found.size <= MOST_KEPT:
            self._grids[key] = found
        return found


def _draws(sizes: tuple[Quantity, ...]) -> list[tuple[list[int], Tensor]]:
    """Return the independent samples among sizes: which sizes each sets, and its probabilities."""
    found: dict[int, tuple[list[int], Tensor]] = {}
    for place, size in enumerate(sizes):
        if isinstance(size, RandomWidth):
            found.setdefault(id(size.probabilities), ([], size.probabilities))[0].append(place)
    return list(found.values())

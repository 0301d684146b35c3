"""What networks of decided size cost: sums over their layers, exact for architectures and expected under gates."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.gates import Gates
from renascent.core.spaces import SpaceConfig
from renascent.nets.sizes.layers import Amount, Layer, Quantity, columns, product, spreads

BYTES = 4
"""Bytes of a float32 number."""


class Sized:
    """A sum over a space's layers, or their peak. Call it with gates for the expected cost, a float64 scalar.

    of: the cost of one layer.  over: how layers come together, `total` or `peak`.
    shape: (channels, h, w) of the data.

    >>> from renascent.nets import SPACES
    >>> config = SPACES["resnet20"]()
    >>> cost = Sized(config, (3, 32, 32), 10, macs_in)
    >>> cost.exact(config.space.indices(config.reference)[None]).tolist()
    [40813184.0]
    """

    def __init__(
        self,
        config: SpaceConfig,
        shape: tuple[int, int, int],
        classes: int,
        of: Callable[[Layer], Amount],
        over: Callable[[Sequence[Amount]], Amount] | None = None,
    ) -> None:
        self.config, self.space, self.shape, self.classes = config, config.space, shape, classes
        self.of, self.over = of, over or total

    def __call__(self, gates: Gates) -> Tensor:
        """Return the expected cost of normalised gates; exact if they are one-hot.

        Widths that are decided apart are independent, a width that is used twice is one draw: E[C^2]. The peak of
        memory is that of the expectations.
        """
        found = self._cost(spreads(self.space, gates))
        return found if isinstance(found, Tensor) else torch.tensor(float(found), dtype=torch.float64)

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        found = np.asarray(self._cost(columns(self.space, indices)), dtype=np.float64)
        return np.array(np.broadcast_to(found, (len(indices),)))

    def _cost(self, values: Mapping[str, Quantity]) -> Amount:
        return self.over([self.of(layer) for layer in self.config.layers(values, self.shape, self.classes)])


def macs_in(layer: Layer) -> Amount:
    """Return the multiply-accumulates of a layer for one input."""
    if layer.kind in ("pool", "add", "norm"):
        return 0
    if layer.kind == "linear":
        return product(layer.presence, layer.inputs, layer.outputs)
    return product(*_connected(layer), *layer.size_out) / layer.groups


def params_in(layer: Layer) -> Amount:
    """Return the parameters of a layer, its normalisation's included."""
    if layer.kind in ("pool", "add"):
        return 0
    if layer.kind == "linear":
        return product(layer.presence, layer.inputs, layer.outputs) + product(layer.presence, layer.outputs)
    if layer.kind == "norm":
        return 2 * product(layer.presence, layer.outputs)
    kernel = product(*_connected(layer)) / layer.groups
    return kernel + 2 * product(layer.presence, layer.outputs) if layer.norm else kernel


def memory_access_in(layer: Layer) -> Amount:
    """Return the bytes a layer moves for one input: its weights, what it reads and what it writes."""
    read, written = _maps(layer)
    return BYTES * (params_in(layer) + read + written)


def activations_in(layer: Layer) -> Amount:
    """Return the bytes of maps alive while a layer runs on one input: its input, its output, what a shortcut holds."""
    read, written = _maps(layer)
    return BYTES * (read + written + sum(product(layer.presence, *kept) for kept in layer.held))


def total(amounts: Sequence[Amount]) -> Amount:
    """Return the sum over layers."""
    return sum(amounts[1:], amounts[0])


def peak(amounts: Sequence[Amount]) -> Amount:
    """Return the largest over layers; of tensors with the gradient of that layer alone."""
    if any(isinstance(a, Tensor) for a in amounts):
        return torch.stack([torch.as_tensor(a, dtype=torch.float64) for a in amounts]).max()
    return np.maximum.reduce(np.broadcast_arrays(*amounts))


def _connected(layer: Layer) -> tuple[Amount, ...]:
    """Return the factors of the weights of a convolution, were it in one group."""
    channels = (layer.inputs,) if layer.kind == "depthwise" else (layer.inputs, layer.outputs)
    return layer.presence, *channels, layer.kernel**2


def _maps(layer: Layer) -> tuple[Amount, Amount]:
    """Return how many numbers a layer reads and writes."""
    size = (1, 1) if layer.kind == "linear" else layer.size
    read = (2 if layer.kind == "add" else 1) * product(layer.presence, layer.inputs, *size)
    return read, product(layer.presence, layer.outputs, *layer.size_out)


COUNTED: Mapping[str, tuple[Callable[[Layer], Amount], Callable[[Sequence[Amount]], Amount]]] = {
    "macs": (macs_in, total),
    "params": (params_in, total),
    "memory_access_bytes": (memory_access_in, total),
    "activation_bytes": (activations_in, peak),
}
"""Name -> the cost of one layer, and how layers come together."""

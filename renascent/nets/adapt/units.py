"""Which elements of which tensors must be kept or dropped together.

Every tensor has labels of its own shape: the number of a *unit* in each place. A layer makes one unit for each of its
output channels; a view moves labels as it moves elements; an addition ties the units that meet. What is tied in the
end is kept or dropped together. Labels that are equal along an axis are held once (stride 0).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

NEUTRAL = -1
"""The label of an element that is there whatever is dropped, and meets anything: a scalar, padding."""

FIXED = 0
"""The label of an element that must stay as it is, and so must all that is tied to it: the model's input."""


class Units:
    """The units of one model, and what ties them. reasons: why a unit cannot be dropped."""

    def __init__(self) -> None:
        self.count = 1  # 0 is FIXED
        self.pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self.reasons: dict[int, str] = {}
        self._roots: NDArray[np.int64] | None = None

    def fresh(self, count: int) -> Tensor:
        """Return labels (count,) of new units; a single channel cannot be dropped and is neutral."""
        if count == 1:
            return torch.tensor([NEUTRAL])
        self.count += count
        self._roots = None
        return torch.arange(self.count - count, self.count)

    def tie(self, a: Tensor, b: Tensor, reason: str = "") -> Tensor:
        """Tie the units that meet when `a` and `b` are broadcast, and return the labels of the outcome.

        reason: why a unit that meets a fixed element cannot be dropped.
        """
        a, b = broadcast(a, b)
        left, right = (t.reshape(-1).numpy() for t in _once(a, b))
        both = (left >= 0) & (right >= 0) & (left != right)
        left, right = left[both], right[both]
        stuck = (left == FIXED) | (right == FIXED)
        self.fix(torch.from_numpy(np.maximum(left, right)[stuck]), reason)
        pairs = np.unique(np.stack([left[~stuck], right[~stuck]]), axis=1)
        if pairs.size:
            self.pairs.append((pairs[0], pairs[1]))
            self._roots = None
        return packed(torch.maximum(a, b))

    def along(self, labels: Tensor, axis: int, reason: str = "") -> Tensor:
        """Tie the units that differ along an axis only, and return labels that are equal along it."""
        first = labels.narrow(axis, 0, 1)
        if labels.shape[axis] > 1 and labels.stride(axis) != 0:
            # the last unit of an axis may meet padding at its first place
            first = labels.amax(axis, keepdim=True)
            self.tie(labels, first, reason)
        return first.expand(labels.shape)

    def vector(self, labels: Tensor, axis: int, reason: str = "") -> Tensor:
        """Return the labels along one axis, (size,), after tying along all others."""
        for other in range(labels.dim()):
            if other != axis % labels.dim():
                labels = self.along(labels, other, reason)
        return along_axis(labels, axis % labels.dim())

    def fix(self, labels: Tensor, reason: str) -> None:
        """Say that units cannot be dropped, and why."""
        for unit in np.unique(_flat(labels)).tolist():
            if unit > 0:
                self.reasons.setdefault(unit, reason)

    def roots(self) -> NDArray[np.int64]:
        """Return, for each unit, one unit that stands for all that it is tied to, (units,)."""
        if self._roots is None:
            none = np.zeros(0, np.int64)
            rows, columns = (np.concatenate([none, *(pair[k] for pair in self.pairs)]) for k in range(2))
            graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(self.count, self.count))
            _, parts = connected_components(graph, directed=False)
            _, first = np.unique(parts, return_index=True)
            self._roots = np.asarray(first[parts], dtype=np.int64)
        return self._roots

    def resolve(self, labels: Tensor) -> Tensor:
        """Return labels with the root of each unit in its place."""
        shape = labels.shape
        (small,) = _once(labels)
        flat = small.reshape(-1).numpy()
        found = np.where(flat > 0, self.roots()[np.maximum(flat, 0)], flat)
        return torch.from_numpy(found).reshape(small.shape).expand(shape)

    def varying(self, labels: Tensor) -> list[int]:
        """Return the axes along which the units differ, ties so far considered."""
        found = packed(self.resolve(labels))
        return [axis for axis in range(found.dim()) if found.shape[axis] > 1 and found.stride(axis) != 0]


def along_axis(labels: Tensor, axis: int) -> Tensor:
    """Return the labels along one axis, at the first place of all others, (size,)."""
    return labels[tuple(slice(None) if d == axis else 0 for d in range(labels.dim()))]


def broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both labels in the shape of their sum."""
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    return a, b


def packed(labels: Tensor) -> Tensor:
    """Return equal labels, held once along each axis where they do not change."""
    for axis, size in enumerate(labels.shape):
        if size > 1 and labels.stride(axis) != 0:
            first = labels.narrow(axis, 0, 1)
            if bool((labels == first).all()):
                labels = first.expand(labels.shape)
    return labels


def neutral(shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Return labels of a tensor that nothing happens to."""
    return torch.tensor(NEUTRAL).expand(shape)


def _once(*labels: Tensor) -> tuple[Tensor, ...]:
    """Narrow each axis along which none of the labels changes to its first place."""
    for axis in range(labels[0].dim()):
        if all(t.stride(axis) == 0 or t.shape[axis] == 1 for t in labels) and labels[0].shape[axis] > 0:
            labels = tuple(t.narrow(axis, 0, 1) for t in labels)
    return labels


def _flat(labels: Tensor) -> NDArray[np.int64]:
    (small,) = _once(labels) if labels.dim() else (labels,)
    return np.asarray(small.reshape(-1).numpy())

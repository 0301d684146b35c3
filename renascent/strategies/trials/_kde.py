"""Kernel density over option indices: the model of BOHB."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


class Density(NamedTuple):
    """A product of one kernel a decision, averaged over the data: Aitchison and Aitken, Biometrika 1976, Eq. 2.

    data: option indices, (points, decisions).  width: lambda, the probability of another option, (decisions,).
    counts: options of each decision, (decisions,).
    """

    data: Codes
    width: Array
    counts: Codes

    def __call__(self, points: Codes) -> Array:
        """Return the density at points (n, decisions), (n,)."""
        same = points[:, None, :] == self.data
        other = self.width / np.maximum(self.counts - 1, 1)
        kernels = np.multiply.reduce(np.where(same, 1 - self.width, other), 2)
        return np.add.reduce(kernels, 1) / len(self.data)  # type: ignore[no-any-return]


def fitted(data: Codes, counts: Codes, least: float) -> Density:
    """Fit a density: widths by the normal reference rule, at least `least`, at most those of an even kernel.

    The rule is 1.06 x deviation x points^(-1 / (4 + decisions)), Silverman, Density Estimation, 1986, Sec. 4.3.2.
    """
    points, decisions = data.shape
    total, squares = np.add.reduce(data, 0), np.add.reduce(data * data, 0)  # of small integers, so exact
    deviation = np.sqrt(squares * points - total * total) / points
    rule = 1.06 * deviation * points ** (-1 / (4 + decisions))
    return Density(data, np.minimum(np.maximum(rule, least), even(counts)), counts)


def even(counts: Codes) -> Array:
    """Return the width at which every option of a decision is as likely as the others, (decisions,)."""
    return (counts - 1) / counts

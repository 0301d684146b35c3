"""Several objectives at once: which points no other point beats, and how much they dominate."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.core.errors import UserError


def pareto(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points are not dominated, (points,); all objectives are maximised.

    points: (points, objectives). A point dominates another when it is nowhere worse and somewhere better, so that of
    equal points all or none are on the front. A point with NaN, of which nothing can be said, is not on it.
    Raises UserError for another shape.

    >>> pareto([[1, 3], [2, 2], [1, 2], [3, 0]]).tolist()
    [True, True, False, True]
    """
    held = _checked(points)
    mask = np.zeros(len(held), dtype=bool)
    known = np.flatnonzero(~np.isnan(held).any(1))
    if not len(known):
        return mask
    # from best to worst by the first objective, then the second and so on: only an earlier point can dominate a later
    order = known[np.lexsort(held[known].T[::-1])[::-1]]
    new = np.concatenate([[True], (held[order][1:] != held[order][:-1]).any(1)])
    distinct = held[order][new]
    front = _staircase(distinct) if distinct.shape[1] == 2 else _sieve(distinct)
    mask[order] = front[np.cumsum(new) - 1]
    return mask


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume that points dominate above a reference point, exactly; all objectives are maximised.

    points: (points, objectives).  reference: (objectives,); a point that is not above it in all adds nothing.
    The time grows with a power of the number of objectives: up to four or five are meant.
    Raises UserError for shapes that do not fit.

    >>> hypervolume([[1, 3], [2, 2], [3, 1]], [0, 0])
    6.0
    """
    held, base = _checked(points), np.asarray(reference, dtype=np.float64)
    if base.shape != held.shape[1:]:
        raise UserError(f"the reference has shape {base.shape}: give one number for each of {held.shape[1]} objectives")
    above = held - base
    return _volume(above[(above > 0).all(1)])


def _checked(points: ArrayLike) -> NDArray[np.float64]:
    held = np.asarray(points, dtype=np.float64)
    if held.ndim != 2 or not held.shape[1]:
        raise UserError(f"points have shape {held.shape}: give (points, objectives)")
    return held


def _staircase(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the front of distinct sorted points of two objectives: those whose second is better than all before."""
    best = np.maximum.accumulate(points[:, 1])
    return np.concatenate([[True], points[1:, 1] > best[:-1]])


def _sieve(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the front of distinct sorted points: each that is left takes away all that it dominates."""
    left = np.arange(len(points))
    front = np.zeros(len(points), dtype=bool)
    while len(left):
        first = left[0]
        front[first] = True
        left = left[(points[left] > points[first]).any(1)]
    return front


def _volume(points: NDArray[np.float64]) -> float:
    """Return the volume between zero and positive points, by slices along the last objective."""
    if not len(points):
        return 0.0
    points = points[pareto(points)]
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    thick = points[:, -1] - np.append(points[1:, -1], 0.0)
    if points.shape[1] == 2:
        return float(np.maximum.accumulate(points[:, 0]) @ thick)
    return sum(float(t) * _volume(points[: k + 1, :-1]) for k, t in enumerate(thick) if t > 0)

"""Which training examples the search validates on: stratified by class, or the benchmark's own split."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.core.errors import UserError
from renascent.tasks.formats import brief, read_npz

Indices = NDArray[np.int64]

_CIFAR10_TRAIN = 50_000


def split(labels: NDArray[Any], amount: float, seed: int, names: Sequence[str] = ()) -> tuple[Indices, Indices]:
    """Return (train, validation): disjoint, ascending indices into `labels` (n,), every class in proportion.

    amount: how much goes to validation: a fraction when below 1, otherwise a count, kept exactly. A class's
    share differs by at most one from proportional, and at least one example of every class stays in train.
    names: of the classes, in the order of the labels, for the error. Raises UserError when that cannot be done.

    >>> train, val = split(np.array([0, 0, 0, 0, 1, 1]), 0.5, seed=0)
    >>> len(train), len(val), np.bincount(np.array([0, 0, 0, 0, 1, 1])[val]).tolist()
    (3, 3, [2, 1])
    """
    labels = np.asarray(labels)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"the split's seed is {brief(str(seed))}; give a whole number of at least 0")
    classes, members, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    smallest = int(classes[sizes.argmin()]) if len(classes) else 0
    name = names[smallest] if 0 <= smallest < len(names) else str(smallest)
    wanted = _shares(sizes, _count(amount, len(labels)), name)
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(members[order], kind="stable")]  # class after class, shuffled inside each
    place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = place < np.repeat(wanted, sizes)
    return np.sort(order[~chosen]), np.sort(order[chosen])


def subset(labels: NDArray[Any], count: int, seed: int) -> Indices:
    """Return the ascending indices of exactly `count` examples, stratified, at least one of every class.

    Raises UserError when that cannot be done.

    >>> len(subset(np.array([0, 0, 0, 1, 1, 1]), 4, seed=0))
    4
    """
    classes = len(np.unique(labels))
    if not classes <= count <= len(labels):
        raise UserError(
            f"the limit is {count} images; give {classes} (one of every class) to {len(labels)}, or 0 for all"
        )
    return np.arange(len(labels)) if count == len(labels) else split(labels, len(labels) - count, seed)[0]


def ranges(counts: Mapping[str, int]) -> dict[str, Indices]:
    """Return the indices of splits that lie one after the other. counts: of each.

    >>> ranges({"train": 2, "val": 1})["val"].tolist()
    [2]
    """
    ends = np.cumsum(list(counts.values())).tolist()
    return {name: np.arange(end - count, end) for (name, count), end in zip(counts.items(), ends, strict=True)}


def official_cifar10_split(folder: Path) -> tuple[Indices, Indices]:
    """Return (train, validation), 25,000 ascending indices each, into CIFAR-10's original training order.

    Dong and Yang, NAS-Bench-201, arXiv:2001.00326. Read from `nas/nb201_cifar10_split.npz` in `folder`, or
    from the authors' own `cifar-split.txt` there. Raises UserError when neither is there, or it is damaged.
    """
    arrays, text = folder / "nas" / "nb201_cifar10_split.npz", folder / "cifar-split.txt"
    if os.path.isfile(arrays):
        return _checked(arrays, *read_npz(arrays, "train", "valid"))
    if os.path.isfile(text):
        return _checked(text, *_authors_text(text))
    raise UserError(
        f"the official CIFAR-10 split is not in {brief(str(folder), 200)}: put cifar-split.txt of the authors' "
        "AutoDL-Projects (configs/nas-benchmark) there, or use a stratified split"
    )


def _authors_text(path: Path) -> tuple[list[int], list[int]]:
    """Read {"train": ["int", ["0", ...]], "valid": [...]}; a plain list of numbers is also taken."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        train, valid = (tree[key][1] if tree[key][0] in ("int", "list") else tree[key] for key in ("train", "valid"))
        return [int(i) for i in train], [int(i) for i in valid]
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is not the authors' CIFAR-10 split: {brief(repr(error))}; fetch it again") from error


def _checked(path: Path, train: ArrayLike, valid: ArrayLike) -> tuple[Indices, Indices]:
    given = np.asarray(train).ravel(), np.asarray(valid).ravel()
    parts = tuple(np.sort(part).astype(np.int64) for part in given if part.dtype.kind in "iu")
    if len(parts) < 2 or not np.array_equal(np.sort(np.concatenate(parts)), np.arange(_CIFAR10_TRAIN)):
        raise UserError(f"{path} does not deal out CIFAR-10's 50,000 training images once each; fetch it again")
    return parts[0], parts[1]


def _count(amount: float, total: int) -> int:
    count = 0 if not 0 < amount < total else round(amount * total) if amount < 1 else int(amount)
    if not 0 < count < total or (amount >= 1 and count != amount):
        given = f"{amount:g}" if abs(amount) < 1e300 else "that many"
        raise UserError(
            f"cannot hold out {given} of {total} examples for validation; "
            f"give a fraction between 0 and 1, or a whole number from 1 to {total - 1}"
        )
    return count


def _shares(sizes: NDArray[np.int64], count: int, smallest: str) -> NDArray[np.int64]:
    """Return how many of each class are held out, by largest remainder; sums to `count`. smallest: a class's name."""
    shares, remainder = np.divmod(sizes * count, sizes.sum())
    missing = count - int(shares.sum())
    room = np.flatnonzero(shares + 1 < sizes)  # one of every class stays in train
    if len(room) < missing:
        raise UserError(
            f"cannot hold out {count} of {sizes.sum()} examples: the smallest of {len(sizes)} classes has "
            f"{sizes.min()}, and one of every class must stay in train; hold out fewer, "
            f"or add examples of class {brief(smallest)}"
        )
    shares[room[np.argsort(-remainder[room], kind="stable")[:missing]]] += 1
    return shares

"""From a data set's arrays and a user's options to a task."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, OneOf, Whole, settings
from renascent.core.schema import ABSENT
from renascent.tasks.augment import Augmentation
from renascent.tasks.images import ImageTask
from renascent.tasks.split import Indices, split, subset
from renascent.tasks.streamed import Pictured, Streamed, joined

SPLIT_KINDS = ("stratified", "official")

OfficialSplit = Callable[[Path], tuple[Indices, Indices]]
"""Data folder -> (train, validation), indices into the data set's training images in their original order."""


@settings
class ImageOptions:
    """What a user may choose about a data set of images.

    Args:
        val: held out of the training images to validate on: a fraction when below 1, otherwise a count; not used for a
            folder that has its own `val/` (or `valid/`, `validation/`).
        split: how it is held out: "stratified" by class, or "official" (cifar10 only: NAS-Bench-201's halves).
        split_seed: seed of the stratified split, and of `limit`.
        limit: use only this many training images, stratified by class, before splitting; 0 means all.
        flip: mirror training images; None means what suits the data set.
        pad: pixels of padding before the random crop; 0 means no crop, None what suits the data set.
        cutout: side in pixels of the cutout square; 0 means none.
        augment_val: in a search, augment the validation batches too, as the authors' search code does.
        image_size: side in pixels to which the images of a folder are resized; 0 means as they are, all equal.
        skip_bad: go on without what cannot be used in a folder of images, and say what and how much that is.
        streamed: read the images of a folder again whenever they are used, and hold none; None means where they would
            take more than half of the memory.
        workers: processes that read ahead for each stream, 0 for none; None means what suits the machine.
    """

    val: NonNegative = 0.5
    split: Annotated[str, OneOf("split", SPLIT_KINDS)] = "stratified"
    split_seed: Whole = 0
    limit: Whole = 0
    flip: bool | None = None
    pad: Whole | None = None
    cutout: Whole = 0
    augment_val: bool = False
    image_size: Whole = 0
    skip_bad: bool = field(default=False, metadata=ABSENT)
    streamed: bool | None = field(default=None, metadata=ABSENT)
    workers: Whole | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class Raw:
    """A data set as read: pairs of images (n, channels, h, w) uint8, in memory or streamed, and labels (n,).

    classes: names in the order of the labels.  source: for reports: where it came from, and the citation.
    val: a validation split of its own, if it has one.
    """

    train: Pictured
    test: Pictured | None
    classes: tuple[str, ...]
    source: str
    val: Pictured | None = None


def prepare(
    raw: Raw,
    options: ImageOptions,
    default: Augmentation,
    *,
    name: str,
    folder: Path,
    official: OfficialSplit | None = None,
    device: torch.device | str = "auto",
) -> ImageTask:
    """Return the task of `raw` under `options`. default: the augmentation that suits the data set.

    official: finds the data set's own split, if it has one. Raises UserError when the options do not fit.
    """
    train, val = _parts(raw, options, name, folder, official)
    pairs = [pair for pair in (raw.train, raw.val, raw.test) if pair is not None]
    if len(shapes := {images.shape[1:] for images, _ in pairs}) > 1:
        raise UserError(
            f"the splits of {name} have images of different shapes, {sorted(shapes)}: fetch its files again"
        )
    ends = np.cumsum([len(labels) for _, labels in pairs])
    parts = {"train": train, "val": val}
    given = {name: value for name in ("flip", "pad") if (value := getattr(options, name)) is not None}
    if raw.test is not None:
        parts["test"] = np.arange(ends[-2], ends[-1])
    return ImageTask(
        joined([x if isinstance(x, Streamed) else torch.from_numpy(np.require(x, requirements="W")) for x, _ in pairs]),
        torch.from_numpy(np.concatenate([labels for _, labels in pairs])),
        parts,
        class_names=raw.classes,
        augmentation=replace(default, **given, cutout=options.cutout),
        augment_val=options.augment_val,
        resized=options.image_size > 0,
        name=name,
        source=raw.source,
        device=device,
    )


def _parts(
    raw: Raw, options: ImageOptions, name: str, folder: Path, official: OfficialSplit | None
) -> tuple[Indices, Indices]:
    """Return (train, validation): indices into the training images, then the validation images of its own."""
    labels = raw.train[1]
    kept = subset(labels, options.limit, options.split_seed) if options.limit else np.arange(len(labels))
    if options.split == "official":
        train, val = _official(options, name, folder, official)
        return np.intersect1d(kept, train), np.intersect1d(kept, val)
    if raw.val is not None:
        return kept, np.arange(len(labels), len(labels) + len(raw.val[1]))
    train, val = split(labels[kept], options.val, options.split_seed, raw.classes)
    return kept[train], kept[val]


def _official(
    options: ImageOptions, name: str, folder: Path, official: OfficialSplit | None
) -> tuple[Indices, Indices]:
    if official is None:
        raise UserError(f"{name} has no official search split (cifar10 has one); use the split 'stratified'")
    if options.val != ImageOptions.val:
        raise UserError(f"val is {options.val:g}, but the official split is half and half; leave one of the two out")
    return official(folder)

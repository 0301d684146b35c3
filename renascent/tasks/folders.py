"""A folder of images: `train/CLASS/*.png` with `val/` and `test/` beside it, or just `CLASS/*.png`."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from renascent.core.errors import UserError
from renascent.tasks.augment import Augmentation
from renascent.tasks.formats import Images, brief, plain
from renascent.tasks.photos import Photos, read_photos
from renascent.tasks.prepare import Raw
from renascent.tasks.split import split
from renascent.tasks.streamed import Pictured, Streamed, Streaming

FOLDER_AUGMENTATION = Augmentation(flip=True, pad=4)

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What the folder of each split may be called, in any case of letters."""

EXAMPLES = 4
"""How many things of one kind are named."""

Item = tuple[str, str, Path]
"""An image: its split, class and file."""


@dataclass
class Faults:
    """All in a folder that cannot be used, by reason.  skipped: names that are left out in any case."""

    root: Path
    found: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)

    def add(self, reason: str, path: Path, detail: str = "") -> None:
        """Note something that cannot be used. detail: what it has of its own, beside the reason."""
        name = brief(str(path.relative_to(self.root) if path.is_relative_to(self.root) else path), 50)
        self.found.setdefault(reason, []).append(f"{name} ({brief(detail)})" if detail else name)

    @property
    def count(self) -> int:
        return sum(map(len, self.found.values()))

    def __str__(self) -> str:
        return "; ".join(f"{reason}: {_some(names)}" for reason, names in self.found.items())

    def refusal(self) -> UserError:
        """Return the error that names them."""
        more = f" (skipped in any case: {_some(list(self.skipped))})" if self.skipped else ""
        what = f"{self.count} of what is in {_shown(self.root)} cannot be used: {self}{more}"
        return UserError(f"{what}; repair or remove these, or leave them out with `skip_bad=True`")


def read_folder(root: Path, image_size: int = 0, *, skip_bad: bool = False, streaming: Streaming | None = None) -> Raw:
    """Read the images of `root`, a folder for each class; without `train/`, a stratified fifth becomes test.

    Where one folder has a name of `SPLITS`, all are splits, and no test split is made up. Images look as `pixels.shown`
    says: grey when every one is, otherwise RGB. What starts with a dot, and files beside the splits, are skipped.

    Args:
        root: The folder.
        image_size: Side in pixels; images are scaled to cover that square and cut at the centre; 0 keeps their size.
        skip_bad: Leave out stray files, images that cannot be read, and classes without an image.
        streaming: Whether images are held in memory, or looked at and then read again whenever they are used.

    Raises:
        UserError: It names all that cannot be used; or what is no split, or a class that train does not have; or there
            are fewer than 2 classes, sizes that differ, or more than the memory holds.
    """
    faults = Faults(root)
    tops = _tops(faults)
    classes = [path.name for path in _listed(tops["train"], faults) if os.path.isdir(path)]
    items = [(name, *item) for name, top in tops.items() for item in _items(top, faults)]
    _check(tops, classes, items, "class folders")
    photos = Photos([path for _, _, path in items], image_size)
    found = read_photos(photos, _shown(root), streaming or Streaming())
    for fault in found.faults:
        faults.add(*fault)
    items = [items[k] for k in found.kept]
    used = {label for name, label, _ in items if name == "train"}
    for label in classes:
        if label not in used:
            faults.add("class without an image", tops["train"] / label)
    if faults.found and not skip_bad:
        raise faults.refusal()
    classes = [label for label in classes if label in used]
    _check(tops, classes, items, "classes with an image")
    left = [f"{faults.count} left out ({faults})"] if faults.found else []
    notes = [*left, *(f"{what} in {count} of {len(items)} images" for what, count in sorted(found.said.items()))]
    source = ", ".join([f"images of the folder {root.resolve().name!r}", *notes])
    pairs = _pairs(found.images, items, classes)
    return _raw(root, pairs, tuple(map(plain, classes)), source, whole=tops["train"] == root)


def _pairs(images: Images | Streamed, items: Sequence[Item], classes: Sequence[str]) -> dict[str, Pictured]:
    """Return images and labels of each split. images: those of `items`, (n, channels, h, w), split after split."""
    number = {label: k for k, label in enumerate(classes)}
    labels, pairs, start = np.array([number[label] for _, label, _ in items], np.int64), {}, 0
    for name, count in Counter(name for name, _, _ in items).items():
        pairs[name] = images[start : start + count], labels[start : start + count]
        start += count
    return pairs


def _raw(root: Path, pairs: Mapping[str, Pictured], classes: tuple[str, ...], source: str, *, whole: bool) -> Raw:
    """Return the data set. whole: it has no splits, so that one is made."""
    if not whole:
        return Raw(pairs["train"], pairs.get("test"), classes, source, pairs.get("val"))
    x, y = pairs["train"]
    try:
        train, test = split(y, 0.2, seed=0, names=classes)
    except UserError as e:
        raise UserError(f"{_shown(root)} has too few images for a test split ({e}): add some, or give train/") from None
    source = f"{source}, a stratified fifth held out as test split"
    return Raw((x[train], y[train]), (x[test], y[test]), classes, source)


def _tops(faults: Faults) -> dict[str, Path]:
    """Return the folder of each split, or the whole as "train". Raises UserError for a folder that is none of them."""
    listed, tops, others = _listed(faults.root, faults), dict[str, Path](), []
    for path in filter(os.path.isdir, listed):
        name = next((name for name, names in SPLITS.items() if path.name.lower() in names), "")
        if name in tops:
            both = f"{tops[name].name}/ and {path.name}/"
            raise UserError(f"{both} in {_shown(faults.root)} are both the {name} split: make one of them")
        if name:
            tops[name] = path
        else:
            others.append(f"{path.name}/")
    if not tops:
        return {"train": faults.root}
    known = ", ".join(name for names in SPLITS.values() for name in names)
    where = f"{_shown(faults.root)} has {_some([f'{path.name}/' for path in tops.values()])}"
    if "train" not in tops:
        raise UserError(f"{where} and no train/: put the folders of the classes into train/")
    if others:
        raise UserError(f"{where}, and {_some(others)} is no split: rename it to one of {known}, or move it away")
    faults.skipped |= dict.fromkeys(path.name for path in listed if not os.path.isdir(path))
    return {name: tops[name] for name in SPLITS if name in tops}


def _listed(folder: Path, faults: Faults) -> list[Path]:
    """Return what lies in a folder, in order, but for what starts with a dot."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as e:
        raise UserError(f"{_shown(folder)} cannot be listed: {e.strerror or e}") from None
    faults.skipped |= dict.fromkeys(name for name in names if name.startswith("."))
    return [folder / name for name in names if not name.startswith(".")]


def _items(top: Path, faults: Faults) -> Iterator[tuple[str, Path]]:
    """Give class and file of each image of a split. Pipes and the like are not opened: nothing ever comes from them."""
    for folder in _listed(top, faults):
        if not os.path.isdir(folder):
            faults.add("beside the class folders", folder)
            continue
        for path in _listed(folder, faults):
            if os.path.isfile(path):
                yield folder.name, path
            else:
                faults.add("folder inside a class" if os.path.isdir(path) else "no regular file", path)


def _check(tops: Mapping[str, Path], classes: Sequence[str], items: Sequence[Item], what: str) -> None:
    """Raise UserError for fewer than 2 classes, a split without images, and classes that train does not have."""
    first, known, there = _shown(tops["train"]), set(classes), {name for name, _, _ in items}
    if len(classes) < 2:
        raise UserError(f"{first} has {len(classes)} {what}; give at least 2: {first}/CLASS/IMAGE.png")
    for name, top in tops.items():
        if name not in there:
            raise UserError(f"{_shown(top)} has no images; put them at {_shown(top)}/CLASS/IMAGE.png, or remove it")
    for path in (path for _, label, path in items if label not in known):
        has = brief(", ".join(classes), 200)
        raise UserError(f"{_shown(path.parent)} is a class that train/ does not have; it has {has}")


def _some(names: Sequence[str]) -> str:
    """Write the first names, and how many more there are."""
    more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
    return ", ".join(brief(name, 120) for name in names[:EXAMPLES]) + more


def _shown(path: Path) -> str:
    return brief(str(path), 200)

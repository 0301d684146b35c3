"""What a data set known by name is: where its files are looked for, and what suits it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from renascent.core.errors import UserError
from renascent.tasks.augment import Augmentation
from renascent.tasks.download import Archive, obtain
from renascent.tasks.formats import Pair, brief, read_mosaics
from renascent.tasks.prepare import OfficialSplit, Raw


class Found(NamedTuple):
    """Images and labels that were read. what: which edition of the data set they are."""

    train: Pair
    test: Pair
    what: str


Layout = Callable[[Path], Found | None]
"""Data folder -> what it holds, or None when the files are not there."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set known by name.

    title, citation: for reports.  classes: their names, in the order of the labels.
    official: reads the published files.  mosaic: reads a copy re-encoded as WebP pictures.
    archives: the published downloads.  advice: what to put where when nothing is found.
    augmentation: what suits it.  official_split: finds its own search split.
    """

    title: str
    citation: str
    classes: tuple[str, ...]
    official: Layout
    augmentation: Augmentation
    advice: str = ""
    mosaic: Layout = lambda folder: None
    archives: tuple[Archive, ...] = ()
    official_split: OfficialSplit | None = None

    def read(self, name: str, folder: Path, *, download: bool) -> Raw:
        """Return the first that is there: published files, published archive, mosaic.

        download: fetch the archive when the files are not there. Raises UserError when nothing is found.
        """
        found = self.official(folder)
        if found is None and self.archives and (download or present(*(folder / a.path for a in self.archives))):
            for archive in self.archives:
                obtain(archive, folder, download=download)
            found = self.official(folder)
        found = found or self.mosaic(folder)
        if found is None:
            raise UserError(f"{name} is not in the data folder {brief(os.path.abspath(folder), 200)}: {self._remedy()}")
        return Raw(found.train, found.test, self.classes, f"{self.title}, {found.what}; {self.citation}")

    def _remedy(self) -> str:
        if not self.archives:
            return self.advice
        megabytes = sum(archive.megabytes for archive in self.archives)
        site = self.archives[0].url.rpartition("/")[0]
        return f"`download=True` fetches it ({megabytes:.0f} MB from {site}), or {self.advice}"


def present(*paths: Path) -> bool:
    """Return whether all these files are there."""
    return all(map(os.path.isfile, paths))


SUBSET = "a subset of {train} training and {test} test images in a split of its own, not the official one"
"""What to say of a copy that is not whole."""


def mosaic(
    stem: str, side: int, channels: int, what: str, folder: Path, parts: Sequence[str] = ("train",)
) -> Found | None:
    """Read a copy re-encoded as WebP pictures, which are in images/, and whose names begin with `stem`.

    side: of an image, in pixels.  what: which edition it is; {train} and {test} in it become the counts of images.
    parts: of the training images, one picture each.
    """
    *train, test = (folder / "images" / f"{stem}_{part}.webp" for part in (*parts, "test"))
    labels = folder / "images" / f"{stem}_labels.npz"
    if not present(*train, test, labels):
        return None
    kept, held_out = (
        read_mosaics(train, labels, "train", side, channels),
        read_mosaics([test], labels, "test", side, channels),
    )
    return Found(kept, held_out, what.format(train=len(kept[1]), test=len(held_out[1])))

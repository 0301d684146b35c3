"""What a data set known by name is: where its files are looked for, and what suits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from renascent.core.errors import UserError
from renascent.tasks.augment import Augmentation
from renascent.tasks.download import Archive, obtain
from renascent.tasks.prepare import OfficialSplit, Raw

Layout = Callable[[Path], Raw | None]
"""Data folder -> the data set, or None when its files are not there."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set known by name.

    official: reads the published files.  mosaic: reads a copy re-encoded as WebP pictures.
    archives: the published downloads.  advice: what to put where when nothing is found.
    augmentation: what suits it.  official_split: finds its own search split.
    """

    official: Layout
    augmentation: Augmentation
    advice: str = ""
    mosaic: Layout | None = None
    archives: tuple[Archive, ...] = ()
    official_split: OfficialSplit | None = None

    def read(self, name: str, folder: Path, *, download: bool) -> Raw:
        """Return the first that is there: published files, published archive, mosaic.

        download: fetch the archive when the files are not there. Raises UserError when nothing is found.
        """
        raw = self.official(folder)
        if raw is None and self.archives and (download or self._archives_in(folder)):
            for archive in self.archives:
                obtain(archive, folder, download=download)
            raw = self.official(folder)
        if raw is None and self.mosaic is not None:
            raw = self.mosaic(folder)
        if raw is None:
            raise UserError(f"{name} is not in the data folder {folder.resolve()}: {self._remedy()}")
        return raw

    def _archives_in(self, folder: Path) -> bool:
        return all((folder / archive.path).is_file() for archive in self.archives)

    def _remedy(self) -> str:
        if not self.archives:
            return self.advice
        megabytes = sum(archive.megabytes for archive in self.archives)
        site = self.archives[0].url.rpartition("/")[0]
        return f"`download=True` fetches it ({megabytes:.0f} MB from {site}), or {self.advice}"


def present(*paths: Path) -> bool:
    """Return whether all these files are there."""
    return all(path.is_file() for path in paths)

"""A task from the name of a data set, or from a folder of images."""

import os
from pathlib import Path

import torch

from renascent.core.errors import UserError, unknown
from renascent.tasks import DATASETS, is_folder
from renascent.tasks.folders import FOLDER_AUGMENTATION, read_folder
from renascent.tasks.formats import brief, plain
from renascent.tasks.images import ImageTask
from renascent.tasks.prepare import ImageOptions, prepare
from renascent.tasks.streamed import Streaming


def load(
    name_or_folder: str | Path,
    *,
    folder: Path | None = None,
    options: ImageOptions | None = None,
    device: torch.device | str = "auto",
    download: bool = False,
) -> ImageTask:
    """Return the task of a data set in `DATASETS`, or of a folder of images (see `tasks.folders`).

    folder: where named data sets lie; the environment's RENASCENT_DATA, or else ./data, unless given.
    options: all defaults unless given.  download: fetch the official files when they are not there.
    device: where the images are held and networks run; "auto" is the first there is of cuda, mps and cpu.
    Raises UserError when the data are not found or cannot be used.

    >>> load("digits", options=ImageOptions(limit=200), device="cpu")
    ImageTask(digits: 1x8x8, 10 classes; train 100, val 100, test 359; on cpu)
    """
    name, options = str(name_or_folder), options or ImageOptions()
    where = Path(folder or os.environ.get("RENASCENT_DATA") or "data")
    if (data := DATASETS.get(name)) is not None:
        for given in ("image_size", "skip_bad", "streamed", "workers"):
            if getattr(options, given):
                raise UserError(f"`{given}` is for folders of images; {name} has one size and is whole: leave it out")
        official = data.official_split
        if options.split == "official" and official is not None:
            official(where)  # before a long download for a split that is not there
        raw = data.read(name, where, download=download)
        return prepare(raw, options, data.augmentation, name=name, folder=where, official=official, device=device)
    if not is_folder(name):
        raise unknown("data set", brief(name), [*DATASETS, "or the path of a folder of images"])
    streaming = Streaming(streamed=options.streamed, workers=options.workers, device=device)
    raw = read_folder(Path(name), options.image_size, skip_bad=options.skip_bad, streaming=streaming)
    title = plain(Path(name).resolve().name)
    return prepare(raw, options, FOLDER_AUGMENTATION, name=title, folder=where, device=device)

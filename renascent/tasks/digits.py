"""Scikit-learn's digits: 1,797 grey images of 8x8 pixels. No download is needed: for a first try."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from renascent.tasks.augment import Augmentation
from renascent.tasks.sources import DataSet, Found
from renascent.tasks.split import split


def _digits(folder: Path) -> Found:
    spec = find_spec("sklearn")
    assert spec is not None and spec.origin is not None  # a dependency of renascent
    # scikit-learn's file, read without scikit-learn, which takes a second to import
    rows = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    x = np.round(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)  # its values are 0 to 16
    y = rows[:, -1].astype(np.int64)
    train, test = split(y, 0.2, seed=0)
    return Found((x[train], y[train]), (x[test], y[test]), "a stratified fifth held out as test split")


DIGITS = DataSet(
    title="scikit-learn's digits",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
    classes=tuple("0123456789"),
    official=_digits,
    augmentation=Augmentation(flip=False, pad=1),
)

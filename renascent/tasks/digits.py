"""Scikit-learn's digits: 1,797 grey images of 8x8 pixels. No download is needed: for a first try."""

from pathlib import Path

import numpy as np

from renascent.tasks.augment import Augmentation
from renascent.tasks.sources import DataSet, Found
from renascent.tasks.split import split


def _digits(folder: Path) -> Found:
    # Here, because it is slow to import and no other data set needs it.
    from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]

    images, labels = load_digits(return_X_y=True)
    x = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)  # scikit-learn's values are 0 to 16
    train, test = split(labels, 0.2, seed=0)
    y = labels.astype(np.int64)
    return Found((x[train], y[train]), (x[test], y[test]), "a stratified fifth held out as test split")


DIGITS = DataSet(
    title="scikit-learn's digits",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
    classes=tuple("0123456789"),
    official=_digits,
    augmentation=Augmentation(flip=False, pad=1),
)

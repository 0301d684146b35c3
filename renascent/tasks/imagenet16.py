"""ImageNet16-120: the first 120 classes of ImageNet at 16x16 pixels, NAS-Bench-201's third data set."""

from pathlib import Path

from renascent.tasks.augment import Augmentation
from renascent.tasks.formats import read_imagenet16
from renascent.tasks.sources import DataSet, Found, present

CLASSES = 120


def _npz(folder: Path) -> Found | None:
    root = folder / "imagenet16"
    train, test = [root / f"train_data_batch_{i}.npz" for i in range(1, 11)], root / "val_data.npz"
    if not present(*train, test):
        return None
    what = "image-net.org's downsampled 16x16 npz files, classes 1 to 120, its val_data as test split"
    return Found(read_imagenet16(train, CLASSES), read_imagenet16([test], CLASSES), what)


IMAGENET16_120 = DataSet(
    title="ImageNet16-120",
    citation="Chrabaszcz, Loshchilov and Hutter, arXiv:1707.08819; Dong and Yang, NAS-Bench-201, arXiv:2001.00326",
    classes=tuple(str(label) for label in range(1, CLASSES + 1)),
    official=_npz,
    augmentation=Augmentation(flip=True, pad=2),
    advice=(
        "image-net.org gives it only to registered users, so `download=True` cannot fetch it: from "
        "https://image-net.org/download-images.php take the downsampled 16x16 npz files, and put "
        "train_data_batch_1.npz to train_data_batch_10.npz and val_data.npz in imagenet16/ there"
    ),
)

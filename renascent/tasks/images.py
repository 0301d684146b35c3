"""Image classification, the images held on the device, or read again whenever they are used."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional

from renascent.core.devices import enough_memory, usable_device
from renascent.core.errors import UserError
from renascent.core.fields import OneOf
from renascent.core.gates import Gates
from renascent.core.preparation import Preparation
from renascent.core.protocols import Batch, Change, Criterion, Data, Loss, Task
from renascent.tasks.augment import Augmentation, augment, normalise
from renascent.tasks.checks import (
    HELD,
    check_logits,
    check_same_kind,
    checked_augmentation,
    checked_images,
    checked_labels,
    checked_names,
    checked_pair,
    checked_parts,
    is_number,
)
from renascent.tasks.items import gather
from renascent.tasks.split import ranges, split
from renascent.tasks.statistics import statistics
from renascent.tasks.stored import Held, Stored, digest
from renascent.tasks.streamed import Streamed, Streaming, joined
from renascent.tasks.streams import Fetch, InOrder, Shuffled, in_chunks

Pair = tuple[Tensor | Streamed, Tensor]
"""Images (n, channels, h, w) and labels (n,)."""

SPLITS = (*HELD, "train+val")


class About(TypedDict, total=False):
    """What `ImageTask` takes besides the images and labels."""

    classes: int
    mean: Sequence[float]
    std: Sequence[float]
    augmentation: Augmentation
    augment_val: bool
    class_names: Sequence[str]
    resized: bool
    name: str
    source: str
    device: torch.device | str


class ImageTask(Task):
    """Image classification with cross-entropy; the score is the accuracy.

    images: (n, channels, h, w), uint8 (0 to 255), uint16 (0 to 65535, brought to 8 bits), or float, which is kept as it
    is (0 is taken for black). No gradient reaches them. Or `Streamed` ones, which are read whenever they are used.
    labels: (n,), whole numbers from 0.
    parts: indices into `images` of each split: "train", "val" and, if there is one, "test".
    classes: how many; as many as class_names, or one more than the largest label, unless given.
    class_names: in the order of the labels; their numbers unless given. The run folder and errors name classes so.
    mean, std: (channels,), of images in [0, 1]; measured on the train split unless given.
    augmentation: of training batches.
    augment_val: in a search, augment the validation batches too, as the authors' code of DARTS, GDAS and
    NAS-Bench-201 does (there both halves go through the training transform); otherwise they are plain.
    resized: images were scaled to cover their size and cut at the centre; otherwise all had it. Kept for later images.
    name, source: for reports: what the data are and where they came from.
    device: where the images are held and networks run; "auto" is the first there is of cuda, mps and cpu.

    Raises UserError for images or labels that cannot be used.

    >>> x, y = torch.zeros(8, 3, 4, 4, dtype=torch.uint8), torch.arange(8) % 2
    >>> task = ImageTask.from_tensors(x, y, val=0.5)
    >>> [tuple(t.shape) for t in task.streams(seed=0, batch=2).train.next()]
    [(2, 3, 4, 4), (2,)]
    """

    def __init__(
        self,
        images: Tensor | Streamed,
        labels: Tensor,
        parts: Mapping[str, Any],
        *,
        classes: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        augmentation: Augmentation | None = None,
        augment_val: bool = False,
        class_names: Sequence[str] = (),
        resized: bool = False,
        name: str = "images",
        source: str = "tensors given by the user",
        device: torch.device | str = "auto",
    ) -> None:
        images = images if isinstance(images, Streamed) else checked_images(images, "given")
        labels = checked_labels(labels, len(images), "given")
        self._parts = checked_parts(parts, len(images))
        self.class_names = checked_names(labels, self._parts["train"], classes, class_names)
        self.classes = len(self.class_names)
        self.channels, *size = images.shape[1:]
        self.size: tuple[int, int] = (size[0], size[1])
        self.device = usable_device(device)
        self.augmentation = Augmentation() if augmentation is None else checked_augmentation(augmentation)
        self.augment_val, self.resized = augment_val, resized
        self.name, self.source = name, source
        self._images: Stored = images if isinstance(images, Streamed) else Held(images)
        self.mean, self.std = statistics(self._images, self._parts["train"], mean, std)
        if isinstance(images, Tensor):
            size_of = f"{images.nbytes / 2**30:.1f} GiB of images on {self.device}"
            with enough_memory(size_of, "give fewer, or another device, or stream them"):
                self._images = Held(images.to(self.device))
        self._labels = labels.to(self.device)
        self._parts = {name: part.to(self.device) for name, part in self._parts.items()}
        self._mean = torch.tensor(self.mean, dtype=torch.float32, device=self.device)
        self._std = torch.tensor(self.std, dtype=torch.float32, device=self.device)

    @classmethod
    def from_tensors(
        cls,
        x: Tensor | Streamed,
        y: Tensor,
        *,
        val: Pair | float = 0.5,
        test: Pair | None = None,
        split_seed: int = 0,
        **about: Unpack[About],
    ) -> ImageTask:
        """Return the task of training images x (n, channels, h, w) and labels y (n,).

        val: a pair of its own; or a fraction (below 1) or a count, held out of x, stratified by `split_seed`.
        about: what `ImageTask` takes by keyword. Raises UserError for data that cannot be used.

        >>> x, y = torch.rand(10, 1, 8, 8), torch.arange(10) % 5
        >>> ImageTask.from_tensors(x, y, name="noise", device="cpu")
        ImageTask(noise: 1x8x8, 5 classes; train 5, val 5, test 0; on cpu)
        """
        pairs = {"train": checked_pair((x, y), "train")}
        pairs |= {} if is_number(val) else {"val": checked_pair(val, "val")}
        pairs |= {"test": checked_pair(test, "test")} if test is not None else {}
        for name, (images, _) in pairs.items():
            check_same_kind(pairs["train"][0], images, name)
        parts: dict[str, Any] = ranges({name: len(labels) for name, (_, labels) in pairs.items()})
        if is_number(val):
            parts["train"], parts["val"] = split(pairs["train"][1].cpu().numpy(), val, split_seed)
        images = joined([images for images, _ in pairs.values()])
        return cls(images, torch.cat([labels for _, labels in pairs.values()]), parts, **about)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        val: Any = 0.5,
        test: Any = None,
        split_seed: int = 0,
        streamed: bool | None = None,
        workers: int | None = None,
        **about: Unpack[About],
    ) -> ImageTask:
        """Return the task of a `torch.utils.data.Dataset` of (image, label).

        An image is a PIL image, which is taken upright and as it looks (`tasks.pixels.shown`); an array (h, w) or
        (h, w, channels); or a tensor (channels, h, w) or (h, w); all of one size. val: a data set of its own, or a
        fraction or count.
        streamed: False: each item is had once and held, so that a random transform inside `dataset` is drawn once and
        then stays. True: items are looked at, and had again whenever they are used; they have to be the same each time.
        None: streamed if they would take more than half of the memory. Leave augmentation to `augmentation`.
        workers: processes that read ahead for each stream; 0: none.
        Raises UserError for items that are something else, and as `from_tensors`.

        >>> data = torch.utils.data.TensorDataset(torch.rand(10, 1, 8, 8), torch.arange(10) % 5)
        >>> ImageTask.from_dataset(data).classes
        5
        """
        given = {"val": val, "train": dataset, "test": test}
        streaming = Streaming(streamed=streamed, workers=workers, device=about.get("device", "auto"))
        there = {k: data for k, data in given.items() if k == "train" or (data is not None and not is_number(data))}
        pairs = gather(there, streaming)
        x, y = pairs["train"]
        return cls.from_tensors(x, y, val=pairs.get("val", val), test=pairs.get("test"), split_seed=split_seed, **about)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {self.count(name)}" for name in ("train", "val", "test"))
        shape = "x".join(map(str, (self.channels, *self.size)))
        how = "streamed to" if isinstance(self._images, Streamed) else "on"
        return f"ImageTask({self.name}: {shape}, {self.classes} classes; {sizes}; {how} {self.device})"

    def describe(self) -> dict[str, Any]:
        """Return JSON values that say which data these are; equal for equal data, on any device.

        sha256: of the images, labels and splits.  class_names: where they are more than numbers.
        """
        numbers = tuple(map(str, range(self.classes)))
        return {
            "name": self.name,
            "source": self.source,
            "shape": [self.channels, *self.size],
            "classes": self.classes,
            **({"class_names": list(self.class_names)} if self.class_names != numbers else {}),
            "images": {name: self.count(name) for name in ("train", "val", "test")},
            "mean": [round(value, 6) for value in self.mean],
            "std": [round(value, 6) for value in self.std],
            "augmentation": asdict(self.augmentation) | {"augment_val": self.augment_val},
            "sha256": self._sha256,
        }

    @property
    def preparation(self) -> Preparation:
        """How the images became inputs: what `predict` and exported files need to know."""
        floats = self._images.dtype != torch.uint8
        unit = floats and self._images.span[0] >= 0 and self._images.span[1] <= 1
        return Preparation(
            class_names=self.class_names,
            size=self.size,
            resized=self.resized,
            pixels="unit" if unit else "other" if floats else "uint8",
            mean=self.mean,
            std=self.std,
        )

    @cached_property
    def _sha256(self) -> str:
        return digest(self._images, self._labels, *(self._parts[name] for name in sorted(self._parts)))

    def count(self, split: str) -> int:
        """Return how many images a split has; 0 for "test" when there is none."""
        return 0 if split == "test" and "test" not in self._parts else len(self._part(split))

    def streams(self, seed: int, batch: int) -> Data:
        """Return a search's two streams: augmented over train, and plain over val (but see `augment_val`)."""
        val = self.stream("val", seed, batch) if self.augment_val else self._stream("val", seed, batch, self._plain)
        return Data(train=self.stream("train", seed, batch), val=val)

    def stream(self, split: str, seed: int, batch: int, *, change: Change | None = None) -> Shuffled:
        """Return augmented, shuffled batches of "train", "val" or "train+val". change: of raw images, once cropped."""
        if split == "test":
            raise UserError("the test split is not for training; give 'train', 'val' or 'train+val'")
        return self._stream(split, seed, batch, partial(self._augmented, change=change))

    def labels(self, split: str) -> Tensor:
        """Return the labels of one whole split, in order."""
        return self._labels[self._part(split)]

    def batches(self, split: str, batch: int) -> Sequence[Batch]:
        """Return one whole split in order, plain: "train", "val", "test" or "train+val"."""
        return InOrder(self._plain, in_chunks(self._part(split), batch), self._read)

    def loss(
        self,
        net: Callable[..., Tensor],
        batch: Batch,
        gates: Gates | None = None,
        *,
        smoothing: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Loss:
        """Return cross-entropy, in float32 even under autocast, and accuracy of `net` on a batch.

        smoothing: share of the target that is spread evenly over the classes.  criterion: in cross-entropy's place.
        """
        x, y = batch
        logits = net(x) if gates is None else net(x, gates)
        check_logits(logits, (len(y), self.classes))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = criterion(logits, y) if criterion else functional.cross_entropy(logits, y, label_smoothing=smoothing)
        return Loss(loss, (logits.detach().argmax(1) == y).float().mean())

    def _stream(self, split: str, seed: int, batch: int, fetch: Fetch) -> Shuffled:
        # Train and val must not be shuffled alike: the same two images would always meet in one step.
        return Shuffled(fetch, self._part(split), seed=(seed, SPLITS.index(split)), batch=batch, read=self._read)

    def _part(self, split: str) -> Tensor:
        if split == "train+val":
            return torch.cat([self._parts["train"], self._parts["val"]])
        OneOf("split", SPLITS).check("split", split)
        if split not in self._parts:
            raise UserError(f"{self.name} has no {split} images; give some when the task is made")
        return self._parts[split]

    def _read(self, batches: Iterable[Tensor]) -> Iterator[Batch]:
        """Give images, as they are stored, and labels of each batch of indices."""
        asked, indices = itertools.tee(batches)
        return ((x.to(self.device), self._labels[i]) for x, i in zip(self._images.read(asked), indices, strict=False))

    def _augmented(self, batch: Batch, rng: torch.Generator, change: Change | None = None) -> Batch:
        x, y = batch
        return augment(x, self.augmentation, self._mean, self._std, rng, change), y

    def _plain(self, batch: Batch, rng: torch.Generator | None = None) -> Batch:
        x, y = batch
        return normalise(x, self._mean, self._std), y

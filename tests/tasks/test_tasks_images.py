"""The image task: what it gives, and what it refuses."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.protocols import Stream, Task
from renascent.tasks.augment import Augmentation
from renascent.tasks.images import ImageTask

PLAIN = Augmentation(flip=False, pad=0)


def data(n: int = 40, classes: int = 4, seed: int = 0, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return x, torch.arange(n) % classes


def make(**about: Any) -> ImageTask:
    return ImageTask.from_tensors(*data(), test=data(12, seed=1), **about)


def test_it_is_a_task():
    task: Task = make()
    stream: Stream = task.stream("train", 0, 4)
    assert isinstance(task, Task)
    assert (task.channels, task.size, task.classes) == (3, (6, 6), 4)
    assert task.device == torch.device("cpu")
    assert stream.steps_per_epoch == 5
    assert repr(task) == f"ImageTask(images: 3x6x6, 4 classes; train 20, val 20, test 12; on {task.device})"


def test_describe_is_json_and_says_which_data():
    told = make().describe()
    assert json.loads(json.dumps(told)) == told == make().describe()
    assert told["images"] == {"train": 20, "val": 20, "test": 12}
    others = (
        make(augment_val=True),
        make(augmentation=PLAIN),
        ImageTask.from_tensors(*data(), test=data(12, seed=2)),
        ImageTask.from_tensors(*data(), test=data(12, seed=1), split_seed=1),
    )
    assert all(other.describe() != told for other in others)


def test_batches_are_one_split_in_order_and_normalised():
    task = make()
    x, y = data(12, seed=1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (task.mean, task.std))
    got = list(task.batches("test", 5))
    assert [len(labels) for _, labels in got] == [5, 5, 2]
    assert torch.allclose(torch.cat([b for b, _ in got]), (x / 255 - mean) / std, atol=1e-5)
    assert torch.equal(torch.cat([labels for _, labels in got]), y)
    assert got[0][0].dtype == torch.float32
    assert got[0][1].dtype == torch.int64
    assert sum(len(labels) for _, labels in task.batches("train+val", 7)) == 40


def test_statistics_are_those_of_the_train_split():
    x, y = data()
    task = ImageTask.from_tensors(x, y, val=data(20, seed=2))
    reference = x.permute(1, 0, 2, 3).reshape(3, -1).double().numpy() / 255
    assert np.allclose(task.mean, reference.mean(1))
    assert np.allclose(task.std, reference.std(1))
    got = torch.cat([b for b, _ in task.batches("train", 16)])
    assert torch.allclose(got.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)


def test_given_statistics_and_constant_channels():
    x, y = data()
    task = ImageTask.from_tensors(x, y, mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    assert (task.mean, task.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    x[:, 1] = 51
    assert ImageTask.from_tensors(x, y).std[1] == 1.0
    assert torch.isfinite(next(iter(ImageTask.from_tensors(x, y).batches("val", 8)))[0]).all()
    for wrong in ({"mean": (0.5,)}, {"std": (1, 1, 0)}):
        with pytest.raises(UserError, match="give 3 numbers each, every std above 0"):
            ImageTask.from_tensors(x, y, **wrong)


def test_floats_are_kept_as_they_are():
    x, y = data()
    task = ImageTask.from_tensors(x.double() / 255, y, augmentation=PLAIN)
    same = ImageTask.from_tensors(x, y, augmentation=PLAIN)
    for (a, _), (b, _) in zip(task.batches("val", 8), same.batches("val", 8), strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, atol=1e-5)


def test_search_streams_augment_train_and_not_val():
    task = make(augmentation=Augmentation(flip=False, pad=6))
    streams = task.streams(0, 20)
    plain = {tuple(image.flatten().tolist()) for x, _ in task.batches("train+val", 40) for image in x}
    train, val = streams.train.next()[0], streams.val.next()[0]
    assert all(tuple(image.flatten().tolist()) in plain for image in val)
    assert not all(tuple(image.flatten().tolist()) in plain for image in train)
    both = make(augmentation=Augmentation(flip=False, pad=6), augment_val=True).streams(0, 20)
    assert not all(tuple(image.flatten().tolist()) in plain for image in both.val.next()[0])
    assert torch.equal(both.train.next()[0], train)


def test_streams_are_disjoint_and_not_shuffled_alike():
    x, _ = data(n=200)
    y = torch.zeros(200, dtype=torch.int64)
    y[::2] = 1
    x[:, 0, 0, 0] = torch.arange(200, dtype=torch.uint8)  # each image knows its number
    task = ImageTask.from_tensors(x, y, augmentation=PLAIN, mean=(0, 0, 0), std=(1, 1, 1))
    streams = task.streams(0, 100)
    train, val = ((s.next()[0][:, 0, 0, 0] * 255).round().long() for s in (streams.train, streams.val))
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(200))
    assert train.argsort().tolist() != val.argsort().tolist()


@pytest.mark.parametrize("split", ["train", "val", "train+val"])
def test_an_augmented_stream_resumes_exactly(split: str):
    def run(stream: Stream, count: int) -> list[torch.Tensor]:
        return [stream.next()[0] for _ in range(count)]

    task = make(augmentation=Augmentation(pad=2, cutout=3))
    whole = run(task.stream(split, 3, 8), 12)
    first, second = task.stream(split, 3, 8), task.stream(split, 3, 8)
    run(first, 7)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(run(second, 5), whole[7:], strict=True))


def test_loss_is_cross_entropy_and_accuracy():
    task = make()
    x, y = task.batches("train", 20)[0]
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    got = task.loss(net, (x, y))
    p = net(x).softmax(1)
    assert torch.allclose(got.loss, -p[torch.arange(20), y].log().mean())
    assert float(got.score) == pytest.approx(float((p.argmax(1) == y).float().mean()))
    assert got.loss.requires_grad
    assert not got.score.requires_grad
    smooth = task.loss(net, (x, y), smoothing=0.1).loss
    assert torch.allclose(smooth, 0.9 * got.loss - 0.1 * p.log().mean())


def test_loss_gives_gates_to_a_supernet_and_stays_float32_under_autocast():
    seen: list[Any] = []

    class Net(nn.Module):
        def forward(self, x: torch.Tensor, gates: Any = None) -> torch.Tensor:
            seen.append(gates)
            return functional.linear(x.flatten(1), torch.ones(4, 108))

    task = make()
    batch = task.batches("val", 6)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert task.loss(Net(), batch, {}).loss.dtype == torch.float32
    task.loss(Net(), batch)
    assert seen == [{}, None]


def test_a_net_of_the_wrong_shape_is_refused():
    task = make()
    with pytest.raises(UserError, match=r"returns the shape \(6, 7\); give \(batch, classes\), here \(6, 4\)"):
        task.loss(nn.Sequential(nn.Flatten(), nn.Linear(108, 7)), task.batches("val", 6)[0])


X, Y = torch.zeros(8, 1, 2, 2), torch.arange(8) % 2


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[0], Y, r"the train images have the shape \(1, 2, 2\): give \(images,"),
        (X[:0], Y, "no image is in it"),
        (X.long(), Y, "images are torch.int64; give torch.uint8"),
        (X * torch.nan, Y, "8 of the train images hold NaN or infinity"),
        (X, Y[:7], r"labels have the shape \(7,\); give one an image: \(8,\)"),
        (X, Y.float(), "labels are torch.float32; give whole numbers"),
        (X, Y - 1, "labels run from -1 to 0; with 1 classes"),
        (X, 0 * Y, "there is 1 class; give labels of at least 2"),
        (X, 2 * Y, r"1 of 3 classes have no training image \(class 1\)"),
    ],
)
def test_unusable_tensors_are_refused(x: torch.Tensor, y: torch.Tensor, message: str):
    with pytest.raises(UserError, match=message) as error:
        ImageTask.from_tensors(x, y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"test": data(12, size=5)}, r"the test images are \(3, 5, 5\) torch.uint8 and the train images"),
        ({"test": data(12, classes=5), "classes": 4}, "labels run from 0 to 4; with 4 classes they must be in 0 to 3"),
        ({"val": data(0)}, r"the val images have the shape .*: no image is in it"),
    ],
)
def test_unfit_pairs_are_refused(about: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        ImageTask.from_tensors(*data(), **about)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"val": []}, "the val split has 0 indices"),
        ({"val": [40]}, "the val split has 1 indices; give at least one, each in 0 to 39"),
        ({}, "the task has no val split"),
        ({"val": [39], "valid": [1]}, "unknown split 'valid'"),
    ],
)
def test_unfit_splits_are_refused(parts: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        ImageTask(*data(), {"train": range(40), **parts})


def test_a_split_that_is_not_there_is_named():
    task = ImageTask.from_tensors(*data())
    assert task.count("test") == 0
    with pytest.raises(UserError, match="images has no test images"):
        task.batches("test", 4)
    with pytest.raises(UserError, match="unknown split 'vall': did you mean 'val'"):
        task.batches("vall", 4)
    with pytest.raises(UserError, match="the test split is not for training"):
        make().stream("test", 0, 4)
    with pytest.raises(UserError, match="the batch is 0 images"):
        task.batches("val", 0)


def as_pil(x: np.ndarray) -> Any:
    return Image.fromarray(x)


@pytest.mark.parametrize("kind", [as_pil, lambda x: x, lambda x: torch.from_numpy(x).permute(2, 0, 1)])
def test_from_dataset_takes_any_kind_of_image(kind: Callable[[np.ndarray], Any]):
    x, y = data()
    items = [(kind(image.permute(1, 2, 0).numpy().copy()), label) for image, label in zip(x, y, strict=True)]
    task = ImageTask.from_dataset(items, test=items[:8], augmentation=PLAIN)
    same = ImageTask.from_tensors(x, y, test=(x[:8], y[:8]), augmentation=PLAIN)
    for split in ("train", "val", "test"):
        for got, expected in zip(task.batches(split, 9), same.batches(split, 9), strict=True):
            assert torch.equal(got[0], expected[0])
            assert torch.equal(got[1], expected[1])


def test_from_dataset_takes_grey_and_a_validation_set():
    items = [(Image.new("L", (5, 4), k), k % 2) for k in range(6)]
    task = ImageTask.from_dataset(items, val=[(np.zeros((4, 5), np.uint8), 0)])
    assert (task.channels, task.size, task.count("val")) == (1, (4, 5), 1)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "the train data are empty"),
        (iter([1]), "without a length; give a map-style data set"),
        ([3], r"item 0 of the train data is a int; give a pair \(image, label\)"),
        ([("cat.png", 0)], "item 0 of the train data has as image a str; give a PIL image"),
        ([(np.zeros(4), 0)], r"a ndarray of shape \(4,\)"),
        ([(np.zeros((4, 4)), "cat")], "has the label 'cat'; give a whole number"),
        ([(np.zeros((4, 4)), 0.5)], "has the label 0.5; give a whole number"),
        ([(np.zeros((4, 4)), 0), (np.zeros((4, 5)), 1)], r"item 1 .* is \(1, 4, 5\) torch.float64 and item 0 of"),
    ],
)
def test_from_dataset_names_the_item_it_cannot_use(dataset: Any, message: str):
    with pytest.raises(UserError, match=message):
        ImageTask.from_dataset(dataset)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_device_gives_the_same_batches():
    how = Augmentation(pad=2, cutout=3)
    host, device = make(augmentation=how), make(augmentation=how, device="cuda")
    a, b = host.stream("train", 0, 8), device.stream("train", 0, 8)
    for _ in range(6):
        (x, y), (u, v) = a.next(), b.next()
        assert torch.allclose(x, u.cpu(), atol=1e-6)
        assert torch.equal(y, v.cpu())

"""Streamed images: the same as in memory, bit for bit, and what happens when they are no longer the same."""

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from renascent.core.errors import UserError
from renascent.core.protocols import Batch
from renascent.costs import Latency
from renascent.experiment.search import search
from renascent.loops.run import CLOCK_FIELDS, locked, read_events
from renascent.nets.cells.nats import NatsTopology
from renascent.strategies.gdas import GDAS
from renascent.tasks import streamed
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions
from renascent.tasks.workers import ahead


def photos(root: Path, count: int = 20) -> Path:
    """Write small photos of two classes, some of them grey, the first among those."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for k in range(count):
            shape = (6, 6) if k % 3 == 0 else (6, 6, 3)
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(root / name / f"{k:02}.png")
    return root


def task(root: Path, streamed: bool | None, workers: int = 0, **options: Any) -> ImageTask:
    return load(root, options=ImageOptions(streamed=streamed, workers=workers, **options), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "pets")


def assert_same(found: Iterator[Batch] | Any, expected: Iterator[Batch] | Any) -> None:
    for (x, y), (u, v) in zip(found, expected, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def taken(stream: Any, count: int) -> list[Batch]:
    return [stream.next() for _ in range(count)]


@pytest.mark.parametrize("options", [{}, {"limit": 20, "cutout": 3, "augment_val": True}, {"image_size": 5}])
def test_a_streamed_folder_gives_the_same_bits_as_in_memory(folder: Path, options: dict[str, Any]):
    held, other = task(folder, False, **options), task(folder, True, **options)
    assert "streamed to cpu" in repr(other) and "streamed" not in repr(held)
    assert other.describe() == held.describe()
    assert other.preparation == held.preparation
    for one, two in zip(vars(other.streams(3, 4)).values(), vars(held.streams(3, 4)).values(), strict=True):
        assert_same(taken(one, 9), taken(two, 9))
    for split in ("train", "val", "test", "train+val"):
        assert_same(other.batches(split, 3), held.batches(split, 3))
    assert_same([other.batches("test", 3)[1]], [held.batches("test", 3)[1]])


def test_workers_change_no_bit_and_a_stream_that_is_put_back_goes_on_exactly(folder: Path):
    held, other = task(folder, False), task(folder, True, workers=2)
    assert other.describe() == held.describe()
    whole = taken(held.stream("train+val", 1, 6), 12)
    before, stream = torch.random.get_rng_state(), other.stream("train+val", 1, 6)
    assert_same(taken(stream, 3), whole[:3])
    assert len(multiprocessing.active_children()) == 2
    stream.load_state_dict({"given": 7})  # in the next epoch
    assert_same(taken(stream, 5), whole[7:])
    assert torch.equal(torch.random.get_rng_state(), before)
    del stream
    gc.collect()
    assert multiprocessing.active_children() == []


def test_a_streamed_data_set_gives_the_same_bits_as_in_memory():
    rng = np.random.default_rng(1)

    def data(count: int, kind: str) -> list[tuple[Any, int]]:
        x = rng.integers(0, 65536, (count, 5, 4), np.uint16)
        return [(image if kind == "deep" else torch.tensor(image / 65536)[None], k % 3) for k, image in enumerate(x)]

    for kind in ("deep", "floats"):
        train, val, test = data(12, kind), data(6, kind), data(3, kind)
        for given in ({"val": val, "test": test}, {"val": 0.25}):
            held, other = (ImageTask.from_dataset(train, streamed=how, workers=0, **given) for how in (False, True))
            assert other.describe() == held.describe()
            assert other.preparation == held.preparation
            assert_same(taken(other.stream("train+val", 0, 4), 6), taken(held.stream("train+val", 0, 4), 6))


def test_the_mean_and_deviation_are_those_of_all_pixels(folder: Path):
    other = task(folder, True)
    x = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in sorted(folder.rglob("*.png"))]) / 255
    whole = load(folder, options=ImageOptions(val=1, streamed=True, workers=0), device="cpu")
    assert other.count("train") == 16 and whole.count("train") == 31
    pixels = torch.cat([x for x, _ in whole.batches("train", 31)])
    assert pixels.mean((0, 2, 3)).abs().max() < 1e-6
    assert (pixels.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-6
    assert np.abs(np.array(whole.mean) - x.mean((0, 1, 2))).max() < 0.05


def test_images_are_streamed_if_they_would_take_more_than_half_of_the_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    needed = 40 * 6 * 6 * 3  # known only at the second image, the first is grey
    for room, how in ((2 * needed, "on cpu"), (2 * needed - 1, "streamed"), (0, "streamed")):
        monkeypatch.setattr(streamed, "available", lambda room=room: float(room))
        assert how in repr(task(folder, None))
    items = [(np.full((4, 4), k, np.uint8), k % 2) for k in range(8)]
    for room, how in ((2 * 8 * 16, "on cpu"), (2 * 8 * 16 - 1, "streamed")):
        monkeypatch.setattr(streamed, "available", lambda room=room: float(room))
        assert how in repr(ImageTask.from_dataset(items[:6], val=items[6:], workers=0, device="cpu"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:90]), "can no longer be used .damaged image"),
        (lambda p: p.unlink(), "can no longer be used .cannot be opened .No such file"),
        (lambda p: Image.new("RGB", (6, 6)).save(p), "is not the image that it was at first: put it back"),
        (lambda p: Image.new("RGB", (7, 6)).save(p), "is not the image that it was at first: put it back"),
    ],
)
def test_a_photo_that_changes_under_a_training_is_one_line_that_names_it(
    tmp_path: Path, workers: int, spoil: Callable[[Path], Any], message: str
):
    root = photos(tmp_path / "pets", 5)
    stream = task(root, True, workers).stream("train+val", 0, 2)
    for path in (root / "dog").iterdir():
        spoil(path)
    with pytest.raises(UserError, match=rf"^\S*dog/0\d.png {message}") as error:
        taken(stream, 4)
    assert "Traceback" not in str(error.value)


class Drawn:
    """A data set with a random transform inside."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        return torch.rand(1, 4, 4), k % 2


def test_a_random_data_set_cannot_be_streamed_and_says_what_to_do():
    with pytest.raises(UserError, match=r"^item \d of the train data is not .* each time; leave what is random to"):
        ImageTask.from_dataset(Drawn(), streamed=True, workers=0).stream("train", 0, 2).next()


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(np.zeros((4, 4)), 0), (np.zeros((4, 5)), 1)], r"item 1 of the train data is \(1, 4, 5\) .* and item 0 of"),
        ([(np.zeros((4, 4)), 0), (np.full((4, 4), np.nan), 1)], "item 1 of the train data holds NaN or infinity"),
        ([(np.zeros((4, 4), int), 0)], "the train images are torch.int64; give"),
        ([(np.zeros((4, 4)), "cat")], "item 0 of the train data has the label 'cat'"),
    ],
)
def test_a_streamed_data_set_is_refused_as_one_in_memory(items: list[Any], message: str):
    with pytest.raises(UserError, match=message):
        ImageTask.from_dataset(items, streamed=True, workers=0)


def test_splits_that_differ_are_refused(folder: Path):
    one, two = ([(np.zeros((4, size), np.uint8), k % 2) for k in range(4)] for size in (4, 5))
    with pytest.raises(UserError, match=r"item 0 of the train data is .* and item 0 of the val data is"):
        ImageTask.from_dataset(one, val=two, streamed=True, workers=0)


def test_a_data_set_by_name_cannot_be_streamed():
    with pytest.raises(UserError, match="`streamed` is for folders"):
        load("digits", options=ImageOptions(streamed=True))


def test_more_workers_than_a_machine_has_room_for_are_refused(folder: Path):
    items = [(np.zeros((4, 4)), 0)] * 4
    for how in (lambda: task(folder, True, workers=9999), lambda: ImageTask.from_dataset(items, workers=9999)):
        with pytest.raises(UserError, match=r"workers is 9999, for \d+ cores: give at most \d+"):
            how()


def die(places: list[int]) -> None:
    time.sleep(0.3)  # until the process that asks waits for an answer
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_one_line():
    with pytest.raises(UserError, match=r"a process that reads ahead has ended .*: give fewer `workers`"):
        list(ahead(die, [[1], [2]], workers=1))


def wait(begun: Any) -> None:
    begun.set()
    time.sleep(60)


def test_a_fork_does_not_go_on_with_a_lock(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    with locked(tmp_path):
        child = context.Process(target=wait, args=(begun,))
        child.start()
        assert begun.wait(60)
    try:
        with locked(tmp_path):
            assert child.is_alive()
    finally:
        child.kill()
        child.join()


def go(root: Path | str, folder: Path | str) -> None:
    """Run or resume a small search on streamed photos, read by processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    space = NatsTopology(channels=2, cells=1, nodes=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("renascent.loops._drive.CHECKPOINT_SECONDS", 0.05)
        patch.setattr("renascent.experiment.result.measure", lambda net, shape: Latency(1.0, 1.0, 1.0, "not measured"))
        # of the fixtures that keep a search in single precision a process knows nothing
        search(space, GDAS(), task(Path(root), True, 1), epochs=4, batch=4, out=folder, resume=True, bf16=False)
    torch.set_num_threads(threads)


def events(folder: Path) -> list[Any]:
    return [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in read_events(folder)]


def test_killed_beside_its_workers_or_asked_to_stop_a_search_goes_on_with_the_same_bits(
    folder: Path, tmp_path: Path, processes: Any
):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    go(folder, whole)
    for stop, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = len(events(torn))
        pid = processes.start(go, tmp_path / "log", str(folder), str(torn))
        end = time.monotonic() + 60
        while time.monotonic() < end and len(events(torn)) <= before:
            time.sleep(0.01)
        os.kill(pid, stop)
        assert processes.end() == code, processes.log.read_text()
    assert "Traceback" not in processes.log.read_text()
    go(folder, torn)
    assert events(torn) == events(whole)

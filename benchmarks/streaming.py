"""What streaming costs: images per second beside the task in memory, on CIFAR-10 written as PNG files.

    OMP_NUM_THREADS=1 python benchmarks/streaming.py --images 4000 --out benchmarks/results/streaming.json

Batches of 64, augmented, are drawn from a task in memory and from streamed ones, with and without processes that read
ahead: alone, and each followed by a training step of ResNet-20 of half its width. All tasks take turns, round after
round; a ratio of wall time is taken within its round, and the median over rounds is quoted. Making a task, which looks
at every file, is timed once. Every batch is compared with that in memory first.

    python benchmarks/streaming.py --sixty-thousand

A `Dataset` of 60,000 generated images of 3x128x128 (2.7 GiB) under an address space of 2 GiB (`ulimit -v`): it is
streamed by itself, looked at, hashed, and drawn from, with a training step each; said is the most memory that the
process, and the largest of those beside it, had at one time.
"""

import argparse
import resource
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from renascent.core.environment import environment
from renascent.core.files import Json, write_json
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

BATCH = 64
LIMIT = 2 * 2**30


def write(root: Path, images: int) -> None:
    """Write the first of CIFAR-10's training images as files."""
    task = load("cifar10", options=ImageOptions(limit=images, val=0.5), device="cpu")
    mean, std = (torch.tensor(values)[:, None, None] for values in (task.mean, task.std))
    place = 0
    for x, y in task.batches("train+val", 500):
        pixels = ((x * std + mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for image, label in zip(pixels, y.tolist(), strict=True):
            folder = root / "train" / task.class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{place:05}.png")
            place += 1


def seconds(task: ImageTask, batches: int, net: nn.Module | None) -> float:
    """Return the wall time of so many batches, the first, which waits for processes, left out."""
    stream = task.stream("train+val", 0, BATCH)
    stream.next()
    began = time.perf_counter()
    for _ in range(batches):
        x, y = stream.next()
        if net:
            functional.cross_entropy(net(x), y).backward()
    return time.perf_counter() - began


def compared(root: Path, rounds: int, batches: int) -> Json:
    """Return images per second in memory, and of each streamed task its share of that."""
    ways = {"in memory": ImageOptions(streamed=False)}
    ways |= {f"{count} workers": ImageOptions(streamed=True, workers=count) for count in (0, 1, 2)}
    tasks, found = {}, {}
    for name, options in ways.items():
        began = time.perf_counter()
        tasks[name] = load(root, options=options, device="cpu")
        found[name] = {"made_seconds": time.perf_counter() - began}
    held = tasks["in memory"]
    for task in tasks.values():
        one, two = task.stream("train", 0, BATCH), held.stream("train", 0, BATCH)
        assert task.mean == held.mean and task.std == held.std
        assert all(torch.equal(one.next()[0], two.next()[0]) for _ in range(5))
    config = ResNetCifar(layers_count=20)
    half = {name: decision.options[len(decision.options) // 2 - 1] for name, decision in config.space.decisions.items()}
    for what, net in (("alone", None), ("trained", config.network(config.space.arch(half), 3, 10))):
        times = [{name: seconds(task, batches, net) for name, task in tasks.items()} for _ in range(rounds)]
        for name in tasks:
            share = statistics.median(row["in memory"] / row[name] for row in times)
            rate = statistics.median(batches * BATCH / row[name] for row in times)
            found[name] |= {f"{what}_images_per_second": rate, f"{what}_share": share}
            print(f"{what:8} {name:10} {rate:9.0f} images/s {100 * share:6.1f} % of in memory", flush=True)
    return found


class Generated(torch.utils.data.Dataset):
    """Images made when they are asked for: a block of noise, repeated."""

    def __len__(self) -> int:
        return 60_000

    def __getitem__(self, k: int) -> tuple[np.ndarray, int]:
        block = np.random.default_rng(k).integers(0, 200, (16, 16, 3), np.uint8) + np.uint8(5 * (k % 10))
        return np.tile(block, (8, 8, 1)), k % 10


def sixty_thousand() -> Json:
    """Return how much memory, in GiB, and time a data set takes that does not fit."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    began = time.perf_counter()
    task = ImageTask.from_dataset(Generated(), workers=1, device="cpu")
    looked = time.perf_counter() - began
    print(f"{task}; looked at in {looked:.0f} s", flush=True)
    sha256 = task.describe()["sha256"]
    hashed = time.perf_counter() - began - looked
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    data, drawn = task.streams(0, BATCH), 100
    for _ in range(drawn):
        for stream in (data.train, data.val):
            x, y = stream.next()
            functional.cross_entropy(net(x), y).backward()
    del data, stream
    most = [resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        f"hashed in {hashed:.0f} s; {2 * drawn} batches; at most {most[0]:.2f} GiB, its workers {most[1]:.2f} GiB each"
    )
    return {
        "sha256": sha256,
        "looked_seconds": looked,
        "hashed_seconds": hashed,
        "peak_gib": most[0],
        "worker_gib": most[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--sixty-thousand", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.sixty_thousand:
        found = sixty_thousand()
    else:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), given.images)
            found = compared(Path(folder), given.rounds, given.batches)
    if given.out:
        write_json(given.out, {"date": str(date.today()), "environment": environment(0), "found": found})


if __name__ == "__main__":
    main()

"""Does searching the size pay? Strategies and baselines inside one budget on CIFAR-10, equal inheritance and training.

    RENASCENT_DATA=FOLDER python benchmarks/sizes_cifar10.py --out runs/sizes_cifar10 --results sizes.json

Every job (backbone, budget, seed, method) is a stage of minutes that is done once: stop it whenever you like and start
it again. `--results FILE` takes over what an earlier run wrote, and is rewritten after every job. Latency is measured
beside the reference's, in turns; with one worker and nothing else running, best. On Linux,
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 makes a step of MobileNet V2 a third shorter.

For each backbone and seed, the reference is trained for 10 epochs on 20,000 images and its channels are sorted by
magnitude, which leaves its function as it is. All methods then inherit the leading channels of that network, and are
trained identically with it as their teacher, for 5 epochs. Methods are compared by 5,000 validation images; `--test`
names the one default by them, and only then tests its networks and the baselines'. Where weights are gone, the recorded
sizes are trained once more, and `val_again` says how well.

uniform-*: the reference scaled by one factor: all its widths; its resolution; both; for a latency, which widths hardly
shorten, also its depth, and everything.  random: one random network inside the budget.  rsps: the best of some random
ones by weights shared between them.  magnitude: channels pruned by Torch-Pruning (group L2 norm, one ratio for all
layers, to whole channels; `pip install 'renascent[prune]'`).
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from renascent.core.bounds import LATENCY
from renascent.core.environment import environment
from renascent.core.files import read_json, write_json
from renascent.core.protocols import Task, WeightRule
from renascent.core.space import Arch
from renascent.costs import macs, measure_all
from renascent.experiment.search import search
from renascent.loops.evaluate import accuracy, recalibrate
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.loops.weightsfile import load_weights, read_weights, save_weights
from renascent.nets.adapt import adapt
from renascent.nets.sizes.inherit import first_k
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.resolution import RESOLUTION, at_resolution, input_shape
from renascent.nets.sizes.space import SizedSpace
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.nes import NES
from renascent.strategies.rsps import RSPS
from renascent.strategies.tas import TAS
from renascent.strategies.tunas import TuNAS
from renascent.tasks.distill import Distillation, Distilled
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SHAPE, CLASSES = (3, 32, 32), 10
RESOLUTIONS = {"lowest": 8, "highest": 32, "resolution_step": 1}

BACKBONES: dict[str, Callable[[], SizedSpace]] = {
    "resnet20": partial(ResNetCifar, layers_count=20, **RESOLUTIONS),  # type: ignore[arg-type]
    "mobilenet-v2": partial(MobileNetV2, small=True, width=0.25, **RESOLUTIONS),  # type: ignore[arg-type]
}

HARD = ("macs<=0.25x", "macs<=0.1x")

SETTING: dict[str, Any] = {
    "images": 20_000,
    "reference_epochs": 10,
    "fit_epochs": 5,
    "search_epochs": 2,
    "batch": 128,
    "reference_lr": 0.1,
    "fit_lr": 0.05,
    "search_lr": 0.02,
    "distillation": True,
}
"""Fixed before any of its results were seen. `--search-epochs` makes another setting of it, for other files."""

RECIPE = Distillation.recipe()

STRATEGIES = {
    # a search of 314 steps: logits that learn by gradient learn faster than the papers' thousands of steps need
    "nes": NES(),
    "tas": TAS(arch_lr=0.03),
    "fbnetv2": FBNetV2(arch_lr=0.03, arch_every=1),
    "tunas": TuNAS(arch_lr=0.03),
    "rsps": RSPS(),
}
BASELINES = ("uniform-channels", "uniform-resolution", "uniform-both", "random", "magnitude")
METHODS = (*STRATEGIES, *BASELINES)
FOR_LATENCY = ("uniform-depth", "uniform-all")
SEARCHING = ("nes", "tas", "fbnetv2", "tunas")


@dataclass(frozen=True)
class Job:
    """One network to find and train. distilled: whether the reference teaches it."""

    backbone: str
    budget: str
    seed: int
    method: str
    distilled: bool = True

    @property
    def name(self) -> str:
        budget = self.budget.replace("<=", "-")
        return f"{self.backbone}-{budget}-{self.method}-{self.seed}{'' if self.distilled else '-untaught'}"


def configure(search_epochs: int) -> None:
    """Set how long a search is, in a process that begins."""
    SETTING["search_epochs"] = search_epochs


def jobs() -> Iterator[Job]:
    """Give every job, the ones that tell most first."""
    for seed in range(3):
        for backbone in BACKBONES:
            for budget in HARD:
                yield from (Job(backbone, budget, seed, method) for method in METHODS)
    for budget, methods in (("macs<=0.5x", METHODS), ("latency_ms<=0.5x", (*METHODS, *FOR_LATENCY))):
        yield from (Job(backbone, budget, 0, method) for backbone in BACKBONES for method in methods)
    yield from (Job(b, "macs<=0.25x", 0, method, distilled=False) for b in BACKBONES for method in METHODS)


def task_of(seed: int) -> Task:
    """Return 20,000 images to train on and 5,000 to validate on; only `tested` looks at the test images."""
    options = ImageOptions(limit=SETTING["images"] + 5000, val=5000, split_seed=seed)
    return load("cifar10", options=options)


class Remembered(nn.Module):
    """A teacher that keeps what it answered: all methods of a seed are fitted on the same batches, image for image.

    net: the teacher.  path: of the answers, as `answered` writes them; batches that are not there it is asked.
    """

    def __init__(self, net: nn.Module, path: Path) -> None:
        super().__init__()
        self.net, self.answers = net, read_weights(path)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) for images (batch, channels, h, w)."""
        known = self.answers.get(digest(x))
        return self.net(x) if known is None else known  # type: ignore[no-any-return]


def digest(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().numpy().data).hexdigest()


@torch.no_grad()
def answered(reference: nn.Module, seed: int, path: Path) -> None:
    """Write what the reference answers to every batch of a fine-tuning."""
    stream = task_of(seed).stream("train", seed, SETTING["batch"])
    batches = (stream.next()[0] for _ in range(SETTING["fit_epochs"] * stream.steps_per_epoch))
    save_file({digest(x): reference(x) for x in batches}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def reference_of(backbone: str, seed: int, out: Path) -> tuple[nn.Module, float]:
    """Return the trained reference, its channels sorted by magnitude, and its validation accuracy."""
    config, path = BACKBONES[backbone](), out / f"{backbone}-reference-{seed}"
    task = task_of(seed)
    torch.manual_seed(seed)
    net = config.network(config.reference, SHAPE[0], CLASSES)
    if not (path / "weights.safetensors").exists():
        settings = training(backbone, SETTING["reference_epochs"], SETTING["reference_lr"])
        run = Run.start(path, asdict(settings), resume=path.exists(), seed=seed)
        plain = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        done = fit(plain, task, settings, run=run, seed=seed, split="train", evaluate=("val",))
        save_weights(path / "weights.safetensors", done.net)
        write_json(path / "result.json", {"val": done.scores["val"], "seconds": done.seconds})
    load_weights(net, path / "weights.safetensors")
    plan = adapt(net, SHAPE, multiple=1, depth=False)
    ordered = plan.supernet(SHAPE[0], CLASSES).extract(plan.reference)
    ordered.load_state_dict({**net.state_dict(), **dict(ordered.named_parameters())})
    stream = task.stream("train", seed, 64)
    recalibrate(ordered, (stream.next() for _ in range(20)))
    ordered = ordered.eval().to(memory_format=torch.channels_last)
    if not (path / "answers.safetensors").exists():
        answered(ordered, seed, path / "answers.safetensors")
    return ordered, float(read_json(path / "result.json")["val"])


def training(backbone: str, epochs: int, lr: float) -> Fit:
    """Return how every network is trained. bfloat16 is slow for depthwise convolutions, and without AVX-512 for all."""
    rule = WeightRule(lr=lr, lr_end=0.0, weight_decay=5e-4, clip=0.0)
    bf16 = backbone == "resnet20" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return Fit(epochs=epochs, batch=SETTING["batch"], weights=rule, bf16=bf16)


def one(job: Job, out: Path) -> dict[str, Any]:
    """Find and train one network; return what came out, its weights kept in a folder of its own."""
    torch.set_num_threads(1)
    config, task = BACKBONES[job.backbone](), task_of(job.seed)
    reference, _ = reference_of(job.backbone, job.seed, out)
    began = time.process_time()
    found = chosen(job, config, task, reference, out)
    searched = time.process_time() - began
    net, arch = network_of(job, config, reference, found)
    trained = finetuned(job, net, arch, reference, out, job.name)
    shape = input_shape(arch or {}, SHAPE)
    return {
        **asdict(job),
        "found": found if isinstance(found, float) else dict(found),
        "macs": macs(net, shape),
        **({"latency_x": latency(config, net, shape)} if job.budget.startswith(LATENCY) else {}),
        **trained,
        "search_seconds": round(searched, 1),
    }


def finetuned(
    job: Job,
    net: nn.Module,
    arch: Arch | None,
    reference: nn.Module,
    out: Path,
    name: str,
    distillation: Distillation = RECIPE,
) -> dict[str, Any]:
    """Train a network that inherits, in place, and keep its weights; return how, for how long and to what accuracy.

    name: of its folder.
    """
    task, seeing = task_of(job.seed), seen(net, arch)
    teacher = Remembered(reference, out / f"{job.backbone}-reference-{job.seed}" / "answers.safetensors")
    lessons = Distilled(task, teacher, distillation) if job.distilled else task
    torch.manual_seed(job.seed)
    stream = task.stream("train", job.seed, 64)
    recalibrate(seeing, (stream.next() for _ in range(20)))
    inherited = accuracy(seeing, task, "val")
    settings = training(job.backbone, SETTING["fit_epochs"], SETTING["fit_lr"])
    folder = out / name / "fit"
    run = Run.start(folder, asdict(settings), resume=folder.exists(), seed=job.seed)
    done = fit(seeing, lessons, settings, run=run, seed=job.seed, split="train", evaluate=("val",))
    save_weights(out / name / "weights.safetensors", net)
    return {
        "bf16": settings.bf16,
        "inherited": round(inherited, 4),
        "val": done.scores["val"],
        "fit_seconds": round(done.process_seconds, 1),
    }


def seen(net: nn.Module, arch: Arch | None) -> nn.Module:
    """Return the network with its images resized to the resolution of its architecture, where it has one."""
    return net if arch is None else at_resolution(net, arch)


def chosen(job: Job, config: SizedSpace, task: Task, reference: nn.Module, out: Path) -> Arch | float:
    """Return the architecture of a method; for pruning, the share of channels that goes."""
    if job.method in STRATEGIES:
        folder = out / job.name / "search"
        result = search(
            config,
            STRATEGIES[job.method],
            task,
            epochs=SETTING["search_epochs"],
            batch=SETTING["batch"],
            seed=job.seed,
            weights=WeightRule(lr=SETTING["search_lr"]),
            out=folder,
            resume=folder.exists(),
            budget=job.budget,
            pretrained=reference.state_dict(),
        )
        return result.arch
    name, limit = limit_of(job, config)

    def cost(net: nn.Module, arch: Mapping[str, object]) -> float:
        shape = input_shape(arch, SHAPE)
        return latency(config, net, shape) if name == LATENCY else macs(net, shape)

    if job.method == "magnitude":
        return 1 - largest(lambda share: cost(pruned(reference, 1 - share), {}) <= limit, low=0.15)

    def arch_of(share: float) -> Arch:
        return random_near(config, job.seed, share) if job.method == "random" else uniform(config, job.method, share)

    best = largest(lambda share: cost(config.network(arch_of(share), SHAPE[0], CLASSES), arch_of(share)) <= limit)
    return arch_of(best)


def largest(fits: Callable[[float], bool], low: float = 0.02, steps: int = 10) -> float:
    """Return the largest share from `low` to 1 that fits, by halving."""
    high = 1.0
    if not fits(low):
        raise ValueError("even the smallest network is over the limit")
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def uniform(config: SizedSpace, method: str, share: float) -> Arch:
    """Return the reference with its widths, its resolution, or more times a share, to whole channels and pixels.

    Not held to the options of the space, that would leave a baseline some of its budget unused; but depths are.
    """
    moves = {
        "uniform-channels": lambda name: name != RESOLUTION and not name.startswith("depth"),
        "uniform-resolution": lambda name: name == RESOLUTION,
        "uniform-both": lambda name: not name.startswith("depth"),
        "uniform-depth": lambda name: name.startswith("depth"),
        "uniform-all": lambda name: True,
    }[method]
    whole = {name: int(value) for name, value in config.reference.items() if isinstance(value, int)}
    least = {name: min(d.options) if name.startswith("depth") else 1 for name, d in config.space.decisions.items()}  # type: ignore[union-attr]
    return Arch({name: max(least[name], round(share * v)) if moves(name) else v for name, v in whole.items()})


def random_near(config: SizedSpace, seed: int, share: float) -> Arch:
    """Return a random network of the space whose sizes scatter around a share of the largest options."""
    rng = np.random.default_rng([seed, 11])
    counts = np.array([len(d.options) for d in config.space.decisions.values()])  # type: ignore[union-attr]
    # around one share: independent draws would all have the cost of their mean
    row = np.floor(np.clip(share + 0.3 * rng.standard_normal(len(counts)), 0, 0.999) * counts)
    return config.space.from_indices(row.astype(int))


def limit_of(job: Job, config: SizedSpace) -> tuple[str, float]:
    """Return what is bounded, and its limit: of latency, the share of the reference's."""
    name, _, value = job.budget.partition("<=")
    share, net = float(value.removesuffix("x")), config.network(config.reference, SHAPE[0], CLASSES)
    return name, share if name == LATENCY else share * macs(net, input_shape(config.reference, SHAPE))


def latency(config: SizedSpace, net: nn.Module, shape: tuple[int, ...]) -> float:
    """Return the latency of a network in times the reference's, measured in turns.

    Laid out in memory as a new one is, however it was trained.
    """
    reference = config.network(config.reference, SHAPE[0], CLASSES), input_shape(config.reference, SHAPE)
    plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    mine, beside = measure_all([(plain, shape), reference], rounds=30)
    return mine.median_ms / beside.median_ms


def network_of(
    job: Job, config: SizedSpace, reference: nn.Module, found: Arch | float
) -> tuple[nn.Module, Arch | None]:
    """Return a network with what it inherits of the reference, and its architecture where it is one of the space."""
    torch.manual_seed(job.seed)
    if not isinstance(found, Arch):
        return pruned(reference, found).to(memory_format=torch.channels_last), None  # type: ignore[call-overload]
    net = config.network(found, SHAPE[0], CLASSES)
    first_k(net, reference.state_dict())
    return net.to(memory_format=torch.channels_last), found  # type: ignore[call-overload]


def pruned(reference: nn.Module, ratio: float) -> nn.Module:
    """Return a copy with a share of the channels of every group removed, the least of their norms first."""
    import torch_pruning as tp

    net = copy.deepcopy(reference).eval()
    last = [m for m in net.modules() if isinstance(m, nn.Linear)]
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    # to the nearest whole channel, as uniform scaling: the pruner rounds down, and would leave budget unused
    ratios = {m: whole(ratio, m.out_channels) for m in net.modules() if isinstance(m, nn.Conv2d)}
    images = torch.randn(1, *SHAPE)
    tp.pruner.BasePruner(net, images, importance, pruning_ratio_dict=ratios, ignored_layers=last).step()
    return net


def whole(ratio: float, channels: int) -> float:
    """Return the nearest ratio that leaves a whole number of channels, at least one."""
    return 1 - (max(1, round((1 - ratio) * channels)) + 1e-6) / channels


def summary(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean, spread and number of seeds of every method in every setting."""
    settings = list(dict.fromkeys((r["backbone"], r["budget"], r["distilled"]) for r in results))
    rows = []
    for backbone, budget, distilled in settings:
        for method in (*METHODS, *FOR_LATENCY):
            same = {"backbone": backbone, "budget": budget, "distilled": distilled, "method": method}
            mine = [r for r in results if all(r[k] == v for k, v in same.items())]
            if mine:
                rows.append({**same, "seeds": len(mine), **spread(mine, "val"), **spread(mine, "test")})
    return rows


def spread(rows: list[dict[str, Any]], key: str) -> Mapping[str, Any]:
    values = [100 * r[key] for r in rows if key in r]
    if not values:
        return {}
    deviation = round(statistics.stdev(values), 2) if len(values) > 1 else None
    return {key: round(statistics.mean(values), 2), f"{key}_std": deviation}


def verdict(results: list[dict[str, Any]]) -> str:
    """Return the strategy with the best mean validation accuracy at 25 % and 10 %, of networks all of them have."""
    hard = [r for r in results if r["distilled"] and r["budget"] in HARD]
    scores = {
        m: {(r["backbone"], r["budget"], r["seed"]): r["val"] for r in hard if r["method"] == m} for m in SEARCHING
    }
    common = set.intersection(*(set(found) for found in scores.values()))
    if not common:
        raise SystemExit("no pair of seed and budget has a network of every strategy: run more of them")
    return max(SEARCHING, key=lambda method: statistics.mean(scores[method][pair] for pair in common))


def tested(out: Path, end: float, row: dict[str, Any]) -> dict[str, Any]:
    """Return the test accuracy of a network that was found. Where its weights are gone, it is trained once more."""
    if time.monotonic() > end:
        return {}
    torch.set_num_threads(1)
    job = _job(row)
    config, path = BACKBONES[job.backbone](), out / job.name / "weights.safetensors"
    reference, _ = reference_of(job.backbone, job.seed, out)
    net, arch = network_of(
        job, config, reference, row["found"] if isinstance(row["found"], float) else Arch(row["found"])
    )
    again = {} if path.exists() else {"val_again": finetuned(job, net, arch, reference, out, job.name)["val"]}
    first_k(net, read_weights(path))
    return again | {"test": accuracy(seen(net, arch), task_of(job.seed), "test")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; kept, to resume")
    parser.add_argument(
        "--results", type=Path, required=True, help="JSON file of what was found; taken over and rewritten"
    )
    parser.add_argument("--minutes", type=float, default=40.0, help="begin no job after this; one takes up to 15")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--only", default="", help="regular expression: do jobs with it in their name only")
    parser.add_argument(
        "--search-epochs", type=int, default=SETTING["search_epochs"], help="other than 2: give other --out, --results"
    )
    parser.add_argument("--test", action="store_true", help="name the default by validation, then look at test images")
    asked = parser.parse_args()
    configure(asked.search_epochs)
    asked.out.mkdir(parents=True, exist_ok=True)
    held = json.loads(asked.results.read_text()) if asked.results.exists() else {"setting": SETTING, "results": []}
    if held["setting"] != SETTING:
        raise SystemExit(f"{asked.results} holds another setting: give another file")
    end = time.monotonic() + 60 * asked.minutes  # one clock for all processes of a machine
    context = multiprocessing.get_context("spawn")
    with context.Pool(asked.workers, configure, (asked.search_epochs,), maxtasksperchild=1) as pool:
        if asked.test:
            held["default"] = held.get("default") or verdict(held["results"])
            write(asked.results, held)  # before a test image is touched
            test(pool, held, asked, end)
        else:
            work(pool, held, asked, end)
    write(asked.results, held)
    print("\n".join(map(str, held["summary"])))


def work(pool: Pool, held: dict[str, Any], asked: argparse.Namespace, end: float) -> None:
    """Do the jobs that are not done yet."""
    done = set(map(_job, held["results"]))
    left = [job for job in jobs() if job not in done and re.search(asked.only, job.name)]
    references(pool, left, asked.out, end)
    for found in pool.imap_unordered(partial(_timely, asked.out, end), left):
        if found is not None:
            held["results"].append(found)
            write(asked.results, held)
            print({k: found[k] for k in ("backbone", "budget", "seed", "method", "val", "macs")}, flush=True)


def test(pool: Pool, held: dict[str, Any], asked: argparse.Namespace, end: float) -> None:
    """Give the networks of the default and of the baselines their test accuracy."""
    compared = (held["default"], "rsps", *BASELINES)
    left = [r for r in held["results"] if r["method"] in compared and r["budget"] in HARD and r["distilled"]]
    left = [r for r in left if "test" not in r and re.search(asked.only, _job(r).name)]
    references(pool, map(_job, left), asked.out, end)
    for row, found in zip(left, pool.imap(partial(tested, asked.out, end), left), strict=True):
        row |= found
        write(asked.results, held)


def references(pool: Pool, left: Iterable[Job], out: Path, end: float) -> None:
    """Train what all of these need, each once: two jobs would train the same."""
    pool.starmap(partial(_reference, out, end), dict.fromkeys((job.backbone, job.seed) for job in left), chunksize=1)


def _job(row: dict[str, Any]) -> Job:
    return Job(**{key: row[key] for key in ("backbone", "budget", "seed", "method", "distilled")})


def _reference(out: Path, end: float, backbone: str, seed: int) -> None:
    if time.monotonic() > end:
        return
    torch.set_num_threads(1)
    print(f"{backbone} seed {seed}: reference {reference_of(backbone, seed, out)[1]:.4f}", flush=True)


def _timely(out: Path, end: float, job: Job) -> dict[str, Any] | None:
    """Do a job if there is time; one that fails is told, and the others go on."""

    if time.monotonic() > end:
        return None
    try:
        return one(job, out)
    except Exception as e:
        print(f"{job.name} failed: {type(e).__name__}: {e}", flush=True)
        return None


def write(path: Path, held: dict[str, Any]) -> None:
    held["summary"] = summary(held["results"])
    about = environment(0, torch.device("cpu"))
    del about["command"]  # the folders of one machine, and of the last call only
    held["environment"] = held.get("environment") or about
    write_json(path, held)


if __name__ == "__main__":
    main()

"""A file alone, with what it says of itself, predicts what `predict` does: read by Pillow and numpy, run by others."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from renascent.core.errors import UserError
from renascent.core.preparation import Preparation
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.nets.adapt import Adapted, adapt
from renascent.strategies.uniform import Uniform
from renascent.tasks.distill import Distilled
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SIDE = 16
COLOURS = {"amber, dark": (200, 120, 20), "blue": (30, 60, 210), "grün": (40, 190, 70)}


def texture(seed: int, width: int, height: int, colour: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return (height, width, channels): a colour, a gradient, and noise."""
    rng = np.random.default_rng(seed)
    x = np.array(colour) * np.linspace(0.5, 1, width)[None, :, None] * np.linspace(0.6, 1, height)[:, None, None]
    return np.clip(x + rng.normal(0, 20, (height, width, len(colour))), 0, 255).astype(np.uint8)


def photos(folder: Path) -> Path:
    """Write pictures of every kind and of different sizes: class by class, the same kinds in each."""
    for k, (name, colour) in enumerate(COLOURS.items()):
        (folder / name).mkdir(parents=True)
        for seed in range(8):
            pixels = texture(9 * k + seed, 20 + 3 * seed, 40 - 2 * seed, colour)
            kind, image = kinds(pixels)[seed % len(kinds(pixels))]
            exif = Image.Exif()
            exif[274] = 1 + seed
            image.save(folder / name / f"{seed}.{kind}", **({"exif": exif} if kind == "jpg" else {}))
    return folder


def kinds(pixels: NDArray[np.uint8]) -> list[tuple[str, Image.Image]]:
    """Return a picture as RGB and CMYK JPEG, with transparency, grey, with a palette, in 16 bits and in floats."""
    image = Image.fromarray(pixels)
    ramp = np.arange(pixels.shape[1], dtype=np.uint8)
    clear = np.concatenate([pixels, np.broadcast_to(ramp * 5, pixels.shape[:2])[..., None]], 2)
    deep = pixels[..., 1].astype(np.uint16) * 256 + ramp
    return [
        ("jpg", image),
        ("png", Image.fromarray(clear)),
        ("jpg", image.convert("CMYK")),
        ("png", image.convert("L")),
        ("gif", image.quantize(16)),
        ("png", Image.fromarray(deep)),
        ("tif", Image.fromarray(pixels[..., 0].astype(np.float32) / 255)),
        ("jpg", image),
    ]


def decoded(path: Path, about: Any) -> NDArray[np.uint8]:
    """Return a picture (h, w, channels) as the steps of a file's description say, by Pillow and numpy."""
    with path.open("rb") as file:  # Pillow maps TIFFs into memory otherwise
        image = Image.open(file)
        image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        image = Image.fromarray(np.rint(np.asarray(image) * 255).astype(np.uint8))
    elif image.mode.startswith("I"):
        image = Image.fromarray(np.rint(np.asarray(image).astype(np.float64) * 255 / 65535).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA"):
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    image = image.convert("RGB").convert({"grey": "L", "RGB": "RGB"}[about["colour"]])
    height, width = about["size"]
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, -1)


def bilinear(x: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return images (n, channels, h, w) at another size: pixels at their centres, without antialiasing."""
    for axis in (2, 3):
        length = x.shape[axis]
        place = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1 if k == axis else 1 for k in range(4)])
        high = np.minimum(low + 1, length - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x.astype(np.float32)


def inputs(paths: list[Path], about: Any) -> NDArray[Any]:
    """Return the input of a file for some pictures, with nothing but what it says of itself."""
    x = np.stack([decoded(path, about) for path in paths])
    if about["input"]["type"] == "uint8":
        return x
    x = (x / 255 - np.array(about["mean"])) / np.array(about["std"])
    x = x.transpose(0, 3, 1, 2).astype(np.float32)
    return x if about["resolution"] is None else bilinear(x, about["resolution"])


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    e = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def by_onnx(path: Path, x: NDArray[Any]) -> tuple[NDArray[np.float64], Any]:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    return softmax(session.run([about["output"]["name"]], {about["input"]["name"]: x})[0]), about


def by_torch(path: Path, x: NDArray[Any]) -> tuple[NDArray[np.float64], Any]:
    extra = {"model.json": ""}
    net = torch.export.load(path, extra_files=extra).module()
    return softmax(net(torch.from_numpy(x)).detach().numpy()), json.loads(extra["model.json"])


def space(channels: int, resolutions: tuple[int, ...] = (), side: int = SIDE) -> Adapted:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, len(COLOURS)),
    )
    return adapt(net, (channels, side, side), resolutions=resolutions)


def found(folder: Path, task: Any, channels: int = 3, resolutions: tuple[int, ...] = ()) -> Result:
    budget = "macs<=0.3x" if resolutions else "macs<=0.6x"
    how, about = Uniform(resolution=bool(resolutions)), space(channels, resolutions, task.size[0])
    return search(about, how, task, budget=budget, batch=8, out=folder, progress=False)


@pytest.fixture(scope="module", autouse=True)
def _without_measuring() -> Iterator[None]:
    from renascent.costs import Latency

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("renascent.experiment.result.measure", lambda net, shape: Latency(1.0, 1.0, 1.0, "not measured"))
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Result:
    """A network at a resolution of its own, trained on photos in a folder that is then no longer there."""
    task = load(pictures, options=ImageOptions(image_size=SIDE), device="cpu")
    result = found(tmp_path_factory.mktemp("run") / "run", task, resolutions=(8, SIDE))
    assert result.arch["resolution"] == 8
    result.fit(task, Fit(epochs=30, batch=8))
    return result


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def told(result: Result, paths: list[Path]) -> NDArray[np.float64]:
    """Return what `predict` says, (images, classes)."""
    return np.array([list(one.probabilities.values()) for one in result.predict(*paths)])


@pytest.mark.parametrize("inside", [False, True], ids=["plain", "with preprocessing"])
@pytest.mark.parametrize(("name", "run"), [("net.onnx", by_onnx), ("net.pt2", by_torch)], ids=["onnx", "pt2"])
def test_a_file_alone_predicts_the_same(
    trained: Result, pictures: Path, tmp_path: Path, name: str, run: Callable[..., Any], inside: bool
) -> None:
    path = trained.export(tmp_path / name, with_preprocessing=inside)
    about, paths = json.loads((tmp_path / "net.json").read_text()), files(pictures)
    got, own = run(path, inputs(paths, about))
    assert own == about
    wanted = told(trained, paths)
    np.testing.assert_allclose(got, wanted, atol=1e-5, rtol=0)
    assert about["class_names"] == list(COLOURS)
    assert about["input"]["shape"] == (["batch", SIDE, SIDE, 3] if inside else ["batch", 3, 8, 8])
    right = [about["class_names"][k] == path.parent.name for k, path in zip(got.argmax(1), paths, strict=True)]
    assert np.mean(right) > 0.6  # grey pictures of three kinds cannot be told
    guess = (np.stack([decoded(path, about) for path in paths]) / 127.5 - 1).transpose(0, 3, 1, 2).astype(np.float32)
    if not inside:  # what is not guessed differs from what usually is
        assert abs(run(path, bilinear(guess, 8))[0] - wanted).max() > 0.01


def test_sixteen_bits_and_grey(tmp_path: Path) -> None:
    """Grey pictures of 16 bits, all of one size: a network of one channel, which takes pictures in colour too."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(COLOURS):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for n in range(8):
            values = rng.integers(20000 * k, 20000 * k + 25000, (12, 12)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / "deep" / name / f"{n}.png")
    task = load(tmp_path / "deep", device="cpu")
    result = found(tmp_path / "run", task, channels=1)
    Image.fromarray(texture(0, 30, 12, (200, 50, 50))).save(tmp_path / "colour.png")
    paths = [*files(tmp_path / "deep"), tmp_path / "colour.png"]
    found_in = result.export(tmp_path / "net.onnx")
    about = json.loads((tmp_path / "net.json").read_text())
    assert (about["colour"], about["size"], about["resized_in_training"]) == ("grey", [12, 12], False)
    np.testing.assert_allclose(by_onnx(found_in, inputs(paths, about))[0], told(result, paths), atol=1e-5, rtol=0)
    assert [one.scaled for one in result.predict(*paths)] == [False] * 24 + [True]


def test_the_network_sees_pictures_as_in_the_training(trained: Result, pictures: Path) -> None:
    task = load(pictures, options=ImageOptions(image_size=SIDE), device="cpu")
    net = trained.trained()
    logits = net(
        nn.functional.interpolate(torch.cat([x for x, _ in task.batches("test", 64)]), (8, 8), mode="bilinear")
    )
    wanted = logits.softmax(1).detach().numpy()
    got = told(trained, files(pictures))
    for row in wanted:  # wherever the split put it
        assert abs(got - row).max(1).min() < 1e-5


@pytest.mark.parametrize(
    ("scale", "kind"), [(1 / 255, "unit"), (2 / 255, "other"), (None, "uint8")], ids=["unit", "other", "uint8"]
)
def test_kind_of_pixels(scale: float | None, kind: str) -> None:
    x = torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0, 0] = 255
    y = torch.arange(12) % 3
    task = ImageTask.from_tensors(x if scale is None else x * scale, y, class_names=list(COLOURS), device="cpu")
    p = task.preparation
    assert (p.pixels, p.class_names, p.resized, p.size) == (kind, tuple(COLOURS), False, (4, 4))
    assert (p.mean, p.std) == (task.mean, task.std)
    assert Distilled(task, nn.Sequential(nn.Flatten(), nn.Linear(48, 3))).preparation == p


def test_floats_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    x, y = torch.randn(24, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
    result = found(tmp_path / "run", ImageTask.from_tensors(x, y, device="cpu"))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for act in (
        lambda: result.predict(tmp_path / "a.png"),
        lambda: result.export(tmp_path / "a.pt2", with_preprocessing=True),
    ):
        with pytest.raises(UserError, match="learnt from floats beyond 0 to 1"):
            act()
    assert not (tmp_path / "a.pt2").exists()
    result.export(tmp_path / "a.pt2")
    about = json.loads((tmp_path / "a.json").read_text())
    assert "as they were given for the training" in about["steps"][0]
    assert "divide by 255" not in about["steps"]
    with pytest.raises(UserError, match="takes 2 channels, which no picture has"):
        Preparation(class_names=("a", "b"), size=(4, 4), mean=(0.0, 0.0), std=(1.0, 1.0)).check_pictures()


def test_a_run_of_before_is_one_line(trained: Result, tmp_path: Path, unsealed: Callable[[Path], Path]) -> None:
    """Its folder does not say how images were prepared: no guess is made, and an export is as it always was."""
    import shutil

    folder = unsealed(Path(shutil.copytree(trained.folder, tmp_path / "old")))
    for path in (folder / "arch.json", folder / "fit" / "result.json"):
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "preparation"}))
    old = Result.load(folder, trained.space)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="does not say how its images were prepared: an earlier version made it") as e:
        old.predict(tmp_path / "a.png")
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match="does not say how its images were prepared"):
        old.export(tmp_path / "net.pt2", with_preprocessing=True)
    old.export(tmp_path / "net.pt2")
    assert not (tmp_path / "net.json").exists()


def test_a_description_replaces_no_other_file(trained: Result, tmp_path: Path) -> None:
    (tmp_path / "arch.json").write_text('{"arch": "something else"}')
    with pytest.raises(UserError, match=r"arch\.json is there already and describes no model: give the file another"):
        trained.export(tmp_path / "arch.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["arch.json"]


# --- the command


@pytest.fixture
def shell(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Result) -> Any:
    """The command line, for which the run is a folder `run` whose model is known."""
    (tmp_path / "run").symlink_to(trained.folder)
    monkeypatch.setattr(
        "renascent.cli.work.predict.loaded", lambda folder, factory, space=None: Result.load(folder, trained.space)
    )
    return say


def test_command_names_the_likeliest(shell: Any, tmp_path: Path, trained: Result) -> None:
    Image.fromarray(texture(3, 40, 20, COLOURS["blue"])).save(tmp_path / "b.png")
    Image.fromarray(texture(4, SIDE, SIDE, COLOURS["grün"])).save(tmp_path / "g.png")
    lines = shell("predict run b.png g.png --top 2").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["b.png", "blue"], ["g.png", "grün"]]
    assert all(line.count("%") == 2 for line in lines)
    facts = shell("predict run g.png --json").facts
    assert facts["weights"] == "fit"
    ((image, label, probabilities),) = [tuple(one.values()) for one in facts["images"]]
    assert (image, label, list(probabilities)) == ("g.png", "grün", list(COLOURS))
    assert sum(probabilities.values()) == pytest.approx(1)


def test_command_writes_a_csv_of_a_folder(shell: Any, tmp_path: Path, pictures: Path, trained: Result) -> None:
    (tmp_path / "photos").symlink_to(pictures)
    head, *rows = list(csv.reader(io.StringIO(shell("predict run photos").out)))
    assert head == ["image", "class", *COLOURS]
    paths = files(pictures)
    assert [row[0] for row in rows] == [str(Path("photos") / path.relative_to(pictures)) for path in paths]
    np.testing.assert_allclose(np.array([row[2:] for row in rows], float), told(trained, paths), atol=1e-6)
    assert all(row[1] == head[2 + int(np.argmax(np.array(row[2:], float)))] for row in rows)


def test_folders_behind_links_are_predicted_as_they_are_trained_on(shell: Any, tmp_path: Path) -> None:
    for name in ("photos/blue", "elsewhere/green"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE), name.rpartition("/")[2]).save(tmp_path / name / "a.png")
    (tmp_path / "photos" / "green").symlink_to(tmp_path / "elsewhere" / "green")
    (tmp_path / "photos" / "same").symlink_to(tmp_path / "photos" / "blue")
    (tmp_path / "elsewhere" / "green" / "up").symlink_to(tmp_path / "photos")  # without an end
    _, *rows = csv.reader(io.StringIO(shell("predict run photos").out))
    assert [row[0] for row in rows] == [f"photos/{name}/a.png" for name in ("blue", "green", "same")]


def test_command_names_all_that_cannot_be_used(shell: Any, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "mixed" / "deeper").mkdir(parents=True)
    (tmp_path / "mixed" / ".hidden").write_text("skipped")
    (tmp_path / "mixed" / "notes.txt").write_text("no image")
    (tmp_path / "mixed" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(tmp_path / "mixed" / "pipe")
    refused("predict run mixed", "3 of 3 images cannot be used", "mixed/notes.txt", "mixed/cut.png", "mixed/pipe")
    refused("predict run mixed --skip-bad", "3 of 3 images cannot be used")
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "mixed" / "deeper" / "a.png")
    refused("predict run mixed", "3 of 4 images cannot be used", "leave them out with --skip-bad")
    assert len(shell("predict run mixed --skip-bad").out.splitlines()) == 2
    refused("predict run mixed nowhere.png", "there is no picture nowhere.png")
    refused("predict run", "which pictures?", "renascent predict DIR PICTURE...")
    refused("predict", "which search?", "renascent predict DIR")
    (tmp_path / "empty").mkdir()
    refused("predict run empty", "there is no image to look at")


def test_command_says_where_pictures_had_another_size(
    say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsealed: Any
) -> None:
    x, y = torch.randint(0, 256, (24, 1, SIDE, SIDE), dtype=torch.uint8), torch.arange(24) % 3
    result = found(tmp_path / "run", ImageTask.from_tensors(x, y, device="cpu"), channels=1)
    monkeypatch.setattr("renascent.cli.work.predict.loaded", lambda folder, factory, space=None: result)
    Image.new("L", (SIDE, SIDE)).save(tmp_path / "a.png")
    assert say("predict run a.png").err == ""
    Image.new("L", (40, 30)).save(tmp_path / "b.png")
    said = say("predict run a.png b.png").err
    assert "1 of 2 pictures were scaled to 16 x 16 pixels; those of the training had that size already" in said

"""A file is accepted only when it was run again and agrees, holds no pickle and leaves nothing behind."""

from __future__ import annotations

import builtins
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import renascent.results.export as module
from renascent.core.errors import MissingExtra, UserError
from renascent.nets.cells.nats import NatsTopology
from renascent.results.export import export

SPACE = NatsTopology(channels=4, cells=1, nodes=3)
EMPTY = "|none~0|+|none~0|none~1|"
HALF = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|"
SHAPE = (3, 8, 8)


def network(text: str, *, prune: bool = False) -> nn.Module:
    torch.manual_seed(0)
    net = SPACE.network(SPACE.space.parse(text), 3, 10, prune=prune)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):  # statistics that differ by channel, as after training
            nn.init.uniform_(m.running_mean, -1, 1)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return net


def random_cells(count: int) -> list[str]:
    rng = np.random.default_rng(3)
    return [SPACE.space.format(SPACE.space.sample(rng)) for _ in range(count)]


class Plain(nn.Module):
    """A user's own module, not written for this package."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(2))
        self.net(torch.zeros(1, *SHAPE))
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


CASES = [(EMPTY, False), (EMPTY, True), (HALF, True), *((text, k == 1) for k, text in enumerate(random_cells(2)))]


@pytest.mark.parametrize(("text", "prune"), CASES)
def test_pt2_repeats_the_network_at_another_batch(tmp_path: Path, text: str, prune: bool) -> None:
    net = network(text, prune=prune).eval()
    loaded = torch.export.load(export(net, SHAPE, tmp_path / "net.pt2")).module()
    x = torch.randn(7, *SHAPE)
    torch.testing.assert_close(loaded(x), net(x))
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt2"]


@pytest.mark.parametrize(("text", "prune"), CASES[1:3])
def test_onnx_repeats_the_network_at_another_batch(tmp_path: Path, text: str, prune: bool) -> None:
    ort = pytest.importorskip("onnxruntime")
    net = network(text, prune=prune).eval()
    session = ort.InferenceSession(export(net, SHAPE, tmp_path / "net.onnx"))
    assert session.get_inputs()[0].shape == ["batch", *SHAPE]
    assert str(Path(module.__file__).parent).encode() not in (tmp_path / "net.onnx").read_bytes()
    x = torch.randn(7, *SHAPE)
    (got,) = session.run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), net(x), rtol=1e-4, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
def test_a_users_module_is_exported_and_stays_as_it_is(tmp_path: Path, name: str) -> None:
    net = Plain().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert export(net, SHAPE, tmp_path / name).exists()
    assert net.training
    assert net.net[1].training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())


def test_the_archive_holds_no_pickle_and_no_path_of_this_machine(tmp_path: Path) -> None:
    with zipfile.ZipFile(export(network(HALF), SHAPE, tmp_path / "net.pt2")) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    samples = [data for name, data in members.items() if "/sample_inputs/" in name]
    assert samples == [b""]
    assert not any(data.startswith(b"PK") or (data[:1] == b"\x80" and data.endswith(b".")) for data in members.values())
    configs = [json.loads(data)["config"] for name, data in members.items() if name.endswith("_config.json")]
    assert sum(map(len, configs)) > 10
    assert not any(meta["use_pickle"] for config in configs for meta in config.values())
    assert not any(str(Path(module.__file__).parent).encode() in data for data in members.values())


def test_a_weight_that_would_be_pickled_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        config = {"config": {"odd.weight": {"path_name": "weight_0", "use_pickle": True}}}
        archive.writestr("net/data/weights/model_weights_config.json", json.dumps(config))
    with pytest.raises(UserError, match=r"odd\.weight would be written as a pickle"):
        module._refuse_pickles(path)


def corrupt(load: Callable[[Path], Any], wrong: Callable[[Tensor], Tensor]) -> Callable[[Path], Any]:
    def loader(path: Path) -> Any:
        run = load(path)
        return lambda x: wrong(run(x))

    return loader


@pytest.mark.parametrize("wrong", [lambda y: y + 0.01 * y.abs().max(), lambda y: y * float("nan"), lambda y: y[:1]])
def test_a_file_that_disagrees_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Tensor], Tensor]
) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("what was there before")
    write, load = module.FORMATS[".pt2"]
    monkeypatch.setitem(module.FORMATS, ".pt2", (write, corrupt(load, wrong)))
    with pytest.raises(UserError, match="was not written") as caught:
        export(Plain(), SHAPE, path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "what was there before"
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt2"]


def test_a_file_cut_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(program: Any, path: Path, about: Any) -> None:
        write(program, path, about)
        path.write_bytes(path.read_bytes()[:1000])

    write, load = module.FORMATS[".pt2"]
    monkeypatch.setitem(module.FORMATS, ".pt2", (short, load))
    with pytest.raises(UserError, match="cannot be read again"):
        export(Plain(), SHAPE, tmp_path / "net.pt2")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("what was there before")
    assert zipfile.is_zipfile(export(Plain(), SHAPE, path))


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Infinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


@pytest.mark.parametrize(
    ("net", "name", "message"),
    [
        (Plain(), "net.pkl", r"cannot export to 'net\.pkl': give a name that ends in \.pt2 or \.onnx"),
        (Plain(), "net", "cannot export to 'net'"),
        (Plain(), "missing/net.pt2", "No such file or directory; give a folder that exists"),
        (Plain(), "file/net.pt2", "Not a directory"),
        (Plain(), "folder.pt2", "it is a folder"),
        (nn.Linear(3, 3), "net.pt2", r"Linear fails on inputs \(2, 3, 8, 8\): RuntimeError"),
        (Fixed(), "net.pt2", "Fixed cannot be exported"),
        (Branching(), "net.pt2", "Branching cannot be exported"),
        (Two(), "net.pt2", "Two returns a tuple: only one tensor"),
        (Infinite(), "net.pt2", "not finite"),
    ],
)
def test_export_bad_network_is_one_line(tmp_path: Path, net: nn.Module, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        export(net, SHAPE, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.pt2"]


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_import = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "onnxscript":
            raise ImportError(name)
        return plain_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'renascent\[onnx\]'"):
        export(Plain(), SHAPE, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def everything_heard() -> Iterator[None]:
    """Warnings are errors, and what the exporters log counts."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
def test_nothing_is_printed(
    tmp_path: Path, name: str, everything_heard: None, capfd: pytest.CaptureFixture[str]
) -> None:
    export(network(HALF).to(memory_format=torch.channels_last), SHAPE, tmp_path / name)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET

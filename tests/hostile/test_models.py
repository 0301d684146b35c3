"""Odd models at the command line: each goes, or is refused in one line that says what is wrong, with nothing left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LONGEST, held

ODD = Path(__file__).with_name("odd_models.py")

REFUSED = {
    "exits": "factory 'odd_models:exits' fails (SystemExit: 0)",
    "exits_with_text": "fails (SystemExit: the GPU is busy)",
    "quits": "fails (SystemExit: 7)",
    "generator_exit": "fails (GeneratorExit)",
    "stops": "fails (StopIteration: no more models)",
    "cancelled": "fails (CancelledError)",
    "own_error": "fails (Mine)",
    "asserts": "fails (AssertionError: first line)",
    "recurses": "fails (RecursionError",
    "no_memory": "fails (RuntimeError",
    "long_error": "fails (RuntimeError: xxx",
    "needs": "missing 1 required positional argument",
    "number": "makes int",
    "nothing": "makes NoneType",
    "a_class": "makes type",
    "generated": "makes generator",
    "NOT_A_MODULE": "cannot be called",
    "not_there": "has no 'not_there'",
    "scripted": "is TorchScript",
    "traced": "is TorchScript",
    "frozen_script": "is TorchScript",
    "partly_scripted": "is TorchScript",
    "parallel": "DataParallel",
    "quantised": "is no plain tensor",
    "extra_state": "is no plain tensor",
    "no_state": "has no state_dict (RuntimeError: secret)",
    "meta": "on the device meta",
    "lazy": "lazy layers",
    "frozen": "no weight of the model learns",
    "no_weights": "no part of the model can change",
    "empty": "returns a tensor [2, 1, 8, 8]",
    "without_gradient": "has no gradient",
    "detached": "has no gradient",
    "whole_numbers": "returns int64 numbers",
    "labels": "returns int64 numbers",
    "complex_numbers": "returns complex64 numbers",
    "not_finite": "not finite",
    "not_finite_weights": "not finite",
    "another_batch": "returns a tensor [4, 10] for 2 inputs",
    "one_row": "returns a tensor [1, 10] for 2 inputs",
    "always_two": "returns a tensor [2, 10] for 1 inputs",
    "a_map": "returns a tensor [2, 10, 1, 1]",
    "a_vector": "returns a tensor [2] for 2 inputs",
    "no_classes": "returns a tensor [2, 0]",
    "a_tuple": "returns a tuple",
    "a_dict": "returns a dict",
    "returns_none": "returns a NoneType",
    "two_of_one_batch": "fails on inputs of shape (3, 1, 8, 8)",
    "fails": "fails on inputs of shape (2, 1, 8, 8) (RuntimeError: no such thing)",
    "exits_inside": "(SystemExit: 0)",
    "generator_exit_inside": "(GeneratorExit)",
    "stops_inside": "(StopIteration)",
    "fails_while_training": "(RuntimeError: only in train())",
    "exits_while_training": "(SystemExit: 0)",
    "one_input_fails": "(1, 1, 8, 8) (RuntimeError: a single image)",
    "backward_fails": "fails while training (RuntimeError: no backward here)",
    "looks_at_values": "looks at values while it runs (bool)",
    "counts_values": "looks at values while it runs (int)",
    "changes_its_input": "changes its input in place",
    "writes_into_its_input": "changes its input in place",
    "recurses_inside": "(RecursionError",
    "uncopyable": "cannot be copied (TypeError",
    "weight_is_no_leaf": "cannot be copied (RuntimeError",
    "wants_other_channels": "expected input[2, 1, 8, 8] to have 3 channels",
    "wants_numbers": "fails on inputs of shape",
    "one_layer": "no part of the model can change",
    "everything_computed": "no part of the model can change",
}
"""Function of odd_models -> what is said of it."""

GOES = {
    "half": "100% of the MACs can change",
    "symbolic": "100% of the MACs can change",
    "hooked": "100% of the MACs can change",
    "shared": "100% of the MACs can change",
    "spectral": "100% of the MACs can change",
    "whole_parameters": "100% of the MACs can change",
    "lstm": "99% of the MACs can change",
    "bilinear": "98% of the MACs can change",
    "squeezed": "100% of the MACs can change",
    "one_by_one": "100% of the MACs can change",
    "volumes": "100% of the MACs can change",
    "mapped": "100% of the MACs can change",
    "fourier": "not counted: _fft_r2c",
    "padded": "100% of the MACs can change",
    "strided": "100% of the MACs can change",
    "distances": "100% of the MACs can change",
}

SEARCH = "--data digits --limit 100 --strategy rsps --epochs 1 --batch 32 --out run"


@pytest.fixture
def say(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """In a folder that holds the module odd_models."""
    shutil.copy(ODD, tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield say
    sys.modules.pop("odd_models", None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_model_is_refused_in_one_line(say: Any, tmp_path: Path, name: str) -> None:
    before, done = held(tmp_path), say(f"shrink odd_models:{name} --input 1,8,8 --dry-run")
    assert REFUSED[name] in done.refusal and len(done.refusal) <= LONGEST
    assert done.out == "" and held(tmp_path) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GOES)
def test_an_unusual_model_goes(say: Any, name: str) -> None:
    done = say(f"shrink odd_models:{name} --input 1,8,8 --dry-run")
    assert done.code == 0, done.err
    assert GOES[name] in done.out


def test_a_thread_that_fails_says_so_in_one_line(say: Any) -> None:
    done = say("shrink odd_models:threads --input 1,8,8 --dry-run")
    told = "warning: a thread that the model's code started has failed (RuntimeError: in a thread)"
    assert (done.code, done.err.splitlines()) == (0, [told])


@pytest.mark.parametrize("name", ["frozen", "labels", "double", "exits_while_training"])
def test_a_model_that_cannot_learn_is_refused_before_a_folder_is_made(say: Any, tmp_path: Path, name: str) -> None:
    assert say(f"shrink odd_models:{name} {SEARCH}").refusal
    assert not (tmp_path / "run").exists()


def test_a_budget_in_macs_that_are_not_known_is_refused(say: Any, tmp_path: Path) -> None:
    line = say(f'shrink odd_models:fourier {SEARCH} --budget "macs<=0.5x"').refusal
    assert "not known, of _fft_r2c: bound params or latency_ms" in line
    assert not (tmp_path / "run").exists()


# --- a run folder chooses no code


PLANTED = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nraise SystemExit('planted')\n"


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds odd_models.py and `run`, which shrank a model of it on this machine."""
    from renascent.cli.entry import main

    folder = tmp_path_factory.mktemp("shrunk")
    shutil.copy(ODD, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        assert main(["shrink", "odd_models:plain", *SEARCH.split()]) == 0
    sys.modules.pop("odd_models", None)
    return folder


@pytest.fixture
def elsewhere(shrunk: Path, say: Any, tmp_path: Path) -> Any:
    """Run command lines in a folder with a planted odd_models.py; say what it was when it did not run."""
    (tmp_path / "odd_models.py").write_text(PLANTED)

    def run(line: str) -> Any:
        sys.modules.pop("odd_models", None)
        done = say(line)
        assert not (tmp_path / "ran").exists()
        return done

    return run


def edited(shrunk: Path, target: Path, factory: str, unsealed: Any) -> Path:
    """Copy the run as an earlier version would have written it, and let it name another function."""
    shutil.copytree(shrunk / "run", target)
    for name in ("arch.json", "config.json"):
        text = (target / name).read_text()
        (target / name).write_text(text.replace('"odd_models:plain"', json.dumps(factory)))
    return unsealed(target)


def test_a_run_of_this_machine_goes_on_with_the_file_that_it_was_searched_with(shrunk: Path, elsewhere: Any) -> None:
    assert elsewhere(f"export {shrunk}/run --to pt2").code == 0
    assert elsewhere(f"report {shrunk}/run").code == 0


@pytest.mark.parametrize("factory", ["odd_models:plain", "os:abort", "os:_exit", "nt:exit", "x" * 10_000, ""])
def test_a_run_from_elsewhere_is_reported_and_its_factory_is_not_called(
    shrunk: Path, elsewhere: Any, tmp_path: Path, factory: str, unsealed: Any
) -> None:
    folder = edited(shrunk, tmp_path / "stolen", factory, unsealed)
    assert elsewhere(f"report {folder}").code == 0
    for line in (f"export {folder} --to pt2", f"fit {folder} --epochs 1"):
        line = elsewhere(line).refusal
        assert "was not searched by this user on this machine" in line and "--factory" in line
        assert len(line) <= LONGEST


def test_a_run_whose_folder_was_edited_is_not_confirmed(shrunk: Path, elsewhere: Any) -> None:
    path = shrunk / "run" / "arch.json"
    text = path.read_text()
    path.write_text(text.replace('"odd_models:plain"', '"os:abort"'))
    try:
        assert "arch.json is damaged (edited" in elsewhere(f"export {shrunk}/run --to pt2").refusal
    finally:
        path.write_text(text)


def test_a_file_that_changed_is_no_longer_confirmed(shrunk: Path, elsewhere: Any) -> None:
    text = (shrunk / "odd_models.py").read_text()
    (shrunk / "odd_models.py").write_text(text + "\n# a remark\n")
    try:
        assert "has changed since the search" in elsewhere(f"export {shrunk}/run --to pt2").refusal
    finally:
        (shrunk / "odd_models.py").write_text(text)


def test_a_factory_is_what_the_user_says(shrunk: Path, say: Any, tmp_path: Path, unsealed: Any) -> None:
    stolen = edited(shrunk, tmp_path / "stolen", "os:abort", unsealed)
    assert say(f"export {stolen} --to pt2 --factory odd_models:plain").code == 0
    gone = f"the model is no longer the one that was searched in {stolen}: put it back"
    assert gone in say(f"export {stolen} --to pt2 --factory odd_models:lstm").refusal
    assert gone in say(f"export {stolen} --to pt2 --factory odd_models:bilinear").refusal
    assert "fails (SystemExit: 0)" in say(f"export {stolen} --to pt2 --factory odd_models:exits").refusal


def test_without_a_home_the_factory_must_be_said(shrunk: Path, say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "add --factory" in say(f"export {shrunk}/run --to pt2").refusal
    assert say(f"export {shrunk}/run --to pt2 --factory odd_models:plain").code == 0


@pytest.mark.parametrize(
    ("factory", "words"), [("late", "ValueError: a mistake of mine"), ("leaves_late", "SystemExit: 0")]
)
def test_a_model_that_fails_when_it_is_trained_on_is_one_line(
    say: Any, tmp_path: Path, factory: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ODD, tmp_path)
    monkeypatch.delitem(sys.modules, "odd_models", raising=False)
    assert say(f"shrink odd_models:{factory} --data digits --limit 100 --batch 25 --epochs 1 --out run").code == 0
    line = say("fit run --epochs 1 --batch 17").refusal
    assert f"your own code fails ({words}), odd_models.py:" in line
    assert "in forward" in line


STRIDES = """
import torch
from renascent.nets.sizes.units import Unit

for channels in range(2, 9):
    unit = Unit(channels, 16, 1, 2).to(memory_format=torch.channels_last)
    x = torch.randn(32, channels, 8, 8).to(memory_format=torch.channels_last)
    unit(x).sum().backward()
"""


def test_a_pointwise_convolution_that_strides_does_not_end_the_process() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", STRIDES], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

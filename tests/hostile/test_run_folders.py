"""Run folders that are damaged in one place: one line, and nothing that a damaged file says is believed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from renascent.cli.entry import main
from renascent.core.errors import UserError
from renascent.core.schema import checked
from renascent.experiment.result import Result
from renascent.loops._drive import Means, _restore
from renascent.loops.run import Run, read_sessions
from renascent.loops.weightsfile import load_tree, save_tree
from renascent.results.facts import Session
from renascent.tasks.streams import Shuffled

pytestmark = pytest.mark.filterwarnings("ignore")

SEARCH = "search nats-topology --strategy gdas --data digits --channels 2 --cells 1 --limit 60 --batch 15 --epochs 1"
FIT = "fit run --epochs 1 --batch 15"
RESUME = f"{SEARCH} --out run --resume"
DEEP = "[" * 5000 + "]" * 5000


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search and a training, in `run`; the search of another seed in `other`."""
    place, home = tmp_path_factory.mktemp("finished"), Path.cwd()
    os.chdir(place)
    try:
        assert main(shlex.split(f"{SEARCH} --out run")) == main(shlex.split(FIT)) == 0
        assert main(shlex.split(f"{SEARCH} --out other --seed 1")) == 0
    finally:
        os.chdir(home)
    return place


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("run", "other"):
        shutil.copytree(finished / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return Path("run")


def put(path: Path, *keys: Any, to: Any) -> None:
    """Change one value of a JSON file."""
    facts = json.loads(path.read_text())
    node = facts
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = to
    path.write_text(json.dumps(facts))


def read(folder: Path) -> None:
    """Read all that a folder says."""
    result = Result.load(folder)
    _ = result.asked, result.training, result.epochs, result.training_epochs
    for session in read_sessions(folder):
        checked(Session, session, folder / "environment.json", "remove it")


def refused(work: Callable[[], object], *words: str) -> None:
    """Check that some work is refused in one line with some words."""
    with pytest.raises(UserError) as told:
        work()
    line = str(told.value)
    assert "\n" not in line
    assert len(line) < 1000
    assert all(word in line for word in words), line


# --- what a file says, where an earlier version sealed nothing


PLACES: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ("arch.json", ("channels",), (None, True, -1, 0, 2**70, "x", [], 1.5)),
    ("arch.json", ("size",), (None, 8, [8], [8, 8, 8], [8, -1], ["8", 8], {})),
    ("arch.json", ("classes",), (None, -5, "10", [10])),
    ("arch.json", ("seed",), (-1, 2**64, "0", None)),
    ("arch.json", ("search_score",), (float("nan"), float("inf"), "x", None, True)),
    ("arch.json", ("latency_ms",), (None, 3, {}, {"median_ms": "x"})),
    ("arch.json", ("arch",), (None, 3, "x", "", "|none~0|", "\ud800")),
    ("arch.json", ("space",), (None, "x", "os:abort", 3, "")),
    ("arch.json", ("space_config",), (None, [], {"x": 1}, {"channels": "x"}, {"nodes": -1}, {"operations": [3]})),
    ("config.json", ("task",), (None, 3, {}, {"name": 3}, [])),
    ("config.json", ("strategy",), (None, 3, [])),
    ("config.json", ("seed",), (None, "x", 1.5)),
    ("fit/result.json", ("scores",), (None, {}, [], {"test": "x"}, {"test": None})),
    ("fit/result.json", ("settings", "epochs"), (None, 0, -1, "x", 2**70)),
    ("fit/result.json", ("settings", "weights", "lr"), (None, -1, float("nan"), "x")),
    ("fit/result.json", ("random_cells",), (None, 3, [3], [{}], {})),
    ("environment.json", ("sessions",), (None, 3, {}, [3], [{}])),
    ("environment.json", ("sessions", 0, "command"), (None, 3, [3])),
]
HARMS = [(name, keys, value) for name, keys, values in PLACES for value in values]


@pytest.mark.parametrize(("name", "keys", "value"), HARMS, ids=range(len(HARMS)))
def test_a_value_of_another_kind_is_one_line(run: Path, unsealed: Any, name: str, keys: Any, value: Any) -> None:
    put(unsealed(run) / name, *keys, to=value)
    # what no space can be is said by the space
    refused(lambda: read(run), *([name] if keys[0] not in ("arch", "space", "space_config") else []))


@pytest.mark.parametrize("name", ["arch.json", "config.json", "environment.json", "fit/result.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", DEEP, '{"a": ' + DEEP + "}", "\xff", "9" * 5000])
def test_what_is_no_object_is_one_line(run: Path, name: str, text: str) -> None:
    (run / name).write_text(text, encoding="latin-1")
    refused(lambda: read(run), name)


@pytest.mark.parametrize("text", ["3", "[]", "{}", '{"event": 3}', '{"event": "epoch"}', DEEP, '{"event": "epo'])
def test_an_event_that_is_none_is_one_line(run: Path, unsealed: Any, text: str) -> None:
    (unsealed(run) / "events.jsonl").write_text(text + "\n")
    refused(lambda: read(run), "events.jsonl")


# --- what belongs together


@pytest.mark.parametrize("name", ["arch.json", "config.json", "data.json", "fit/result.json", "fit/config.json"])
def test_any_flipped_byte_is_noticed(run: Path, name: str) -> None:
    whole = (run / name).read_bytes()
    key = whole.find(b'"sha256": {')  # without it, a folder is one of before
    for place in (place for place in range(0, len(whole), 7) if not 0 <= place - key < 9):
        (run / name).write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        refused(lambda: read(run), "run/")


@pytest.mark.parametrize("name", ["arch.json", "config.json", "events.jsonl", "shared.safetensors"])
def test_a_file_of_another_run_is_refused(run: Path, name: str) -> None:
    shutil.copy(f"other/{name}", run / name)
    refused(lambda: Result.load(run).inherit(), "run/")


@pytest.mark.parametrize("name", ["shared.safetensors", "fit/weights.safetensors"])
def test_any_weight_that_changed_is_noticed(run: Path, name: str) -> None:
    held = load_file(run / name)
    first = next(iter(held))
    save_file(held | {first: held[first] + 1e-6}, run / name)
    result = Result.load(run)
    work = result.trained if name.startswith("fit") else result.inherit
    refused(work, f"the weights run/{name} are damaged, or of another run")


def test_a_folder_without_digests_is_read_as_before(run: Path, unsealed: Any) -> None:
    put(unsealed(run) / "config.json", "seed", to=5)
    read(run)
    result = Result.load(run)
    assert (result.asked.seed, result.about.seed) == (5, 0)
    assert result.trained() is not None
    assert result.inherit() is not None


@pytest.fixture
def begun(run: Path) -> Path:
    """A search whose steps are done, before its architecture is chosen."""
    for name in ("arch.json", "shared.safetensors", "report.html"):
        (run / name).unlink()
    shutil.rmtree(run / "fit")
    return run


def test_a_checkpoint_of_another_seed_is_refused(begun: Path) -> None:
    shutil.copy("other/checkpoint.safetensors", begun)
    refused_by_resume(begun, "was written beside another config.json")


def test_events_of_another_run_are_refused(begun: Path) -> None:
    shutil.copy("other/events.jsonl", begun)
    refused_by_resume(begun, "was written beside another events.jsonl")


def refused_by_resume(folder: Path, words: str) -> None:
    """Check that a run cannot be restored, nor anything of it changed by trying."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(lambda: Run(folder, {}).restore(), words)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


FORGED: list[tuple[Any, ...]] = [
    ("step", -5),
    ("step", 10**9),
    ("step", 0.5),
    ("step", True),
    ("step", None),
    ("seconds", -1.0),
    ("seconds", float("nan")),
    ("seconds", "x"),
    ("net", None),
    ("net", {}),
    ("net", "weight", torch.zeros(3)),
    ("net", "weight", 3),
    ("optimiser", []),
    ("optimiser", "param_groups", {}),
    ("stream", {"given": -1}),
    ("stream", {}),
    ("means", {"sums": 3, "counts": {}}),
    ("events_bytes", -1),
    ("events_bytes", "x"),
    ("events_bytes", 10**12),
    ("belongs", "x"),
    ("belongs", {}),
]


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: f"{forged[:-1]}-{str(forged[-1])[:12]}")
def test_a_checkpoint_that_says_what_cannot_be_is_refused(tmp_path: Path, forged: tuple[Any, ...]) -> None:
    """With a right checksum: of another version, or edited on purpose."""
    net = torch.nn.Linear(2, 2)
    stream = Shuffled(lambda picks, rng: (picks, picks), torch.arange(4), seed=0, batch=2)
    parts: dict[str, Any] = {
        "net": net,
        "optimiser": torch.optim.SGD(net.parameters()),
        "stream": stream,
        "means": Means(),
    }
    run = Run.start(tmp_path / "run", {})
    run.event("epoch", epoch=1)
    run.save({"step": 1, "seconds": 0.5, **{name: part.state_dict() for name, part in parts.items()}})
    assert _restore(run, parts, 4) == (1, 0.5)
    run.event("epoch", epoch=2)
    *keys, value = forged
    tree = load_tree(run.checkpoint)
    node = tree
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    save_tree(run.checkpoint, tree)
    before = run.events_file.read_bytes()
    refused(lambda: _restore(run, parts, 4), "run/")
    assert run.events_file.read_bytes() == before


def test_a_search_does_not_go_on_from_a_checkpoint_of_another(say: Any, begun: Path) -> None:
    shutil.copy("other/checkpoint.safetensors", begun)
    assert "run/checkpoint.safetensors was written beside another config.json" in say(RESUME).refusal


# --- what lies where a file should


@pytest.mark.parametrize("name", ["arch.json", "config.json", "environment.json", "fit/result.json", "events.jsonl"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_folder_or_a_pipe_is_no_file(run: Path, name: str, make: Callable[[Path], None]) -> None:
    (run / name).unlink()
    make(run / name)
    refused(lambda: read(run), f"{name} is no file")


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(
    begun: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(path: Any, *args: Any, **about: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("renascent.loops.weightsfile.open", forbidden, raising=False)
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: Permission denied") as told:
        Run(begun, {}).restore()
    assert "remove" not in str(told.value)


def test_a_folder_whose_name_is_no_text_is_read_and_written(begun: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(begun, odd)
    tree = Run(odd, {}).restore()
    assert tree is not None
    save_tree(odd / "checkpoint.safetensors", tree)
    assert list(load_tree(odd / "checkpoint.safetensors")) == list(tree)
    assert sorted(path.name for path in odd.iterdir()) == sorted(path.name for path in begun.iterdir())


def test_every_file_of_a_run_is_as_readable_as_the_others(run: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in run.rglob("*") if path.is_file()}
    assert set(modes.values()) == {modes["config.json"]}, modes

"""The command line, in this process: what it prints, writes and returns."""

import errno
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from renascent.cli.entry import main
from renascent.core.protocols import Loss
from renascent.experiment.recipes import RECIPES
from renascent.strategies import FAMILIES, STRATEGIES
from renascent.strategies.gdas import GDAS
from renascent.tasks import DATASETS
from renascent.tasks.images import ImageTask

SMALL = "--channels 4 --cells 1 --limit 200 --batch 32"
BARE = "search nats-topology --strategy gdas --data digits"
SEARCH = f"{BARE} {SMALL} --epochs 1"
LONGER = f"{BARE} {SMALL} --epochs 3"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(shlex.split(f"{SEARCH} --out {folder}")) == 0
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished search in the folder `run`."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


# --- what is printed and written


def test_search_prints_the_table_and_fills_the_folder(say: Any, tmp_path: Path) -> None:
    completed = say(SEARCH)
    folder = tmp_path / "runs" / "nats-topology-gdas-digits-0"
    assert completed.code == 0
    assert "search: epoch 1/1" in completed.err
    assert "search cost" in completed.out
    undecided = "The search stayed undecided: its policy's entropy is 1.609 nats at the end, 1.609 at the start"
    assert undecided in completed.out
    assert undecided.replace("'", "&#39;") in (folder / "report.html").read_text()
    assert "renascent fit runs/nats-topology-gdas-digits-0" in completed.out
    assert {"config.json", "environment.json", "events.jsonl", "arch.json", "data.json", "report.html"} <= {
        path.name for path in folder.iterdir()
    }
    arch = json.loads((folder / "arch.json").read_text())
    assert (arch["space"], arch["strategy"], arch["arch"][0]) == ("nats-topology", "gdas", "|")


def test_flags_reach_the_configuration_and_json_is_one_object(say: Any, tmp_path: Path) -> None:
    more = "--tau-start 5 --no-nesterov --lr 0.05 --operations none,nor_conv_3x3 --cutout 2 --seed 3 --no-flip"
    completed = say(f"{SEARCH} {more} --json --out a")
    facts = completed.facts
    assert completed.out.count("\n") == 1
    assert (facts["folder"], facts["space"], facts["strategy"], facts["fit"]) == ("a", "nats-topology", "gdas", None)
    assert facts["policy"]["entropy"]["start"] == pytest.approx(math.log(2))
    assert "a larger arch_lr (--arch-lr) than 0.003, or more epochs than 1" in facts["policy"]["undecided"]
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["strategy_config"]["tau_start"] == 5.0
    assert (config["weights"]["lr"], config["weights"]["nesterov"]) == (0.05, False)
    assert config["space_config"]["operations"] == ["none", "nor_conv_3x3"]
    assert config["task"]["augmentation"]["cutout"] == 2
    assert config["seed"] == 3


def test_recipe_sets_defaults_that_flags_override(say: Any, tmp_path: Path) -> None:
    line = f"search --recipe nats-topology-enas --data digits --split stratified {SMALL} --epochs 1"
    assert say(f"{line} --controller-steps 1 --controller-samples 2 --candidates 2 --enas-clip 1 --out a").code == 0
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["strategy"] == "enas"
    assert (config["strategy_config"]["controller_lr"], config["strategy_config"]["clip"]) == (1e-3, 1.0)
    assert (config["weights"]["lr"], config["weights"]["clip"]) == (0.025, 5.0)


def test_fit_trains_on_the_same_data_and_compares(say: Any, copy: Path) -> None:
    completed = say("fit run --epochs 1 --batch 64 --random-cells 1")
    assert completed.code == 0
    assert "random cell 1 of 1: test accuracy" in completed.err
    assert "test accuracy" in completed.out
    assert "1 cell trained identically" in completed.out
    settings = json.loads((copy / "fit" / "result.json").read_text())["settings"]
    assert (settings["epochs"], settings["weights"]["lr"]) == (1, 0.1)
    assert "train 100, val 100" in completed.err


def test_report_and_export(say: Any, copy: Path) -> None:
    assert say("report run --json").facts["report"] == "run/report.html"
    completed = say("export run --to pt2 --json")
    facts = completed.facts
    assert (facts["path"], facts["weights"]) == ("run/model.pt2", "search")
    assert (copy / "model.pt2").stat().st_size == facts["bytes"]


def test_list_names_everything(say: Any) -> None:
    facts = say("list --json").facts
    assert [row["name"] for row in facts["strategies"]] == list(STRATEGIES)
    assert [row["name"] for row in facts["without a search"]] == list(FAMILIES)
    assert [row["name"] for row in facts["data"]] == list(DATASETS)
    assert [row["name"] for row in facts["recipes"]] == list(RECIPES)
    assert all(row["about"] for rows in facts.values() for row in rows)
    assert all(
        row["paper"].startswith("arXiv:") for key in ("spaces", "strategies", "without a search") for row in facts[key]
    )
    assert say("--json list").facts == facts
    text = say("list").out
    assert all(name in text for name in [*STRATEGIES, *FAMILIES, *DATASETS, *RECIPES])


def test_help_shows_the_flags_of_what_is_named(say: Any) -> None:
    general, gdas = say("search --help").out, say("search nats-topology --strategy gdas --help").out
    assert "--tau-start" not in general
    assert "renascent search nats-topology --strategy gdas --data digits --help" in general
    assert all(
        name in general for name in [*STRATEGIES, *FAMILIES, *DATASETS, "--lr", "--limit", "--threads", "--json"]
    )
    assert all(name in gdas for name in ("--tau-start", "softmax temperature at the first step", "--channels"))
    assert "--hidden" not in gdas
    enas = say("search nats-topology --strategy enas --help").out
    assert "--hidden" in enas
    assert "--enas-clip" in enas
    assert "[default: cifar10]" in say("search --recipe nats-topology-gdas --help").out


def test_other_help_texts(say: Any) -> None:
    assert all(name in say("--help").out for name in ("search", "fit", "report", "export", "list"))
    assert all(name in say("fit --help").out for name in ("--random-cells", "--drop-path", "--lr-end", "--limit"))
    assert "[default: 12]" in say("fit --recipe nats-h0 --help").out
    assert "--to" in say("export --help").out
    assert say("--version").out.count(".") == 2
    assert say("").code == 0


# --- bad input: one line, exit code 2, nothing written


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("serch", ["unknown command 'serch'", "did you mean 'search'?"]),
        ("search", ["which space?", "nats-topology"]),
        ("search nats-topolgy --strategy gdas", ["unknown space", "did you mean 'nats-topology'?"]),
        ("search nats-topology", ["--data is missing", "digits"]),
        ("search nats-topology --strategy gads", ["unknown strategy", "did you mean 'gdas'?"]),
        ("search nats-topology --strategy gdas", ["--data is missing", "digits"]),
        ("search nats-topology --strategy gdas --data digit", ["unknown data set", "did you mean 'digits'?"]),
        ("search nats-topology --strategy gdas --data cifar10", ["cifar10 is not in", "--download"]),
        (
            "search nats-topology --strategy gdas --data imagenet16-120",
            ["imagenet16-120 is not in", "registered users"],
        ),
        (f"{SEARCH} --epochz 3", ["unknown flag --epochz", "did you mean --epochs?", "--strategy gdas --help"]),
        (f"{SEARCH} --hidden 3", ["--hidden is no flag of this search", "--strategy enas"]),
        (f"{SEARCH} --no-prune", ["unknown flag --no-prune"]),
        (f"{SEARCH} --drop-path 0.1", ["--drop-path", "of `renascent fit`"]),
        (f"{SEARCH} --seed -1", ["--seed is '-1'", "a whole number of at least 0"]),
        (f"{BARE} --batch 0", ["--batch is '0'", "a whole number of at least 1"]),
        (f"{SEARCH} --threads 1.5", ["--threads is '1.5'", "a whole number"]),
        (f"{SEARCH} --lr nan", ["--lr is 'nan'", "a number of at least 0"]),
        (f"{SEARCH} --lr", ["--lr needs a value"]),
        (f"{SEARCH} --lr 1 --lr 2", ["--lr is given twice"]),
        (f"{SEARCH} --resume=perhaps", ["--resume cannot be 'perhaps'"]),
        (f"{SEARCH} more", ["'more' is one word too many"]),
        (f"{SEARCH} --device warp", ["--device is 'warp': give auto, cpu, cuda"]),
        (f"{SEARCH} --nodes 1", ["a cell cannot have 1 nodes"]),
        (f"{SEARCH} --split offical", ["unknown split", "did you mean 'official'?"]),
        (f"{BARE} --limit 3", ["the limit is 3"]),
        (f"{SEARCH} --recipe nats-h0", ["one of `renascent fit`", "nats-topology-gdas"]),
        ("search --recipe nats-topology-gads", ["unknown recipe", "did you mean 'nats-topology-gdas'?"]),
        ("fit", ["which search?", "renascent fit DIR"]),
        ("fit nowhere", ["there is no folder nowhere"]),
        ("report .", ["there is no arch.json"]),
        ("export nowhere --to onxx", ["unknown format", "did you mean 'onnx'?"]),
        ("export nowhere", ["--to is missing"]),
        ("export nowhere --to onnx --path a.pt2", ["does not end in .onnx"]),
        ("--verbose", ["--verbose", "renascent --help"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(refused: Any, line: str, fragments: list[str]) -> None:
    refused(line, *fragments)


def test_errors_are_json_too(say: Any) -> None:
    completed = say("search nats-topology --strategy gads --json")
    assert completed.refusal == f"renascent: {json.loads(completed.out)['error']}"
    assert json.loads(completed.out)["exit_code"] == 2


def test_images_that_are_none(say: Any, tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "photos" / name / "1.png")
    (tmp_path / "photos" / "cats" / "notes.txt").write_text("not an image")
    message = say("search nats-topology --strategy gdas --data photos").refusal
    assert "no image that Pillow can read: cats/notes.txt" in message
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_remembered_from_elsewhere(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, shade in (("black", 0), ("white", 255)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8), shade).save(tmp_path / "photos" / name / f"{number}.png")
    line = "search nats-topology --strategy rsps --candidates 2 --data photos --channels 4 --cells 1 --epochs 1"
    assert say(f"{line} --out run").code == 0
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert say("fit ../run --epochs 1").code == 0


def test_existing_folder_needs_resume(say: Any, copy: Path) -> None:
    before = (copy / "arch.json").read_bytes()
    assert "run already holds a run: resume it (--resume), or use another folder" in say(f"{SEARCH} --out run").refusal
    assert (copy / "arch.json").read_bytes() == before


@pytest.mark.parametrize("killed", ["before the folder", "before the configuration"])
def test_resume_right_after_a_kill_begins(say: Any, tmp_path: Path, killed: str) -> None:
    if killed == "before the configuration":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json.part").write_text("{")
    done = say(f"{SEARCH} --out run --resume")
    assert (done.code, done.err.splitlines()[0]) == (0, "there is no run in run yet: it begins")


def test_resume_of_another_configuration(say: Any, copy: Path) -> None:
    message = say(f"{SEARCH} --out run --resume --lr 0.5").refusal
    assert "weights.lr was 0.025, now 0.5" in message
    assert "task." in say(f"{SEARCH.replace('200', '220')} --out run --resume").refusal


@pytest.mark.parametrize("harm", ["truncated", "edited"])
def test_damaged_checkpoint(say: Any, copy: Path, harm: str) -> None:
    """Of a search that has not ended; of one that has, nothing is read but the result."""
    path = copy / "checkpoint.safetensors"
    held = path.read_bytes()
    path.write_bytes(held[: len(held) // 2] if harm == "truncated" else held[:-1] + bytes([held[-1] ^ 1]))
    assert say(f"{SEARCH} --out run --resume").code == 0
    (copy / "arch.json").unlink()
    assert "is damaged (truncated or edited)" in say(f"{SEARCH} --out run --resume").refusal


def test_fit_twice_and_fit_of_changed_data(say: Any, copy: Path, unsealed: Any) -> None:
    unsealed(copy)
    held = json.loads((copy / "data.json").read_text())
    held["options"]["limit"] = 220
    (copy / "data.json").write_text(json.dumps(held))
    assert "no longer those of the search" in say("fit run --epochs 1").refusal
    (copy / "data.json").write_text(json.dumps({"data": "digits", "options": 3}))
    assert "run/data.json is damaged (options is 3, no ImageOptions)" in say("fit run --epochs 1").refusal
    (copy / "data.json").unlink()
    assert "give --data" in say("fit run --epochs 1").refusal
    assert not (copy / "fit").exists()
    assert say("fit run --epochs 1 --data digits --limit 200").code == 0
    assert "holds a training already: add --resume" in say("fit run --epochs 1 --data digits").refusal


@pytest.mark.parametrize(("change", "fragment"), [("--data digits --limit 220", "task."), ("--cutout 2", "cutout")])
def test_fit_resumed_on_other_data_is_refused(say: Any, copy: Path, change: str, fragment: str) -> None:
    assert "other data" not in say("fit run --epochs 1").out
    assert json.loads((copy / "fit" / "result.json").read_text())["task"] == "digits"
    message = say(f"fit run --epochs 1 --resume {change}").refusal
    assert f"{fragment}" in message.partition("another configuration (")[2]
    assert message.endswith("resume with the same settings, or remove run/fit or give another --name")


def test_fit_on_other_data_says_so(say: Any, copy: Path) -> None:
    completed = say("fit run --epochs 1 --data digits --limit 220")
    assert "(trained alone, 1 epoch; on other data than the search's: digits)" in completed.out


def test_damaged_result(say: Any, copy: Path) -> None:
    held = json.loads((copy / "arch.json").read_text())
    for harm, fragment in [
        ([], "no JSON object"),
        ({k: v for k, v in held.items() if k != "space_config"}, "damaged (space_config"),
        ({**held, "latency_ms": 3}, "damaged (latency_ms"),
        ({**held, "space_config": {"chanels": 4}}, "damaged ("),
    ]:
        (copy / "arch.json").write_text(json.dumps(harm))
        assert fragment in say("report run").refusal


def test_unfinished_search(say: Any, copy: Path) -> None:
    (copy / "arch.json").unlink()
    assert "has not finished" in say("fit run").refusal


def test_unwritable_folder(say: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = say(f"{SEARCH} --out file/run").refusal
    assert "cannot write file/run: Not a directory" in message
    assert "file is a file" in say(f"{SEARCH} --out file").refusal
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_full_disk(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    message = say(f"{SEARCH} --out run").refusal
    assert "No space left on device; free some space" in message
    assert list((tmp_path / "run").iterdir()) == []


def test_full_standard_output(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["list"]) == 2
    assert "cannot write to standard output: No space left" in capsys.readouterr().err


def test_nan_loss_at_once(say: Any) -> None:
    message = say(f"{LONGER} --lr 1e30").refusal
    assert "at step 1 of 9 (epoch 1)" in message or "at step 2 of 9 (epoch 1)" in message


def test_nan_loss_keeps_the_last_good_checkpoint(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, loss = [0], ImageTask.loss

    def poisoned(self: ImageTask, *args: Any, **kwargs: Any) -> Loss:
        calls[0] += 1
        good = loss(self, *args, **kwargs)
        return good._replace(loss=good.loss * float("nan")) if calls[0] > 8 else good

    monkeypatch.setattr(ImageTask, "loss", poisoned)
    message = say(f"{LONGER} --out run").refusal
    assert "at step 5 of 9 (epoch 2): stopped; the last good checkpoint is run/checkpoint.safetensors" in message
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert say(f"{LONGER} --out run --resume").code == 0


# --- interruption


def test_ctrl_c_saves_and_says_how_to_go_on(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step, line = GDAS.step, f"{LONGER} --out 'my run'"

    def interrupted(self: GDAS, state: Any, data: Any, t: Any) -> Any:
        if t.step == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, state, data, t)

    with monkeypatch.context() as patch:
        patch.setattr(GDAS, "step", interrupted)
        completed = say(line)
    assert completed.code == 130
    last = completed.err.splitlines()[-1]
    assert last.startswith("renascent: interrupted after step 2 of 9")
    command = last.partition("renascent search")[2]
    assert command.endswith("--out 'my run' --resume")
    assert say(f"search {command}").code == 0


def test_ctrl_c_before_there_is_a_folder(say: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("renascent.cli.work.running.load", load)
    completed = say(f"{SEARCH} --json")
    assert completed.code == 130
    assert completed.err == "renascent: interrupted\n"
    assert json.loads(completed.out)["exit_code"] == 130
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_after_the_last_step(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def derive(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GDAS, "derive", derive)
        completed = say(f"{SEARCH} --out run")
    assert completed.code == 130
    command = completed.err.splitlines()[-1].removeprefix("renascent: interrupted; to go on: renascent ")
    assert command == f"{SEARCH} --out run --resume"
    assert say(command).code == 0


def test_exit_code_reaches_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "renascent", "search", "nats-topolgy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("renascent: unknown space 'nats-topolgy': did you mean 'nats-topology'?")
    assert done.stderr.count("\n") == 1

"""`renascent shrink`: from a function that makes a model to a smaller one, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from renascent.cli.commands.shrink import command
from renascent.experiment.result import Result
from renascent.nets.adapt import Adapted

BLOCK = Path(__file__).parents[2] / "data" / "block.py"

CODE = (
    BLOCK.read_text()
    + """


class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)

    def forward(self, x):
        x = self.conv(x)
        return self.fc(-x.mean((2, 3)) if x.mean() > 0 else x.mean((2, 3)))


def small():
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), Block(), Block(), *head)


def wide():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(576, 10))


def fails():
    raise RuntimeError("no weights here")


def number():
    return 3
"""
)

SEARCH = "--data digits --limit 200 --strategy rsps --epochs 1 --batch 32"


@pytest.fixture
def say(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """In a folder that holds the module `mine`."""
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield say
    sys.modules.pop("mine", None)


def test_a_dry_run_shows_what_can_be_searched_and_needs_no_data(say: Any) -> None:
    completed = say("shrink mine:small --input 1,8,8 --dry-run")
    assert completed.code == 0
    lines = {line.split("  ")[0]: line for line in completed.out.splitlines()}
    assert "8, 16" in lines["0"]
    assert "0, 1, 2" in lines["depth.1"] and "left out from the last: 1, 2" in lines["depth.1"]
    assert "the model's output" in lines["5"]
    assert "100% of the MACs can change" in completed.out
    assert "the input could be 4, too: add --resolution" in completed.out
    told = say("shrink mine:small --input 1,8,8 --dry-run --resolution --multiple 4 --no-depth --json").facts
    options = {row["name"]: row["options"] for row in told["rows"]}
    assert options == {"resolution": [4, 8], "0": [4, 8, 12, 16], "5": []}
    assert told["smaller_inputs"] == []
    assert told["expected"][0].startswith("a search by fbnetv2 costs about ")
    assert say("shrink mine:small --input 1,8,8 --dry-run --strategy uniform --json").facts["expected"] == []
    assert not Path("runs").exists()


def test_a_model_is_shrunk_from_its_trained_weights(say: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sys.path.insert(0, str(tmp_path))
    import mine

    model = mine.small()
    save_file(model.state_dict(), "trained.safetensors")
    completed = say(f"shrink mine:small --weights trained.safetensors {SEARCH} --out run --json")
    facts = completed.facts
    assert "what changes, or why nothing does" in completed.err
    held = facts["space_config"]
    assert (held["factory"], held["shape"], held["multiple"]) == ("mine:small", [1, 8, 8], 8)
    assert held["weights"] == str(tmp_path / "trained.safetensors")

    space = Adapted(**{key: tuple(v) if isinstance(v, list) else v for key, v in held.items()})
    result = Result.load("run", space)
    assert result.arch in set(space.space)
    net = result.inherit().eval()
    assert {type(module).__module__.split(".")[0] for module in net.modules()} <= {"torch", "mine"}

    names: dict[str, Any] = {}
    exec(Path("run/shrink_model.py").read_text(), names)
    plain = names["shrink"](mine.small())
    plain.load_state_dict(load_file("run/shared.safetensors"))
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(plain.eval()(x), net(x))

    assert say("fit run --init shared --epochs 2").code == 0
    trained = json.loads(Path("run/fit/config.json").read_text())["settings"]
    assert (trained["weights"]["lr"], trained["warmup"], trained["batch"]) == (0.03, 1, 64)


def test_a_search_is_the_first_part_of_the_training(say: Any, refused: Any, tmp_path: Path) -> None:
    sys.path.insert(0, str(tmp_path))
    import mine

    save_file(mine.small().state_dict(), "trained.safetensors")
    line = f"shrink mine:small --weights trained.safetensors {SEARCH} --out run"
    refused(f"{line} --finish 0", "--finish is '0': give a whole number of at least 1")
    refused(f"{line} --sandwich -1", "--sandwich is '-1': give a whole number from 0 to 64")
    line += " --sandwich 1"
    done = say(f"{line} --finish 2")
    assert done.code == 0, done.err
    assert "search: chose" in done.err and "training: epoch 2/2" in done.err
    assert "(trained alone, 2 epochs behind 1 of the search on one schedule, from the search's weights, " in done.out
    assert "taught by reference" in done.out and "of training behind it" in done.out
    assert "next: renascent export run --to onnx; run/shrink_model.py shrinks" in done.out
    page = Path("run/report.html").read_text()
    assert "training behind the search" in page and "1903.05134" in page
    assert say(f"{line} --finish 2 --resume").out == done.out
    assert "finish was 2, now None" in say(f"{line} --resume").refusal
    assert "holds a training already" in say("fit run").refusal
    small = Result.load("run", model=mine.small).trained()
    plain = {"weights": load_file("run/fit/weights.safetensors"), "net": small.state_dict()}
    assert all(torch.equal(plain["weights"][name], value) for name, value in plain["net"].items())

    Path("run/fit/result.json").unlink()
    assert say("report run").code == 0
    told = "has reached epoch 2 of 2; to go on with it: repeat the search&#39;s command with --resume"
    assert told in Path("run/report.html").read_text()


def test_a_model_that_changed_since_is_told(say: Any, refused: Any, tmp_path: Path) -> None:
    sys.path.insert(0, str(tmp_path))
    import mine

    save_file(mine.small().state_dict(), "trained.safetensors")
    line = f"shrink mine:small --weights trained.safetensors {SEARCH} --out run"
    assert say(line).code == 0
    state = load_file("trained.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in state.items()}, "trained.safetensors")
    gone = "the model is no longer the one that was searched in run: put it back"
    refused("fit run --epochs 1 --teacher reference", gone)
    assert "run was started with another configuration (model was '" in say(f"{line} --resume").refusal


def test_an_interrupted_run_goes_on_and_a_finished_one_is_not_repeated(say: Any) -> None:
    line = f"shrink mine:small {SEARCH} --out run"
    assert say(line).code == 0
    first = json.loads(Path("run/arch.json").read_text())
    assert say(line).code == 2
    assert say(f"{line} --resume").code == 0
    again = json.loads(Path("run/arch.json").read_text())
    timed = {"latency_ms", "search_seconds"}
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in first.items() if k not in timed}


def test_a_model_without_depthwise_convolutions_is_scaled_unless_a_search_is_asked_for(say: Any) -> None:
    line = "shrink mine:small --multiple 4 --data digits --limit 200 --budget 'macs<=0.5x' --no-flip"
    dry = say(f"{line} --input 1,8,8 --dry-run --json").facts["expected"]
    done = say(f"{line} --json")
    assert done.facts["strategy"] == "uniform" and done.facts["folder"] == "runs/shrink-uniform-digits-0"
    assert len(dry) == 1 and dry[0].startswith("nothing is searched: measured on ResNet-20") and dry[0] in done.err
    assert say(f"{line} --resume --json").facts["arch"] == done.facts["arch"]
    assert done.facts["arch"] == say(f"{line} --strategy uniform --depth --out named --json").facts["arch"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", None),
        ("--no-flip --seed=3 --batch 8 --out there --json --threads 1 --order magnitude --least 0.5", None),
        ("--epochs 3", "fbnetv2"),
        ("--finish=2", None),
        ("--finish=2 --epochs 3", "fbnetv2"),
        ("--no-depth", None),
        ("--depth", "fbnetv2"),
        ("--resolution", "fbnetv2"),
        ("--no-bf16", "fbnetv2"),
        ("--order given", "fbnetv2"),
        ("--order=given", "fbnetv2"),
        ("--arch-lr 0.1", "fbnetv2"),
        ("--lr 0.1", "fbnetv2"),
        ("--help", "fbnetv2"),
        ("--epochs 3 --strategy uniform", "uniform"),
    ],
)
def test_flags_of_a_search_ask_for_one(words: str, name: str | None) -> None:
    made = command(["mine:small", "--data", "digits", "--budget", "macs<=0.5x", *words.split()])
    assert made.chosen == (["--strategy", name] if name else [])
    assert ("strategy" in made.parts) == bool(name)


@pytest.mark.parametrize("named", ["--strategy nes", ""])
def test_a_budget_is_kept_by_the_strategy_that_is_named_or_the_default(say: Any, named: str) -> None:
    completed = say(
        f"shrink mine:small {SEARCH.replace('--strategy rsps', named)} --budget 'macs<=0.5x' --out run --json"
    )
    facts = completed.facts
    assert facts["strategy"] == ("nes" if named else "fbnetv2")
    whole = Adapted(factory="mine:small", shape=(1, 8, 8))
    assert facts["macs"] <= 0.5 * whole.macs.exact(whole.space.indices(whole.reference)[None])[0]
    completed = say(f"shrink mine:small {SEARCH} --budget 'macs<=0.0001x' --out other")
    assert completed.code == 3
    assert "no architecture" in completed.err.splitlines()[-1]
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("shrink", ["which model?", "renascent shrink"]),
        ("shrink mine:small", ["--input is missing"]),
        ("shrink mine:small --input 1,8,8", ["--data is missing", "digits"]),
        (f"shrink mine {SEARCH}", ["factory 'mine' is no function", "package.module:function"]),
        (f"shrink mine:smal {SEARCH}", ["module 'mine' has no 'smal'"]),
        (f"shrink absent:small {SEARCH}", ["module 'absent'", "cannot be imported"]),
        (f"shrink mine:fails {SEARCH}", ["factory 'mine:fails' fails (RuntimeError: no weights here)"]),
        (f"shrink mine:number {SEARCH}", ["makes int", "torch.nn.Module"]),
        (f"shrink mine:small {SEARCH} --input 1,8", ["--input is '1,8': give channels, height and width"]),
        (f"shrink mine:small {SEARCH} --input 1,a,8", ["--input is '1,a,8'"]),
        (f"shrink mine:small {SEARCH} --input 3,8,8", ["the model fails on inputs of shape (2, 3, 8, 8)"]),
        (f"shrink mine:small {SEARCH} --input 1,16,16", ["the data are 1,8,8 and --input is 1,16,16"]),
        (f"shrink mine:wide {SEARCH} --input 3,8,8", ["the data have 1 channels", "the model takes 3 channels"]),
        (f"shrink mine:small {SEARCH} --weights absent.safetensors", ["cannot be read"]),
        (f"shrink mine:small {SEARCH} --order random", ["unknown order 'random'", "magnitude, given"]),
        (f"shrink mine:wide {SEARCH} --input 3,8,8 --resolution", ["takes no smaller inputs than 8 x 8"]),
        (
            "shrink mine:small --data digits --budget macs<=0.5x --strategy uniform --epochs 7",
            ["--epochs is of a search, and --strategy uniform makes none", "--finish EPOCHS"],
        ),
        (f"shrink mine:small {SEARCH} --budget macs=3", ["budget 'macs=3' cannot be read"]),
        (f"shrink mine:small {SEARCH} --budget ''", ["an empty word after --budget"]),
        ("shrink mine:small --data digits --strategy rspss", ["unknown strategy", "did you mean 'rsps'?"]),
        ("shrink mine:small --data digitz --strategy rsps", ["unknown data set", "digits"]),
    ],
)
def test_shrink_bad_input_is_one_line_and_exit_2(refused: Any, line: str, words: list[str]) -> None:
    refused(line, *words)


@pytest.mark.parametrize("more", ["--dry-run", SEARCH])
def test_an_untraceable_model_gives_the_table_and_a_refusal(say: Any, more: str) -> None:
    completed = say(f"shrink mine:Looks --input 1,8,8 {more}")
    assert completed.code == 2
    *table, refusal = completed.err.splitlines()
    assert refusal.startswith("renascent: the model looks at values while it runs")
    assert [line.split()[0] for line in table[:-1]] == ["decision", "conv", "fc"]
    assert "the operations" not in completed.out


def test_its_help_lists_every_flag(say: Any) -> None:
    completed = say("shrink --strategy rsps --help")
    assert completed.code == 0
    for flag in ("--input", "--budget", "--weights", "--resolution", "--dry-run", "--candidates"):
        assert flag in completed.out


def test_a_model_is_scaled_without_a_search_in_what_its_flags_let_change(say: Any) -> None:
    def scaled(flags: str) -> Any:
        return say(f"shrink mine:small --data digits --limit 120 --multiple 4 --json {flags}")

    more = scaled("--strategy uniform --depth --resolution --budget macs<=0.5x,params<=0.9x --out all").facts
    assert more["arch"] == "resolution=8,depth.1=1,0=12"  # the next step of all is that of depth
    strongest = scaled("--strategy magnitude --budget macs<=0.5x --out strongest").facts
    assert strongest["arch"] == "depth.1=2,0=8"
    assert Path("strongest/shrink_model.py").exists()
    assert {json.loads(Path(run, "config.json").read_text())["epochs"] for run in ("all", "strongest")} == {0}


@pytest.mark.parametrize(
    ("words", "moved"), [("", (False, False)), ("--depth", (True, False)), ("--resolution", (False, True))]
)
def test_uniform_scales_what_is_named(words: str, moved: tuple[bool, bool]) -> None:
    uniform = command(["mine:small", "--strategy", "uniform", *words.split()]).parts["strategy"].settings
    assert (uniform.depth, uniform.resolution) == moved

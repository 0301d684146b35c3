"""`renascent shrink` beside scaling: the command that trains the scaled network as long, and what a dry run says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

BLOCK = Path(__file__).parents[2] / "data" / "block.py"

CODE = (
    BLOCK.read_text()
    + """


def of(*blocks):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), *blocks, *head)


def deep():
    return of(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), Block(), Block())


def misfit():
    # trained, with statistics that do not fit the images
    import torch
    from sklearn.datasets import load_digits

    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float().reshape(-1, 1, 8, 8) / 16
    torch.manual_seed(0)
    net = of(Block())
    learns = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(25):
        learns.zero_grad()
        nn.functional.cross_entropy(net(images[:600]), labels[:600]).backward()
        learns.step()
    net[1].running_mean.fill_(3.0)
    return net


def flat():
    return of(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)), nn.ReLU())
"""
)


@pytest.fixture
def say(say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """In a folder that holds the module `models`."""
    (tmp_path / "models.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import models

    torch.manual_seed(0)
    weights = models.flat().state_dict()
    weights["4.weight"][:8] *= 0.01  # channels that pruning takes first, and scaling does not
    save_file(weights, tmp_path / "flat.safetensors")
    yield say
    sys.modules.pop("models", None)


@pytest.mark.parametrize(
    ("model", "more", "less"),
    [
        ("deep", "--strategy magnitude", ""),
        ("flat", "--strategy magnitude", ""),
        ("deep", "--strategy magnitude --resolution", "--resolution"),
        (
            "deep",
            "--epochs 1 --strategy rsps --candidates 3 --sandwich 1",
            "--epochs, --sandwich and the flags of rsps",
        ),
        ("flat", "--strategy nes --score agreement --order given --epochs 1", "--epochs, --score and --order"),
    ],
)
def test_the_command_that_trains_uniform_scaling_as_long_does_that(say: Any, model: str, more: str, less: str) -> None:
    weights = "--weights flat.safetensors" if model == "flat" else ""
    line = f"shrink models:{model} {weights} --data digits --limit 120 --multiple 2 --least 0.1 --budget macs<=0.4x"
    facts = say(f"{line} {more} --finish 1 --out found --json").facts
    said = facts["beside_uniform"]["note"].split("the same command with ")[1]
    words, rest = said.split(" and another --out")
    assert words.startswith("--strategy uniform") and words.endswith(f"--finish {1 + ('--epochs' in more)}")
    assert rest.startswith(f", without {less}, trains" if less else " trains")
    alone = say(f"{line} {words} --out alone --json").facts
    wanted = json.loads(Path("found/arch.json").read_text())["uniform"]["arch"]
    assert alone["arch"] == wanted.removeprefix("resolution=8,")
    assert "beside_uniform" not in alone


def test_a_dry_run_says_what_a_budget_leaves(say: Any) -> None:
    line = "shrink models:deep --input 1,8,8 --dry-run --budget"
    told = say(f"{line} macs<=0.4x --json").facts
    assert told["budget"]["macs"]["limit"] == 0.4 * told["budget"]["macs"]["reference"]
    assert "limit" in say(f"{line} macs<=0.4x").out
    kept = say(f"{line} macs<=2x --json").facts["expected"]
    assert len(kept) == 1 and kept[0].endswith("keeps this budget already: it needs no search")
    least = say(f"{line} macs<=0.0001x")
    assert least.code == 3 and "no architecture of space 'adapted' has macs" in least.err
    assert say(f"{line} latency_ms<=0.5x --json").facts["budget"] == {}


def test_what_is_scaled_unasked_is_trained_on_with_finish(say: Any) -> None:
    done = say("shrink models:flat --data digits --limit 120 --budget macs<=0.5x --finish 1 --out both --json")
    assert done.facts["strategy"] == "uniform" and done.facts["fit"]["settings"]["epochs"] == 1
    assert "nothing is searched" in done.err


def test_a_model_in_its_own_budget_keeps_its_answers(say: Any) -> None:
    """Nothing was trained and nothing is smaller: its statistics are those it came with, even where they fit badly."""
    for name in ("deep", "misfit"):
        facts = say(f"shrink models:{name} --data digits --limit 400 --budget macs<=1x --json --out {name}").facts
        original = json.loads(Path(f"{name}/arch.json").read_text())["original"]
        assert facts["strategy"] == "uniform" and original["found"] == original["score"]


def test_to_compare_uniform_scaling_with_itself_trains_nothing_and_says_so(say: Any) -> None:
    line = "models:deep --data digits --limit 120 --budget macs<=0.5x"
    assert say(f"shrink {line} --out scaled").code == 0
    done = say("fit scaled --init shared --epochs 1 --uniform")
    assert "the network that uniform scaling gives: no other is trained beside it" in done.err


def test_a_result_is_compared_with_the_model_pruned_by_magnitude(say: Any) -> None:
    line = "models:flat --weights flat.safetensors --data digits --limit 120 --multiple 2 --budget macs<=0.4x"
    assert say(f"shrink {line} --strategy rsps --candidates 1 --epochs 1 --out found").code == 0
    alone, even = (
        say(f"shrink {line} --strategy {name} --out {name} --json").facts["arch"] for name in ("magnitude", "uniform")
    )
    done = say("fit found --init shared --epochs 1 --magnitude --json").facts
    beside, own = done["fit"]["magnitude"], done["fit"]["scores"]["test"]
    assert beside["arch"] == alone != even and beside["init"] == "model"
    told = done["beside_magnitude"]["test"]
    assert told == {"result": own, "magnitude": beside["test"], "difference": own - beside["test"]}
    words = say("report found").out
    assert "magnitude pruning" in words and f"{100 * beside['test']:.2f} % (trained identically, but from" in words
    assert "magnitude pruning" in Path("found/report.html").read_text()
    said = say("fit magnitude --init shared --epochs 1 --magnitude")
    assert "the network that magnitude pruning gives: no other is trained beside it" in said.err
    assert (
        say("search resnet20 --layers-count 8 --data digits --limit 120 --epochs 1 --budget macs<=0.9x --out r8").code
        == 0
    )
    assert "leave magnitude out" in say("fit r8 --epochs 1 --magnitude").refusal


def test_fewer_random_baselines_than_asked_for_are_told_before_they_are_trained(say: Any) -> None:
    assert say("shrink models:deep --data digits --limit 120 --budget macs<=0.0925x --out least").code == 0
    done = say("fit least --init shared --epochs 1 --random-cells 9 --json")
    count = len(done.facts["fit"]["random_cells"])
    assert count < 9 and f"{count} random baselines for the 9 asked for" in done.err

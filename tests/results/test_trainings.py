"""Several trainings of one result: where they lie, which one is meant, and how they compare."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import renascent as rn
from renascent.core.errors import UserError
from renascent.experiment.result import Result

BEFORE = Path(__file__).parents[1] / "data" / "before" / "cell"


@pytest.fixture(scope="module")
def task() -> Any:
    return rn.load_task("digits", options=rn.ImageOptions(limit=60))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, task: Any) -> Path:
    """A search whose network was trained twice, as `long` and as `slow`, which ended last."""
    folder = tmp_path_factory.mktemp("trainings") / "run"
    space = rn.NatsTopology(channels=2, cells=1, nodes=3)
    found = rn.search(space, rn.RSPS(candidates=2), task, epochs=1, batch=32, out=folder)
    found.fit(task, rn.Fit(epochs=2, batch=32), name="long")
    found.fit(task, rn.Fit(epochs=1, batch=32, weights=rn.WeightRule(lr=0.001)), name="slow")
    os.utime(folder / "fits" / "long" / "result.json", (1e9, 1e9))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Result:
    return Result.load(shutil.copytree(made, tmp_path / "run"))


def test_an_older_folder_has_its_training_as_before(tmp_path: Path) -> None:
    result = Result.load(BEFORE)
    assert (result.training_name, result.fit_folder) == (None, BEFORE / "fit")
    assert result.named(None).training == result.training == result.trainings[None]
    assert "trainings of this network" not in str(result)


def test_several_lie_beside_each_other_and_one_is_named(run: Result) -> None:
    assert list(run.trainings) == ["long", "slow"]
    assert not (run.folder / "fit").exists()
    assert run.training == run.named("slow").training  # which ended last
    long, slow = (run.named(name).trained().state_dict() for name in ("long", "slow"))
    assert any(not torch.equal(long[key], slow[key]) for key in long)


def test_which_is_meant_has_to_be_said(run: Result, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "dark.png")
    for ask in (run.trained, lambda: run.export(tmp_path / "x.pt2"), lambda: run.predict(tmp_path / "dark.png")):
        with pytest.raises(UserError, match=r"holds several trainings: name one of long, slow \(`name`\)"):
            ask()
    with pytest.raises(UserError, match="'lnog': did you mean 'long'"):
        run.named("lnog")
    said = [run.predict(tmp_path / "dark.png", name=name)[0].probabilities for name in ("long", "slow")]
    assert said[0] != said[1]
    shutil.rmtree(run.folder / "fits" / "slow")
    assert run.predict(tmp_path / "dark.png")[0].probabilities == said[0]  # the only one


def test_the_one_without_a_name_is_meant_where_there_is_one(run: Result) -> None:
    shutil.copytree(run.folder / "fits" / "long", run.folder / "fit")
    assert (run.training_name, run.named(None).name) == (None, None)
    assert run.training == run.trainings["long"]
    assert list(run.trainings) == [None, "long", "slow"]


def test_a_training_that_has_not_ended_is_told_of_and_not_taken(run: Result) -> None:
    (run.folder / "fits" / "slow" / "result.json").unlink()
    assert run.training_name == "long"
    with pytest.raises(UserError, match=r"the training 'slow' in .* has not finished"):
        run.named("slow")
    page, again = run.report().read_text(), f"renascent fit {run.folder} --name slow --resume"
    told = "The training &#39;slow&#39; of the found network has reached epoch 1 of 1; to go on with it: "
    assert told + again in page


def test_they_are_compared_in_terminal_and_page(run: Result) -> None:
    lines = str(run).splitlines()
    start = lines.index("trainings of this network")
    table = {line[:20].strip(): line[20:].split() for line in lines[start + 1 : start + 9]}
    scores = [f"{100 * t.scores['test']:.2f}" for t in run.trainings.values()]
    assert table[""] == ["long", "slow"]
    assert [cell for cell in table["accuracy on test"] if cell != "%"] == scores
    assert table["epochs"] == ["2", "1"]
    assert table["weights.lr"] == ["0.1", "0.001"]
    assert table["parameters"][0] == table["parameters"][1] == f"{run.about.params:,}"
    assert "batch" not in table
    page = run.report().read_text()
    rows = page[page.index('<table id="trainings">') :].partition("</table>")[0]
    assert '<th>weights.lr</th><td class="number">0.1</td><td class="number">0.001</td>' in rows


def test_a_name_is_trained_once_and_no_path(run: Result, task: Any) -> None:
    with pytest.raises(UserError, match=r"already holds a run: resume it .* or give another `name`"):
        run.fit(task, rn.Fit(epochs=2, batch=32), name="long")
    with pytest.raises(UserError, match=r"name is '\.\./x': give up to 64 letters"):
        run.fit(task, name="../x")
    again = run.fit(task, rn.Fit(epochs=2, batch=32), name="long", resume=True)
    assert again.scores == run.trainings["long"].scores


def test_the_command_line_has_names(say: Any, run: Result, tmp_path: Path) -> None:
    facts = say("report run --name long --json").facts
    assert facts["fit"]["settings"]["epochs"] == 2
    assert [(t["name"], t["differs"]["epochs"]) for t in facts["trainings"]] == [("long", 2), ("slow", 1)]
    Image.new("L", (8, 8)).save(tmp_path / "dark.png")
    assert say("predict run dark.png").refusal.endswith("name one of long, slow (--name)")
    assert say("predict run dark.png --name long --json").facts["weights"] == "fit long"
    assert "fits/slow holds a training already: add --resume" in say("fit run --name slow").refusal
    done = say("fit run --data digits --limit 60 --epochs 1 --batch 32 --teacher run/fits/long --name taught --json")
    assert done.facts["fit"]["teacher"]["name"] == "run/fits/long"
    assert json.loads((run.folder / "fits" / "taught" / "result.json").read_text())["settings"]["epochs"] == 1

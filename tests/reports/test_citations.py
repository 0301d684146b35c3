"""A report cites exactly what was used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.nets import SPACES
from renascent.nets.cells.nats import NatsTopology
from renascent.reports.citations import citations
from renascent.strategies.gdas import GDAS
from renascent.tasks.augment import Augmentation
from renascent.tasks.images import ImageTask

OTHERS = ("1806.09055", "1802.03268", "1902.07638", "1910.05733", "1512.00567", "1605.07648", "1708.04552")


def searched(folder: Path, **options: Any) -> Result:
    torch.manual_seed(0)
    x, y = torch.rand(24, 1, 8, 8), torch.arange(24) % 3
    task = ImageTask.from_tensors(
        x, y, test=(x[:12], y[:12]), name="stripes", source="made <here>, https://a.example/x", **options
    )
    result = search(NatsTopology(channels=2, cells=1), GDAS(), task, epochs=1, batch=8, out=folder)
    result.fit(task, Fit(epochs=1, batch=8))
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, unsealed: Any) -> Path:
    return Path(unsealed(searched(tmp_path_factory.mktemp("runs") / "run").folder))


def edited(source: Path, target: Path, name: str, change: Callable[[Any], Any]) -> Result:
    """Return a copy of a run with one of its files changed."""
    path = Path(shutil.copytree(source, target)) / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return Result.load(target)


def told(result: Result) -> dict[str, str]:
    return {what: str(text) for what, text in citations(result)}


def test_only_what_was_used_is_cited(folder: Path) -> None:
    cited = told(Result.load(folder))
    assert list(cited) == ["strategy gdas", "space nats-topology", "data stripes"]
    assert "Dong and Yang, Searching for a Robust Neural Architecture" in cited["strategy gdas"]
    assert "arXiv:2001.00326" in cited["space nats-topology"]
    assert not any(other in " ".join(cited.values()) for other in OTHERS)


def test_papers_and_addresses_are_links_and_text_is_escaped(folder: Path) -> None:
    cited = told(Result.load(folder))
    assert '<a href="https://arxiv.org/abs/1910.04465">arXiv:1910.04465</a>' in cited["strategy gdas"]
    assert cited["data stripes"] == 'made &lt;here&gt;, <a href="https://a.example/x">https://a.example/x</a>'


def test_cutout_is_cited_once_used(tmp_path: Path) -> None:
    cited = told(searched(tmp_path / "run", augmentation=Augmentation(cutout=4)))["augmentation, cutout"]
    assert cited.startswith("DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout")
    assert "https://arxiv.org/abs/1708.04552" in cited


@pytest.mark.parametrize(
    ("option", "paper", "other"),
    [("label_smoothing", "1512.00567", "1605.07648"), ("drop_path", "1605.07648", "1512.00567")],
)
def test_an_option_of_training_is_cited_once_used(
    folder: Path, tmp_path: Path, option: str, paper: str, other: str
) -> None:
    result = edited(
        folder, tmp_path / "run", "fit/result.json", lambda f: f | {"settings": f["settings"] | {option: 0.1}}
    )
    cited = told(result)
    assert f"arXiv:{paper}" in cited[f"training, {option.replace('_', ' ')}"]
    assert other not in " ".join(cited.values())


def test_warm_restarts_are_cited_once_used(folder: Path, tmp_path: Path) -> None:
    def restarted(facts: Any) -> Any:
        facts["settings"]["weights"]["restart_epochs"] = 9
        return facts

    cited = told(edited(folder, tmp_path / "run", "fit/result.json", restarted))
    assert "arXiv:1608.03983" in cited["training, restart epochs"]


def test_a_strategy_and_a_task_of_the_users_own(folder: Path, tmp_path: Path) -> None:
    own = {"strategy": "Mine", "task": {"name": "cells"}}
    cited = told(edited(folder, tmp_path / "run", "config.json", lambda c: c | own))
    assert list(cited) == ["space nats-topology", "data cells"]
    assert cited["data cells"] == "given by the user"


def test_a_teacher_and_inherited_weights_are_cited_once_used(folder: Path, tmp_path: Path) -> None:
    teacher = {"teacher": {"name": "reference", "sha256": "0"}, "distillation": {}, "init": "reference"}
    cited = told(edited(folder, tmp_path / "run", "fit/result.json", lambda f: f | teacher))
    assert "Hinton, Vinyals and Dean" in cited["training, distillation"]
    assert "https://arxiv.org/abs/1503.02531" in cited["training, distillation"]
    assert "https://arxiv.org/abs/1905.09717" in cited["training, weights of the reference"]
    untaught = {"teacher": None, "init": "shared"}
    cited = told(edited(folder, tmp_path / "other", "fit/result.json", lambda f: f | untaught))
    assert not any(paper in " ".join(cited.values()) for paper in ("1503.02531", "1905.09717"))


@pytest.mark.parametrize(("name", "paper"), [("resnet20", "1905.09717"), ("mobilenet-v2", "1801.04381")])
def test_a_size_space_is_cited_by_its_papers(folder: Path, tmp_path: Path, name: str, paper: str) -> None:
    space = SPACES[name]()
    reference = space.space.format(space.reference)  # type: ignore[attr-defined]
    edited(folder, tmp_path / "run", "config.json", lambda c: c | {"space": name, "strategy": "tas"})
    facts = json.loads((tmp_path / "run" / "arch.json").read_text()) | {"space": name, "arch": reference}
    cited = told(Result(tmp_path / "run", facts, space))
    assert f"arXiv:{paper}" in cited[f"space {name}"]
    assert "arXiv:1905.09717" in cited["strategy tas"]

"""Strategies and spaces of other packages: by what is installed, and as module:Class; and whose code may run."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from renascent.cli.outlines import outline_of
from renascent.core.errors import UserError
from renascent.core.names import name_of
from renascent.core.source import arguments
from renascent.experiment.result import Result
from renascent.nets import OTHERS
from renascent.strategies import NAMED, STRATEGIES
from renascent.strategies.gdas import GDAS
from renascent.strategies.trials import MULTITRIAL

PACKAGE = Path(__file__).parent / "package"

SEARCH = "search {} --strategy {} --data digits --limit 100 --epochs 1 --channels 4 --arch-lr 0.1 --out run"

CLIMB = '''
"""Something else."""
from renascent.core.fields import Count, settings
from renascent.strategies.trials.random import RandomSearch
@settings
class Climb(RandomSearch):
    """Climb.

    Args:
        patience: failures in a row.
    """

    patience: Count = 10
'''

EVIL = "open('evil-ran', 'w').close()\nclass Activations: pass\n"


def rows(done: Any, group: str) -> dict[str, Any]:
    return {row["name"]: row for row in done.facts[group]}


@pytest.mark.usefixtures("package", "without_measuring")
def test_installed_package_is_listed_searched_reported_and_trained_as_ours(say, forget, unsealed, tmp_path):
    listed = say("list --json")
    assert rows(listed, "spaces")["activations"]["about"] == "Which activation follows each convolution."
    decided = rows(listed, "strategies")["decided"]
    assert (decided["paper"], decided["package"]) == ("arXiv:1806.09055", "activations 1.0")
    assert say(SEARCH.format("activations", "decided")).code == 0
    asked = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (asked["space"], asked["strategy"]) == ("activations:Activations", "activations:Decided")
    assert (asked["space_config"]["channels"], asked["strategy_config"]["arch_lr"]) == (4, 0.1)
    assert "arXiv:1806.09055" in (tmp_path / "run" / "report.html").read_text()
    assert say("fit run --epochs 1 --activations-channels 6").code == 2, "its own flags need no prefix"
    assert say("fit run --epochs 1 --channels 6 --limit 60").code == 0
    wider = Result.load("run").trained()
    assert wider[0].out_channels == 6

    forget()  # and it is installed no longer
    assert "'activations:Activations', which no installed package adds" in say("report run").refusal
    assert "module 'activations' cannot be imported" in say("report run --space activations:Activations").refusal
    shutil.copy(PACKAGE / "activations.py", tmp_path)
    assert "name that class yourself, as --space" in say("report run").refusal
    assert "activations" not in sys.modules, "a run folder chooses no code"
    for line in ("report run", "export run --to pt2", "predict run run", "fit run --resume"):
        assert "a run folder chooses no code" in say(line).refusal
    page = (tmp_path / "run" / "report.html").read_text()
    assert say("report run --space activations:Activations").code == 0
    assert (tmp_path / "run" / "report.html").read_text() == page, "what the strategy cites is kept"
    assert type(Result.load("run", "activations:Activations").trained()) is not None
    kind = sys.modules["activations"].Activations
    assert Result.load("run", kind).space == kind(channels=4) == Result.load("run", kind(channels=4)).space
    assert "name the class that was searched" in say("report run --space renascent.nets.toy:ToySpace").refusal


@pytest.mark.usefixtures("package", "without_measuring")
def test_module_and_class_make_the_same_run_as_installed_names(say, tmp_path):
    places = "activations:Activations", "activations:Decided"
    assert say(SEARCH.format(*places).replace("--out run", "")).code == 0
    folder = tmp_path / "runs" / "Activations-Decided-digits-0"
    assert say(SEARCH.format("activations", "decided").replace("--out run", f"--out {folder} --resume")).code == 0


@pytest.mark.usefixtures("package")
def test_installed_code_runs_and_not_a_file_of_its_name_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("activations.py").write_text(EVIL)
    kind = OTHERS.installed_at("activations:Activations")
    assert Path(str(sys.modules[kind.__module__].__file__)).parent == tmp_path / "site"
    assert not Path("evil-ran").exists()
    assert OTHERS.installed_at("activations:Shared") is None


def test_package_that_fails_breaks_no_list_and_is_refused_in_one_line(add, say):
    points = {"renascent.strategies": {"broken": "broken_one:Mine", "gone": "not_there:Mine", "gdas": "math:floor"}}
    add("broken", points, {"broken_one": "import sys\nprint('hello')\nsys.exit('no licence')\n"})
    found = rows(say("list --json"), "strategies")
    assert "cannot be used: module 'broken_one' cannot be imported (SystemExit: no licence)" in found["broken"]["about"]
    assert "No module named 'not_there'" in found["gone"]["about"]
    assert found["gdas"]["about"] == "cannot be used: the name is renascent's own, name it math:floor"
    assert "SystemExit: no licence" in say("search nats-topology --strategy broken --data digits").refusal
    done = say("search nats-topology --strategy gdas --data digitz")
    assert "warning: 'gdas' is renascent's own; that of broken 1.0 is named math:floor" in done.err
    assert "unknown strategy 'brokem': did you mean 'broken'?" in say("search dso --strategy brokem").refusal


def test_name_that_two_packages_add_is_refused(add):
    for package in ("one", "two"):
        add(package, {"renascent.spaces": {"mine": f"{package}:Mine"}}, {})
    with pytest.raises(UserError, match=r"space 'mine' is one:Mine \(one 1.0\) and two:Mine \(two 1.0\): name"):
        OTHERS.find("mine")


def test_strategy_that_asks_and_tells_is_compared(add, say, tmp_path):
    add("climbing", {"renascent.strategies": {"climb": "climbing:Climb"}}, {"climbing": CLIMB})
    assert "climb" in rows(say("list --json"), "multi-trial strategies")
    flags = "--climb-patience 3 --climbing-Climb-patience 4 --runs 2 --trials 4 --processes 1 --out compared"
    assert say(f"bench compare --strategies random,climb,climbing:Climb {flags}").code == 0
    settings = json.loads((tmp_path / "compared" / "settings.json").read_text())["strategies"]
    assert settings == {"random": {}, "climb": {"patience": 3}, "climbing:Climb": {"patience": 4}}
    assert "Climb lacks step, derive, probabilities" in say("search dso --strategy climb --data digits").refusal


@pytest.mark.parametrize(
    ("table", "name", "words"),
    [
        (NAMED, "renascent.core.names:", "names no class: write module:Class"),
        (NAMED, "no_module_here:Mine", "cannot be imported"),
        (NAMED, "renascent.nets.toy:Toy", "module 'renascent.nets.toy' has no 'Toy'"),
        (NAMED, "renascent.nets.toy:ToySpace", "ToySpace lacks init, step, derive, probabilities"),
        (NAMED, "renascent.core.protocols:OneShot", "OneShot is no frozen dataclass"),
        (NAMED, "renascent.nets.toy:annotations", "no class; give the class"),
        (OTHERS, "renascent.core.protocols:SpaceConfig", "SpaceConfig lacks space, supernet, network, draw; make it"),
        (MULTITRIAL, "renascent.strategies.gdas:GDAS", "GDAS lacks ask, tell"),
        (OTHERS, "nats", "unknown space 'nats'"),
    ],
)
def test_what_cannot_be_used_is_one_line(table, name, words):
    with pytest.raises(UserError) as e:
        getattr(table, "others", table).find(name)
    assert words in str(e.value)


def test_our_own_classes_are_named_as_ours():
    assert STRATEGIES.others.find("renascent.strategies.gdas:GDAS") is GDAS
    assert name_of(GDAS(), NAMED) == "gdas"


@dataclass(frozen=True)
class Inherited:
    """Settings.

    Args:
        size: of it.
    """

    size: int = 1


@dataclass(frozen=True)
class Many(Inherited):
    """Settings that flags can give, and others.

    Args:
        rate: of change.
    """

    rate: float | None = None
    table: dict[str, int] | None = None
    names: tuple[str, ...] = ()


def test_flags_are_made_of_what_they_can_give():
    outline = outline_of(Many())
    assert list(outline.__dataclass_fields__) == ["size", "rate", "names"]
    assert arguments(outline.__doc__)["size"] == "of it."

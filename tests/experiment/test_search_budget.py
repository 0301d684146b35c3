"""Whole searches in a budget: every strategy keeps it, a resume repeats it, and the benchmark's claims in small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import renascent
from renascent.core.errors import BudgetError, UserError
from renascent.core.files import read_json
from renascent.costs import Latency, macs
from renascent.costs.budget import Budget
from renascent.costs.latency import clock as timing
from renascent.costs.latency.fitted import fitted_latency
from renascent.loops.run import CLOCK_FIELDS, read_events
from renascent.nets.adapt import Adapted
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.resolution import input_shape
from renascent.results import measuring
from renascent.strategies import STRATEGIES
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SMALL = {
    "candidates": 4,
    "controller_steps": 2,
    "controller_samples": 2,
    "arch_lr": 0.05,
    "rounds": 2,
    "evaluations": 10,
}
TOPOLOGY = NatsTopology(channels=4, cells=1, nodes=3)
WIDTHS = ResNetCifar(layers_count=8, depths=False)
ALL = ResNetCifar(layers_count=14, lowest=4, highest=8)


@pytest.fixture(scope="module")
def task():
    return load("digits", options=ImageOptions(limit=120))


pytestmark = pytest.mark.usefixtures("without_measuring")


def small(name):
    kind = STRATEGIES[name]
    return kind(**{key: value for key, value in SMALL.items() if key in kind.__dataclass_fields__})


def search(config, name, task, folder, budget, **about):
    settings = {"epochs": 1, "batch": 32, "out": folder, "budget": budget, **about}
    return renascent.search(config, small(name), task, **settings)


def counted(result):
    return macs(result.build(), input_shape(result.arch, (1, 8, 8)))


ON_CELLS = ("darts", "gdas", "enas", "proxyless", "tunas", "dso-nas")
"""Strategies that keep a budget of operations here, half of them; the others one of widths."""


@pytest.mark.parametrize("name", ON_CELLS)
def test_every_strategy_keeps_a_budget_of_operations(name, task, tmp_path):
    """Half of what the dearest cell takes: half of the cells are dearer."""
    dearest = TOPOLOGY.space.arch(dict.fromkeys(TOPOLOGY.space.decisions, "nor_conv_3x3"))
    limit = macs(TOPOLOGY.network(dearest, 1, 10), (1, 8, 8)) // 2
    result = search(TOPOLOGY, name, task, tmp_path / "r", f"macs<={limit}")
    costs = result.facts["costs"]["macs"]
    assert costs["promised"] == costs["measured"] == counted(result) <= limit == costs["limit"]
    assert result.config["budget"] == f"macs<={limit}"
    (spent,) = [event["costs"]["macs"] for event in read_events(tmp_path / "r") if event["event"] == "epoch"]
    assert 0 < spent < 2


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ON_CELLS])
def test_every_strategy_keeps_a_budget_of_widths(name, task, tmp_path):
    """Uses most of it, too: there are enough widths for that."""
    result = search(WIDTHS, name, task, tmp_path / "r", "macs<=0.4x,params<=60k")
    used = [cost["promised"] / cost["limit"] for cost in result.facts["costs"].values()]
    assert 0.95 <= max(used) <= 1
    assert counted(result) == result.facts["costs"]["macs"]["measured"] <= result.facts["costs"]["macs"]["limit"]
    assert result.facts["params"] <= 60_000


class Killed(Exception):
    pass


def dies_after(epoch):
    def say(event):
        if event["event"] == "epoch" and event["epoch"] == epoch:
            raise Killed

    return say


def plain(folder):
    return [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in read_events(folder)]


@pytest.fixture(scope="module")
def without_a_clock():
    """Let networks take as long as their parameters say, a quarter more than was fitted; return what was fitted."""
    fits = []

    def took(net):
        return 1.0 + 1e-3 * sum(p.numel() for p in net.parameters())

    def fitted(config, shape, classes, **_):
        fits.append(shape)
        return fitted_latency(config, shape, classes, networks=6, milliseconds=lambda net, s: took(net))

    def latency(config, arch, task, clock):
        ms = 1.25 * took(config.network(arch, task.channels, task.classes))
        return Latency(ms, ms, ms, "by hand")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "fitted_latency", fitted)
        patch.setattr(timing, "latency_of", latency)
        yield fits


@pytest.fixture(scope="module")
def settled(task, without_a_clock, tmp_path_factory):
    """A finished search in a bound on latency."""
    return search(WIDTHS, "tunas", task, tmp_path_factory.mktemp("settled") / "r", "latency_ms<=40")


def test_killed_and_resumed_in_a_latency_budget_it_is_the_same(task, tmp_path, without_a_clock):
    about, fitted = {"budget": "latency_ms<=40,macs<=0.9x", "epochs": 2}, len(without_a_clock)
    whole = search(WIDTHS, "nes", task, tmp_path / "whole", **about)
    with pytest.raises(Killed):
        search(WIDTHS, "nes", task, tmp_path / "r", **about, say=dies_after(1))
    again = search(WIDTHS, "nes", task, tmp_path / "r", **about, resume=True)
    assert len(without_a_clock) == fitted + 2  # once for each folder
    assert again.arch == whole.arch
    assert plain(tmp_path / "r") == plain(tmp_path / "whole")
    assert again.facts["costs"]["macs"] == whole.facts["costs"]["macs"]
    assert (tmp_path / "r/latency.json").read_bytes() == (tmp_path / "whole/latency.json").read_bytes()
    # it was missed by a quarter, and derived again
    assert again.facts["costs"]["latency_ms"]["promised"] <= 40 / 1.25 + 1e-9


BLOCK = Path(__file__).parents[1] / "data" / "block.py"

MODEL = (
    BLOCK.read_text()
    + """


def model():
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), Block(), Block(), *head)
"""
)


@pytest.mark.parametrize(("name", "kind"), [("nes", "all"), ("tas", "all"), ("tas", "mine")])
def test_widths_depths_and_resolution_share_one_budget_killed_and_resumed_to_the_last_bit(
    name, kind, task, tmp_path, monkeypatch
):
    """Those of a network of ours, and of a model of one's own."""
    (tmp_path / "resumed_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)

    def config():
        mine = {"factory": "resumed_model:model", "shape": (1, 8, 8), "multiple": 2, "resolutions": (6,)}
        return ALL if kind == "all" else Adapted(**mine)

    about = {"budget": "macs<=0.1x,activation_bytes<=12k" if kind == "all" else "macs<=0.5x", "epochs": 2}
    torch.manual_seed(5)  # of a model that is made anew, the weights are
    whole = search(config(), name, task, tmp_path / "whole", **about)
    torch.manual_seed(5)
    with pytest.raises(Killed):
        search(config(), name, task, tmp_path / "r", **about, say=dies_after(1))
    torch.manual_seed(5)
    again = search(config(), name, task, tmp_path / "r", **about, resume=True)
    assert again.arch == whole.arch == config().space.arch(whole.arch)
    assert all(cost["promised"] <= cost["limit"] for cost in whole.facts["costs"].values())
    assert counted(whole) == whole.facts["costs"]["macs"]["promised"]
    assert plain(tmp_path / "r") == plain(tmp_path / "whole")
    assert (tmp_path / "r/shared.safetensors").read_bytes() == (tmp_path / "whole/shared.safetensors").read_bytes()
    one, two = (load_file(tmp_path / folder / "checkpoint.safetensors") for folder in ("r", "whole"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_missed_latency_keeps_the_search_which_can_be_resumed(task, tmp_path, settled, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(timing, "latency_of", lambda *about: Latency(44.0, 43.0, 45.0, "a busy machine"))
        with pytest.raises(BudgetError, match=r"missed 6 times: .* the search is kept"):
            search(WIDTHS, "tunas", task, tmp_path / "r", "latency_ms<=40")
    assert not (tmp_path / "r/arch.json").exists()
    assert search(WIDTHS, "tunas", task, tmp_path / "r", "latency_ms<=40", resume=True).arch == settled.arch


def test_search_second_derivation_is_recorded(settled):
    first, last = [e for e in read_events(settled.folder) if e["event"] in ("derived", "settled")]
    assert first["arch"] != last["arch"] == settled.facts["arch"]
    assert last["score"] == settled.facts["search_score"]
    # what is told to have been measured is what decided
    assert settled.facts["latency_ms"]["runtime"] == "by hand"
    told = settled.facts["costs"]["latency_ms"]
    assert told["measured"] == settled.facts["latency_ms"]["median_ms"] <= told["limit"]


def test_a_finished_search_is_not_settled_again(task, settled, monkeypatch):
    """Another minute's latency must not put another network beside the weights that were trained since."""
    held = (settled.folder / "arch.json").read_bytes()
    monkeypatch.setattr(timing, "latency_of", None)
    assert search(WIDTHS, "tunas", task, settled.folder, "latency_ms<=40", resume=True).arch == settled.arch
    assert (settled.folder / "arch.json").read_bytes() == held


@pytest.mark.parametrize("name", ["darts", "darts-second-order", "setn", "gdas"])
def test_search_unsuited_strategy_with_resolution_leaves_no_folder(name, task, tmp_path):
    with pytest.raises(UserError, match="does not search 'resolution'"):
        renascent.search(ALL, STRATEGIES[name](), task, epochs=1, batch=32, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_resume_asks_for_the_same_budget(task, tmp_path):
    search(WIDTHS, "rsps", task, tmp_path / "r", "macs<=0.5x")
    for other in ("macs<=0.5000001x", None):
        with pytest.raises(UserError, match="budget"):
            search(WIDTHS, "rsps", task, tmp_path / "r", other, resume=True)


def test_the_table_is_told_first_and_what_is_expected_is_logged(task, tmp_path):
    heard = []
    search(WIDTHS, "nes", task, tmp_path / "r", "macs<=0.5x", say=heard.append)
    assert heard[0]["event"] == "feasible"
    assert "smallest" in heard[0]["table"]
    assert not (tmp_path / "r/latency.json").exists()


def test_a_search_without_a_budget_is_as_it_was(task, tmp_path):
    result = search(WIDTHS, "tas", task, tmp_path / "r", None)
    assert "costs" not in result.facts
    assert "budget" not in read_json(tmp_path / "r/config.json")


# --- the benchmark, with two budgets of its fifty for each strategy


@pytest.fixture(scope="module")
def hold(script):
    return script("budgets_hold")


@pytest.mark.parametrize("name", ["nes", "tunas"])
def test_random_budgets_hold(hold, name, tmp_path):
    """Inside, used, above the mean of random networks there, all by enumeration; one of them is refused rightly."""
    texts = hold.budgets(hold.SmallSpace(), 8)
    for k, text in ((0, texts[4]), (1, "macs<=1000,params<=500")):
        facts = hold.one(name, text, k, tmp_path / f"r{k}", epochs=1)
        assert facts["inside"]
        assert facts["used"]
        assert facts["above_random"]
        assert (facts["refused"] is not None) == (k == 1)
        assert hold.holds(facts)


def test_the_small_space_lists_its_layers_as_they_are(hold):
    config = hold.SmallSpace()
    assert config.space.size == 4608
    for row in hold.every(config)[::977]:
        arch = config.space.from_indices(row)
        for goal in Budget.parse("macs<=1,params<=1").goals(config, hold.SHAPE, hold.CLASSES):
            assert goal.exact(row[None])[0] == hold.counted(config, arch, goal)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": "nats-topology"}, r"space is 'nats-topology': give an object such as rn.NatsTopology\(\)"),
        ({"space": TOPOLOGY.space}, r"space is Space\(.*: give an object such as"),
        ({"strategy": renascent.RSPS}, r"strategy is <class .*: give an object such as rn.GDAS\(\)"),
        ({"strategy": renascent.REA()}, r"strategy is REA\(.*\), which proposes trials \(rn.compare\): give"),
        ({"task": None}, r"task is None: give an object such as rn.load_task"),
        ({"budget": 5}, "budget is 5: write its bounds, as in macs<=0.5x"),
    ],
)
def test_a_class_or_a_name_in_the_place_of_an_object_is_one_line(tmp_path: Path, given: dict, message: str) -> None:
    right = {"space": TOPOLOGY, "strategy": renascent.RSPS(), "task": load("digits", options=ImageOptions(limit=60))}
    with pytest.raises(UserError, match=message):
        renascent.search(**right | given, epochs=1, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()

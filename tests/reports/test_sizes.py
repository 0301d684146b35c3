"""The report of a search of sizes: before and after, the budget, the plane, and what was believed on the way."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.loops.run import read_events
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.reports import sizes as sizereport
from renascent.reports.page import write_report
from renascent.strategies.nes import NES
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

pytestmark = pytest.mark.renders

SPACE = ResNetCifar(layers_count=14, lowest=6, highest=8, resolution_step=2)


def digits() -> ImageTask:
    return load("digits", options=ImageOptions(limit=120))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, unsealed: Any) -> Path:
    folder = tmp_path_factory.mktemp("searched") / "run"
    result = search(SPACE, NES(), digits(), epochs=3, batch=32, budget="macs<=0.4x", out=folder)
    result.fit(digits(), Fit(epochs=1, batch=32), teacher="reference", random_cells=2)
    return Path(unsealed(folder))


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "run"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def page(folder: Path) -> str:
    return write_report(Result.load(folder)).read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    """Return what stands in the element of an id, up to the end of its section."""
    return html.partition(f'id="{name}"')[2].partition("</section>")[0]


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def drawings(html: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html, re.DOTALL)


def test_every_decision_is_there_before_and_after(folder: Path, drawing: Any) -> None:
    arch = SPACE.space.arch({**SPACE.reference, "resolution": 6, "depth2": 1, "stem": 8})
    edit(folder / "arch.json", lambda f: f | {"arch": SPACE.space.format(arch)})
    sizes = {size.name: size for size in sizereport.sizes(Result.load(folder))}
    assert list(sizes) == list(SPACE.space.decisions)
    assert (sizes["stem"].before, sizes["stem"].after) == (16, 8)
    assert (sizes["resolution"].before, sizes["resolution"].after) == (8, 6)
    assert sizes["stage2.block2.conv1"].after is None
    html = page(folder)
    absolute, share, whole = map(drawing, drawings(section(html, "shapes")))
    widths = [name for name in sizes if not name.startswith(("depth", "resolution"))]
    for seen in (absolute, share):
        assert {tip.partition(": ")[0] for tip, _ in seen.tips} == set(widths)
        assert sum(tip.endswith("now left out") for tip, _ in seen.tips) == 2
        assert len(seen.tips) == 2 * len(widths) - 2  # pale before, full after where there is an after
    assert {"6 of 8", "1 of 2", "2 of 2"} <= set(whole.words)
    rows = dict(re.findall(r"<tr><th>(.*?)</th>(.*?)</tr>", section(html, "decisions")))
    assert text(rows["stem"]).startswith("16 8 ")
    assert "left out" in text(rows["stage2.block2.conv1"])
    assert "2 layers that were left out" in text(html)


def test_the_budget_is_the_facts(folder: Path) -> None:
    cost = Result.load(folder).facts["costs"]["macs"]
    shown = text(section(page(folder), "budget"))
    numbers = " ".join(f"{cost[key]:,.0f}" for key in ("limit", "promised", "measured"))
    assert f"macs {numbers} {100 * cost['measured'] / cost['limit']:.1f} %" in shown


def test_the_plane_holds_every_point_and_the_trained_ones(folder: Path, drawing: Any) -> None:
    result = Result.load(folder)
    points, fitted = result.facts["plane"], result.fitted
    assert fitted is not None
    assert points[0]["score"] == result.facts["search_score"]
    assert points[0]["macs"] == result.facts["macs"] == result.facts["costs"]["macs"]["promised"]
    inside, trained = map(drawing, drawings(section(page(folder), "plane")))
    assert len(inside.tips) == len(points)
    assert [tip.partition(":")[0] for tip, _ in trained.tips] == ["random", "random", "reference", "found"]
    edit(folder / "fit" / "result.json", lambda f: {k: v for k, v in f.items() if k != "reference"})
    (folder / "fit" / "result.json").write_text(
        json.dumps(fitted | {"random_cells": [{"arch": points_arch(result), "test": 0.5}], "reference": None})
    )
    _, trained = map(drawing, drawings(section(page(folder), "plane")))
    assert [tip.partition(":")[0] for tip, _ in trained.tips] == ["random", "found"]


def points_arch(result: Result) -> str:
    return result.space.space.format(SPACE.reference)


def test_random_architectures_are_named_with_what_they_cost(folder: Path) -> None:
    html = page(folder)
    assert "<h2>Compared with 2 random architectures inside the budget, trained identically</h2>" in html
    rows = section(html, "random-cells")
    for cell in json.loads((folder / "fit" / "result.json").read_text())["random_cells"]:
        assert f"{cell['costs']['macs']:,.0f} macs" in text(rows)
        assert cell["arch"] in rows
    assert ">found</strong>" in rows


def test_policy_figures_of_many_decisions_are_heat_maps(folder: Path, drawing: Any) -> None:
    events = [e for e in read_events(folder) if e["event"] == "epoch"]
    assert len(events[0]["entropy"]) > 12
    html = page(folder)
    entropy, sizes, spreads = drawings(section(html, "policy"))
    assert "Entropy of each decision: pale is settled" in text(html)
    titles = [drawing(svg).title.partition(" of each")[0] for svg in (sizes, spreads)]
    assert titles == ["expected size", "spread of the size"]
    for svg in (entropy, sizes, spreads):
        assert svg.count("<image") == 2  # the map, and its key
        assert drawing(svg).tips == []
        assert {"stem", "depth1"} <= set(drawing(svg).words)
    (spent,) = map(drawing, drawings(section(html, "spent").partition('id="policy"')[0]))
    assert len(spent.line("macs")) == 3
    assert "the budget" in spent.words


def test_a_search_that_learnt_nothing_has_neither(folder: Path) -> None:
    path = folder / "events.jsonl"
    counts = {name: len(decision.options) for name, decision in SPACE.space.decisions.items()}  # type: ignore[union-attr]
    even = {name: math.log(count) for name, count in counts.items()}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(e | ({"entropy": even} if "entropy" in e else {})) + "\n" for e in lines))
    html = page(folder)
    assert "stayed equally likely" in html
    assert 'id="policy"' not in html
    assert 'id="spent"' not in html


def test_a_run_of_before_has_no_plane_and_no_sizes(folder: Path) -> None:
    edit(folder / "arch.json", lambda f: {k: v for k, v in f.items() if k not in ("plane", "costs")})
    path = folder / "events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({k: v for k, v in e.items() if k not in ("sizes", "costs")}) + "\n" for e in lines)
    )
    html = page(folder)
    assert 'id="plane"' not in html
    assert 'id="budget"' not in html
    assert len(drawings(section(html, "policy"))) == 1


def test_few_sizes_have_curves(tmp_path: Path, drawing: Any) -> None:
    result = search(NatsSize(), NES(), digits(), epochs=2, batch=100, out=tmp_path / "run")
    html = page(result.folder)
    entropy, sizes, _ = drawings(section(html, "policy"))
    assert [name for name, _ in drawing(entropy).tips] == [f"width-{k}" for k in range(5)]
    assert "<image" in sizes
    assert [p["name"] for p in result.facts["plane"]][:2] == ["found", "reference"]
    assert 'id="budget"' not in html
    assert result.facts["arch"] in html


def test_a_page_of_many_decisions_stays_small(folder: Path) -> None:
    """One of 109 decisions over 300 epochs."""
    space = ResNetCifar(layers_count=110).space
    arch = space.format(ResNetCifar(layers_count=110).reference)
    names = list(space.decisions)
    about = {"space": "resnet110", "space_config": {"layers_count": 110}, "arch": arch}
    edit(folder / "arch.json", lambda f: f | about | {"uniform": {"arch": arch, "costs": {"params": 1.0}}})
    edit(folder / "config.json", lambda c: c | {"space": "resnet110"})
    events = [
        {
            "event": "epoch", "epoch": k, "epochs": 300, "likeliest": arch, "costs": {"macs": 1.0}, "train_loss": 1.0,
            "entropy": {n: 2 * ((7 * k + i) % 13) / 13 for i, n in enumerate(names)},
            "sizes": {n: [8.0 + (5 * k + i) % 9, 1.0] for i, n in enumerate(names)},
        }
        for k in range(1, 301)
    ]  # fmt: skip
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    shutil.rmtree(folder / "fit")
    assert len(page(folder)) < 300_000

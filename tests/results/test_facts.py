"""What run folders say: those of earlier versions are read as before, and damage is one line."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from renascent.cli.entry import main
from renascent.core.errors import UserError
from renascent.core.schema import checked, written
from renascent.costs import Lut
from renascent.experiment.result import Result
from renascent.reports.page import _page
from renascent.results.facts import Scaled

BEFORE = Path(__file__).parents[1] / "data" / "before"
FILES = (
    "arch.json",
    "config.json",
    "events.jsonl",
    "environment.json",
    "fit/result.json",
    "fit/events.jsonl",
)
HARMS: tuple[Any, ...] = (None, "x", 3, [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEFORE / "cell", tmp_path / "cell"))


def test_a_run_folder_of_before_is_read_as_before(folder: Path) -> None:
    result = Result.load(folder)
    assert result.facts["params"] == result.about.params == 2192
    assert (result.about.macs, result.latency.median_ms) == (16080, 0.9594510001988965)
    assert str(result.space.space.format(result.arch)) == "|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|"
    training = result.training
    assert training is not None
    assert (training.scores, training.seconds) == ({"test": 0.10027854889631271}, 0.379)
    assert training.random_cells[0].scores == {"test": 0.09749303758144379}
    assert [epoch.metrics["val_loss"] for epoch in result.epochs] == [2.369037628173828, 2.344043493270874]
    assert result.inherit() is not None
    assert result.trained() is not None


def test_what_is_read_is_written_with_the_same_keys_in_the_same_order(folder: Path) -> None:
    result = Result.load(folder)
    for read, path in ((result.about, "arch.json"), (result.training, "fit/result.json")):
        assert json.dumps(written(read), indent=2) + "\n" == (folder / path).read_text()


def test_a_latency_table_of_before_is_read_as_before() -> None:
    table = Lut.load(BEFORE / "latency-table.json")
    assert (len(table.layers), len(table.networks)) == (12, 2)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def harmed(text: str, place: tuple[Any, ...], kind: int) -> str:
    tree = json.loads(text)
    *way, last = place
    node = tree
    for key in way:
        node = node[key]
    if kind == len(HARMS):
        del node[last]
    else:
        node[last] = HARMS[kind]
    return json.dumps(tree)


def harms(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix == ".jsonl":
        first, _, rest = text.partition("\n")
        for number, place in enumerate(places(json.loads(first))):
            yield f"{harmed(first, place, number % (len(HARMS) + 1))}\n{rest}"
            yield f"{harmed(first, place, len(HARMS))}\n{rest}"
    else:
        for number, place in enumerate(places(json.loads(text))):
            # taken out, or put into its place what cannot be there
            yield harmed(text, place, len(HARMS) if number % 2 else number // 2 % len(HARMS))


@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_one_line(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (folder / name).read_text()
    for text in harms(folder / name):
        (folder / name).write_text(text)
        with contextlib.suppress(UserError):  # anything else is no answer to a user
            result = Result.load(folder)
            _page(result)
            str(result)
    (folder / name).write_text(whole[: len(whole) // 2] + "{\n")
    assert main(["report", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_search_in_a_budget_of_before_is_read_as_before() -> None:
    result = Result.load(BEFORE / "sizes")
    assert json.dumps(written(result.about), indent=2) + "\n" == (BEFORE / "sizes" / "arch.json").read_text()
    assert set(result.about.costs) == {"macs", "latency_ms"}
    assert _page(result)["plane"]


def test_scaled_widths_alone_are_written_as_such() -> None:
    """And not as a way that an earlier version did not say."""
    for way in ({}, {"depth": True}, None):
        scaled = Scaled(arch="a", way=way, costs={"macs": 1.0})
        assert checked(Scaled, written(scaled), Path("arch.json"), "") == scaled

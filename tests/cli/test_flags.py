"""Flags derived from settings: from the annotations and docstrings in their source."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Annotated

import pytest

from renascent.cli.commands import fit, search
from renascent.cli.flags import Part, glance
from renascent.cli.outlines import outline_of
from renascent.core.errors import UserError
from renascent.core.fields import Count, NonNegative, Range, Whole, settings
from renascent.core.source import arguments
from renascent.nets import SPACES
from renascent.strategies import STRATEGIES


@settings
class Inner:
    """Nested.

    Args:
        rate: how fast.
    """

    rate: NonNegative = 0.5


@settings
class Outer(Inner):
    """Settings.

    This line is prose: it has a colon but names no field.

    Args:
        size: one of
            several lines.
        a: both alike; 0 means none.
        b: both alike.
        names: a list.
        on: lit.
        inner: nested.

    Raises:
        nothing: at all.

    References:
        a: A. Author, arXiv:0000.00000.
    """

    size: Count = 4
    a: Whole = 1
    b: Whole | None = None
    names: tuple[str, ...] = ("x", "y")
    on: bool = True


@settings
class Deep(Inner):
    """Has settings inside.

    Args:
        inner: nested.
        steps: how many.
        share: in between.
    """

    inner: Outer = field(default_factory=lambda: Outer(size=8))
    steps: int = 3
    share: Annotated[float, Range(0, 1)] = 0.5


def test_meanings_are_those_of_the_args_section() -> None:
    assert arguments(outline_of(Outer()).__doc__) == {
        "rate": "how fast.",
        "size": "one of several lines.",
        "a": "both alike; 0 means none.",
        "b": "both alike.",
        "names": "a list.",
        "on": "lit.",
        "inner": "nested.",
    }


def test_nested_and_inherited_settings_are_flattened_and_built_again() -> None:
    part = Part("", Deep())
    names = ["--rate", "--rate", "--size", "--a", "--b", "--names", "--on", "--steps", "--share"]
    assert [flag.name for flag in part.flags()] == names
    assert part.build({"a": 2, "steps": 5, "b": None}) == Deep(inner=Outer(size=8, a=2), steps=5)


def test_taken_names_get_the_prefix() -> None:
    part = Part("", Outer(), "my-own", frozenset({"size"}))
    assert part.flags()[1].name == "--my-own-size"
    assert part.build({"my_own_size": 9, "size": 1}).size == 9


def test_blank_flags_show_no_default_and_give_what_is_given() -> None:
    part = Part("", Outer(size=7), blank=True)
    assert {flag.default for flag in part.flags()} == {None}
    assert part.build({}) == {}
    assert part.build({"size": 3, "lr": 1}) == {"size": 3}


def test_the_numbers_a_flag_takes_are_those_of_its_annotation() -> None:
    flags = {flag.key: flag for flag in [*Part("", Outer()).flags(), *Part("", Deep()).flags()]}
    ranges = {key: (flag.kind, flag.limit.least, flag.limit.most) for key, flag in flags.items()}
    none = float("inf")
    assert ranges["size"] == (int, 1, none)
    assert ranges["a"] == ranges["b"] == (int, 0, none)
    assert ranges["rate"] == (float, 0, none)
    assert ranges["share"] == (float, 0, 1)
    assert ranges["steps"] == (int, -none, none)
    assert ranges["names"][0] == tuple[str, ...]
    assert {key for key, flag in flags.items() if flag.optional} == {"b"}


def test_a_rate_may_be_the_word_auto() -> None:
    (flag,) = [flag for flag in Part("", STRATEGIES["gdas"]()).flags() if flag.key == "arch_lr"]
    assert (flag.kind, flag.default, flag.optional) == (float, "auto", False)
    assert (flag._read("auto"), flag._read("0.1")) == ("auto", 0.1)
    for text in ("fast", "-1", "nan"):
        with pytest.raises(UserError, match=f"--arch-lr is '{text}': give a number of at least 0, or auto"):
            flag._read(text)


def test_glance_reads_values_that_look_like_words() -> None:
    words = ["--out", "gdas", "space", "--arch_lr", "-1", "--strategy=enas", "--resume"]
    assert glance(words, [Part("", search.SearchFlags())]) == (
        ["space"],
        {"--out": "gdas", "--arch-lr": "-1", "--strategy": "enas", "--resume": ""},
    )


def test_glance_knows_the_switches_of_all_that_can_be_named() -> None:
    for words in (
        ["resnet20", "--no-depths", "--strategy", "nes"],
        ["--tied", "resnet20"],
        ["resnet20", "--tied"],
        ["--antithetic", "resnet20", "--no-widths"],
    ):
        assert glance(words, [], SPACES, STRATEGIES)[0] == ["resnet20"]


def test_every_setting_says_what_it_means() -> None:
    for parts in (*search.owned().values(), fit.command([]).parts.values()):
        for part in parts:
            outline = outline_of(part.settings)
            missing = {f.name for f in fields(outline)} - arguments(outline.__doc__).keys()
            assert not missing, f"{outline.__name__} does not explain {missing}"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_two_flags_of_a_search_have_one_name(strategy: str) -> None:
    parts = search.command(["nats-topology", "--strategy", strategy]).parts.values()
    names = [flag.name for part in parts for flag in part.flags()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [*SPACES, *STRATEGIES])
def test_what_is_read_from_a_source_stands_for_the_real_settings(name: str) -> None:
    """Name for name, default for default."""
    table = SPACES if name in SPACES else STRATEGIES
    part = Part("", search.chosen("", table, name))
    real = table[name]()
    assert part.build({}) == real
    assert [f.name for f in fields(outline_of(part.settings))] == [f.name for f in fields(real)]

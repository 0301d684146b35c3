"""Flags derived from dataclasses."""

from dataclasses import dataclass, field, fields

import pytest

from renascent.cli.commands import fit, search
from renascent.cli.flags import Flag, Part, glance, meanings


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Nested.

    rate: how fast.
    """

    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Settings.

    This line is prose: it has a colon but names no field.

    size: one of
    several lines.
    a, b: both alike; 0 means none.  names: a list.
    on: lit.
    inner: nested.

    Raises nothing: at all.
    """

    size: int = 4
    a: int = 1
    b: int | None = None
    names: tuple[str, ...] = ("x", "y")
    on: bool = True
    inner: Inner = field(default_factory=Inner)


def test_meanings_follow_the_docstring_convention() -> None:
    assert meanings(Outer) == {
        "size": "one of several lines.",
        "a": "both alike; 0 means none.",
        "b": "both alike; 0 means none.",
        "names": "a list.",
        "on": "lit.",
        "inner": "nested.",
    }


def test_nested_settings_are_flattened_and_built_again() -> None:
    part = Part("", Outer())
    assert [flag.name for flag in part.flags()] == ["--size", "--a", "--b", "--names", "--on", "--rate"]
    assert part.build({"rate": 2.0, "size": 3, "b": None}) == Outer(size=3, inner=Inner(rate=2.0))


def test_taken_names_get_the_prefix() -> None:
    part = Part("", Outer(), "my-own", frozenset({"size"}))
    assert part.flags()[0].name == "--my-own-size"
    assert part.build({"my_own_size": 9, "size": 1}).size == 9


def test_blank_flags_show_no_default_and_change_nothing() -> None:
    part = Part("", Outer(size=7), blank=True)
    assert {flag.default for flag in part.flags()} == {None}
    assert part.build({}) == Outer(size=7)


@pytest.mark.parametrize(
    ("flag", "least"),
    [
        (Flag("cells", int, 5, False, "cells."), 1),
        (Flag("seed", int, 0, False, "seed."), 0),
        (Flag("clip", int, 5, False, "0 means none."), 0),
        (Flag("lr", float, 0.1, False, "rate."), 0),
    ],
)
def test_least_number(flag: Flag, least: int) -> None:
    assert flag.least == least


def test_glance_reads_values_that_look_like_words() -> None:
    words = ["--out", "gdas", "space", "--arch_lr", "-1", "--strategy=enas", "--resume"]
    assert glance(words, ["--resume"]) == (
        ["space"],
        {"--out": "gdas", "--arch-lr": "-1", "--strategy": "enas", "--resume": ""},
    )


def test_every_setting_says_what_it_means() -> None:
    for parts in (*search.owned().values(), *fit.owned().values()):
        for part in parts:
            missing = {f.name for f in fields(part.settings)} - meanings(type(part.settings)).keys()
            assert not missing, f"{type(part.settings).__name__} does not explain {missing}"


def test_no_two_flags_of_a_search_have_one_name() -> None:
    for strategy in search.STRATEGIES:
        parts = search.command(["nats-topology", "--strategy", strategy]).parts
        names = [flag.name for part in parts for flag in part.flags()]
        assert len(names) == len(set(names))

"""Decisions, architectures and spaces: what is legal, how it is drawn, and how it is written."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest  # type: ignore[import-untyped]

from renascent.core.errors import UserError
from renascent.core.space import Arch, Choice, Codec, Integer, Kept, Real, Space, Subset

# every kind, with a chain of conditions: "kernel" needs "op", which needs a depth of at least 2
DISCRETE = Space(
    {
        "depth": Integer((1, 2, 3)),
        "op": Choice(("skip", "conv"), when=("depth", (2, 3))),
        "kernel": Integer((3, 5, 7), when=("op", ("conv",))),
        "extras": Subset(("se", "drop"), when=("depth", (3,))),
    },
    name="mixed",
)
MIXED = DISCRETE.join(Space({"lr": Real(1e-4, 1e-1, log=True), "mix": Real(-1, 1, when=None)}, name="train"))
FLAT = Space({"a": Choice(("x", "y")), "b": Integer((1, 2, 4)), "c": Subset(("p", "q"))})

seeds = st.integers(0, 2**32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- decisions


@pytest.mark.parametrize("kind", [Choice, Subset])
@pytest.mark.parametrize("options", [(), ("a", "a"), ("a", ""), ("a", 1), "abc", (["a"],)])
def test_named_options_are_distinct_strings(kind: Any, options: Any) -> None:
    with pytest.raises(UserError, match="distinct, non-empty strings"):
        kind(options)


@pytest.mark.parametrize("options", [(), (2, 1), (1, 1), (1.5, 2), ("1", "2"), 3, None])
def test_integer_options_increase(options: Any) -> None:
    with pytest.raises(UserError, match="increasing, distinct integers"):
        Integer(options)


def test_options_become_plain_tuples() -> None:
    assert Choice(["a", "b"]).options == ("a", "b")  # type: ignore[arg-type]
    options = Integer(np.array([1, 2])).options  # type: ignore[arg-type]
    assert options == (1, 2) and type(options[0]) is int


def test_integer_range_includes_high_when_on_a_step() -> None:
    assert Integer.range(8, 32, 8).options == (8, 16, 24, 32)
    assert Integer.range(8, 31, 8).options == (8, 16, 24)
    assert Integer.range(5, 5).options == (5,)
    for low, high, step in [(2, 1, 1), (1, 2, 0), (1, 2, -1)]:
        with pytest.raises(UserError, match="low <= high and step >= 1"):
            Integer.range(low, high, step)


@pytest.mark.parametrize(
    ("base", "factors", "options"),
    [
        (10, (0.3,), (3,)),
        (100, (0.29, 0.57, 0.58), (29, 57, 58)),  # all below their decimal value in binary
        (3, (1 / 3, 2 / 3, 1.0), (1, 2, 3)),
        (16, (1.0, 0.5, 0.51, 0.25), (4, 8, 16)),
        (10**9, (0.7,), (700_000_000,)),
        (10, (0.0, 0.09, 0.1), (0, 1)),
    ],
)
def test_integer_multiples(base: int, factors: tuple[float, ...], options: tuple[int, ...]) -> None:
    assert Integer.multiples(base, factors).options == options


@given(st.integers(1, 4096), st.integers(1, 100))
def test_integer_multiples_of_decimal_factors_are_exact(base: int, hundredths: int) -> None:
    assert Integer.multiples(base, [hundredths / 100]).options == (base * hundredths // 100,)


@pytest.mark.parametrize(("base", "factor"), [(-8, 0.5), (8, -0.5), (8, math.inf), (8, math.nan)])
def test_integer_multiples_refuses(base: int, factor: float) -> None:
    with pytest.raises(UserError, match="at least 0"):
        Integer.multiples(base, [factor])


def test_decisions_keep_when_through_every_constructor() -> None:
    when = ("depth", (2,))
    assert Integer.range(1, 2, when=when).when == Integer.multiples(4, (1.0,), when=when).when == when


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (-1, 1, True), (0, math.inf, False)]
)
def test_real_range_is_checked(low: float, high: float, log: bool) -> None:
    with pytest.raises(UserError, match="give finite low < high"):
        Real(low, high, log)


def test_decisions_and_spaces_are_frozen() -> None:
    for thing, name in [(Choice(("a",)), "options"), (Real(0, 1), "low"), (FLAT, "name")]:
        with pytest.raises(AttributeError):
            setattr(thing, name, None)
    with pytest.raises(TypeError):
        FLAT.decisions["a"] = Choice(("z",))  # type: ignore[index]


# --- Arch


def test_arch_equals_by_value_and_hashes() -> None:
    one, two = Arch({"a": "x", "b": ["p", "q"]}), Arch({"b": ("p", "q"), "a": "x"})
    assert one == two and hash(one) == hash(two) and len({one, two}) == 1
    assert one != Arch({"a": "y", "b": ("p", "q")})


def test_arch_cannot_change() -> None:
    source = {"a": "x"}
    arch = Arch(source)
    source["a"] = "y"
    assert arch["a"] == "x"
    with pytest.raises(TypeError):
        arch["a"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        arch.extra = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [None, {"x": 1}, [1, 2], {"p"}, b"x"])
def test_arch_refuses_other_values(value: Any) -> None:
    with pytest.raises(UserError, match="decision 'a' cannot be"):
        Arch({"a": value})


@pytest.mark.parametrize("text", ["", "[1]", "null", "{", '"a"', '{"a": null}', '{"a": [[1]]}'])
def test_arch_from_bad_json(text: str) -> None:
    with pytest.raises(UserError):
        Arch.from_json(text)


@given(seeds)
def test_arch_copies(seed: int) -> None:
    arch = MIXED.sample(rng(seed))
    assert Arch.from_json(arch.to_json()) == arch
    assert pickle.loads(pickle.dumps(arch)) == copy.deepcopy(arch) == arch
    assert eval(repr(arch), {"Arch": Arch}) == arch


# --- checking and conditions


def test_arch_takes_any_spelling_of_a_value() -> None:
    arch = FLAT.arch({"c": {"q", "p"}, "b": np.int64(4), "a": np.str_("y")})
    assert arch == Arch({"a": "y", "b": 4, "c": ("p", "q")})
    assert tuple(arch) == ("a", "b", "c")
    assert [type(value) for value in arch.values()] == [str, int, tuple]
    assert FLAT.arch({**arch, "c": ["q"]})["c"] == ("q",)


GOOD: dict[str, Any] = {"a": "x", "b": 1, "c": ()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": "z"}, "decision 'a' cannot be 'z': give one of x, y"),
        ({"b": 3}, "decision 'b' cannot be 3: give one of 1, 2, 4"),
        ({"b": True}, "decision 'b' cannot be True: give one of 1, 2, 4"),
        ({"b": "1"}, "decision 'b' cannot be '1': give one of 1, 2, 4"),
        ({"c": "p"}, "decision 'c' cannot be 'p': give any of p, q"),
        ({"c": ("p", "r")}, "decision 'c' cannot be ('p', 'r'): give any of p, q"),
        ({"c": None}, "decision 'c' cannot be None: give any of p, q"),
        ({"A": "x"}, "unknown decision 'A': did you mean 'a'? known: a, b, c"),
    ],
)
def test_arch_says_what_is_allowed(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        FLAT.arch({**GOOD, **change})
    assert str(caught.value) == message


@pytest.mark.parametrize("value", ["0.1", None, True, math.nan, 0.2, 0.0])
def test_real_values_are_checked(value: Any) -> None:
    with pytest.raises(UserError, match=r"decision 'lr' cannot be .*: give a number from 0.0001 to 0.1"):
        Space({"lr": Real(1e-4, 1e-1)}).arch({"lr": value})


def test_real_values_become_floats() -> None:
    value = Space({"t": Real(0, 2)}).arch({"t": 1})["t"]
    assert value == 1.0 and type(value) is float


def test_active_decisions_need_a_value() -> None:
    with pytest.raises(UserError, match="decision 'op' has no value"):
        DISCRETE.arch({"depth": 2})
    assert DISCRETE.arch({"depth": 1}) == Arch({"depth": 1, "op": "skip", "kernel": 3, "extras": ()})


def test_inactive_decisions_are_normalised_down_the_chain() -> None:
    full = {"depth": 1, "op": "conv", "kernel": 7, "extras": ("se",)}
    assert DISCRETE.arch(full) == DISCRETE.arch({"depth": 1})
    assert DISCRETE.arch({**full, "depth": 2}) == Arch({"depth": 2, "op": "conv", "kernel": 7, "extras": ()})
    assert DISCRETE.active(DISCRETE.arch(full)) == ("depth",)
    assert DISCRETE.active(DISCRETE.arch({**full, "depth": 2})) == ("depth", "op", "kernel")
    assert DISCRETE.active(DISCRETE.arch({**full, "depth": 3})) == tuple(DISCRETE.decisions)


def test_inactive_values_are_still_checked() -> None:
    with pytest.raises(UserError, match="decision 'kernel' cannot be 9"):
        DISCRETE.arch({"depth": 1, "kernel": 9})


def test_inactive_real_is_its_low() -> None:
    space = Space({"d": Integer((0, 1)), "t": Real(2, 3, when=("d", (1,)))})
    assert space.arch({"d": 0, "t": 2.5}) == Arch({"d": 0, "t": 2.0})
    assert space.size == math.inf


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"b": Choice(("x",), when=("a", ("y",)))}, "decision 'b' has when=.*earlier Choice or Integer"),
        ({"a": Real(0, 1), "b": Choice(("x",), when=("a", (0.5,)))}, "earlier Choice or Integer"),
        ({"a": Subset(("y",)), "b": Choice(("x",), when=("a", ("y",)))}, "earlier Choice or Integer"),
        ({"a": Choice(("y",)), "b": Choice(("x",), when=("a", ("z",)))}, "give a tuple of some of y"),
        ({"a": Choice(("y",)), "b": Choice(("x",), when=("a", ()))}, "give a tuple of some of y"),
        ({"a": Choice(("y",)), "b": Choice(("x",), when=("a", "y"))}, "give a tuple of some of y"),  # type: ignore[arg-type]
        ({"a": Choice(("y",)), "b": Choice(("x",), when="a")}, "has when='a': give .earlier Choice"),  # type: ignore[arg-type]
        ({"a": ("x", "y")}, "name a Choice, Integer, Real or Subset"),
        ({"": Choice(("y",))}, "is no decision"),
        ({1: Choice(("y",))}, "is no decision"),
    ],
)
def test_spaces_that_do_not_fit(decisions: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Space(decisions)


# --- counting and indexing


def brute_force(space: Space) -> set[Arch]:
    return {space.at(index) for index in range(space.span)}


@pytest.mark.parametrize("space", [FLAT, DISCRETE, Space({})])
def test_size_and_iteration_count_distinct_architectures(space: Space) -> None:
    archs = list(space)
    assert set(archs) == brute_force(space)
    assert len(archs) == len(set(archs)) == len(space) == space.size
    indices = [space.index(arch) for arch in archs]
    assert indices == sorted(indices)


def test_size_by_hand() -> None:
    assert DISCRETE.counts == (3, 2, 3, 2)
    assert FLAT.size == FLAT.span == 2 * 3 * 4
    assert DISCRETE.size == 1 + (1 + 3) + (1 + 3) * 4
    assert DISCRETE.span == 3 * 2 * 3 * 4
    assert MIXED.size == math.inf
    assert Space({}).size == 1


def test_size_of_a_vast_space_is_exact() -> None:
    stages = {f"depth{k}": Integer((2, 3, 4)) for k in range(5)}
    blocks = {
        f"kernel{k}.{b}": Integer((3, 5, 7), when=(f"depth{k}", tuple(d for d in (2, 3, 4) if d > b)))
        for k in range(5)
        for b in range(4)
    }
    space = Space(stages | blocks)
    assert space.size == (3**2 + 3**3 + 3**4) ** 5
    huge = Space({f"d{k}": Choice(("x", "y")) for k in range(2000)})
    assert huge.size == 2**2000
    with pytest.raises(UserError, match=r"read \.size"):
        len(huge)
    arch = huge.sample(rng())
    assert huge.at(huge.index(arch)) == arch
    assert len(list(itertools.islice(huge, 3))) == 3


def test_every_space_is_true() -> None:
    assert MIXED and Space({})


@pytest.mark.parametrize("space", [FLAT, DISCRETE])
def test_index_round_trips(space: Space) -> None:
    for arch in space:
        assert space.at(space.index(arch)) == arch
    assert FLAT.at(1) == Arch({"a": "x", "b": 1, "c": ("p",)})
    assert FLAT.at(4)["b"] == 2


@pytest.mark.parametrize("index", [-1, 24, 10**30])
def test_at_out_of_range(index: int) -> None:
    with pytest.raises(UserError, match=f"index {index} is outside space '': give 0 to 23"):
        FLAT.at(index)


def test_indices_look_up_options() -> None:
    found = FLAT.indices(Arch({"a": "y", "b": 4, "c": ("q",)}))
    assert found.dtype == np.int64 and found.tolist() == [1, 2, 2]
    shape = (2, 3, 4)
    assert all(np.ravel_multi_index(tuple(FLAT.indices(a)), shape) == FLAT.index(a) for a in FLAT)


def test_indices_of_a_wide_subset() -> None:
    wide = Space({"s": Subset(tuple(f"o{k}" for k in range(64)))})
    assert wide.indices(wide.arch({"s": ("o62",)})).tolist() == [2**62]
    last = wide.arch({"s": ("o63",)})
    assert wide.index(last) == 2**63
    with pytest.raises(UserError, match="over 63 options"):
        wide.indices(last)
    assert wide.mutate(last, rng()) != last


def test_real_has_no_index() -> None:
    arch = MIXED.sample(rng())
    for call in (lambda: MIXED.index(arch), lambda: MIXED.indices(arch), lambda: MIXED.at(0)):
        with pytest.raises(UserError, match="decision 'lr' is a Real"):
            call()
    with pytest.raises(UserError, match="decision 'lr' is a Real"):
        next(iter(MIXED))
    with pytest.raises(UserError):
        len(MIXED)


# --- discretising, sampling, mutating


def test_discretise_each_kind() -> None:
    space = FLAT.join(Space({"lr": Real(1e-4, 1e-2, log=True), "t": Real(-1, 3)}))
    scores: dict[str, Any] = {"a": [0, 1], "b": (5.0, 5.0, 1.0), "c": [0.0, 1e-9], "lr": 0.5, "t": [0.25]}
    arch = space.discretise(scores)
    assert {**arch, "lr": None} == {"a": "y", "b": 1, "c": ("q",), "lr": None, "t": 0.0}
    assert arch["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize(("score", "value"), [(-3, -1.0), (0, -1.0), (1, 3.0), (9, 3.0), (math.inf, 3.0)])
def test_discretise_clips_a_real(score: float, value: float) -> None:
    assert Space({"t": Real(-1, 3)}).discretise({"t": score}) == Arch({"t": value})


@given(st.floats(1e-9, 1e3), st.floats(1.001, 1e6), st.floats(0, 1), st.booleans())
def test_discretised_reals_are_legal(low: float, ratio: float, place: float, log: bool) -> None:
    space = Space({"t": Real(low, low * ratio, log)})
    value = space.discretise({"t": place})["t"]
    assert isinstance(value, float) and low <= value <= low * ratio


def test_discretise_takes_minus_infinity_as_a_mask() -> None:
    arch = Space({"a": Choice(("x", "y", "z"))}).discretise({"a": [-math.inf, -2.0, -math.inf]})
    assert arch["a"] == "y"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [1.0]}, "decision 'a' cannot have scores"),
        ({"a": [[1.0, 2.0]]}, "decision 'a' cannot have scores"),
        ({"c": [1.0, math.nan]}, "none NaN"),
        ({"d": [1.0]}, "unknown decision 'd'"),
    ],
)
def test_discretise_refuses(change: Mapping[str, Any], message: str) -> None:
    scores = {"a": [0.0, 1.0], "b": [0.0, 1.0, 2.0], "c": [1.0, 1.0]}
    with pytest.raises(UserError, match=message):
        FLAT.discretise({**scores, **change})
    with pytest.raises(UserError, match="decision 'c' has no scores"):
        FLAT.discretise({"a": scores["a"], "b": scores["b"]})


def test_sample_is_uniform_without_conditions() -> None:
    generator, draws = rng(1), 12_000
    counts = Counter(FLAT.index(FLAT.sample(generator)) for _ in range(draws))
    assert len(counts) == 24
    assert chisquare([counts[k] for k in range(24)]).pvalue > 0.01


def test_sample_is_uniform_in_every_active_decision() -> None:
    generator, draws = rng(2), 6000
    counts = Counter(DISCRETE.sample(generator) for _ in range(draws))
    archs = list(DISCRETE)
    probability = [
        math.prod({"depth": 1 / 3, "op": 1 / 2, "kernel": 1 / 3, "extras": 1 / 4}[n] for n in DISCRETE.active(a))
        for a in archs
    ]
    assert sum(probability) == pytest.approx(1)
    assert chisquare([counts[a] for a in archs], draws * np.array(probability)).pvalue > 0.01


def test_sampled_reals_are_even_on_their_scale() -> None:
    generator = rng(3)
    archs = [MIXED.sample(generator) for _ in range(2000)]
    logs = [(math.log(float(a["lr"])) - math.log(1e-4)) / math.log(1e3) for a in archs]  # type: ignore[arg-type]
    assert kstest(logs, "uniform").pvalue > 0.01
    assert kstest([(float(a["mix"]) + 1) / 2 for a in archs], "uniform").pvalue > 0.01  # type: ignore[arg-type]


def test_sample_repeats_with_its_seed() -> None:
    first, second = (MIXED.sample(rng(7)) for _ in range(2))
    assert first == second
    assert MIXED.sample(rng(7)) != MIXED.sample(rng(8))


@given(seeds)
def test_mutate_changes_exactly_one_active_decision(seed: int) -> None:
    generator = rng(seed)
    for space in (FLAT, DISCRETE, MIXED):
        arch = space.sample(generator)
        child = space.mutate(arch, generator)
        assert child == space.arch(child) != arch
        changed = [n for n in space.active(arch) if n in space.active(child) and child[n] != arch[n]]
        assert len(changed) == 1
        woken = set(space.active(child)) - set(space.active(arch))
        first = space.at(0) if space is not MIXED else {"op": "skip", "kernel": 3, "extras": ()}
        assert all(child[n] == first[n] for n in woken)


def test_mutate_is_uniform_over_decisions_and_their_other_values() -> None:
    generator, parent = rng(4), Arch({"a": "x", "b": 2, "c": ("p",)})
    counts = Counter(FLAT.mutate(parent, generator) for _ in range(6000))
    expected = {
        Arch({**parent, "a": "y"}): 2000,
        Arch({**parent, "b": 1}): 1000,
        Arch({**parent, "b": 4}): 1000,
        Arch({**parent, "c": ()}): 1000,
        Arch({**parent, "c": ("p", "q")}): 1000,
    }
    assert counts.keys() == expected.keys()
    assert chisquare([counts[a] for a in expected], list(expected.values())).pvalue > 0.01


def test_mutate_needs_something_to_change() -> None:
    for space in (Space({"a": Choice(("x",))}, name="point"), Space({}, name="point")):
        with pytest.raises(UserError, match="space 'point' has nothing to mutate"):
            space.mutate(next(iter(space)), rng())


# --- rules and joining


RULED = Space({name: Choice(("off", "on")) for name in "abc"}, name="ruled", rules=(Kept(("a", "b", "c"), 1, "off"),))


def test_rules_are_followed_by_discretise_and_sample() -> None:
    assert RULED.discretise({"a": [9, 1], "b": [0, 3], "c": [0, 2]}) == Arch({"a": "off", "b": "on", "c": "off"})
    assert RULED.discretise({name: [0, 1] for name in "abc"})["a"] == "on"  # of equals the earlier
    generator = rng(5)
    counts = Counter(RULED.sample(generator) for _ in range(3000))
    assert len(counts) == 3 and chisquare(list(counts.values())).pvalue > 0.01


def test_rules_survive_joining() -> None:
    joined = RULED.join(Space({"lr": Real(0, 1)}))
    arch = joined.discretise({"a": [0, 1], "b": [0, 3], "c": [0, 2], "lr": 0.5})
    assert arch == Arch({"a": "off", "b": "on", "c": "off", "lr": 0.5})
    copied = pickle.loads(pickle.dumps(joined))
    assert copied.sample(rng(1)) == joined.sample(rng(1))
    assert Space(RULED.decisions, name="ruled") != RULED


def test_join() -> None:
    assert MIXED.name == "mixed+train"
    assert tuple(MIXED.decisions) == (*DISCRETE.decisions, "lr", "mix")
    assert FLAT.join(Space({})) is FLAT and Space({}).join(FLAT) is FLAT
    with pytest.raises(UserError, match="both decide 'b': rename one"):
        FLAT.join(Space({"b": Choice(("x",))}))


def test_spaces_equal_by_ordered_decisions_and_name() -> None:
    same = Space(dict(FLAT.decisions))
    assert same == FLAT and hash(same) == hash(FLAT)
    assert Space(dict(reversed(list(FLAT.decisions.items())))) != FLAT
    assert Space(FLAT.decisions, name="other") != FLAT
    assert FLAT != "flat"


@pytest.mark.parametrize("space", [FLAT, MIXED, RULED])
def test_spaces_copy(space: Space) -> None:
    assert pickle.loads(pickle.dumps(space)) == copy.deepcopy(space) == space


# --- exchange strings


def test_default_text() -> None:
    arch = FLAT.arch({"a": "y", "b": 4, "c": ("p", "q")})
    assert FLAT.format(arch) == "a=y,b=4,c=p+q"
    assert FLAT.parse(" a=y, c=q+p, b=4 ") == arch
    assert FLAT.format(FLAT.at(0)) == "a=x,b=1,c="
    assert DISCRETE.format(DISCRETE.arch({"depth": 1})) == "depth=1"
    assert Space({}).parse(Space({}).format(Arch({}))) == Arch({})


@given(seeds)
def test_default_text_round_trips(seed: int) -> None:
    arch = MIXED.sample(rng(seed))
    assert MIXED.parse(MIXED.format(arch)) == arch


names = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4, unique=True)


@given(names, names, names, seeds)
def test_default_text_round_trips_whatever_the_names(
    decisions: list[str], options: list[str], parts: list[str], seed: int
) -> None:
    kinds = (Choice(tuple(options)), Subset(tuple(parts)), Real(-1e30, 1e30), Integer((-5, 10**20)))
    space = Space(dict(zip(decisions, kinds, strict=False)))
    arch = space.sample(rng(seed))
    text = space.format(arch)
    assert space.parse(text) == arch
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=x,b", "'b' in 'a=x,b' cannot be read: write name=value"),
        ("a=x,a=y", "'a=y' in 'a=x,a=y' cannot be read"),
        ("a=x,,b=1", "'' in 'a=x,,b=1' cannot be read"),
        ("a=x,z=1", "unknown decision 'z'"),
        ("a=x,b=3,c=", "decision 'b' cannot be '3': give one of 1, 2, 4"),
        ("a=x,b=1,c=r", r"decision 'c' cannot be \('r',\): give any of p, q"),
        ("a=x,b=1", "decision 'c' has no value"),
        ("", "decision 'a' has no value"),
    ],
)
def test_parse_names_the_bad_part(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FLAT.parse(text)


@pytest.mark.parametrize("text", ["lr=fast", "lr=nan", "lr=2"])
def test_parse_of_a_bad_real(text: str) -> None:
    with pytest.raises(UserError, match="give a number from 0 to 1"):
        Space({"lr": Real(0, 1)}).parse(text)


def test_codec_is_used_and_its_values_are_checked() -> None:
    codec = Codec(format=lambda arch: f"<{arch['a']}>", parse=lambda text: {"a": text[1:-1]})
    space = Space({"a": Choice(("x", "y"))}, codec=codec)
    assert space.format(Arch({"a": "y"})) == "<y>"
    assert space.parse("<y>") == Arch({"a": "y"})
    with pytest.raises(UserError, match="decision 'a' cannot be 'z'"):
        space.parse("<z>")
    with pytest.raises(UserError):
        space.format(Arch({"a": "z"}))


def test_every_message_is_one_line() -> None:
    with pytest.raises(UserError) as caught:
        Space({"a": Choice(("x\ny",))}).arch({"a": "q\nr"})
    assert "'q\\nr'" in str(caught.value)


def test_from_indices_is_the_inverse_of_indices():
    space = Space({"a": Choice(("x", "y")), "b": Integer((1, 2, 3)), "c": Subset(("p", "q"))})
    for arch in space:
        assert space.from_indices(space.indices(arch)) == arch
    for wrong in ([0, 0], [0, 0, 0, 0], [2, 0, 0], [0, -1, 0], [0, 0, 4]):
        with pytest.raises(UserError, match="no option indices"):
            space.from_indices(wrong)

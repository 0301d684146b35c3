"""A table as an evaluator, and constraints on looked-up costs."""

import math

import numpy as np
import pytest

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.bench.tabular import Constraint, Tabular
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import BudgetError, UserError
from renascent.strategies.trials.protocol import Proposal

SPACE = topology_space(2, ("none", "skip", "conv"))
SIGNAL = Column("val_accuracy", "d", 3, seeds=(7, 8), at=(1, 3))
NAN = math.nan


def table(**changes):
    columns = {
        "val_accuracy": (SIGNAL, [[[1, 10], [2, 20]], [[3, 30], [NAN, NAN]], [[5, 50], [6, 60]]]),
        "seconds": (Column("seconds_per_epoch", "d"), [1.0, 2.0, 4.0]),
        "test": (Column("test_accuracy", "d", 3), [11.0, 22.0, 33.0]),
        "phone": (Column("latency_ms", "d", device="phone"), [5.0, 6.0, 7.0]),
        "phone_e": (Column("latency_ms", "e", device="phone"), [1.0, 1.0, 1.0]),
        "tpu": (Column("latency_ms", "d", device="tpu"), [5.0, NAN, 7.0]),
    } | changes
    problem = Problem("d", SIGNAL.key, "seconds_per_epoch:d", "test_accuracy:d:3")
    arrays = {column: np.array(values) for column, values in columns.values()}
    return Table.of("t", SPACE, [[2], [1], [0]], arrays, [problem])


def test_outcomes_are_the_tables():
    found = Tabular(table(), "d", objectives=["latency_ms:phone"])
    for seed in (0, 1, 2, 17):
        assert found(Proposal((2,)), seed) == ((20.0, 10.0)[1 - seed % 2], 3.0, {"latency_ms:phone": 5.0}, True)
        assert found(Proposal((1,)), seed).score == 30  # its one known training
        assert found(Proposal((0,), epochs=1), seed)[:2] == ((5.0, 6.0)[seed % 2], 4.0)
    assert found.result.tolist() == [11, 22, 33]


def test_epochs_that_were_not_recorded():
    with pytest.raises(UserError, match="no value after 2 epochs: it has 1, 3"):
        Tabular(table(), "d")(Proposal((0,), epochs=2), 0)


def test_constraints():
    found = Tabular(table(), "d", [Constraint.parse("latency_ms:phone<=6")])
    assert found.allowed.tolist() == [True, True, False]
    assert found(Proposal((0,)), 0) == (-math.inf, 0.0, {}, False)
    assert found(Proposal((1,)), 0).feasible
    with pytest.raises(BudgetError, match="has latency_ms:phone<=4: the nearest is 5") as error:
        Tabular(table(), "d", [Constraint.parse("latency_ms:phone<=4")])
    assert error.value.exit_code == 3
    with pytest.raises(UserError, match="no value for 1 of 3"):
        Tabular(table(), "d", [Constraint.parse("latency_ms:tpu<=6")])
    with pytest.raises(BudgetError, match="together"):
        Tabular(table(), "d", [Constraint.parse("latency_ms:phone<=5"), Constraint.parse("seconds_per_epoch>=2")])


@pytest.mark.parametrize(
    "text", ["latency_ms", "latency_ms<6", "latency_ms<=", "latency_ms<=six", "a<=1<=2", "<=3", "a<=nan"]
)
def test_constraint_bad_text_is_refused(text):
    with pytest.raises(UserError, match="cannot be read: write COLUMN<=NUMBER"):
        Constraint.parse(text)


def test_a_constraint_says_itself():
    assert str(Constraint.parse(" params >= 1e6")) == "params>=1e+06"


def test_missing_values_refuse_the_search():
    with pytest.raises(UserError, match="no value for 1 of 3 architectures"):
        Tabular(table(test=(Column("test_accuracy", "d", 3), [1.0, NAN, 3.0])), "d")
    holes = [[[NAN, 10], [NAN, 20]], [[3, 30], [3, 30]], [[5, 50], [6, 60]]]
    with pytest.raises(UserError, match="no training is known whole"):
        Tabular(table(val_accuracy=(SIGNAL, holes)), "d")


def test_an_architecture_that_the_table_lacks():
    part = Table.of(
        "p", SPACE, [[2]], {c: table().array(k)[:1] for k, c in table().columns.items()}, table().problems.values()
    )
    with pytest.raises(UserError, match="does not have every architecture"):
        Tabular(part, "d")(Proposal((0,)), 0)


@pytest.mark.parametrize("picks", [(9,), (-1,), (0, 0), (0.5,), ("skip",)])
def test_what_is_no_architecture_is_not_blamed_on_the_table(picks):
    with pytest.raises(UserError, match="are no option indices"):
        Tabular(table(), "d")(Proposal(picks), 0)

"""Errors are one line, exit with the right code, and point at the nearest name."""

from __future__ import annotations

import pickle

import pytest

from renascent.core.errors import BudgetError, MissingExtra, RenascentError, UserError, missing_extra, unknown


@pytest.mark.parametrize(("error", "code"), [(RenascentError, 2), (UserError, 2), (MissingExtra, 2), (BudgetError, 3)])
def test_exit_codes(error: type[RenascentError], code: int) -> None:
    assert error.exit_code == code
    assert issubclass(error, RenascentError)


def test_budget_error_is_no_user_error() -> None:
    assert not issubclass(BudgetError, UserError)


def test_missing_extra_says_what_to_install() -> None:
    error = missing_extra("onnx", "onnx")
    assert isinstance(error, UserError) and isinstance(error, ImportError)
    assert str(error) == "'onnx' is not installed: pip install 'renascent[onnx]'"
    assert error.name == "onnx"


def test_missing_extra_is_caught_as_import_error() -> None:
    with pytest.raises(ImportError, match=r"renascent\[prune\]"):
        raise missing_extra("torch_pruning", "prune")


def test_unknown_names_the_nearest() -> None:
    error = unknown("strategy", "gdsa", ("darts", "gdas", "enas"))
    assert isinstance(error, UserError)
    assert str(error) == "unknown strategy 'gdsa': did you mean 'gdas'? known: darts, gdas, enas"


def test_unknown_ignores_case() -> None:
    assert "did you mean 'DARTS'?" in str(unknown("strategy", "darts", ["DARTS"]))


def test_unknown_keeps_names_that_differ_in_case() -> None:
    assert str(unknown("decision", "q", ["A", "a"])) == "unknown decision 'q': known: A, a"


def test_unknown_without_a_near_name() -> None:
    assert str(unknown("net", "zzzz", iter(["resnet", "nats"]))) == "unknown net 'zzzz': known: resnet, nats"


def test_unknown_with_an_empty_table() -> None:
    assert str(unknown("net", "x", [])) == "unknown net 'x': known: none"


@pytest.mark.parametrize("error", [UserError("a"), BudgetError("b"), missing_extra("onnx", "onnx")])
def test_errors_cross_process_borders(error: RenascentError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error)

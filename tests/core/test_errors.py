"""Errors are one line, exit with the right code, and point at the nearest name."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

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


@pytest.mark.parametrize(
    ("given", "known", "said"),
    [
        ("gdsa", ("darts", "gdas", "enas"), "did you mean 'gdas'? known: darts, gdas, enas"),
        ("darts", ["DARTS"], "did you mean 'DARTS'? known: DARTS"),
        ("q", ["A", "a"], "known: A, a"),
        ("zzzz", iter(["resnet", "nats"]), "known: resnet, nats"),
        ("x", [], "known: none"),
    ],
)
def test_unknown_names_the_nearest_whatever_its_case(given: str, known: Iterable[str], said: str) -> None:
    error = unknown("net", given, known)
    assert isinstance(error, UserError)
    assert str(error) == f"unknown net '{given}': {said}"


@pytest.mark.parametrize("error", [UserError("a"), BudgetError("b"), missing_extra("onnx", "onnx")])
def test_errors_cross_process_borders(error: RenascentError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error)

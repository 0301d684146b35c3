"""What a check says: a sentence, where something does not hold."""

import copy
import dataclasses
import inspect
import json
import re
from typing import Any

import torch
from torch import Tensor

from renascent.core.source import section


def claim(holds: object, sentence: str) -> None:
    """Raise AssertionError with a sentence, unless something holds. `assert` would be silent under `python -O`.

    >>> claim(1 + 1 == 3, "one and one are not three")
    Traceback (most recent call last):
    AssertionError: one and one are not three
    """
    if not holds:
        raise AssertionError(sentence)


def close(found: Tensor, wanted: Tensor, sentence: str, rtol: float, atol: float) -> None:
    """Raise AssertionError with a sentence, and how far apart they are, unless two tensors are as good as equal."""
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol, msg=lambda told: f"{sentence}: {told}")


def is_frozen(settings: Any) -> None:
    """Check that settings cannot be changed."""
    names = [field.name for field in dataclasses.fields(settings)] or ["anything"]
    try:
        setattr(copy.copy(settings), names[0], None)
    except AttributeError:  # of which FrozenInstanceError is one
        return
    raise AssertionError(f"{type(settings).__name__} can be changed: make it a frozen dataclass, by @settings")


def survives_json(settings: Any) -> None:
    """Check that settings are the same again after they were JSON: a run folder holds them so."""
    held = json.loads(json.dumps(dataclasses.asdict(settings)))
    held = {key: tuple(value) if isinstance(value, list) else value for key, value in held.items()}
    claim(type(settings)(**held) == settings, f"{type(settings).__name__} is another one after it was JSON: {held}")


def is_documented(kind: Any, *, paper: bool = True) -> None:
    """Check that a class says what each of its settings means and, where asked, names its paper in `References:`."""
    text = kind.__doc__ or ""
    named = re.search(r"arXiv:\d{4}\.\d{4,5}", section(inspect.cleandoc(text), "References"))
    claim(
        named or not paper, f"the docstring of {kind.__name__} names no paper by its arXiv number below `References:`"
    )
    for field in dataclasses.fields(kind):
        said = re.search(rf"^ *{field.name}: ", text, re.MULTILINE)
        claim(said, f"the docstring of {kind.__name__} does not say what `{field.name}` is")

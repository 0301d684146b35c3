"""The user's model, from the name of the function that makes it."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from renascent.core.errors import UserError
from renascent.core.randomness import seeded
from renascent.nets.adapt.trace import failing, first_line


def made(factory: str, root: str | None = None) -> nn.Module:
    """Call `package.module:function` and return the model that it makes.

    root: where its module is found, besides where Python looks; the current folder unless given.

    Raises UserError when there is no such function, it fails, or it makes something else.
    """
    module, colon, name = factory.partition(":")
    if not colon or not module or not name:
        raise UserError(f"factory '{factory:.80}' is no function: write package.module:function, which makes the model")
    here = root or os.getcwd()
    if here not in sys.path:  # as `python -m` does
        sys.path.insert(0, here)
    function = _found(module, name, factory)
    fails = failing(f"factory '{factory:.80}' fails ({{}}): give one that runs without arguments")
    with fails:
        model = function if isinstance(function, nn.Module) else called(function)
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise UserError(f"factory '{factory:.80}' makes {kind}: give a function that returns a torch.nn.Module")
    return model


def called(function: Callable[[], object]) -> object:
    """Return what a function returns. The same random numbers are drawn each time."""
    with seeded(0):
        torch.manual_seed(0)  # on a GPU, too
        return function()


def _found(module: str, name: str, factory: str) -> Callable[[], object]:
    fails = f"module '{module:.80}' of factory '{factory:.80}' cannot be imported ({{}})"
    with failing(f"{fails}: give one that Python finds from this folder"):
        found: object = importlib.import_module(module)
        for part in name.split("."):
            if not hasattr(found, part):
                raise UserError(f"module '{module:.80}' has no '{name:.80}': give the function that makes the model")
            found = getattr(found, part)
    if not callable(found):
        raise UserError(f"'{factory:.80}' cannot be called: give the function that makes the model")
    return found


def load_weights(model: nn.Module, path: str) -> None:
    """Load a safetensors file into a model. Raises UserError when it cannot be read or does not fit."""
    file = Path(path)
    if file.suffix != ".safetensors":
        raise UserError(f"weights '{path:.80}' cannot be read: give a .safetensors file (safetensors.torch.save_file)")
    try:
        held = load_file(file)
    except Exception as e:
        raise UserError(
            f"weights '{path:.80}' cannot be read ({first_line(e)}): give a whole .safetensors file"
        ) from None
    own = model.state_dict()
    if missing := [name for name in own if name not in held]:
        raise UserError(f"weights '{path:.80}' have no '{missing[0]}': give those of this model")
    for name, tensor in own.items():
        if tensor.shape != held[name].shape:
            shapes = f"{list(held[name].shape)}, the model's is {list(tensor.shape)}"
            raise UserError(f"'{name}' in weights '{path:.80}' is {shapes}: give those of this model")
    model.load_state_dict({name: held[name] for name in own})

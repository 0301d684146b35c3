"""Weights of one network in a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.files import replacing


def save_weights(path: Path, net: nn.Module) -> None:
    """Write the weights and statistics of a network, whole or not at all. Raises UserError when it cannot be done."""
    layout = torch.contiguous_format
    # copies: weights that are tied may not share their memory in the file
    tensors = {name: value.detach().cpu().clone(memory_format=layout) for name, value in net.state_dict().items()}
    write_tensors(path, tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all. about: texts beside. Raises UserError when it cannot be done."""
    with replacing(path) as scratch:
        try:
            save_file(dict(tensors), scratch, metadata=dict(about) if about else None)
        except SafetensorError as e:  # what it says of a full disk
            raise OSError(str(e)) from None


def load_weights(net: nn.Module, path: Path) -> None:
    """Put back into `net` what `save_weights` wrote. Raises UserError when the file is missing or does not fit."""
    state = read_weights(path)
    try:
        net.load_state_dict(state)
    except RuntimeError as e:
        raise _unread(path, e) from e


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor, on the CPU. Raises UserError when the file is missing or damaged."""
    try:
        return load_file(path)
    except Exception as e:  # safetensors has an error of its own for every kind of damage
        raise _unread(path, e) from e


def _unread(path: Path, error: Exception) -> UserError:
    return UserError(f"the weights {path} cannot be read ({type(error).__name__}): repeat the run that wrote them")

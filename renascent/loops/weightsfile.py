"""Safetensors files: the weights of one network; and checkpoints, a tree of tensors and plain values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.files import replacing
from renascent.core.fingerprint import fingerprint


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


def save_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of dictionaries, lists, tensors and JSON values atomically, with a checksum of its content.

    Raises UserError when the file cannot be written; an older file of that name is then still whole.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_fold(tree, tensors))
    write_tensors(path, tensors, {"tree": text, "sha256": fingerprint(tensors, text)})


def load_tree(path: Path) -> dict[str, Any]:
    """Read what `save_tree` wrote, onto the CPU.

    Raises UserError when the file is missing, truncated or edited.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        text = meta["tree"]
        whole = meta["sha256"] == fingerprint(tensors, text)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}: start the run first, or check the folder's name") from None
    except (OSError, SafetensorError, KeyError):
        whole = False
    if not whole:
        raise UserError(f"the checkpoint {path} is damaged (truncated or edited): remove its folder and start again")
    return _unfold(json.loads(text), tensors)  # type: ignore[no-any-return]


def _fold(node: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `node` as JSON values, its tensors moved into `tensors` under a number."""
    if isinstance(node, Tensor):
        key = str(len(tensors))
        # safetensors takes no tensors that share memory, and only one layout
        tensors[key] = node.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(node, Mapping):
        # optimisers number their parameters, and JSON has only text keys: keep pairs
        return {"map": [[key, _fold(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return [_fold(value, tensors) for value in node]
    return node


def _unfold(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_unfold(value, tensors) for value in node]
    if isinstance(node, dict):
        if "tensor" in node:
            return tensors[node["tensor"]]
        return {key: _unfold(value, tensors) for key, value in node["map"]}
    return node

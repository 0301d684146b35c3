"""Checkpoints: a tree of tensors and plain values in one safetensors file, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from renascent.core.errors import UserError
from renascent.loops.weightsfile import write_tensors


def save_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of dictionaries, lists, tensors and JSON values atomically, with a checksum of its content.

    Raises UserError when the file cannot be written; an older file of that name is then still whole.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_fold(tree, tensors))
    write_tensors(path, tensors, {"tree": text, "sha256": _digest(text, tensors)})


def load_tree(path: Path) -> dict[str, Any]:
    """Read what `save_tree` wrote, onto the CPU.

    Raises UserError when the file is missing, truncated or edited.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        text = meta["tree"]
        whole = meta["sha256"] == _digest(text, tensors)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}: start the run first, or check the folder's name") from None
    except (OSError, SafetensorError, KeyError):
        whole = False
    if not whole:
        raise UserError(f"the checkpoint {path} is damaged (truncated or edited): remove its folder and start again")
    return _unfold(json.loads(text), tensors)  # type: ignore[no-any-return]


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256(text.encode())
    for key, value in sorted(tensors.items()):
        # what kind of numbers they are, too: an edited header would otherwise read the same bytes as others
        total.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return total.hexdigest()


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

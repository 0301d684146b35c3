"""Safetensors files: the weights of one network; and checkpoints, a tree of tensors and plain values."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.files import reading, replacing
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
            with _in_utf8(scratch) as name:
                save_file(dict(tensors), name, metadata=dict(about) if about else None)
        except SafetensorError as e:  # what it says of a full disk
            raise OSError(str(e)) from None


def load_weights(net: nn.Module, path: Path) -> None:
    """Put back into `net` what `save_weights` wrote. Raises UserError when the file is missing or does not fit."""
    fill(net, read_weights(path), path)


def fill(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put weights that were read from `path` into `net`. Raises UserError when they do not fit."""
    try:
        net.load_state_dict(state)
    except RuntimeError as e:
        raise _unread(path, "they do not fit the network") from e


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor, on the CPU. Raises UserError when the file is missing or damaged."""
    try:
        return _read(path)[0]
    except FileNotFoundError:
        raise _unread(path, "there is no such file") from None
    except SafetensorError as e:
        raise _unread(path, "the file is damaged") from e


def _unread(path: Path, why: str) -> UserError:
    return UserError(f"the weights {path} cannot be read ({why}): repeat the run that wrote them")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, and the texts beside. Raises UserError for the disk's errors, not for damage."""
    with reading(path):
        if not S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise UserError(f"{path} is no file, but a folder, a pipe or a device: move it away")
        with open(path, "rb"), _in_utf8(path) as name:  # opened by Python, which says why it cannot be
            try:
                with safe_open(name, framework="pt") as file:
                    return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
            except (OSError, ValueError, RuntimeError, OverflowError) as e:  # what it says of a promised size
                raise SafetensorError(str(e)) from None


@contextmanager
def _in_utf8(path: Path) -> Iterator[str]:
    """Give a name of a file that safetensors takes: one in UTF-8. Names in anything else are Linux's."""
    if _is_text(str(path)):
        yield str(path)
        return
    if not _is_text(path.name):
        raise UserError(f"{path.name} is no name in UTF-8: give the file another")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


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
        tensors, meta = _read(path)
        text = meta["tree"]
        if meta["sha256"] == fingerprint(tensors, text):
            return _unfold(json.loads(text), tensors)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}: start the run first, or check the folder's name") from None
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise UserError(f"the checkpoint {path} is damaged (truncated or edited): remove its folder and start again")


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

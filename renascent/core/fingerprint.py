"""A checksum of weights."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fingerprint(weights: Mapping[str, Tensor], text: str = "") -> str:
    """Return the SHA-256 of the weights and statistics of a network, given as its state dict, and of some text.

    >>> fingerprint({"bias": torch.zeros(2)}) == fingerprint({"bias": torch.ones(2)})
    False
    """
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(weights.items()):
        # what kind of numbers they are, too: an edited header would otherwise read the same bytes as others
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()

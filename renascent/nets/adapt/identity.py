"""What tells a user's model from others."""

from __future__ import annotations

import torch

from renascent.core.fingerprint import fingerprint
from renascent.nets.adapt import Adapted


def model_of(space: Adapted) -> str:
    """Tell a user's model from others: names and shapes of its weights; their values too, where a file holds them."""
    state = space.source.state_dict()
    return fingerprint(
        state if space.is_trained else {name: torch.tensor(value.shape) for name, value in state.items()}
    )

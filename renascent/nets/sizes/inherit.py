"""First-k inheritance: a smaller network starts from the leading weights of a larger, trained one."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from renascent.core.errors import UserError


@torch.no_grad()
def first_k(net: nn.Module, larger: Mapping[str, Tensor]) -> None:
    """Copy into every parameter and buffer of `net` the leading slice of the tensor of that name in `larger`.

    A tensor `p` of sizes (n0, n1, ...) takes `larger[name][:n0, :n1, ...]`, as far as both reach; what lies beyond, and
    what `larger` has no name for, stays as it is. The running statistics of batch normalisation are those of
    the larger network and want re-estimating (`loops.evaluate.recalibrate`).

    Args:
        net: the smaller network.
        larger: the state dict of the larger network, of any precision and on any device.

    Raises:
        UserError: when the two have no tensor in common, or one of another number of dimensions.

    References:
        TAS "w/ Init": Dong and Yang, arXiv:1905.09717, Sec. 4.

    >>> wide, slim = nn.Linear(3, 4), nn.Linear(2, 3)
    >>> first_k(slim, wide.state_dict())
    >>> bool((slim.weight == wide.weight[:3, :2]).all()), bool((slim.bias == wide.bias[:3]).all())
    (True, True)
    """
    mine = net.state_dict()
    if not mine.keys() & larger.keys():
        raise UserError(
            f"{type(net).__name__} has no weight of a name that the network to inherit from has: "
            "give the larger network of the same space"
        )
    for name in mine.keys() & larger.keys():
        target, source = mine[name], larger[name]
        if target.ndim != source.ndim:
            raise UserError(
                f"'{name}' has the shape {tuple(target.shape)}, and {tuple(source.shape)} in the network to inherit "
                "from: give the larger network of the same space"
            )
        shared = tuple(slice(min(pair)) for pair in zip(target.shape, source.shape, strict=True))
        target[shared].copy_(source[shared])

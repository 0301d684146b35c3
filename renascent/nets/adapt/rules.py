"""What operations do to labels: those that work on each element, move elements, or look at many at once."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from renascent.core.text import words
from renascent.nets.adapt import layers
from renascent.nets.adapt.labelling import Labelling, Rule
from renascent.nets.adapt.trace import Node, Ref, refs
from renascent.nets.adapt.units import NEUTRAL, neutral, packed

ELEMENTWISE = words("""
    add radd iadd sub rsub isub subtract mul rmul imul multiply div rdiv rtruediv truediv itruediv divide true_divide
    pow rpow square sqrt rsqrt exp log log1p expm1 abs neg sign sin cos tanh sigmoid logsigmoid erf reciprocal clamp
    clamp_min clamp_max maximum minimum lerp addcmul addcdiv where copy float double half type to type_as bfloat16
    relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign hardswish hardsigmoid hardtanh tanhshrink
    hardshrink softshrink threshold rrelu dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
    feature_dropout softmax log_softmax normalize clone contiguous detach alias identity requires_grad data
    zeros_like ones_like rand_like randn_like full_like nan_to_num bernoulli masked_fill floor ceil round
    gt lt ge le eq ne logical_not logical_and logical_or isnan isfinite real fill zero stop_gradient native_dropout
""")
"""Softmax and normalisation are among them: along channels, they run over those that are kept."""

VIEWS = words("""
    view reshape permute transpose flatten unflatten squeeze unsqueeze expand movedim moveaxis swapaxes swapdims t T mT
    narrow select getitem cat concat concatenate stack flip roll repeat index_select expand_as view_as reshape_as
    pixel_shuffle pixel_unshuffle channel_shuffle tile repeat_interleave ravel diagonal hstack vstack adjoint
    broadcast_to
""")

SPLITS = words("chunk split tensor_split split_with_sizes")

MAPS = words("""
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool2d interpolate upsample
    upsample_nearest upsample_bilinear grid_sample max_pool2d_with_indices boolean_dispatch
""")
"""Operations on maps that change their size and treat every channel equally."""

REDUCTIONS = words("mean sum amax amin std var norm vector_norm logsumexp max min prod var_mean std_mean argmax argmin")

MAKES = words("zeros ones full empty arange linspace tensor eye randn rand new_zeros new_ones new_full new_empty")


def elementwise(state: Labelling, node: Node) -> None:
    """Tie all that meets."""
    found = neutral(())
    for ref in state.floating((node.args, dict(node.kwargs))):
        found = state.units.tie(found, state.of(ref), f"meets what cannot change in '{node.name}'")
    shape = state.graph.shapes[refs(node.result)[0].value]
    state.put(node, packed(found.expand(shape)))


def view(state: Labelling, node: Node) -> None:
    """Move labels as the operation moves elements: by the operation itself."""
    args, kwargs = state.as_labels(node.args), state.as_labels(dict(node.kwargs))
    index = node.args[1] if node.name == "getitem" else None
    masks = [state.graph.whole[r.value] for r in refs(index) if r.value in state.graph.whole]
    if any(mask.dtype == torch.bool for mask in masks):
        state.refuse(node, "elements are chosen by a mask")
        return
    # labels are held once along some axes, which `view` refuses to merge
    moved = args[0].reshape(*args[1:]) if node.name == "view" and not kwargs else node.function(*args, **kwargs)
    state.put_each(node.result, moved)


def split(state: Labelling, node: Node) -> None:
    """Move labels, and tie equal parts at the same place: code that splits evenly needs them equally wide."""
    view(state, node)
    parts = [state.of(ref) for ref in refs(node.result)]
    for part in parts[1:]:
        if part.shape == parts[0].shape:
            state.units.tie(parts[0], part, "one part of a split cannot change")


def glu(state: Labelling, node: Node) -> None:
    """Tie the half that gates to the half that is gated."""
    a, b = state.of(node.args[0]).chunk(2, node.argument(1, "dim", -1))
    state.put(node, state.units.tie(a, b, "one half of a gate cannot change"))


def unbind(state: Labelling, node: Node) -> None:
    """Move labels; the axis itself cannot change, since so many tensors come out."""
    dim = node.argument(1, "dim", 0)
    (ref,) = state.floating(node.args)
    state.units.along(state.of(ref), dim)
    view(state, node)


def maps(state: Labelling, node: Node) -> None:
    """Keep labels along the axes whose size stays."""
    labels = state.of(state.floating(node.args)[0])
    for ref in refs(node.result):
        state.labels[ref.value] = _resized(state, labels, state.graph.shapes[ref.value])


def pad(state: Labelling, node: Node) -> None:
    """Pad with what is there whatever is dropped."""
    ref, pads = node.args[0], node.argument(1, "pad")
    labels, shape = state.of(ref), state.graph.shapes[refs(node.result)[0].value]
    changed = [axis for axis, (a, b) in enumerate(zip(labels.shape, shape, strict=True)) if a != b]
    if any(axis in state.units.varying(labels) for axis in changed):
        if node.argument(2, "mode", "constant") != "constant":
            state.refuse(node, "channels are padded with others")
            return
        state.put(node, packed(functional.pad(labels.contiguous(), pads, value=NEUTRAL)))
    else:
        state.put(node, _resized(state, labels, shape))


def reduction(state: Labelling, node: Node) -> None:
    """Along channels, a mean is one of those kept; along another axis, all that is summed is tied."""
    if len(node.args) > 1 and isinstance(node.args[1], Ref):  # the larger of two tensors
        elementwise(state, node)
        return
    labels = state.of(node.args[0])
    given = node.argument(2 if node.name in ("norm", "vector_norm") else 1, "dim")
    dims = _dims(given, labels.dim())
    varying = state.units.varying(labels)
    if len(varying) == 1 and varying[0] in dims:
        labels = neutral(labels.shape)
    for dim in dims:
        labels = state.units.along(labels, dim, f"summed over in '{node.name}'")
        labels = labels.narrow(dim, 0, 1)
    for ref in refs(node.result):
        shape = state.graph.shapes[ref.value]
        kept = labels if len(shape) == labels.dim() else _without(labels, dims)
        state.labels[ref.value] = kept.reshape(shape)


def makes(state: Labelling, node: Node) -> None:
    """New tensors of the code's own have nothing to do with channels."""
    for ref in refs(node.result):
        state.labels[ref.value] = neutral(state.graph.shapes[ref.value])


def _dims(given: Any, count: int) -> list[int]:
    if given is None:
        return list(range(count))
    dims = given if isinstance(given, list | tuple) else [given]
    return sorted(dim % count for dim in dims) or list(range(count))


def _without(labels: Tensor, dims: list[int]) -> Tensor:
    for dim in reversed(dims):
        labels = labels.squeeze(dim)
    return labels


def _resized(state: Labelling, labels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return labels of a tensor whose size changed along some axes."""
    for axis, size in enumerate(shape):
        if size != labels.shape[axis]:
            labels = state.units.along(labels, axis)
            labels = labels.narrow(axis, 0, 1)
    return labels.expand(shape)


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(VIEWS, view),
    **dict.fromkeys(SPLITS, split),
    **dict.fromkeys(MAPS, maps),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(MAKES, makes),
    "glu": glu,
    "unbind": unbind,
    "pad": pad,
    **layers.RULES,
}
"""Name of an operation -> what it does to labels."""

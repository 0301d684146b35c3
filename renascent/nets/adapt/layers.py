"""What layers do to labels: those with weights, normalisation, and products of two tensors."""

import torch
from torch import Tensor

from renascent.nets.adapt.labelling import Labelling, Rule
from renascent.nets.adapt.trace import Node, Ref, refs
from renascent.nets.adapt.units import FIXED, broadcast, neutral

COMPUTED = "its weight is computed while the model runs"


def convolution(state: Labelling, node: Node) -> None:
    """Each output channel is a unit of its own; depthwise, that of its input.

    In groups, the same place of every group is one unit, so that the groups stay equally wide.
    """
    x, weight, groups = state.of(node.args[0]), node.argument(1, "weight"), node.argument(6, "groups", 1)
    axis = x.dim() - len(state.graph.shapes[weight.value]) + 1
    name = state.parameter(weight)
    if name is None:
        state.refuse(node, COMPUTED)
        return
    turned = node.name.startswith("conv_transpose")
    shape = state.graph.shapes[weight.value]
    width = shape[1] * groups if turned else shape[0]
    inputs = state.units.vector(x, axis)
    given = len(inputs)
    if groups == given and groups > 1:
        outputs = inputs.repeat_interleave(width // given)
        state.site(name, 0, inputs if turned else outputs)
        state.counted(node.macs, (outputs, 0))
    else:
        ways = state.units.vector(inputs.reshape(groups, -1), 1)
        made = state.units.fresh(width // groups)
        outputs = made.repeat(groups)
        if turned:
            state.units.tie(inputs, ways.repeat(groups))
            state.site(name, 0, inputs, reads=True)
            state.site(name, 1, made, makes=True)
        else:
            state.site(name, 1, ways, reads=True)
            state.site(name, 0, outputs, makes=True)
        state.counted(node.macs, (ways, 0), (outputs, 0))
    state.each(node.argument(2, "bias"), outputs)
    _spread(state, node, outputs, axis)


def linear(state: Labelling, node: Node) -> None:
    """Each output is a unit of its own."""
    x, weight = state.of(node.args[0]), node.argument(1, "weight")
    name = state.parameter(weight)
    if name is None:
        state.refuse(node, COMPUTED)
        return
    inputs = state.units.vector(x, -1)
    outputs = state.units.fresh(state.graph.shapes[weight.value][0])
    state.site(name, 1, inputs, reads=True)
    state.site(name, 0, outputs, makes=True)
    state.each(node.argument(2, "bias"), outputs)
    state.counted(node.macs, (inputs, 0), (outputs, 0))
    _spread(state, node, outputs, x.dim() - 1)


def channel_norm(state: Labelling, node: Node) -> None:
    """Batch and instance normalisation, PReLU: every vector has one number a channel."""
    x = state.of(node.args[0])
    channels = state.units.vector(x, 1)
    for ref in state.floating((node.args[1:], dict(node.kwargs))):
        if state.graph.shapes[ref.value] == (len(channels),):
            state.each(ref, channels)
    _spread(state, node, channels, 1)


def group_norm(state: Labelling, node: Node) -> None:
    """The same place of every group is one unit, so that the groups stay equally wide; or one channel is a group."""
    x, groups = state.of(node.args[0]), node.argument(1, "num_groups")
    channels = state.units.vector(x, 1)
    if groups < len(channels):
        state.units.vector(channels.reshape(groups, -1), 1)
    for place, key in ((2, "weight"), (3, "bias")):
        state.each(node.argument(place, key), channels)
    _spread(state, node, channels, 1)


def layer_norm(state: Labelling, node: Node) -> None:
    """Normalisation over the last axes; its scale and shift have a number for each element of them."""
    x, over = state.of(node.args[0]), node.argument(1, "normalized_shape")
    lead = x.dim() - len(over)
    for axis in range(lead):
        x = state.units.along(x, axis)
    inner = x[(0,) * lead]
    for ref in (node.argument(2, "weight"), node.argument(3, "bias")):
        if isinstance(ref, Ref) and inner.dim() == 1:
            state.each(ref, inner)
        elif isinstance(ref, Ref):
            state.units.tie(state.of(ref), inner, "its normalisation cannot change")
    state.put(node, x)


def product(state: Labelling, node: Node) -> None:
    """A matrix product of two computed tensors."""
    a, b = (state.of(ref) for ref in state.floating(node.args)[:2])
    state.put(node, _multiplied(state, node, a, b, node.macs))


def attention(state: Labelling, node: Node) -> None:
    """Scaled dot-product attention: two matrix products."""
    places = (("query", 0), ("key", 1), ("value", 2))
    q, k, v = (state.of(node.argument(place, name)) for name, place in places)
    first = node.macs * q.shape[-1] // (q.shape[-1] + v.shape[-1])
    scores = _multiplied(state, node, q, k.transpose(-2, -1), first)
    state.put(node, _multiplied(state, node, scores, v, node.macs - first))
    mask = node.argument(3, "attn_mask")
    if isinstance(mask, Ref) and mask.value not in state.graph.whole:
        state.units.tie(scores, state.of(mask), "added to attention")


def _multiplied(state: Labelling, node: Node, a: Tensor, b: Tensor, macs: int) -> Tensor:
    """Return the labels of a @ b, (..., n, k) @ (..., k, m).

    With heads, an axis before those of the matrix, a head is kept or dropped whole. Without, channels meet along k.
    """
    lead = broadcast(a[..., :1, :1], b[..., :1, :1])[0].shape[:-2]
    batched = a.dim() == b.dim() > 2
    heads = batched and (a.dim() > 3 or 0 in (*state.units.varying(a), *state.units.varying(b)))
    if heads:
        whole = [state.units.along(state.units.along(t, -1), -2) for t in (a, b)]
        left, right = whole[0][..., :1, :1], whole[1][..., :1, :1]
        met = state.units.tie(left, right)
        state.heads.append(met)
        state.counted(macs, *((met, axis) for axis in range(met.dim())))
        return met.expand(*lead, a.shape[-2], b.shape[-1])
    along_k = {(t.dim() + axis) in state.units.varying(t) for t, axis in ((a, -1), (b, -2))}
    if True in along_k:
        left, right = state.units.vector(a, -1), state.units.vector(b, -2)
        met = state.units.tie(left, right)
        state.counted(macs, (met, 0))
        return torch.tensor(FIXED).expand(*lead, a.shape[-2], b.shape[-1])
    rows, columns = a[..., :1], b[..., :1, :]
    state.counted(macs, (rows, rows.dim() - 2), (columns, columns.dim() - 1))
    return torch.maximum(*broadcast(rows, columns))


def multi_head_attention(state: Labelling, node: Node) -> None:
    """PyTorch's own attention module: its inner width is that of its input, so that a head is dropped from both."""
    names = ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "add_zero_attn", "p", "out_proj_weight")
    given = {key: node.argument(5 + place, key) for place, key in enumerate((*names, "out_proj_bias"))}
    query, heads = state.of(node.args[0]), node.argument(4, "num_heads")
    weight = state.parameter(given["in_proj_weight"])
    if weight is None or isinstance(given["bias_k"], Ref) or query.dim() != 3:
        state.refuse(node, "an attention module without a batch, or with keys of its own, is not understood")
        return
    vectors = [state.units.vector(state.of(ref), -1) for ref in node.args[:3]]
    for other in vectors[1:]:
        state.units.tie(vectors[0], other)
    width = len(vectors[0])
    state.units.vector(vectors[0].reshape(heads, -1), 0)
    channels, three = vectors[0], vectors[0].repeat(3)
    state.site(weight, 1, channels, reads=True)
    state.site(weight, 0, three, makes=True)
    state.each(given["in_proj_bias"], three)
    out = str(state.parameter(given["out_proj_weight"]))
    state.site(out, 1, channels)
    state.site(out, 0, channels)
    state.each(given["out_proj_bias"], channels)
    queries, keys = (state.graph.shapes[ref.value][0] for ref in node.args[:2])
    products = 2 * queries * keys * width  # of queries and keys, and of what comes of it and values; the rest projects
    state.counted(node.macs - products, (channels, 0), (channels, 0))
    state.counted(products, (channels, 0))
    first, *others = (ref.value for ref in refs(node.result))
    state.labels[first] = channels.view([1] * (query.dim() - 1) + [width]).expand(state.graph.shapes[first])
    for value in others:
        state.labels[value] = neutral(state.graph.shapes[value])


def _spread(state: Labelling, node: Node, channels: Tensor, axis: int) -> None:
    """Give the result the labels of its channels, wherever they are on the map."""
    shape = state.graph.shapes[refs(node.result)[0].value]
    if shape[axis] != len(channels):
        channels = torch.tensor(FIXED).expand(shape[axis])
    place = [1] * len(shape)
    place[axis] = shape[axis]
    state.put(node, channels.view(place).expand(shape))


CONVOLUTIONS = [f"{kind}{dims}d" for kind in ("conv", "conv_transpose") for dims in (1, 2, 3)]

RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    "linear": linear,
    **dict.fromkeys(("batch_norm", "instance_norm", "prelu"), channel_norm),
    "group_norm": group_norm,
    **dict.fromkeys(("layer_norm", "rms_norm"), layer_norm),
    **dict.fromkeys(("matmul", "bmm", "rmatmul"), product),
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention,
}
"""Name of an operation -> what it does to labels."""

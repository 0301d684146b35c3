"""Multiply-accumulates of whatever a network does, counted operation by operation while it runs.

A multiply-accumulate is one product that is added to a sum: those of convolutions, matrix products, recurrent layers,
attention and distances. Element-wise arithmetic, normalisation, pooling and interpolation count nothing, as is usual.
What is neither is not counted, and listed.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from renascent.core.errors import UserError
from renascent.core.text import words

Formula = Callable[..., int]
"""Arguments of an operation as PyTorch's dispatcher has them, and its result -> multiply-accumulates."""


@dataclass(frozen=True)
class Count:
    """What was counted. unknown: operations without a formula, in the order in which they ran."""

    macs: int
    unknown: tuple[str, ...] = ()


def uncounted(unknown: Sequence[str]) -> UserError:
    """Return the error for multiply-accumulates that are asked for and not known."""
    names = ", ".join(unknown)
    return UserError(f"the multiply-accumulates are not known, of {names:.200}: bound params or latency_ms")


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while it is active, below whatever else transforms the operations (autograd, vmap).

    >>> with Counter() as counter:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> counter.macs, list(counter.unknown)
    (24, [])
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs, self.unknown = 0, dict[str, None]()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes seconds, to keep it away from the next function

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if _plain(name) in KEEP_SHAPE and not kwargs and args[0].is_meta:
            return args[0]  # the same shape; the meta device works it out in Python, which takes most of the time
        formula = FORMULAS.get(_plain(name))
        if formula is None and not _free(func, name):
            with self:  # what consists of others is counted by them
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
            if any(isinstance(t, Tensor) and _is_number(t) for t in tree_leaves((args, kwargs))):
                self.unknown[name.removeprefix("aten::")] = None
        result = func(*args, **kwargs)
        if formula is not None:
            self.macs += formula(*args, result=result[0] if isinstance(result, tuple | list) else result)
        return result


def count(net: nn.Module, shape: tuple[int, ...], *, computing: bool = False) -> Count:
    """Count for one input of `shape`, in evaluation mode: on the meta device where that works, computing nothing.

    computing: run it as it is, which a small network does faster than the meta device is loaded.
    """
    if not computing:
        with contextlib.suppress(Exception):  # a user's code makes tensors elsewhere, or looks at them
            return _count(copy.deepcopy(net).to("meta"), torch.empty(1, *shape, device="meta"))
    first = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    return _count(copy.deepcopy(net), torch.zeros(1, *shape).to(first))


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Keep PyTorch's transformer layers from one operation for all, which reads weights past what is in their place."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@torch.no_grad()
def _count(net: nn.Module, x: Tensor) -> Count:
    for module in net.modules():
        if isinstance(module, _BatchNorm):  # no multiply-accumulate is counted of it, and it takes most of the time
            vars(module)["forward"] = nn.Identity()
    with unfused(), Counter() as counter:
        net.eval()(x)
    return Count(counter.macs, tuple(counter.unknown))


def _plain(name: str) -> str:
    """Return the name of an operation without that of PyTorch's own library, and without the mark of one in place."""
    short = name.removeprefix("aten::")
    return short if short.startswith("__") else short.removesuffix("_")


def _free(func: Any, name: str) -> bool:
    """Return whether an operation is known to accumulate no products."""
    if not name.startswith("aten::"):
        return name.startswith(("prim::", "profiler::"))
    return torch.Tag.pointwise in func.tags or func.is_view or _plain(name) in FREE


def _is_number(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized


def _matrices(a: Tensor, b: Tensor, *rest: Any, result: Tensor) -> int:
    return a.numel() * b.shape[-1]


def _added(_: Tensor, a: Tensor, b: Tensor, *rest: Any, result: Tensor) -> int:
    return a.numel() * b.shape[-1]


def _vector(a: Tensor, b: Tensor, *rest: Any, result: Tensor) -> int:
    return a.numel()


def _added_vector(_: Tensor, a: Tensor, b: Tensor, *rest: Any, result: Tensor) -> int:
    return a.numel()


def _linear(x: Tensor, weight: Tensor, *rest: Any, result: Tensor) -> int:
    return x.numel() * weight.shape[0]


def _convolution(x: Tensor, weight: Tensor, *rest: Any, result: Tensor) -> int:
    """Each place of the output reads each weight of its group once; turned round, each place of the input does."""
    places = x if rest[4] else result
    return places.shape[0] * math.prod(places.shape[2:]) * weight.numel()


def _convolution_over_time(x: Tensor, weight: Tensor, *rest: Any, result: Tensor) -> int:
    return result.numel() * math.prod(weight.shape[:2])


def _bilinear(*given: Any, result: Tensor) -> int:
    """Three tensors are multiplied, each with new axes where it is the same, and summed over some."""
    expanded = []
    for tensor, axes in zip(given[:3], given[3:6], strict=True):
        for axis in sorted(axes):
            tensor = tensor.unsqueeze(axis)
        expanded.append(tensor.shape)
    return math.prod(torch.broadcast_shapes(*expanded))  # type: ignore[no-untyped-call]


def _distances(x: Tensor, *rest: Any, result: Tensor) -> int:
    return result.numel() * x.shape[-1]


def _grid(theta: Tensor, *rest: Any, result: Tensor) -> int:
    return result.numel() * theta.shape[-1]


def _recurrent(x: Tensor, weights: Sequence[Tensor]) -> int:
    """Every token meets every matrix once: of inputs and of states, in all layers and directions."""
    return x.numel() // x.shape[-1] * sum(w.numel() for w in weights if w.dim() == 2)


def _recurrent_layer(x: Tensor, *rest: Any, result: Tensor) -> int:
    return _recurrent(x, rest[:2])


def _recurrent_layers(x: Tensor, weights: Sequence[Tensor], *rest: Any, result: Tensor) -> int:
    return _recurrent(x, weights)


def _recurrent_mps(x: Tensor, state: Any, weights: Sequence[Tensor], *rest: Any, result: Tensor) -> int:
    return _recurrent(x, weights)


def _attention(q: Tensor, k: Tensor, v: Tensor, *rest: Any, result: Tensor) -> int:
    """Each query meets each key, and what comes of it each value; masked or not."""
    return math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "_int_mm", "_scaled_mm"), _matrices),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "_addmm_activation"), _added),
    **dict.fromkeys(("mv", "dot", "vdot"), _vector),
    "addmv": _added_vector,
    **dict.fromkeys(("linear", "mkldnn_linear"), _linear),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
    "conv_tbc": _convolution_over_time,
    "_trilinear": _bilinear,
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist", "_pdist_forward"), _distances),
    **dict.fromkeys(("affine_grid_generator", "cudnn_affine_grid_generator"), _grid),
    "mkldnn_rnn_layer": _recurrent_layer,
    **dict.fromkeys(("_cudnn_rnn", "miopen_rnn"), _recurrent_layers),
    "_lstm_mps": _recurrent_mps,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
}
"""Operation -> what it multiplies."""

KEEP_SHAPE = frozenset(words("relu hardtanh hardswish silu gelu"))
"""Element-wise operations of one tensor, whose result is as large as it and of its kind."""

FREE = frozenset(
    words("""
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices
    max_pool3d_with_indices max_unpool2d max_unpool3d fractional_max_pool2d fractional_max_pool3d
    mkldnn_adaptive_avg_pool2d mkldnn_max_pool2d mkldnn_max_pool3d
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _native_batch_norm_legit_functional
    _batch_norm_with_update _batch_norm_with_update_functional _batch_norm_no_update cudnn_batch_norm miopen_batch_norm
    batch_norm_stats batch_norm_elemt batch_norm_update_stats batch_norm_gather_stats
    batch_norm_gather_stats_with_counts native_layer_norm native_group_norm native_norm _fused_rms_norm
    _weight_norm_interface renorm norm linalg_vector_norm linalg__powsum
    _softmax _log_softmax _safe_softmax _masked_softmax softmax log_softmax logsumexp
    _thnn_fused_lstm_cell _thnn_fused_gru_cell _pack_padded_sequence glu native_dropout
    rrelu_with_noise rrelu_with_noise_functional _prelu_kernel log_sigmoid_forward celu elu gelu mish hardtanh
    sum nansum mean prod amax amin aminmax _aminmax max min argmax argmin all any median nanmedian mode kthvalue std
    std_mean var var_mean trace count_nonzero cumsum cumprod cummax cummin _cummax_helper _cummin_helper logcumsumexp
    _logcumsumexp dist linalg_cross addr
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa grid_sampler_2d grid_sampler_3d
    _grid_sampler_2d_cpu_fallback cudnn_grid_sampler im2col col2im
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d embedding _embedding_bag _embedding_bag_forward_only embedding_renorm
    cat stack _stack _chunk_cat block_diag repeat repeat_interleave roll flip rot90 channel_shuffle pixel_shuffle
    pixel_unshuffle diag_embed tril triu _reshape_copy _unsafe_view unsafe_split unsafe_split_with_sizes
    index index_add index_copy index_fill index_put _index_put_impl index_reduce index_select _unsafe_index
    _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate gather scatter scatter_add
    scatter_reduce masked_select masked_scatter masked_fill take put select_scatter slice_scatter diagonal_scatter
    as_strided_scatter segment_reduce nonzero nonzero_static where
    sort topk searchsorted bucketize histc histogram bincount unique_consecutive unique_dim unique_dim_consecutive
    _unique _unique2 isin equal allclose is_same_size
    bernoulli multinomial normal uniform poisson exponential cauchy geometric log_normal random binomial dropout
    empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty new_empty_strided new_full
    new_ones new_zeros clone copy _copy_from detach lift lift_fresh fill zero set resize resize_as _to_copy contiguous
    t transpose squeeze unsqueeze as_strided alias _local_scalar_dense _assert_async _functional_assert_async
    _assert_scalar _assert_tensor_metadata _is_all_true _is_any_true is_pinned _pin_memory record_stream
    _has_same_storage_numel complex polar real imag view_as_real view_as_complex _conj _conj_physical
    quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic dequantize int_repr q_scale q_zero_point
    fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fake_quantize_learnable_per_tensor_affine
    _fake_quantize_learnable_per_channel_affine _fused_moving_avg_obs_fq_helper
    """)
)
"""Operations that PyTorch does not mark as element-wise or as views, and that accumulate no products either."""

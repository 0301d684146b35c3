"""Multiply-accumulates of single operations, against counts by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from renascent.nets.macs import FORMULAS, Counter, count

X = torch.randn(2, 5, 8, dtype=torch.float32)
"""(batch, tokens, channels)."""


def made(kind, *sizes, **settings):
    """Return a function that runs a layer in single precision, in which kernels differ from those of double."""
    return lambda: kind(*sizes, dtype=torch.float32, **settings)(X)


def tensors(*shapes):
    return [torch.randn(*shape, dtype=torch.float32) for shape in shapes]


def attention(q, k, **about):
    return lambda: functional.scaled_dot_product_attention(*tensors(q, k, k), **about)


TOKENS = 10
HEADS = 2 * 4 * 5 * 5 * (8 + 8)

CASES = {
    "LSTM": (made(nn.LSTM, 8, 16), TOKENS * 4 * 16 * (8 + 16)),
    "LSTM without bias": (made(nn.LSTM, 8, 16, bias=False), TOKENS * 4 * 16 * (8 + 16)),
    "LSTM batch first": (made(nn.LSTM, 8, 16, batch_first=True), TOKENS * 4 * 16 * (8 + 16)),
    "LSTM of two layers": (made(nn.LSTM, 8, 16, 2), TOKENS * 4 * 16 * (8 + 16 + 16 + 16)),
    "LSTM in two directions": (made(nn.LSTM, 8, 16, 2, bidirectional=True), TOKENS * 8 * 16 * (8 + 16 + 32 + 16)),
    "LSTM with a projection": (made(nn.LSTM, 8, 16, proj_size=4), TOKENS * (4 * 16 * (8 + 4) + 16 * 4)),
    "GRU": (made(nn.GRU, 8, 16), TOKENS * 3 * 16 * (8 + 16)),
    "GRU in two directions": (made(nn.GRU, 8, 16, bidirectional=True), TOKENS * 6 * 16 * (8 + 16)),
    "RNN": (made(nn.RNN, 8, 16, 2), TOKENS * 16 * (8 + 16 + 16 + 16)),
    "LSTM cell": (lambda: nn.LSTMCell(8, 16, dtype=torch.float32)(X[0]), 5 * 4 * 16 * (8 + 16)),
    "GRU cell": (lambda: nn.GRUCell(8, 16, dtype=torch.float32)(X[0]), 5 * 3 * 16 * (8 + 16)),
    "RNN cell": (lambda: nn.RNNCell(8, 16, dtype=torch.float32)(X[0]), 5 * 16 * (8 + 16)),
    "linear": (made(nn.Linear, 8, 3), TOKENS * 8 * 3),
    "bilinear": (lambda: nn.Bilinear(8, 8, 3, dtype=torch.float32)(X, X), TOKENS * 8 * 8 * 3),
    "matrix and vector": (lambda: torch.matmul(*tensors((3, 4), (4,))), 12),
    "matrices and vector": (lambda: torch.matmul(*tensors((2, 3, 4), (4,))), 24),
    "vector and matrix": (lambda: torch.matmul(*tensors((4,), (4, 3))), 12),
    "vectors": (lambda: torch.matmul(*tensors((4,), (4,))), 4),
    "addmv": (lambda: torch.addmv(*tensors((3,), (3, 4), (4,))), 12),
    "addbmm": (lambda: torch.addbmm(*tensors((3, 5), (2, 3, 4), (2, 4, 5))), 120),
    "baddbmm": (lambda: torch.baddbmm(*tensors((2, 3, 5), (2, 3, 4), (2, 4, 5))), 120),
    "einsum": (lambda: torch.einsum("bij,bkj->bik", *tensors((2, 5, 8), (2, 7, 8))), 2 * 5 * 7 * 8),
    "tensordot": (lambda: torch.tensordot(*tensors((2, 3, 4), (3, 4, 5)), dims=2), 2 * 12 * 5),
    "a chain": (lambda: torch.linalg.multi_dot(tensors((3, 4), (4, 5), (5,))), 4 * 5 + 3 * 4),
    "outer product": (lambda: torch.outer(*tensors((3,), (4,))), 0),
    "distances": (lambda: torch.cdist(*tensors((2, 5, 8), (2, 7, 8))), 2 * 5 * 7 * 8),
    "distances of many": (lambda: torch.cdist(*tensors((30, 8), (40, 8))), 30 * 40 * 8),
    "distances in a set": (lambda: torch.pdist(*tensors((5, 8))), 10 * 8),
    "attention": (attention((2, 4, 5, 8), (2, 4, 5, 8)), HEADS),
    "attention with a mask": (attention((2, 4, 5, 8), (2, 4, 5, 8), attn_mask=torch.zeros(5, 5)), HEADS),
    "causal attention": (attention((2, 4, 5, 8), (2, 4, 5, 8), is_causal=True), HEADS),
    "attention in groups": (attention((2, 4, 5, 8), (2, 2, 5, 8), enable_gqa=True), HEADS),
    "attention module": (
        lambda: nn.MultiheadAttention(8, 2, dtype=torch.float32)(X, X, X, need_weights=False),
        TOKENS * 4 * 64 + 2 * 5 * 2 * 2 * 8,
    ),
    "transformer layer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dtype=torch.float32)(X),
        TOKENS * (4 * 64 + 2 * 8 * 16) + 2 * 2 * 5 * 5 * 8,
    ),
    "vmap": (lambda: torch.vmap(nn.Linear(8, 3, dtype=torch.float32))(X), TOKENS * 8 * 3),
    "vmap of products": (lambda: torch.vmap(lambda a: a @ a.T)(X), 2 * 5 * 5 * 8),
    "convolution": (lambda: functional.conv2d(*tensors((2, 4, 6, 6), (8, 2, 3, 3)), groups=2), 2 * 16 * 8 * 2 * 9),
    "convolution of volumes": (lambda: functional.conv3d(*tensors((1, 2, 4, 4, 4), (3, 2, 3, 3, 3))), 8 * 3 * 2 * 27),
    "turned convolution": (
        lambda: functional.conv_transpose2d(*tensors((2, 4, 6, 6), (4, 3, 2, 2)), stride=2),
        2 * 36 * 4 * 3 * 4,
    ),
    "affine grid": (lambda: functional.affine_grid(*tensors((2, 2, 3)), (2, 1, 4, 5)), 2 * 20 * 2 * 3),
    "pooling and norm": (lambda: functional.batch_norm(functional.avg_pool1d(X, 2), None, None, training=True), 0),
    "interpolation": (lambda: functional.interpolate(X, scale_factor=2), 0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("run", "right"), CASES.values(), ids=CASES)
def test_counter_of_an_operation_is_the_count_by_hand(run, right):
    with torch.no_grad(), Counter() as counter:
        run()
    assert (counter.macs, list(counter.unknown)) == (right, [])


def test_counter_in_inference_mode_counts_what_operations_consist_of():
    with torch.inference_mode(), Counter() as counter:
        torch.matmul(*tensors((2, 3, 4), (4, 5)))
    assert counter.macs == 2 * 3 * 4 * 5


def test_kernels_of_gpus_are_counted_by_the_weights_that_every_token_meets():
    x, weights = torch.zeros(5, 2, 8), [torch.zeros(64, 8), torch.zeros(64, 16), torch.zeros(64), torch.zeros(64)]
    right = TOKENS * 64 * (8 + 16)
    assert FORMULAS["_cudnn_rnn"](x, weights, 4, result=x) == right
    assert FORMULAS["_lstm_mps"](x, [], weights, result=x) == right
    q = torch.zeros(2, 4, 5, 8)
    for name in ("flash_attention", "efficient_attention", "cudnn_attention"):
        assert FORMULAS[f"_scaled_dot_product_{name}"](q, q, q, result=q) == HEADS


UNKNOWN = {
    "_fft_r2c": lambda x: torch.fft.rfft(x),
    "linalg_inv_ex": lambda x: torch.linalg.inv(x @ x.mT),
    "linalg_qr": lambda x: torch.linalg.qr(x)[0],
    "linalg_matrix_exp": lambda x: torch.linalg.matrix_exp(x @ x.mT),
    "_linalg_svd": lambda x: torch.linalg.svd(x)[1],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_operation_without_a_formula_is_named(name):
    with Counter() as counter:
        UNKNOWN[name](X)
    assert name in counter.unknown


class Both(nn.Module):
    """Layers of all kinds that PyTorch's own counter knows."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.GELU(), nn.ConvTranspose2d(8, 4, 2, 2))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def test_count_of_a_network_is_that_of_pytorch_where_that_has_formulas():
    net = Both().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as theirs:
        net(torch.zeros(1, 3, 9, 9))
    found = count(net, (3, 9, 9))
    assert (2 * found.macs, found.unknown) == (theirs.get_total_flops(), ())

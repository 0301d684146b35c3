"""Which channels belong together: ways of writing networks that analyses stumble over, each as small as it can be.

Whatever is found, one thing must hold: what is taken out of the supernet computes the same, and costs what was said.
"""

import warnings
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from renascent.core.gates import one_hot
from renascent.nets.adapt import adapt
from renascent.nets.adapt.groups import Axis, grouped, layer_of
from renascent.nets.adapt.labelling import label
from renascent.nets.adapt.rules import RULES
from renascent.nets.adapt.trace import trace

SHAPE = (3, 12, 12)


class Net(nn.Module):
    """A forward function and the layers it uses, in one line each."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            if name.startswith("_"):
                setattr(self, name[1:], layer)
            elif isinstance(layer, torch.Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def conv(inputs, outputs, kernel=3, **more):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **more)


def pooled(x):
    return x.mean((2, 3))


def attention(m, x):
    x = m.patch(x).flatten(2).transpose(1, 2)
    count, tokens, _ = x.shape
    q, k, v = m.qkv(x).reshape(count, tokens, 3, m.heads, m.size).permute(2, 0, 3, 1, 4).unbind(0)
    bias = m.table[m.index.view(-1)].view(tokens, tokens, -1).permute(2, 0, 1)[None]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
    return m.fc((x + m.out(y)).mean(1))


def batched_heads(m, x):
    x = m.patch(x).flatten(2).transpose(1, 2)
    count, tokens, _ = x.shape
    q, k, v = (
        layer(x).reshape(count, tokens, m.heads, m.size).transpose(1, 2).reshape(count * m.heads, tokens, m.size)
        for layer in (m.q, m.k, m.v)
    )
    y = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
    y = y.view(count, m.heads, tokens, m.size).transpose(1, 2).reshape(count, tokens, m.heads * m.size)
    return m.fc((x + m.out(y)).mean(1))


def shuffle(m, x):
    a, b = m.stem(x).chunk(2, 1)
    x = torch.cat([a, m.point(m.deep(F.relu(b)))], 1)
    count, channels, h, w = x.shape
    return m.fc(pooled(x.view(count, 2, channels // 2, h, w).transpose(1, 2).reshape(count, channels, h, w)))


def dense(m, x):
    maps = [m.stem(x)]
    for layer in (m.a, m.b):
        maps.append(F.relu(layer(torch.cat(maps, 1))))
    return m.fc(pooled(torch.cat(maps, 1)))


def channel_norm(m, x):
    x = m.stem(x)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) / ((x - mean).pow(2).mean(1, keepdim=True) + 1e-6).sqrt() * m.scale[:, None, None]
    y = m.wide(m.deep(x).permute(0, 2, 3, 1))
    return m.fc(pooled(x + m.narrow(F.gelu(y)).permute(0, 3, 1, 2)))


def non_local(m, x):
    x = m.stem(x)
    q, k, v = m.q(x).flatten(2).transpose(1, 2), m.k(x).flatten(2), m.v(x).flatten(2)
    return m.fc(pooled(x + torch.bmm(v, torch.bmm(q, k).softmax(-1).transpose(1, 2)).view_as(x)))


def in_place(m, x):
    x = m.stem(x)
    y = torch.zeros_like(x)
    y[:, :4] = x[:, 4:8]
    return m.fc(pooled(m.next(x + y)))


CASES = {
    "grouped convolution": (
        lambda: Net(
            lambda m, x: m.fc(pooled(F.relu(m.group(F.relu(m.stem(x)))))),
            stem=conv(3, 32),
            group=conv(32, 64, groups=8),
            fc=nn.Linear(64, 4),
        ),
        {"stem": (8, 16, 24, 32), "group": (16, 24, 32, 40, 48, 56, 64)},
    ),
    "depthwise with a multiplier": (
        lambda: Net(
            lambda m, x: m.fc(pooled(m.deep(m.stem(x)))),
            stem=conv(3, 16),
            deep=conv(16, 32, groups=16),
            fc=nn.Linear(32, 4),
        ),
        {"stem": (8, 16)},
    ),
    "shuffled halves": (
        lambda: Net(
            shuffle, stem=conv(3, 32), deep=conv(16, 16, groups=16), point=conv(16, 16, 1), fc=nn.Linear(32, 4)
        ),
        {"stem": (8, 16, 24, 32)},
    ),
    "gated halves": (
        lambda: Net(lambda m, x: m.fc(F.glu(pooled(m.stem(x)), 1)), stem=conv(3, 32), fc=nn.Linear(16, 4)),
        {"stem": (8, 16, 24, 32)},
    ),
    "dense concatenation": (
        lambda: Net(dense, stem=conv(3, 16), a=conv(16, 16), b=conv(32, 16), fc=nn.Linear(48, 4)),
        {"stem": (8, 16), "a": (8, 16), "b": (8, 16)},
    ),
    "parts of a sum": (
        lambda: Net(
            lambda m, x: m.fc(pooled(torch.cat([m.a(x), m.b(x)], 1) + m.c(x))),
            a=conv(3, 16),
            b=conv(3, 32),
            c=conv(3, 48),
            fc=nn.Linear(48, 4),
        ),
        {"a": (8, 16), "b": (8, 16, 24, 32)},
    ),
    "normalisation over channels by hand": (
        lambda: Net(
            channel_norm,
            stem=conv(3, 16),
            scale=nn.Parameter(torch.ones(16)),
            deep=conv(16, 16, 7, groups=16),
            wide=nn.Linear(16, 32),
            narrow=nn.Linear(32, 16),
            fc=nn.Linear(16, 4),
        ),
        {"stem": (8, 16), "wide": (8, 16, 24, 32)},
    ),
    "pixels from channels": (
        lambda: Net(
            lambda m, x: m.fc(pooled(m.next(F.pixel_shuffle(m.stem(x), 2)))),
            stem=conv(3, 32),
            next=conv(8, 16),
            fc=nn.Linear(16, 4),
        ),
        {"stem": (8, 16, 24, 32), "next": (8, 16)},
    ),
    "flattened after a permutation": (
        lambda: Net(
            lambda m, x: m.fc(F.max_pool2d(m.stem(x), 4).permute(0, 2, 3, 1).flatten(1)),
            stem=conv(3, 16),
            fc=nn.Linear(144, 4),
        ),
        {"stem": (8, 16)},
    ),
    "attention with a table of biases": (
        lambda: Net(
            attention,
            patch=nn.Conv2d(3, 16, 4, 4),
            qkv=nn.Linear(16, 48, bias=False),
            out=nn.Linear(16, 16),
            table=nn.Parameter(torch.randn(25, 4)),
            index=torch.arange(81) % 25,
            fc=nn.Linear(16, 4),
            _heads=4,
            _size=4,
        ),
        {"patch": (8, 16), "qkv": (1, 2, 3, 4)},
    ),
    "heads within the batch": (
        lambda: Net(
            batched_heads,
            patch=nn.Conv2d(3, 16, 4, 4),
            **{name: nn.Linear(16, 16) for name in ("q", "k", "v", "out")},
            fc=nn.Linear(16, 4),
            _heads=4,
            _size=4,
        ),
        {"patch": (8, 16), "q": (1, 2, 3, 4)},
    ),
    "queries that meet keys": (
        lambda: Net(
            non_local, stem=conv(3, 16), q=conv(16, 32, 1), k=conv(16, 32, 1), v=conv(16, 16, 1), fc=nn.Linear(16, 4)
        ),
        {"stem": (8, 16), "q": (8, 16, 24, 32)},
    ),
    "weights without layers": (
        lambda: Net(
            lambda m, x: F.linear(pooled((F.conv2d(x, m.w) * m.scale).relu()), m.out),
            w=nn.Parameter(torch.randn(24, 3, 3, 3)),
            scale=nn.Parameter(torch.randn(1, 24, 1, 1)),
            out=nn.Parameter(torch.randn(4, 24)),
        ),
        {"w": (8, 16, 24)},
    ),
    "one layer used twice": (
        lambda: Net(lambda m, x: m.fc(pooled(m.b(m.b(m.a(x))))), a=conv(3, 16), b=conv(16, 16), fc=nn.Linear(16, 4)),
        {"a": (8, 16)},
    ),
    "a list of inner products": (
        lambda: Net(
            lambda m, x: m.fc(pooled(m.a(x)) @ m.w),
            a=conv(3, 16),
            w=nn.Parameter(torch.randn(16, 8)),
            fc=nn.Linear(8, 4),
        ),
        {"a": (8, 16)},
    ),
}
"""What is written -> (the model, its decisions)."""

FIXED = {
    "a size in the code": (
        lambda: Net(lambda m, x: m.fc(m.stem(x).view(-1, 16 * 144)), stem=conv(3, 16), fc=nn.Linear(16 * 144, 4)),
        "stem",
        "the model fails",
    ),
    "a size in the code that swallows the batch": (
        lambda: Net(
            lambda m, x: m.fc(pooled(m.stem(x)).reshape(-1, 8).view(len(x), -1)), stem=conv(3, 16), fc=nn.Linear(16, 4)
        ),
        "stem",
        "",
    ),
    "a split in the code": (
        lambda: Net(
            lambda m, x: m.fc(pooled(torch.cat([*m.stem(x).split(8, 1)[:1], m.stem(x).split(8, 1)[1].relu()], 1))),
            stem=conv(3, 16),
            fc=nn.Linear(16, 4),
        ),
        "stem",
        "",
    ),
    "elements set one by one": (
        lambda: Net(in_place, stem=conv(3, 16), next=conv(16, 16), fc=nn.Linear(16, 4)),
        "stem",
        "'setitem' is not understood",
    ),
    "an unknown operation": (
        lambda: Net(lambda m, x: m.fc(pooled(m.stem(x).cumsum(1))), stem=conv(3, 16), fc=nn.Linear(16, 4)),
        "stem",
        "'cumsum' is not understood",
    ),
    "a recurrent layer": (
        lambda: Net(
            lambda m, x: m.fc(m.run_over(m.stem(x).flatten(2).transpose(1, 2))[0][:, -1]),
            stem=conv(3, 16),
            run_over=nn.LSTM(16, 8, batch_first=True),
            fc=nn.Linear(8, 4),
        ),
        "stem",
        "'lstm' is not understood",
    ),
    "a computed weight": (
        lambda: Net(
            lambda m, x: m.fc(pooled(F.conv2d(x, m.w / m.w.norm()))),
            w=nn.Parameter(torch.randn(16, 3, 3, 3)),
            fc=nn.Linear(16, 4),
        ),
        None,
        "",
    ),
    "a sum with the input": (
        lambda: Net(lambda m, x: m.fc(pooled(x + m.stem(x))), stem=conv(3, 3), fc=nn.Linear(3, 4)),
        "stem",
        "meets what cannot change",
    ),
    "the order of channels": (
        lambda: Net(
            lambda m, x: m.fc(pooled(F.local_response_norm(m.stem(x), 3))), stem=conv(3, 16), fc=nn.Linear(16, 4)
        ),
        "stem",
        "not understood",
    ),
}
"""What is written -> (the model, the layer that must be left as it is, why)."""


@pytest.mark.parametrize("name", CASES)
def test_adapt_groups_tied_channels(name, check):
    torch.manual_seed(0)
    make, decisions = CASES[name]
    space = adapt(make(), SHAPE)
    assert {n: d.options for n, d in space.space.decisions.items()} == decisions
    check(space)


@pytest.mark.parametrize("name", FIXED)
def test_adapt_unknown_operation_keeps_its_layers_fixed(name, check):
    torch.manual_seed(0)
    make, layer, why = FIXED[name]
    space = adapt(make(), SHAPE)
    rows = {row.name: row for row in space.coverage.rows}
    if layer:
        assert not rows[layer].searchable
        assert why in rows[layer].about
    if not space.coverage.refused:
        check(space)


def test_a_transformer_of_pytorch_keeps_whole_heads_and_drops_layers(check):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
    model = Net(
        lambda m, x: m.fc(m.encoder(m.patch(x).flatten(2).transpose(1, 2) + m.position).mean(1)),
        patch=nn.Conv2d(3, 32, 4, 4),
        position=nn.Parameter(torch.randn(1, 9, 32)),
        encoder=nn.TransformerEncoder(layer, 3, enable_nested_tensor=False),
        fc=nn.Linear(32, 4),
    )
    space = adapt(model, SHAPE)
    found = {n: d.options for n, d in space.space.decisions.items()}
    assert found["depth.encoder.layers"] == (1, 2, 3)  # it asks its first layer how it is made
    assert found["patch"] == (8, 16, 24, 32)
    assert {n for n in found if n.endswith("linear1")} == {f"encoder.layers.{k}.linear1" for k in range(3)}
    check(space)
    arch = space.space.arch({**space.reference, "patch": 16, "depth.encoder.layers": 2})
    plain = space.supernet(3, 4).extract(arch)
    assert [m.self_attn.num_heads for m in plain.encoder.layers] == [2, 2]
    net, x = space.supernet(3, 4).eval(), torch.randn(2, *SHAPE)
    with torch.no_grad():  # where PyTorch's layers would read all weights at once
        torch.testing.assert_close(net(x, one_hot(space.space, arch)), net.extract(arch).eval()(x))


def test_a_tied_weight_stays_tied(check):
    torch.manual_seed(0)
    model = Net(lambda m, x: m.fc(pooled(m.b(m.a(m.stem(x))))), stem=conv(3, 16), a=conv(16, 16), b=conv(16, 16))
    model.b.weight = model.a.weight
    model.fc = nn.Linear(16, 4)
    space = adapt(model, SHAPE)
    assert {n: d.options for n, d in space.space.decisions.items()} == {"stem": (8, 16)}
    plain = space.supernet(3, 4).extract(space.space.arch({"stem": 8}))
    assert plain.b.weight is plain.a.weight
    assert plain.b.weight.shape == (8, 8, 3, 3)
    check(space)


def test_units_of_several_kinds_of_norm(check):
    torch.manual_seed(0)
    layers = [
        *(conv(3, 16), nn.InstanceNorm2d(16, affine=True), nn.PReLU(16)),
        *(conv(16, 32), nn.GroupNorm(32, 32), conv(32, 32), nn.GroupNorm(1, 32)),
        *(conv(32, 16), nn.LayerNorm((16, 12, 12)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
    ]
    space = adapt(nn.Sequential(*layers), SHAPE)
    assert {n: len(d.options) for n, d in space.space.decisions.items()} == {"0": 2, "3": 4, "5": 4, "7": 2}
    check(space)
    plain = space.supernet(3, 4).extract(space.space.arch({"0": 8, "3": 16, "5": 8, "7": 8}))
    assert (plain[4].num_groups, plain[6].num_groups, plain[8].normalized_shape) == (16, 1, (8, 12, 12))


# --- against the dependency graph of Torch-Pruning (arXiv:2301.12900), one by one


def plain():
    body = conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 12), nn.PReLU(12), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, 4))


def residual():
    def run(m, x):
        x = F.relu(m.norm(m.stem(x)))
        x = F.relu(x + m.norm2(m.conv2(F.relu(m.norm1(m.conv1(x))))))
        return m.fc(pooled(F.relu(m.short(x) + m.down(x))))

    norms = {f"norm{k}": nn.BatchNorm2d(n) for k, n in {"": 8, "1": 6, "2": 8}.items()}
    convs = {"stem": conv(3, 8), "conv1": conv(8, 6), "conv2": conv(6, 8), "short": conv(8, 12, 1), "down": conv(8, 12)}
    return Net(run, **convs, **norms, fc=nn.Linear(12, 4))


def inverted():
    """As in MobileNet-v2: expand, depthwise, squeeze and excite, project, add."""

    def run(m, x):
        x = m.stem(x)
        y = F.relu6(m.norm(m.depthwise(F.relu6(m.expand(x)))))
        y = y * torch.sigmoid(m.excite(F.relu(m.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return m.fc(pooled(x + m.project(y)))

    deep = {"expand": conv(6, 16, 1), "depthwise": conv(16, 16, groups=16), "norm": nn.BatchNorm2d(16)}
    gate = {"squeeze": conv(16, 4, 1), "excite": conv(4, 16, 1)}
    return Net(run, stem=conv(3, 6), **deep, **gate, project=conv(16, 6, 1), fc=nn.Linear(6, 4))


def transformer_mlp():
    def run(m, x):
        x = m.embed(x.flatten(1))
        for k in ("1", "2"):
            norm, wide, narrow = (getattr(m, name + k) for name in ("norm", "wide", "narrow"))
            x = x + narrow(F.gelu(wide(norm(x))))
        return m.head(m.norm(x))

    layers = {"embed": nn.Linear(432, 12), "norm": nn.LayerNorm(12)}
    for k, n in {"1": 20, "2": 16}.items():
        layers |= {"norm" + k: nn.LayerNorm(12), "wide" + k: nn.Linear(12, n), "narrow" + k: nn.Linear(n, 12)}
    return Net(run, **layers, head=nn.Linear(12, 4))


def found(model):
    """Return the units that `adapt` finds, each the (weight, axis, index) it lies at, and the layers that are fixed."""
    grouping = grouped(label(trace(model, SHAPE), RULES))
    units = defaultdict(set)
    for name, axes in grouping.axes.items():
        for axis, held in axes.items() if name.endswith("weight") else ():
            for k, (group, place) in enumerate(zip(held.group.tolist(), held.place.tolist(), strict=True)):
                if group >= 0:
                    units[group, place].add((name, axis, k))
    return list(units.values()), set(grouping.fixed)


def expected(graph, model, layer, channels):
    """Return where the channels of a layer's output lie, as Torch-Pruning's graph has it."""
    names = {module: name for name, module in model.named_modules()}
    places, start = set(), graph.get_pruner_of_module(layer).prune_out_channels
    for dependency, indices in graph.get_pruning_group(layer, start, channels):
        module = dependency.target.module
        if module in names:
            groups = getattr(module, "groups", 1)
            of_inputs = not graph.is_out_channel_pruning_fn(dependency.handler) and groups < len(module.weight)
            places |= {(f"{names[module]}.weight", 1, k % module.weight.shape[1]) for k in indices if of_inputs}
            places |= {(f"{names[module]}.weight", 0, k) for k in indices if not of_inputs}
    return places


ORACLE = {
    **{make.__name__: make for make in (plain, residual, inverted, transformer_mlp)},
    **{name: CASES[name][0] for name in ("dense concatenation", "grouped convolution")},
}


@pytest.mark.parametrize("name", ORACLE)
def test_adapt_groups_are_those_of_torch_pruning(name):
    torch.manual_seed(0)
    model = ORACLE[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports are deprecated
        tp = pytest.importorskip("torch_pruning", reason="needs the extra: pip install 'renascent[prune]'")
        graph = tp.DependencyGraph().build_dependency(model.eval(), torch.randn(2, *SHAPE), verbose=False)
    units, fixed = found(model)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    met = defaultdict(set)
    for unit in units:
        for layer in {layer_of(name) for name, axis, _ in unit if axis == 0} & layers.keys():
            channels = sorted(k for name, axis, k in unit if (name, axis) == (f"{layer}.weight", 0))
            met[layer] |= {*channels}
            assert expected(graph, model, layers[layer], channels) == unit, (layer, channels)
    # nothing is left out: every channel of every layer but the last is in a unit
    assert {name: {*range(layer.weight.shape[0])} for name, layer in layers.items() if name not in fixed} == met
    assert fixed == {list(layers)[-1]}


@pytest.mark.parametrize("several", [False, True], ids=["one group", "two groups"])
def test_what_is_kept_first_is_what_is_kept_asked_in_any_order_and_again(several):
    rng = np.random.default_rng(0)
    place = np.concatenate([np.arange(6), np.arange(4), rng.permutation(6), [0]])
    group = np.concatenate([np.zeros(6), np.full(4, 1 if several else -1), np.zeros(6), [-1]]).astype(int)
    axis = Axis(group, place, np.zeros(17, dtype=int))
    for _ in range(60):
        sizes = {g: int(rng.integers(7)) for g in range(3) if rng.random() < 0.8}
        wanted = [k for k in range(17) if group[k] not in sizes or place[k] < sizes[group[k]]]
        first = axis.first(sizes)
        assert (list(range(first)) if isinstance(first, int) else first.tolist()) == wanted
    leading = Axis(np.zeros(5, dtype=int), np.arange(5), np.zeros(5, dtype=int))
    assert [leading.first({0: k}) for k in (3, 0, 5, 3)] == [3, 0, 5, 3] and leading.first({1: 2}) == 5

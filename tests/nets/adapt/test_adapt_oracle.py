"""Which channels belong together, one by one, against the dependency graph of Torch-Pruning (arXiv:2301.12900)."""

import warnings
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from renascent.nets.adapt.groups import grouped, layer_of
from renascent.nets.adapt.labelling import label
from renascent.nets.adapt.rules import RULES
from renascent.nets.adapt.trace import trace

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports are deprecated
    tp = pytest.importorskip("torch_pruning", reason="needs the extra: pip install 'renascent[prune]'")

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """A forward function and the layers it uses."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def conv(inputs, outputs, kernel=3, **more):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **more)


def pooled(x):
    return x.mean((2, 3))


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


def concatenation():
    def run(m, x):
        x = m.stem(x)
        y = torch.cat([x, F.relu(m.a(x))], 1)
        return m.fc(pooled(m.norm(torch.cat([m.b(y), y], 1))))

    layers = {"stem": conv(3, 6), "a": conv(6, 4), "b": conv(10, 8, 1), "norm": nn.BatchNorm2d(18)}
    return Net(run, **layers, fc=nn.Linear(18, 4))


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


def group_convolution():
    def run(m, x):
        return m.fc(pooled(m.last(F.relu(m.group(F.relu(m.stem(x)))))))

    return Net(run, stem=conv(3, 16), group=conv(16, 16, groups=4), last=conv(16, 6, 1), fc=nn.Linear(6, 4))


def transformer_mlp():
    def run(m, x):
        x = m.embed(x.flatten(1))
        for k in ("1", "2"):
            norm, wide, narrow = (getattr(m, name + k) for name in ("norm", "wide", "narrow"))
            x = x + narrow(F.gelu(wide(norm(x))))
        return m.head(m.norm(x))

    layers = {"embed": nn.Linear(192, 12), "norm": nn.LayerNorm(12)}
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


MODELS = plain, residual, concatenation, inverted, group_convolution, transformer_mlp


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_adapt_groups_are_those_of_torch_pruning(make):
    torch.manual_seed(0)
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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

"""Costs of sizes: by hand, layer by layer, and against what operations the network really runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from renascent.core.gates import gumbel_soft
from renascent.costs import cost_of
from renascent.nets import SPACES
from renascent.nets.sizes.counted import activations_in, macs_in, memory_access_in, params_in, peak, total
from renascent.nets.sizes.layers import Layer
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resolution import input_shape

CONV = Layer(name="x", kind="conv", inputs=3, outputs=8, kernel=3, stride=2, size=(7, 6))


@pytest.mark.parametrize(
    ("layer", "macs", "params", "moved", "alive"),
    [
        (CONV, 3 * 8 * 9 * 12, 3 * 8 * 9 + 16, 126 + 96, 126 + 96),
        (replace(CONV, norm=False), 3 * 8 * 9 * 12, 3 * 8 * 9, 126 + 96, 126 + 96),
        (replace(CONV, kind="depthwise", inputs=8), 8 * 9 * 12, 8 * 9 + 16, 336 + 96, 336 + 96),
        (replace(CONV, kind="linear", size=(1, 1)), 24, 24 + 8, 3 + 8, 3 + 8),
        (replace(CONV, kind="pool", outputs=3), 0, 0, 126 + 36, 126 + 36),
        (replace(CONV, kind="add", outputs=3, stride=1), 0, 0, 3 * 126, 3 * 126),
        (replace(CONV, kind="norm", outputs=3, stride=1), 0, 6, 2 * 126, 2 * 126),
        (replace(CONV, held=((5, 7, 6), (1, 2, 3))), 3 * 8 * 9 * 12, 3 * 8 * 9 + 16, 126 + 96, 126 + 96 + 210 + 6),
        (replace(CONV, presence=0, held=((5, 7, 6),)), 0, 0, 0, 0),
    ],
)
def test_a_layer_by_hand(layer, macs, params, moved, alive):
    assert (macs_in(layer), params_in(layer)) == (macs, params)
    assert memory_access_in(layer) == 4 * (params + moved)
    assert activations_in(layer) == 4 * alive


def test_layers_add_up_or_the_largest_counts():
    many = [np.array([1, 5]), 3, np.array([2, 2])]
    assert total(many).tolist() == [6, 10] and peak(many).tolist() == [3, 5]
    first = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    largest = peak([first * 3, 5, first])
    assert largest.item() == 6 and torch.autograd.grad(largest, first)[0].item() == 3


class Watched(TorchDispatchMode):
    """Note which feature maps each operation reads and writes; what can work in place counts as that."""

    IN_PLACE = ("batch_norm", "relu", "hardtanh", "constant_pad", "view", "detach", "alias", "clone")

    def __init__(self, x):
        super().__init__()
        self.held, self.place, self.size, self.steps = [x], {id(x): 0}, [x.numel()], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        y = out[0] if isinstance(out, (tuple, list)) else out
        flat = [b for a in args for b in (a if isinstance(a, (list, tuple)) else [a])]
        read = [self.place[id(a)] for a in flat if id(a) in self.place]
        if not read or not isinstance(y, torch.Tensor) or y.dim() != 4:
            return out
        self.held.append(y)  # or its id may be another's later
        if any(name in str(function) for name in self.IN_PLACE):
            self.place[id(y)] = read[0]
            self.size[read[0]] = max(self.size[read[0]], y.numel())
        else:
            self.place[id(y)] = len(self.size)
            self.size.append(y.numel())
        self.steps.append({*read, self.place[id(y)]})
        return out

    def peak(self):
        """Return the most bytes between the first and the last use of each map, at one operation."""
        uses = [[t for t, step in enumerate(self.steps) if k in step] for k in range(len(self.size))]
        spans = [(min(u), max(u), size) for u, size in zip(uses, self.size, strict=True)]
        return 4 * max(sum(n for a, b, n in spans if a <= t <= b) for t in range(len(self.steps)))


@pytest.mark.parametrize(
    ("name", "about", "count"),
    [
        ("resnet20", {}, 4),
        ("resnet20", {"tied": True}, 4),
        ("resnet164", {}, 1),
        ("mobilenet-v1", {"small": True, "lowest": 16, "highest": 32}, 4),
        ("mobilenet-v2-cifar", {}, 4),
        ("resnet18", {"small": True, "lowest": 32, "highest": 32}, 4),
        ("resnet50", {"lowest": 32, "highest": 64}, 2),
        ("nats-size", {}, 4),
    ],
)
def test_the_peak_of_memory_is_that_of_the_operations_it_runs(name, about, count):
    config, rng = SPACES[name](**about), np.random.default_rng(0)
    cost = cost_of("activation_bytes", config, (3, 32, 32), 10)
    for _ in range(count):
        arch = config.space.sample(rng)
        x = torch.zeros(1, *input_shape(arch, (3, 32, 32)), dtype=torch.float32)
        net = config.network(arch, 3, 10).float().eval()
        with torch.no_grad(), Watched(x) as seen:
            net(x)
        assert cost.exact(config.space.indices(arch)[None])[0] == seen.peak()


def test_the_gradient_of_an_expected_cost_is_that_of_finite_differences():
    config = NatsSize()
    cost = cost_of("macs", config, (3, 8, 8), 10)
    logits = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)

    def value(logits):
        return cost(gumbel_soft(config.space, logits, 1.0, torch.Generator().manual_seed(0))) / 1e6

    assert torch.autograd.gradcheck(value, (logits,))

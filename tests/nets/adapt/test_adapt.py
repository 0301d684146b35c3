"""Six architectures of six kinds, in plain PyTorch, as users write them: shrunk to half their multiply-accumulates."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from renascent.core.gates import one_hot
from renascent.core.protocols import Goal, WeightRule
from renascent.nets.adapt import adapt
from renascent.results.baselines import sample_feasible
from renascent.results.export import export

SHAPE = (3, 16, 16)
CLASSES = 10


def vgg():
    layers, inputs = [], 3
    for width in (16, 0, 32, 32, 0, 48):
        if width:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(48 * 16, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, CLASSES)]
    return nn.Sequential(*layers, *head)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNetWithConcatenation(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.layer1 = nn.Sequential(Residual(16, 16), Residual(16, 16), Residual(16, 16))
        self.layer2 = nn.Sequential(Residual(16, 32, 2), Residual(32, 32))
        self.side = nn.Conv2d(32, 24, 3, padding=1)
        self.fc = nn.Linear(56, CLASSES)

    def forward(self, x):
        x = self.layer2(self.layer1(F.relu(self.stem(x))))
        return self.fc(torch.cat([x, F.relu(self.side(x))], 1).mean((2, 3)))


class Depthwise(nn.Module):
    """Depthwise separable convolutions, and squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU6())
        self.body = nn.Sequential(self.separable(16, 32, 1), self.separable(32, 48, 2), self.separable(48, 48, 1))
        self.squeeze, self.excite = nn.Conv2d(48, 16, 1), nn.Conv2d(16, 48, 1)
        self.fc = nn.Linear(48, CLASSES)

    @staticmethod
    def separable(inputs, outputs, stride):
        return nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        )

    def forward(self, x):
        x = self.body(self.stem(x))
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = self.unit(3, 16), self.unit(16, 32), self.unit(32, 48)
        self.up2, self.join2, self.join1 = nn.ConvTranspose2d(48, 32, 2, 2), self.unit(64, 32), self.unit(48, 16)
        self.head = nn.Conv2d(16, CLASSES, 1)

    @staticmethod
    def unit(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU())

    def forward(self, x):
        fine = self.down1(x)
        half = self.down2(F.max_pool2d(fine, 2))
        deep = self.middle(F.max_pool2d(half, 2))
        x = self.join2(torch.cat([self.up2(deep), half], 1))
        x = self.join1(torch.cat([F.interpolate(x, scale_factor=2), fine], 1))
        return self.head(x).mean((2, 3))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        count, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(count, tokens, -1))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.scale * self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, width=32, heads=4, depth=2):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width) * 0.1)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Flattened(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.hidden, self.out = nn.Linear(32 * 16, 64), nn.Linear(64, CLASSES)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.out(F.relu(self.hidden(x.view(x.size(0), -1))))


EXPORTED = ("depthwise", "unet", "transformer")
"""Models of which the half is exported too: together they have every kind of layer."""

MODELS = {
    "vgg": vgg,
    "concatenation": ResNetWithConcatenation,
    "depthwise": Depthwise,
    "unet": UNet,
    "transformer": VisionTransformer,
    "flatten": Flattened,
}

DECISIONS = {
    "vgg": {
        "0": (8, 16),
        "4": (8, 16, 24, 32),
        "7": (8, 16, 24, 32),
        "11": (16, 24, 32, 40, 48),
        "15": range(16, 65, 8),
    },
    "concatenation": {
        "depth.layer1": (0, 1, 2, 3),
        "depth.layer2": (0, 1),
        "stem": (8, 16),
        **dict.fromkeys(("layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1"), (8, 16)),
        **dict.fromkeys(("layer2.0.conv1", "layer2.0.conv2", "layer2.1.conv1"), (8, 16, 24, 32)),
        "side": (8, 16, 24),
    },
    "depthwise": {
        "stem.0": (8, 16),
        "body.0.3": (8, 16, 24, 32),
        **dict.fromkeys(("body.1.3", "body.2.3"), (16, 24, 32, 40, 48)),
        "squeeze": (8, 16),
    },
    "unet": {
        **dict.fromkeys(("down1.0", "join1.0"), (8, 16)),
        **dict.fromkeys(("down2.0", "up2", "join2.0"), (8, 16, 24, 32)),
        "middle.0": (16, 24, 32, 40, 48),
    },
    "transformer": {
        "depth.blocks": (0, 1, 2),
        "patch": (8, 16, 24, 32),
        **dict.fromkeys(("blocks.0.attn.qkv", "blocks.1.attn.qkv"), (1, 2, 3, 4)),
        **dict.fromkeys(("blocks.0.mlp.0", "blocks.1.mlp.0"), range(24, 97, 8)),
    },
    "flatten": {"conv1": (8, 16), "conv2": (8, 16, 24, 32), "hidden": range(16, 65, 8)},
}
"""What must be decided: every width that can change, and blocks that add to their input."""


@functools.cache
def made(name):
    """Return a model with statistics as after training, and its search space."""
    torch.manual_seed(0)
    model = MODELS[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return model, adapt(model, SHAPE)


@pytest.fixture(params=MODELS)
def given(request):
    """Return (model, space, supernet, inputs)."""
    model, space = made(request.param)
    torch.manual_seed(1)
    return model, space, space.supernet(3, CLASSES), torch.randn(6, *SHAPE)


def archs(space, count=10, seed=0):
    rng = np.random.default_rng(seed)
    return [space.space.sample(rng) for _ in range(count)]


def half(space):
    """Return a random architecture of at most half the model's multiply-accumulates, and hardly fewer."""
    whole = space.macs.exact(space.space.indices(space.reference)[None])[0]
    goal = Goal("macs", whole / 2, space.macs, space.macs.exact)
    arch = sample_feasible(space.space, [goal], np.random.default_rng(1))
    assert 0.45 < space.macs.exact(space.space.indices(arch)[None])[0] / whole <= 0.5
    return arch


def same(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def seeded(net, *args):
    torch.manual_seed(2)  # for dropout
    return net(*args)


@pytest.mark.parametrize("name", MODELS)
def test_all_that_can_change_is_found(name):
    _, space = made(name)
    wanted = {decision: tuple(options) for decision, options in DECISIONS[name].items()}
    assert {n: d.options for n, d in space.space.decisions.items()} == wanted
    assert space.coverage.share == 1
    assert [row.about for row in space.coverage.rows if not row.searchable] == ["the model's output"]


def test_the_reference_is_the_model_as_given(given):
    model, space, net, x = given
    plain = net.extract(space.reference)
    same(plain.eval()(x), model.eval()(x))
    assert [tuple(p.shape) for p in plain.parameters()] == [tuple(p.shape) for p in model.parameters()]


def test_the_order_of_channels_changes_nothing_and_puts_large_weights_first(given):
    model, _, net, x = given
    same(net.model.eval()(x), model.eval()(x))
    assert any(not torch.equal(a, b) for a, b in zip(net.model.parameters(), model.parameters(), strict=True))
    untouched = adapt(model, SHAPE, order="given").supernet(3, CLASSES)
    assert all(torch.equal(a, b) for a, b in zip(untouched.model.parameters(), model.parameters(), strict=True))


def test_extract_is_the_supernet_at_one_hot_gates_and_costs_what_was_counted(given, check):
    _, space, _, _ = given
    check(space, tolerance=1e-10)


def test_half_of_it_trains_exports_and_runs(given, tmp_path, request):
    _, space, net, x = given
    plain = net.extract(half(space)).train()
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.01)
    target = torch.arange(len(x)) % CLASSES
    losses = []
    for _ in range(2):
        optimiser.zero_grad()
        losses.append(F.cross_entropy(seeded(plain, x), target))
        losses[-1].backward()
        assert all(p.grad is not None for p in plain.parameters())
        optimiser.step()
    assert losses[1] < losses[0]
    if request.node.callspec.params["given"] not in EXPORTED:
        return
    torch.set_default_dtype(torch.float32)
    export(plain.float(), SHAPE, tmp_path / "half.onnx")  # refuses a file that runs to another result


def test_a_step_of_the_supernet_is_that_of_the_extracted_network(given):
    """Two steps with momentum and decay: the weights of the second architecture move as they would alone."""
    _, space, net, x = given
    first, second = archs(space, 2, seed=3)
    rule = WeightRule(lr=0.1, clip=0)
    optimiser = rule.optimiser(net)
    target = torch.arange(len(x)) % CLASSES

    def step(arch):
        gates = one_hot(space.space, arch)
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(seeded(net, x, gates), target).backward()
        regions = net.crops(gates)
        before = {name: (p.detach().clone(), momentum(p)) for name, p in net.named_parameters()}
        rule.apply(optimiser, 0.0, regions)
        for name, p in net.named_parameters():
            inside = torch.zeros(p.shape, dtype=torch.bool)
            if p.grad is not None:
                region = regions.get(name, ())
                inside[region] = True
            value, held = before[name]
            assert torch.equal(p[~inside], value[~inside]), name
            assert torch.equal(momentum(p)[~inside], held[~inside]), name

    def momentum(p):
        buffer = optimiser.state[p].get("momentum_buffer")
        return torch.zeros_like(p) if buffer is None else buffer.clone()

    net.train()
    step(first)
    plain = net.extract(second).train()
    about = {"momentum": rule.momentum, "nesterov": rule.nesterov, "weight_decay": rule.weight_decay}
    alone = torch.optim.SGD(plain.parameters(), lr=0.1, **about)
    F.cross_entropy(seeded(plain, x), target).backward()
    alone.step()
    optimiser.state.clear()  # as the other, which has no momentum yet
    step(second)
    for mine, other in zip(net.extract(second).parameters(), plain.parameters(), strict=True):
        same(mine, other)


def test_a_fresh_network_has_the_same_shapes_and_other_weights(given):
    _, space, net, _ = given
    arch = half(space)
    fresh, plain = space.network(arch, 3, CLASSES).state_dict(), net.extract(arch).state_dict()
    assert {k: v.shape for k, v in fresh.items()} == {k: v.shape for k, v in plain.items()}
    assert any(not torch.equal(fresh[key], plain[key]) for key in plain)

"""A strategy and a space that are no part of renascent."""

import torch
from torch import nn

from renascent.core.fields import Count, NonNegative, settings
from renascent.core.gates import soft
from renascent.core.protocols import SpaceConfig, Supernet
from renascent.core.space import Choice, Space
from renascent.nets.cells.mixed import MixedOp
from renascent.strategies._bilevel import arch_step, argmax, bilevel_state, softmax, weight_step

KINDS = {"relu": nn.ReLU, "tanh": nn.Tanh, "none": nn.Identity}


@settings
class Decided:
    """DARTS with a penalty on the entropy of its policy.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.
        penalty: factor of the mean entropy (nats).

    References:
        H. Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055.
    """

    arch_lr: NonNegative = 3e-4
    arch_weight_decay: NonNegative = 0.0
    penalty: NonNegative = 0.01

    takes_one_hot = takes_subsets = False
    init, derive, probabilities = bilevel_state, argmax, softmax

    def step(self, s, data, t):
        metrics = weight_step(s, data.train.next(), soft(s.space, s.policy()), t)
        entropy = torch.special.entr(s.policy().softmax(-1).clamp(min=1e-12)).sum(-1).mean()
        gates = soft(s.space, s.policy())
        return metrics | arch_step(s, data.val.next(), gates, lambda loss: loss + self.penalty * entropy)


@settings
class Activations(SpaceConfig):
    """Which activation follows each convolution.

    Args:
        layers: how many decisions there are.
        channels: of every convolution.
    """

    layers: Count = 2
    channels: Count = 8

    @property
    def space(self):
        return Space({f"after{k}": Choice(tuple(KINDS)) for k in range(self.layers)}, name="activations")

    def supernet(self, channels_in, classes):
        return Shared(self, channels_in, classes)

    def network(self, arch, channels_in, classes, *, prune=False):
        body = []
        for option in arch.values():
            inputs = self.channels if body else channels_in
            body += [nn.Conv2d(inputs, self.channels, 3, padding=1), KINDS[option]()]
        return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(self.channels, classes))

    def draw(self, arch):
        return " -> ".join(arch.values())


class Shared(Supernet):
    def __init__(self, config, *ends):
        super().__init__()
        self.config, self.space, self.ends = config, config.space, ends
        self.body = config.network(self.space.at(0), *ends)
        self.mixed = MixedOp([kind() for kind in KINDS.values()])

    def forward(self, x, gates):
        for k, name in enumerate(self.space.decisions):
            x = self.mixed(self.body[2 * k](x), gates[name])
        return self.body[2 * len(self.space.decisions) :](x)

    def extract(self, arch):
        net = self.config.network(arch, *self.ends).to(next(self.parameters()))
        net.load_state_dict(self.body.state_dict())
        return net

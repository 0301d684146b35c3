"""ENAS: a controller writes architectures and learns from their validation accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from renascent.core.errors import require
from renascent.core.gates import one_hot
from renascent.core.protocols import Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import weight_step
from renascent.strategies._controller import Controller
from renascent.strategies._policy import best_of
from renascent.strategies._rewards import moving_average, reinforce_loss

COUNTS = ("controller_steps", "controller_samples", "hidden", "layers", "candidates")
SIZES = ("controller_lr", "entropy_weight", "tanh_constant", "clip")


@dataclass(frozen=True, kw_only=True)
class ENAS:
    """Train shared weights at architectures an LSTM writes; after every epoch, train the LSTM by REINFORCE.

    Args:
        controller_lr: Adam learning rate of the LSTM.
        controller_steps: updates of the LSTM after every epoch.
        controller_samples: architectures averaged in one update.
        entropy_weight: weight of the entropy bonus.
        baseline_decay: decay of the moving average of rewards; at 0 each reward would be its own baseline.
        hidden: LSTM units a layer.
        layers: LSTM layers.
        tanh_constant: bound of the logits.
        temperature: divides the logits before the tanh.
        clip: largest gradient norm of the LSTM.
        candidates: architectures drawn from the LSTM and scored at the end.

    References:
        Pham, Guan, Zoph, Le and Dean, Efficient Neural Architecture Search via Parameter Sharing, ICML 2018,
        arXiv:1802.03268, Sec. 2.2; settings of NATS-Bench, arXiv:2009.00437.
    """

    controller_lr: float = 1e-3
    controller_steps: int = 50
    controller_samples: int = 20
    entropy_weight: float = 1e-4
    baseline_decay: float = 0.99
    hidden: int = 32
    layers: int = 2
    tanh_constant: float = 2.5
    temperature: float = 5.0
    clip: float = 5.0
    candidates: int = 100

    def __post_init__(self) -> None:
        require(
            self,
            **dict.fromkeys(COUNTS, (1, math.inf)),
            **dict.fromkeys(SIZES, (0, math.inf)),
            temperature=(1e-6, math.inf),
            baseline_decay=(0.01, 1),
        )

    def init(self, setup: Setup) -> State:
        rng = setup.generator()
        policy = Controller(
            setup.space,
            rng,
            hidden=self.hidden,
            layers=self.layers,
            tanh_constant=self.tanh_constant,
            temperature=self.temperature,
        )
        optimiser = torch.optim.Adam(policy.parameters(), self.controller_lr, betas=(0.0, 0.999), eps=1e-3)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        with torch.no_grad():
            gates = one_hot(s.setup.space, self._draw(s))
        metrics = weight_step(s, data.train.next(), gates, t)
        if not t.ends_epoch:
            return metrics
        rewards = [self._controller_step(s, data) for _ in range(self.controller_steps)]
        return metrics | {"val_score": torch.stack(rewards).mean()}

    def derive(self, s: State, score: Score) -> Arch:
        with torch.no_grad():
            return best_of(self.candidates, lambda: self._draw(s), score)

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Controller)
        return s.policy.marginals()

    def _draw(self, s: State) -> Arch:
        assert isinstance(s.policy, Controller)
        return s.policy.arch(s.policy(1, s.rng).picks[0])

    def _controller_step(self, s: State, data: Data) -> Tensor:
        """Update the LSTM once; return the mean reward."""
        assert isinstance(s.policy, Controller)
        assert s.policy_optimiser is not None
        losses, rewards = zip(*(self._sample(s, data) for _ in range(self.controller_samples)), strict=True)
        s.policy_optimiser.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(s.policy.parameters(), self.clip)
        s.policy_optimiser.step()
        return torch.stack(rewards).mean()

    def _sample(self, s: State, data: Data) -> tuple[Tensor, Tensor]:
        """Return the REINFORCE loss and the reward, the accuracy on one validation batch, of one architecture."""
        assert isinstance(s.policy, Controller)
        draw = s.policy(1, s.rng)
        with torch.no_grad():
            gates = one_hot(s.setup.space, s.policy.arch(draw.picks[0]))
            reward = s.setup.task.loss(s.net, data.val.next(), gates).score.cpu()
        s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, self.baseline_decay)
        loss = reinforce_loss(
            draw.log_probability[0], draw.entropy[0], reward, s.extra["baseline"], self.entropy_weight
        )
        return loss, reward

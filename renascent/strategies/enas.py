"""ENAS: a controller writes architectures and learns from their validation accuracy."""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from renascent.core.fields import Count, NonNegative, Positive, Range, settings
from renascent.core.gates import one_hot
from renascent.core.protocols import Data, Metrics, Progress, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import policy_step, weight_step
from renascent.strategies._controller import Controller
from renascent.strategies._rewards import moving_average, reinforce_loss
from renascent.strategies._sampling import best_of


@torch.no_grad()
def _draw(s: State[Controller]) -> Arch:
    return s.policy.arch(s.policy(1, s.rng).picks[0])


@settings
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

    controller_lr: NonNegative = 1e-3
    controller_steps: Count = 50
    controller_samples: Count = 20
    entropy_weight: NonNegative = 1e-4
    baseline_decay: Annotated[float, Range(0.01, 1)] = 0.99
    hidden: Count = 32
    layers: Count = 2
    tanh_constant: NonNegative = 2.5
    temperature: Positive = 5.0
    clip: NonNegative = 5.0
    candidates: Count = 100

    derive = best_of(_draw)

    takes_subsets = False

    def init(self, setup: Setup) -> State[Controller]:
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

    def step(self, s: State[Controller], data: Data, t: Progress) -> Metrics:
        metrics = weight_step(s, data.train.next(), one_hot(s.space, _draw(s)), t)
        if not t.ends_epoch:
            return metrics
        rewards = [self._controller_step(s, data) for _ in range(self.controller_steps)]
        return metrics | {"val_score": torch.stack(rewards).mean()}

    def probabilities(self, s: State[Controller]) -> Mapping[str, Tensor]:
        return s.policy.marginals()

    def _controller_step(self, s: State[Controller], data: Data) -> Tensor:
        """Update the LSTM once; return the mean reward."""
        losses, rewards = zip(*(self._sample(s, data) for _ in range(self.controller_samples)), strict=True)
        policy_step(s, torch.stack(losses).mean(), clip=self.clip)
        return torch.stack(rewards).mean()

    def _sample(self, s: State[Controller], data: Data) -> tuple[Tensor, Tensor]:
        """Return the REINFORCE loss and the reward, the accuracy on one validation batch, of one architecture."""
        draw = s.policy(1, s.rng)
        with torch.no_grad():
            gates = one_hot(s.space, s.policy.arch(draw.picks[0]))
            reward = s.setup.task.loss(s.net, data.val.next(), gates).score.cpu()
        s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, self.baseline_decay)
        loss = reinforce_loss(
            draw.log_probability[0], draw.entropy[0], reward, s.extra["baseline"], self.entropy_weight
        )
        return loss, reward

"""REINFORCE on a policy small enough to write its expectation down."""

import pytest
import torch

from renascent.strategies._rewards import moving_average, reinforce_loss


@pytest.mark.parametrize("baseline", [0.0, 0.4, -2.0])
def test_its_mean_gradient_is_that_of_reward_and_entropy(baseline):
    """Two decisions, the second given the first: logits (3,) and (3, 2)."""
    first = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([[0.1, 0.7], [-1.0, 0.2], [0.4, 0.4]], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([[0.1, 0.9], [0.5, 0.4], [0.8, 0.2]], dtype=torch.float64)
    weight, b = 0.3, torch.tensor(baseline, dtype=torch.float64)
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    joint = log_p[:, None] + log_q
    objective = -(joint.exp() * rewards).sum() + weight * (joint.exp() * joint).sum()
    wanted = torch.autograd.grad(objective, [first, second], retain_graph=True)
    mean = 0.0
    for i in range(3):
        for j in range(2):
            entropy = -(log_p.exp() * log_p).sum() - (log_q[i].exp() * log_q[i]).sum()
            mean = mean + joint[i, j].exp().detach() * reinforce_loss(joint[i, j], entropy, rewards[i, j], b, weight)
    for mine, other in zip(torch.autograd.grad(mean, [first, second]), wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_moving_average():
    first = moving_average(None, torch.tensor(0.5), 0.9)
    assert float(first) == 0.5
    assert float(moving_average(first, torch.tensor(1.5), 0.9)) == pytest.approx(0.6)

"""DARTS, first order."""

import torch

from renascent.core.gates import soft
from renascent.core.protocols import Progress
from renascent.strategies.darts import DARTS


def test_the_gradient_is_that_of_the_validation_loss_at_the_present_weights(cell, streams):
    held = cell(DARTS())
    s = held.state
    weights = {name: p.detach().clone() for name, p in s.net.named_parameters()}
    logits = s.policy.logits.detach().clone()

    def loss(values):
        with torch.no_grad():
            return float(s.setup.task.loss(s.net, held.val, soft(s.setup.space, values)).loss)

    wanted, step = torch.zeros_like(logits), 1e-5
    for place in range(logits.numel()):
        shift = torch.zeros_like(logits)
        shift.view(-1)[place] = step
        wanted.view(-1)[place] = (loss(logits + shift) - loss(logits - shift)) / (2 * step)
    assert all(torch.equal(p, weights[name]) for name, p in s.net.named_parameters())
    DARTS().step(s, streams(held), Progress(0, 10, 5))
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-6, atol=1e-9)


def test_the_architecture_moves_first_and_the_weights_train_under_it(cell, streams):
    strategy, log = DARTS(arch_lr=0.5), []
    held = cell(strategy)
    s, seen = held.state, []
    s.net.register_forward_hook(lambda m, given, out: seen.append(given[1]["0-1"].weight.detach().clone()))
    strategy.step(s, streams(held, log), Progress(0, 10, 5))
    assert log == ["val", "train"]
    before, after = seen
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, s.policy.logits.detach()[0].softmax(-1))


def test_all_options_are_active_and_the_strongest_are_derived(watched):
    held = watched(DARTS())
    s = held.state
    DARTS().step(s, held.data, Progress(0, 10, 5))
    assert [picks for picks, _, _ in held.seen] == [((0, 1, 2), (0, 1, 2))] * 2
    with torch.no_grad():
        s.policy.logits.copy_(torch.tensor([[0.0, 2.0, 1.0], [0.3, 0.0, 0.1]]))
    assert dict(DARTS().derive(s, lambda arch: 0.0)) == {"row0": "channel1", "row1": "channel0"}
    torch.testing.assert_close(DARTS().probabilities(s)["row0"], torch.tensor([0.0, 2.0, 1.0]).softmax(-1))

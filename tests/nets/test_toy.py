"""The toy space: an example of a space, with one best architecture on the toy task."""

import pytest
import torch

from renascent.core.errors import UserError
from renascent.nets.toy import ToySpace
from renascent.tasks.toy import ToyTask


def test_it_needs_a_channel_for_every_option():
    with pytest.raises(UserError, match=r"give ToySpace\(channels=2\)"):
        ToySpace().supernet(2, 4)


def test_a_network_reads_one_channel_of_each_row():
    space, x = ToySpace(), torch.randn(5, 3, 4, 4, requires_grad=True)
    arch = space.space.at(25)
    space.network(arch, 3, 4)(x).pow(2).sum().backward()
    for row in range(4):
        read = {f"channel{k}" for k in range(3) if x.grad[:, k, row].abs().sum() > 0}
        assert read == {arch[f"row{row}"]}


def test_the_planted_channels_tell_the_class_and_no_others():
    task = ToyTask(count_each=4096)
    (x, y), *_ = task.batches("train", 4096)
    means = torch.stack([x[y == k].mean(0) for k in range(task.classes)])  # (classes, channels, rows, features)
    strength = means.var(0).sum(-1)
    for row, channel in enumerate(task.planted):
        assert strength[channel, row] > 5 * strength[:, row].sort().values[-2]

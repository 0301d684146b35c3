"""Learning rates that fit the length of a search."""

import pytest

from renascent.core.errors import UserError
from renascent.core.protocols import Setup
from renascent.loops.run import Run
from renascent.loops.share import share
from renascent.nets.toy import ToySpace
from renascent.strategies import STRATEGIES
from renascent.strategies._pace import FASTEST
from renascent.strategies.gdas import GDAS
from renascent.strategies.tunas import TuNAS
from renascent.tasks.toy import ToyTask

PUBLISHED = {
    "darts": (3e-4, 19_500),  # arXiv:1806.09055, A.1: 50 epochs of 25,000 images, 64 a step
    "darts-second-order": (3e-4, 19_500),
    "gdas": (3e-4, 93_600),  # arXiv:1910.04465, Sec. 4.1: 240 epochs of them
    "setn": (3e-4, 39_000),  # arXiv:2009.00437, Sec. 5: 100
    "tas": (1e-3, 58_200),  # arXiv:1905.09717, Sec. 4.1: 600 epochs of them, 256 a step
    "fbnetv2": (1e-2, 10_800),  # FBNet, arXiv:1812.03443, Sec. 4.1
    "proxyless": (6e-3, 140_600),  # arXiv:1812.00332, Sec. 4.1: 200 epochs of 45,000 images, 64 a step
    "proxyless-reinforce": (1e-2, 140_600),
    "tunas": (4.8e-3, 28_080),  # arXiv:2008.06120: 90 epochs of ImageNet, 4096 a step
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_search_as_long_as_the_papers_has_its_rate_and_a_shorter_one_a_larger(name):
    rate, steps = PUBLISHED[name]
    strategy = STRATEGIES[name]()
    assert strategy.arch_lr == "auto"
    rates = [strategy.paper.rate(strategy.arch_lr, taken) for taken in (steps, 2 * steps, steps / 10, 1)]
    assert rates == pytest.approx([rate, rate, 10 * rate, FASTEST * rate])
    assert strategy.paper.rate(0.5, 1) == 0.5


def test_all_rates_are_published():
    assert {name for name in STRATEGIES if hasattr(STRATEGIES[name], "arch_lr")} == set(PUBLISHED)


def test_a_search_learns_by_the_rate_of_its_length_and_says_it(tmp_path):
    task, space = ToyTask(), ToySpace()
    net = space.supernet(task.channels, task.classes)
    said = []
    done = share(
        GDAS(), Setup(net, task, net.space), epochs=2, batch=16, run=Run.start(tmp_path, {}, seed=0), say=said.append
    )
    steps = 2 * task.streams(0, 16).train.steps_per_epoch
    (group,) = done.state.policy_optimiser.param_groups
    assert group["lr"] == pytest.approx(3e-4 * min(93_600 / steps, FASTEST))
    assert [event["policy_lr"] for event in said if event["event"] == "epoch"] == [group["lr"]] * 2


RARE = [name for name in PUBLISHED if "arch_every" in STRATEGIES[name].__dataclass_fields__]


@pytest.mark.parametrize("name", RARE)
def test_a_policy_that_learns_in_every_fourth_step_learns_by_the_rate_of_a_quarter_of_the_steps(name):
    task, space = ToyTask(), ToySpace()
    net = space.supernet(task.channels, task.classes)
    rate, steps = PUBLISHED[name]
    strategy = STRATEGIES[name](arch_every=4)
    for taken, wanted in ((4 * steps, rate), (2 * steps, 2 * rate), (3, FASTEST * rate), (0, rate)):
        (group,) = strategy.init(Setup(net, task, net.space, steps=taken)).policy_optimiser.param_groups
        assert group["lr"] == pytest.approx(wanted)


@pytest.mark.parametrize(("lr", "told"), [("fast", "fast"), (-1.0, "-1.0")])
def test_another_word_and_a_number_below_zero_are_refused(lr, told):
    with pytest.raises(UserError, match=rf"arch_lr is {told}: give a number of at least 0, or auto"):
        TuNAS(arch_lr=lr)

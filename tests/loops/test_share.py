"""The shared-weight loop, with a strategy that does almost nothing."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.protocols import Setup, State
from renascent.core.space import Integer, Space, Subset
from renascent.costs.budget import Budget
from renascent.loops.run import Run, read_events
from renascent.loops.share import Scorer, begin, share
from renascent.nets.adapt import adapt
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.toy import ToySpace
from renascent.strategies import STRATEGIES
from renascent.strategies.rsps import RSPS
from renascent.strategies.tas import TAS
from renascent.tasks.images import ImageTask
from renascent.tasks.toy import ToyTask


@dataclass(frozen=True)
class Still:
    """Pulls batches, learns nothing, and derives the architecture that scores best of all."""

    def init(self, setup):
        return State(setup, setup.weights.optimiser(setup.net), setup.generator(), None)

    def step(self, s, data, t):
        data.train.next()
        return {"fraction": torch.tensor(t.fraction)}

    def derive(self, s, score):
        return max(s.setup.space, key=score)

    def probabilities(self, s):
        return {"row0": torch.tensor([0.5, 0.5, 0.0]), "row1": torch.tensor([0.0, 1.0, 0.0])}


def setup(seed=0):
    torch.manual_seed(seed)
    config, task = ToySpace(rows=2), ToyTask(rows=2, count_each=600)
    return Setup(config.supernet(3, 4), task, config.space, seed=seed)


def run(folder, strategy=None, **about):
    return share(
        strategy or Still(), setup(), epochs=2, batch=64, run=Run.start(folder, {"seed": 0}, resume=True), **about
    )


def test_events_tell_what_the_strategy_thinks(tmp_path):
    heard = []
    found = run(tmp_path / "r", say=heard.append)
    first, second, derived = heard
    assert heard == read_events(tmp_path / "r")
    assert first["likeliest"] == "row0=channel0,row1=channel1"
    assert first["entropy"] == {"row0": pytest.approx(0.6931472), "row1": 0.0}
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert derived["event"] == "derived"
    assert derived["arch"] == setup().space.format(found.arch)
    assert derived["score"] == found.score
    assert found.seconds > 0


def test_an_epoch_is_the_training_split_once(tmp_path):
    found = run(tmp_path / "r")
    stream = setup().task.streams(0, 64).train
    assert stream.steps_per_epoch == 600 // 64
    assert found.state.setup.seed == 0


def test_candidates_are_scored_on_the_same_512_validation_inputs():
    parts = setup()
    scorer = Scorer(Still().init(parts))
    seen, net = [], parts.net
    net.register_forward_hook(lambda m, given, out: seen.append((given[0], out)))
    archs = list(parts.space)[:4]
    first = [scorer(arch) for arch in archs]
    assert first == [scorer(arch) for arch in archs]
    inputs = seen[0][0]
    assert all(torch.equal(x, inputs) and not out.requires_grad for x, out in seen)
    ((everything, labels),) = parts.task.batches("val", 600)
    place = (inputs[:, None] == everything).flatten(2).all(2).int()
    assert place.sum(1).tolist() == [1] * 512, "each is one of the validation inputs"
    assert place.sum(0).max() == 1, "and none is there twice"
    y = labels[place.argmax(1)]
    with torch.no_grad():
        right = [float((net.extract(a)(inputs).argmax(1) == y).float().mean()) for a in archs]
    assert first == right
    assert len(set(first)) > 1


def test_fewer_validation_inputs_than_that_are_all_used():
    parts = setup()
    small = Setup(parts.net, ToyTask(rows=2, count_each=40), parts.space, seed=0)
    sizes = []
    parts.net.register_forward_hook(lambda m, given, out: sizes.append(len(given[0])))
    Scorer(Still().init(small))(parts.space.at(0))
    assert sizes == [40]


def test_resumed_after_the_last_step_it_derives_the_same(tmp_path):
    found = run(tmp_path / "r", RSPS(candidates=5))
    again = run(tmp_path / "r", RSPS(candidates=5))
    assert (again.arch, again.score) == (found.arch, found.score)
    assert [e["event"] for e in read_events(tmp_path / "r")] == ["epoch", "epoch", "derived"]


def test_events_tell_mean_and_deviation_of_every_size(tmp_path):
    torch.manual_seed(0)
    config = ResNetCifar(layers_count=8)
    task = ImageTask.from_tensors(torch.rand(32, 1, 8, 8), torch.arange(32) % 4)
    parts = Setup(config.supernet(1, 4), task, config.space, seed=0)
    heard = []
    share(TAS(), parts, epochs=1, batch=8, run=Run.start(tmp_path / "r", {}), say=heard.append)
    sizes = heard[0]["sizes"]
    assert list(sizes) == list(config.space.decisions)
    # logits are still next to zero: all options alike
    for name, decision in config.space.decisions.items():
        options = np.array(decision.options)
        assert sizes[name] == pytest.approx([options.mean(), options.std()], rel=0.02, abs=1e-3)


@pytest.mark.parametrize("name", ["nes", "tunas", "tas", "rsps", "darts"])
def test_weights_are_trained_with_dropout_and_architectures_are_compared_without(name, tmp_path):
    seen = set()

    class Watched(nn.Dropout):
        def forward(self, x):
            seen.add((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), Watched(0.5), nn.Flatten(), nn.Linear(16 * 36, 4))
    config = adapt(net.eval(), (1, 8, 8))  # the mode that it comes in says nothing
    task = ImageTask.from_tensors(torch.rand(32, 1, 8, 8), torch.arange(32) % 4)
    parts = Setup(config.supernet(1, 4), task, config.space, seed=0)
    seen.clear()
    found = share(STRATEGIES[name](), parts, epochs=1, batch=8, run=Run.start(tmp_path / "r", {}))
    learning, judging = (True, True), (False, False)
    assert seen - {learning, judging} == ({(False, True)} if name in ("tas", "darts") else set())
    assert {learning, judging} <= seen
    score = Scorer(found.state)
    assert len({score(found.arch) for _ in range(5)}) == 1


def test_choices_have_no_size(tmp_path):
    heard = []
    run(tmp_path / "r", say=heard.append)
    assert "sizes" not in heard[0]


def test_begin_refuses_decisions_that_a_strategy_says_it_cannot_learn():
    @dataclass(frozen=True)
    class Picky(Still):
        takes_one_hot = False
        takes_subsets = False

    parts = setup()
    assert begin(Picky(), parts).space is parts.space
    sizes = replace(parts, space=Space({"resolution": Integer((8, 16))}))
    with pytest.raises(UserError, match="Picky does not search 'resolution', of which a network follows one option"):
        begin(Picky(), sizes)
    subsets = replace(parts, space=Space({"s": Subset(("a", "b"))}))
    for strategy in (Picky(), STRATEGIES["nes"](), STRATEGIES["tunas"]()):
        with pytest.raises(UserError, match=f"'s' is a Subset, and {type(strategy).__name__} takes one option"):
            begin(strategy, subsets)
    assert begin(Still(), sizes).space is sizes.space
    assert begin(Still(), subsets).space is subsets.space


def test_of_subsets_events_tell_the_entropy_of_all_coins_and_what_is_likelier_kept_than_not(tmp_path):
    config, task = ToySpace(rows=2, several=True), ToyTask(rows=2, count_each=64)
    goals = Budget.parse("macs<=32").goals(config, (3, 2, 4), 4)
    parts = Setup(config.supernet(3, 4), task, config.space, goals=goals)
    strategy = Still()
    object.__setattr__(
        strategy,
        "probabilities",
        lambda s: {"row0": torch.tensor([0.5, 0.75, 1.0]), "row1": torch.tensor([0.2, 0.0, 0.4])},
    )
    heard = []
    share(strategy, parts, epochs=1, batch=32, run=Run.start(tmp_path / "r", {}), say=heard.append)

    def coins(*chances):
        return sum(-p * np.log(p) - (1 - p) * np.log(1 - p) for p in chances)

    assert heard[0]["likeliest"] == "row0=channel1+channel2,row1="
    assert heard[0]["entropy"] == pytest.approx({"row0": coins(0.5, 0.75), "row1": coins(0.2, 0.4)})
    assert heard[0]["costs"] == {"macs": 1.0}, "two readings of 16 are what the mode computes"


@pytest.mark.parametrize(
    ("method", "answer", "wanted"),
    [
        ("init", None, "a State, and not None"),
        ("step", None, "names with a detached scalar each, and not None"),
        ("step", {"a": 1.0}, r"names with a detached scalar each, and not \{'a': 1.0\}"),
        ("step", {"a": torch.ones(3)}, "names with a detached scalar each"),
        ("probabilities", [0.5, 0.5], "a tensor for each decision"),
        ("probabilities", {"row0": [0.5, 0.5, 0.0]}, "a tensor for each decision"),
        ("derive", "row0=a", "an architecture, and not 'row0=a'"),
    ],
)
def test_what_a_strategy_should_not_answer_is_one_line_that_names_its_method(tmp_path, method, answer, wanted):
    wrong = type("Wrong", (Still,), {method: lambda self, *given, **named: answer})()
    with pytest.raises(UserError, match=rf"Wrong\.{method} has to return {wanted}"):
        run(tmp_path / "r", wrong)

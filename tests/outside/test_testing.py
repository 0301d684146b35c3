"""The checks for strategies and spaces of other packages: they pass what is right, and name what is not."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from pathlib import Path

import pytest
import torch

import renascent.testing
from renascent.core.fields import settings
from renascent.nets.toy import ToySpace, ToySupernet
from renascent.strategies.rsps import RSPS
from renascent.strategies.trials.protocol import Outcome
from renascent.strategies.trials.random import RandomSearch
from renascent.testing import check_space, check_strategy, one_shot, spaces, trials
from renascent.testing.claims import is_documented, is_frozen, survives_json


@pytest.mark.usefixtures("package")
def test_the_package_of_these_tests_keeps_all():
    activations = importlib.import_module("activations")
    check_strategy(activations.Decided(arch_lr=0.1))
    check_space(activations.Activations(channels=4))


def test_a_strategy_that_asks_and_tells_is_told_apart():
    check_strategy(RandomSearch(), planted=False)
    with pytest.raises(AssertionError, match="above random search's: no more than chance"):
        trials.beats_random_search(RandomSearch(), runs=3, count=10)
    with pytest.raises(AssertionError, match="ToySpace is no strategy: it lacks init, ask, tell"):
        check_strategy(ToySpace())


COUNT = itertools.count()


@settings
class Careless(RSPS):
    """Keeps count outside of its state.

    Args:
        candidates: as of RSPS.
    """

    def derive(self, s, score):
        return s.space.at(next(COUNT))

    def probabilities(self, s):
        return {name: p / 2 for name, p in super().probabilities(s).items()}


def test_a_careless_strategy_is_found_out(tmp_path):
    strategy = Careless(candidates=3)
    once = one_shot.short(strategy, tmp_path / "once")
    with pytest.raises(AssertionError, match="the same seed"):
        one_shot.needs_its_seed_alone(once, tmp_path / "again")
    with pytest.raises(AssertionError, match=r"of row0 sum to 0\.5"):
        one_shot.has_probabilities(strategy, [once.outcome])
    with pytest.raises(AssertionError, match="names no paper"):
        is_documented(Careless)


class Forgetful(ToySupernet):
    """Extracts weights of its own."""

    def extract(self, arch):
        return self.config.network(arch, 3, self.classes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forgetting(ToySpace):
    """A space whose supernet forgets."""

    def supernet(self, channels_in, classes):
        return Forgetful(self, channels_in, classes)

    def network(self, arch, channels_in, classes, *, prune=False):
        return super().network(arch, channels_in, classes) if not prune else torch.nn.Flatten()


def test_a_space_that_forgets_is_found_out():
    with spaces.in_float64():
        config = Forgetting()
        case = spaces.case_of(config, spaces.supernet_of(config, (3, 4, 4), 4), (3, 4, 4), 4)
        with pytest.raises(AssertionError, match="extract is not the supernet at"):
            spaces.extracts_what_it_computes(case)
        with pytest.raises(AssertionError, match="prune=True changes what"):
            spaces.prunes_nothing_that_counts(case)
    assert torch.get_default_dtype() == torch.float32


def test_settings_that_can_be_changed_or_are_no_json_are_found_out():
    loose = dataclasses.make_dataclass("Loose", [("size", tuple, ((1,),))])
    with pytest.raises(AssertionError, match="Loose can be changed"):
        is_frozen(loose())
    with pytest.raises(AssertionError, match="another one after it was JSON"):
        survives_json(loose())


class Changing(RandomSearch):
    """Writes down what it is told in the state that it is told to."""

    def init(self, space):
        return [super().init(space)]

    def ask(self, s, rng, pending):
        return super().ask(s[0], rng, pending)

    def tell(self, s, proposal, outcome: Outcome):
        s.append(outcome)
        return s


def test_a_state_that_changes_is_found_out():
    with pytest.raises(AssertionError, match="telling changes the state"):
        trials.asks_without_a_change(Changing())


def test_the_checks_need_neither_pytest_nor_another_extra():
    for path in Path(renascent.testing.__file__).parent.glob("*.py"):
        words = {
            line.split()[1].partition(".")[0]
            for line in path.read_text().splitlines()
            if line.startswith(("import ", "from "))
        }
        assert not words & {"pytest", "hypothesis", "onnx"}, path

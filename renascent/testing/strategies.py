"""What every strategy has to keep."""

import tempfile
from pathlib import Path
from typing import Any

from renascent.core.protocols import OneShot
from renascent.strategies.trials.protocol import Trials
from renascent.testing import one_shot, trials


def check_strategy(strategy: OneShot | Trials[Any], *, planted: bool = True) -> None:
    """Check that a strategy keeps what all do: of shared weights, or one that asks and tells. It takes some seconds.

    Of shared weights: it finds an architecture that was planted, stays in its space, resumes bit for bit, changes no
    other random numbers, keeps all that moves in its state, and says what its settings mean and which paper it is from.
    One that asks and tells: it proposes what is of its space, changes nothing by asking, repeats with its seed, is not
    below random search, and survives trials that fail.

    Args:
        strategy: with settings under which 80 steps, or 200 trials, are enough to learn: logits, say, by a rate of 0.1.
        planted: whether it has to find what was planted among options that have no order; above random search for one
            that asks and tells.

    Raises:
        AssertionError: it does not hold, and says what.
    """
    if not isinstance(strategy, OneShot):
        trials.check(strategy, better=planted)
        return
    with tempfile.TemporaryDirectory() as folder:
        one_shot.check(strategy, Path(folder), planted=planted)

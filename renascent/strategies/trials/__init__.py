"""Multi-trial strategies by name: frozen dataclasses of hyperparameters that ask and tell. None needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from renascent.core.names import Names
from renascent.core.outside import Others

if TYPE_CHECKING:
    from renascent.strategies.trials.protocol import Trials

MULTITRIAL: Names[type[Trials[Any]]] = Names(
    {
        "random": "renascent.strategies.trials.random:RandomSearch",
        "rea": "renascent.strategies.trials.rea:REA",
        "reinforce": "renascent.strategies.trials.reinforce:REINFORCE",
        "bohb": "renascent.strategies.trials.bohb:BOHB",
    },
    others=Others("strategy", "renascent.strategies", (("init", "ask", "tell"),)),
)

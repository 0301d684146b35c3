"""Multi-trial strategies by name: frozen dataclasses of hyperparameters that ask and tell. None of them needs torch."""

from typing import Any

from renascent.asktell import Trials
from renascent.multitrial.bohb import BOHB
from renascent.multitrial.random import RandomSearch
from renascent.multitrial.rea import REA
from renascent.multitrial.reinforce import REINFORCE

MULTITRIAL: dict[str, type[Trials[Any]]] = {
    "random": RandomSearch,
    "rea": REA,
    "reinforce": REINFORCE,
    "bohb": BOHB,
}

__all__ = ["BOHB", "MULTITRIAL", "REA", "REINFORCE", "RandomSearch"]

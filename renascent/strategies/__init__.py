"""Search strategies by name: frozen dataclasses of hyperparameters."""

from renascent.core import OneShot
from renascent.strategies.darts import DARTS
from renascent.strategies.darts_second_order import DARTSSecondOrder
from renascent.strategies.enas import ENAS
from renascent.strategies.gdas import GDAS
from renascent.strategies.rsps import RSPS
from renascent.strategies.setn import SETN

STRATEGIES: dict[str, type[OneShot]] = {
    "rsps": RSPS,
    "darts": DARTS,
    "darts-second-order": DARTSSecondOrder,
    "gdas": GDAS,
    "setn": SETN,
    "enas": ENAS,
}

__all__ = ["DARTS", "ENAS", "GDAS", "RSPS", "SETN", "STRATEGIES", "DARTSSecondOrder"]

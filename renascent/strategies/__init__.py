"""Search strategies by name: frozen dataclasses of hyperparameters."""

from renascent.core import OneShot
from renascent.strategies.darts import DARTS
from renascent.strategies.darts_second_order import DARTSSecondOrder
from renascent.strategies.enas import ENAS
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.gdas import GDAS
from renascent.strategies.nes import NES
from renascent.strategies.rsps import RSPS
from renascent.strategies.setn import SETN
from renascent.strategies.tas import TAS
from renascent.strategies.tunas import TuNAS

STRATEGIES: dict[str, type[OneShot]] = {
    "rsps": RSPS,
    "darts": DARTS,
    "darts-second-order": DARTSSecondOrder,
    "gdas": GDAS,
    "setn": SETN,
    "enas": ENAS,
    "nes": NES,
    "tas": TAS,
    "fbnetv2": FBNetV2,
    "tunas": TuNAS,
}

__all__ = ["DARTS", "ENAS", "GDAS", "NES", "RSPS", "SETN", "STRATEGIES", "TAS", "DARTSSecondOrder", "FBNetV2", "TuNAS"]

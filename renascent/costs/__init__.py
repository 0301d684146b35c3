"""What a network costs: counted (multiply-accumulates, parameters) and measured (latency)."""

from renascent.costs.counts import Additive, macs, macs_of, params, params_of
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.measure import Latency, measure, measure_all
from renascent.costs.latency.table import Lut
from renascent.costs.named import COSTS, cost_of
from renascent.costs.sized import Sized

__all__ = [
    "COSTS",
    "Additive",
    "Latency",
    "LatencyCost",
    "Lut",
    "Sized",
    "cost_of",
    "macs",
    "macs_of",
    "measure",
    "measure_all",
    "params",
    "params_of",
]

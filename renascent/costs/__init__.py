"""What a network costs: counted (multiply-accumulates, parameters) and measured (latency)."""

from renascent.core.bounds import COSTS
from renascent.costs.counts import Additive, cost_of, macs, params
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.measure import Latency, measure, measure_all
from renascent.costs.latency.table import Lut
from renascent.nets.sizes.counted import Sized

__all__ = [
    "COSTS",
    "Additive",
    "Latency",
    "LatencyCost",
    "Lut",
    "Sized",
    "cost_of",
    "macs",
    "measure",
    "measure_all",
    "params",
]

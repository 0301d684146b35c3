"""What a network costs: counted (multiply-accumulates, parameters) and measured (latency)."""

from renascent.costs.counts import Additive, macs, macs_of, params, params_of
from renascent.costs.latency import Latency, measure

__all__ = ["Additive", "Latency", "macs", "macs_of", "measure", "params", "params_of"]

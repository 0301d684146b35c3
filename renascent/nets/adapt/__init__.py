"""Any user's model as a search space: which of its channels belong together, found by running it once."""

from renascent.nets.adapt.checks import smaller_sizes
from renascent.nets.adapt.config import Adapted, adapt
from renascent.nets.adapt.coverage import Coverage, NothingToSearch, Row
from renascent.nets.adapt.polynomial import Polynomial
from renascent.nets.adapt.supernet import AdaptedNet
from renascent.nets.adapt.trace import Untraceable

__all__ = [
    "Adapted",
    "AdaptedNet",
    "Coverage",
    "NothingToSearch",
    "Polynomial",
    "Row",
    "Untraceable",
    "adapt",
    "smaller_sizes",
]

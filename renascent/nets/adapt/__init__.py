"""Any user's model as a search space: which of its channels belong together, found by running it once."""

from renascent.nets.adapt.checks import smaller_sizes
from renascent.nets.adapt.config import Adapted, adapt
from renascent.nets.adapt.coverage import NothingToSearch
from renascent.nets.adapt.trace import Untraceable

__all__ = ["Adapted", "NothingToSearch", "Untraceable", "adapt", "smaller_sizes"]

"""Any user's model as a search space: which of its channels belong together, found by running it once."""

from renascent.nets.adapt.checks import smaller_sizes
from renascent.nets.adapt.config import Adapted
from renascent.nets.adapt.coverage import NothingToSearch
from renascent.nets.adapt.given import adapt, all_smaller
from renascent.nets.adapt.trace import Untraceable

__all__ = ["Adapted", "NothingToSearch", "Untraceable", "adapt", "all_smaller", "smaller_sizes"]

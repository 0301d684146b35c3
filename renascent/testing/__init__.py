"""What every strategy and every space has to keep, for those of other packages: our own are held to the same.

Nothing but renascent is needed: in a test of any framework, call `check_strategy` or `check_space`.
"""

from renascent.testing.spaces import check_space
from renascent.testing.strategies import check_strategy

__all__ = ["check_space", "check_strategy"]

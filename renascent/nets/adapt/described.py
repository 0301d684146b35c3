"""A user's model as its run folder describes it, without the model: enough to tell of it, not to run it."""

from collections.abc import Mapping
from typing import NoReturn

from renascent.core.errors import UserError
from renascent.core.protocols import SpaceConfig, Supernet
from renascent.core.space import Arch, Integer, Space
from renascent.core.text import aligned
from renascent.nets.adapt.plan import NAME
from renascent.nets.sizes.sized import widest_arch


class Described(SpaceConfig):
    """The decisions about a model that is not at hand.

    References:
        The groups are those of dependency graphs: Fang et al., DepGraph, arXiv:2301.12900.
    """

    def __init__(self, decisions: Mapping[str, Integer], whole: bool) -> None:
        """Describe a model. whole: all options are known, so that the largest are the model's own."""
        self.decisions, self.whole = decisions, whole

    @property
    def space(self) -> Space:
        return Space(self.decisions, NAME)

    @property
    def reference(self) -> Arch | None:
        """The model as given, where it is known."""
        return widest_arch(self.space) if self.whole else None

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text: each decision beside the model's own value."""
        return drawn(self.space, self.reference or arch, arch)

    def supernet(self, channels_in: int, classes: int) -> Supernet:
        """Raise UserError: there is no model."""
        self._need()

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> NoReturn:
        """Raise UserError: there is no model."""
        self._need()

    def _need(self) -> NoReturn:
        raise UserError(
            "the search was of a model of your own, and a run folder may not choose which code runs: load it with that "
            "model, Result.load(folder, model=net) or model='package.module:function'"
        )


def drawn(space: Space, reference: Arch, arch: Arch) -> str:
    """Draw an architecture in text: each decision beside its value in `reference`."""
    active = set(space.active(arch))
    return aligned([(n, f"{arch[n] if n in active else '-'} of {reference[n]}") for n in space.decisions])

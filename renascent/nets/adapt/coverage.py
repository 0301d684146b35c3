"""What of a model can be searched, what cannot, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from renascent.core.errors import UserError
from renascent.core.text import aligned

HEAD = ("decision", "now", "options", "what changes, or why nothing does")


@dataclass(frozen=True)
class Row:
    """One line of the coverage table. name: decision, or layer that has none.  now: its value in the model as given.

    options: to choose from; empty where there is no decision.  about: the layers that change, or the reason.
    """

    name: str
    now: str
    options: tuple[int, ...]
    about: str

    @property
    def searchable(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.options) > 1


@dataclass(frozen=True)
class Coverage:
    """The coverage table. share: of the multiply-accumulates that are counted, what some decision can change.

    refused: why nothing of the model can be searched; empty when something can.
    unknown: operations of which it is not known what they multiply.
    """

    rows: tuple[Row, ...]
    share: float = 0.0
    refused: str = ""
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [(r.name, r.now, spelled(r.options) if r.searchable else "fixed", r.about) for r in self.rows]
        share = f"{self.share:.0%} of the {'counted ' if self.unknown else ''}MACs can change"
        last = f"cannot be searched: {self.refused}" if self.refused else share
        table = aligned([HEAD, *sorted(lines, key=lambda line: line[2] == "fixed")])
        return "\n".join([table, last, *([f"not counted: {shortened(self.unknown, 8)}"] if self.unknown else [])])


def spelled(options: Sequence[int]) -> str:
    """Return options in short.

    >>> spelled((8, 16, 24, 32)), spelled((1, 2)), spelled((8, 16, 24, 30))
    ('8..32 by 8', '1, 2', '8..24 by 8, 30')
    """
    if len(options) < 4:
        return ", ".join(map(str, options))
    step = options[1] - options[0]
    even = options if options[-1] - options[-2] == step else options[:-1]
    text = f"{even[0]}..{even[-1]} by {step}"
    return text if even is options else f"{text}, {options[-1]}"


class NothingToSearch(UserError):
    """No part of a model can change. coverage: why, for each layer."""

    def __init__(self, coverage: Coverage) -> None:
        super().__init__(coverage.refused)
        self.coverage = coverage


def nothing(model: nn.Module, reason: str) -> Coverage:
    """Return the table of a model of which nothing can be searched."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name, p in model.named_parameters() if p.dim() > 1)
    kinds = {name: type(model.get_submodule(name)).__name__ for name in owners}
    return Coverage(
        tuple(Row(n or "(the model)", kinds[n], (), "its operations are not known") for n in owners), 0.0, reason
    )


def shortened(names: Sequence[str], most: int = 4) -> str:
    """Return names in one line, the first few of them.

    >>> shortened(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    head = ", ".join(names[:most])
    return head if len(names) <= most else f"{head} and {len(names) - most} more"

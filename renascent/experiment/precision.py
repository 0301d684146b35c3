"""In which precision a search computes: bfloat16 where it is asked for, or fast and without surprises."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from renascent.core.devices import computes_bfloat16
from renascent.core.files import is_there, read_json
from renascent.core.names import name_of
from renascent.core.protocols import Family, OneShot, Task
from renascent.nets.sizes.sized import has_depthwise
from renascent.strategies import FAMILIES, NAMED, STRATEGIES
from renascent.tasks.bf16 import InBfloat16

CURVED = ("darts-second-order", "bayesnas")
"""Strategies that take second derivatives of the loss, or its curvature: in these rounding errors add up."""


@dataclass(frozen=True)
class Precision:
    """What a search computes in. bf16: whether in bfloat16.  held: what the run that is resumed has.  said: why."""

    bf16: bool = False
    held: bool = False
    said: str = ""

    @classmethod
    def of(
        cls,
        asked: bool | None,
        begun: Path | None,
        strategy: OneShot | Family,
        net: nn.Module,
        device: torch.device,
        finish: int,
    ) -> "Precision":
        """Return what was asked for; or else what a run has; or, where there is none, what suits the search.

        begun: the folder that is resumed, where one is.  finish: epochs in which the network found trains on.
        """
        there = begun is not None and is_there(begun / "config.json")
        held = bool(read_json(begun / "config.json").get("bf16")) if begun is not None and there else False
        if asked is not None or there:
            return cls(held if asked is None else asked, held)
        if not suits(strategy, net, device, finish):
            return cls()
        what = "the training is" if isinstance(strategy, Family) else "search steps are"
        return cls(True, said=f"{what} in bfloat16, which {device} computes in hardware (off: --no-bf16)")

    @property
    def config(self) -> dict[str, Any]:
        """What the configuration of a run says of it: nothing where it is single, as before there was another."""
        return {"bf16": self.bf16} if self.bf16 or self.held else {}

    def task(self, task: Task) -> Task:
        """Return a task whose networks are run in this precision."""
        return InBfloat16(task) if self.bf16 else task


def suits(strategy: OneShot | Family, net: nn.Module, device: torch.device, finish: int) -> bool:
    """Return whether a search is in bfloat16 by itself: steps of a strategy of ours that takes first derivatives only.

    Or, of a family, the training behind it. And that by a network without depthwise convolutions, in which bfloat16 is
    slow, on a device that is made for it.
    """
    name = name_of(strategy, NAMED)
    steps = name in STRATEGIES and name not in CURVED
    trains = name in FAMILIES and bool(finish)
    return (steps or trains) and computes_bfloat16(device) and not has_depthwise(net)

"""One network of a result trained in a folder of its own: whichever it is, on the same data by the same settings."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from renascent.core.devices import usable_device
from renascent.core.files import Json
from renascent.core.protocols import Rest, Say, SpaceConfig, Task
from renascent.core.schema import written
from renascent.core.space import Arch
from renascent.loops.fit import Fit, Fitted, check_fit, fit
from renascent.loops.run import Run
from renascent.nets.sizes.inherit import first_k
from renascent.nets.sizes.resolution import at_resolution, resized
from renascent.results.calibration import calibrate
from renascent.results.facts import KINDS


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What all networks of one retraining have in common.

    folder: of the chosen network's training, which holds those of the others.  network: the space, where it is another
    than that of the search.  larger: weights that are inherited are of a larger network, and each takes its part.
    rest, momentum: as of `Retraining`.
    """

    folder: Path
    space: SpaceConfig
    network: SpaceConfig | None
    task: Task
    settings: Fit
    larger: bool
    seed: int
    resume: bool
    say: Say
    rest: Rest
    momentum: Mapping[str, Tensor]

    def begin(self, folder: Path, arch: Arch, how: Json, *, prune: bool) -> tuple[nn.Module, Run]:
        """Build a network and open its run folder; what cannot be had is refused before there is one."""
        config = {
            "arch": self.space.space.format(arch),
            "task": self.task.describe(),
            "settings": written(self.settings),
            "seed": self.seed,
            "prune": prune,
            **({"network": asdict(self.network)} if self.network else {}),  # type: ignore[call-overload]
            **how,
        }
        usable_device(self.task.device)
        self.task.stream(splits(self.task)[0], self.seed, self.settings.batch)
        with self._seeded():
            net = self.plain(arch, prune).to(memory_format=self.space.memory_format)  # type: ignore[call-overload]
        check_fit(net, self.settings, self.task)
        # one beside the chosen network that was not begun when the run was interrupted has no folder, and just begins
        about: Any = {"resume": self.resume, "seed": self.seed, "device": self.task.device, "kinds": KINDS}
        return net, Run.start(folder, config, **about, instead=f"remove {self.folder} or give another `name`")

    def finish(self, net: nn.Module, run: Run, arch: Arch, task: Task, state: Mapping[str, Tensor] | None) -> Fitted:
        """Train a network, and return it with what it scores; it takes images of its own resolution.

        state: weights that it inherits; None where it begins with those it has.
        """
        split, judge = splits(self.task)
        with self._seeded():
            seeing = at_resolution(net, arch)
            if state is not None:
                first_k(net, self.space.inherit(arch, state) if self.larger else state)
                calibrate(seeing.to(task.device), task, split, self.seed)
            about: Any = {"split": split, "evaluate": (judge,), "rest": self.rest}
            about["momentum"] = [self.momentum[name] for name, _ in net.named_parameters()] if self.momentum else ()
            fitted = fit(seeing, task, self.settings, run=run, seed=self.seed, say=self.say, **about)
        return replace(fitted, net=resized(fitted.net))

    def plain(self, arch: Arch, prune: bool) -> nn.Module:
        """Return the network of an architecture with fresh weights."""
        return self.space.network(arch, self.task.channels, self.task.classes, prune=prune)

    @contextlib.contextmanager
    def _seeded(self) -> Iterator[None]:
        with torch.random.fork_rng([self.task.device] if self.task.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            yield


def splits(task: Task) -> tuple[str, str]:
    """Return what is trained on, and what is judged: without test images, those held out in the search."""
    return ("train+val", "test") if task.count("test") else ("train", "val")

"""A search as the first part of a training: what comes behind it, on the same schedule and with the same teacher."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from renascent.core.protocols import ALONE, Rest, Say, SpaceConfig, State, Task, WeightRule
from renascent.core.space import Arch
from renascent.loops.fit import Fit
from renascent.nets.sizes.resolution import at_resolution
from renascent.results.record import Record
from renascent.results.retrain import REFERENCE, Retraining
from renascent.results.trainer import splits
from renascent.results.trainings import ended
from renascent.tasks.distill import Distilled

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What comes behind a search: the network that it chose trains on, alone. Nothing, where `epochs` is 0.

    One learning-rate schedule spans both, the optimiser's momentum is kept for every weight that stays, and a model
    that came with weights of its own, or the reference with `pretrained` ones, teaches from the first step to the last.

    task: as given, without that teacher.  weights: how weights learn, in both.  searched: epochs of the search.
    bf16: whether both compute in bfloat16.  pretrained: weights that the search starts from, where they were given.
    """

    space: SpaceConfig
    task: Task
    weights: WeightRule
    searched: int
    epochs: int
    batch: int
    seed: int
    bf16: bool = False
    pretrained: Mapping[str, Tensor] | None = None

    def lessons(self) -> Task:
        """Return what the search learns: the task, with the model as teacher where that came with weights.

        Raises UserError where it does not fit the task.
        """
        model, arch = self._teacher, self.space.reference
        return self.task if model is None or arch is None else Distilled(self.task, at_resolution(model, arch))

    @property
    def said(self) -> str:
        """What is to be known before it begins: that nobody teaches, where a user's own model might."""
        if not self.epochs or self.space.given is None or isinstance(self.task, Distilled) or self._teacher is not None:
            return ""
        return "no teacher: whether your model is trained is not known without its weights (--weights FILE)"

    def rest(self) -> Rest:
        """Return the rest of the training that the search is a part of. Raises UserError for data without a batch."""
        if not self.epochs:
            return ALONE
        split, _ = splits(self.task)
        return Rest(after=self.epochs * self.task.stream(split, self.seed, self.batch).steps_per_epoch)

    def train(self, result: R, *, resume: bool, say: Say) -> R:
        """Train on what the search chose, as `Record.fit` would, and return the result; as it is where that is done.

        resume: go on with a training that was begun.
        """
        if not self.epochs or ended(result.folder, None):
            return result
        say({"event": "finish"})
        steps = self.searched * self.task.streams(self.seed, self.batch).train.steps_per_epoch
        Retraining(
            result=result,
            task=self.task,
            settings=Fit(epochs=self.epochs, batch=self.batch, weights=self.weights, bf16=self.bf16),
            teacher=REFERENCE if self._teacher is not None else None,
            distillation=None,
            init="shared",
            seed=self.seed,
            prune=False,
            network=None,
            resume=resume,
            say=say,
            rest=Rest(before=steps, epochs=self.searched),
            momentum=result.momentum,
            trained=self._teacher,
        ).run(0)
        return result

    @cached_property
    def _teacher(self) -> nn.Module | None:
        """The model that teaches; a teacher that the task has already stays the only one."""
        if not self.epochs or isinstance(self.task, Distilled) or self.space.reference is None:
            return None
        own = self.space.trained
        return own if own is not None else pretrained_reference(self.space, self.task, self.pretrained)


def pretrained_reference(space: SpaceConfig, task: Task, weights: Mapping[str, Tensor] | None) -> nn.Module | None:
    """Return the reference network with its trained weights; None where these are not all of it, or there is none."""
    if not weights or space.model_fingerprint or space.reference is None:
        return None
    net = space.network(space.reference, task.channels, task.classes)
    with suppress(RuntimeError):
        net.load_state_dict(dict(weights))
        return net.to(memory_format=space.memory_format)  # type: ignore[call-overload, no-any-return]
    return None


@torch.no_grad()
def momentum_of(state: State[Any], arch: Arch) -> Mapping[str, Tensor]:
    """Return the momentum of every weight that `arch` has from the shared ones, by the names of its own network.

    Extracting is linear in the shared weights but for what a network draws afresh, which has no momentum:
    it is what extracting gives with momentum in the place of the weights, less what it gives with zeros there.
    """
    held = {p: state.optimiser.state.get(p, {}).get("momentum_buffer") for p in state.net.parameters()}
    with_momentum = _extracted(state, arch, {p: torch.zeros_like(p) if m is None else m for p, m in held.items()})
    constant = _extracted(state, arch, {p: torch.zeros_like(p) for p in held})
    return {name: (value - constant[name]).cpu().contiguous() for name, value in with_momentum.items()}


def _extracted(state: State[Any], arch: Arch, values: Mapping[torch.nn.Parameter, Tensor]) -> dict[str, Tensor]:
    """Return the weights of `arch` were the shared ones these `values`; what is drawn is the same each time."""
    before = {p: p.clone() for p in values}
    try:
        for p, value in values.items():
            p.copy_(value)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return {name: p.detach() for name, p in state.net.extract(arch).named_parameters()}
    finally:
        for p, value in before.items():
            p.copy_(value)

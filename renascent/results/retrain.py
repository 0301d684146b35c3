"""Retrain the result of a search: fresh or inherited weights, with or without a teacher, with its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from renascent.core.errors import UserError, unknown
from renascent.core.files import Json
from renascent.core.fingerprint import fingerprint
from renascent.core.protocols import ALONE, Rest, Say, SpaceConfig, Task
from renascent.core.schema import written
from renascent.core.space import Arch
from renascent.costs import params
from renascent.loops.evaluate import accuracy
from renascent.loops.fit import Fit, Fitted
from renascent.loops.run import check_seed
from renascent.loops.weightsfile import save_weights
from renascent.nets.macs import count
from renascent.nets.sizes.resolution import at_resolution, input_shape
from renascent.results.baselines import Baselines, pruned_of, uniform_of
from renascent.results.facts import Cell, Network, Reference, Scaled, Teacher, Training, Uniform
from renascent.results.sealed import write_sealed
from renascent.results.trainer import Trainer, splits
from renascent.results.trainings import RESULT, training_folder
from renascent.tasks.distill import Distillation, Distilled

if TYPE_CHECKING:
    from renascent.results.record import Record

INITS = ("fresh", "shared", "reference")
"""Where weights start, by name."""

REFERENCE, SHARED = "reference", "shared"
"""The space's reference network, as a teacher or as what weights are inherited from."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """One retraining of a result and of its baselines: the arguments of `Record.fit`.

    rest: of the training that it is a part of.  momentum: of every weight of the chosen network before the first step.
    name: of the training among several of the result.
    trained: the reference with its weights, where these are known though the space does not hold them.
    """

    result: Record
    task: Task
    settings: Fit
    teacher: nn.Module | Record | str | None
    distillation: Distillation | None
    init: str | nn.Module | Mapping[str, Tensor]
    seed: int
    prune: bool
    network: SpaceConfig | None
    resume: bool
    say: Say
    rest: Rest = ALONE
    momentum: Mapping[str, Tensor] = field(default_factory=dict)
    name: str | None = None
    trained: nn.Module | None = None

    def run(self, random_cells: int, *, uniform: bool = False, magnitude: bool = False) -> Fitted:
        """Train, in this order: the reference if it is needed, the chosen network, what it is compared with. Write it.

        random_cells: so many random architectures.  uniform, magnitude: the network that each gives, before those.
        Raises UserError for what cannot be had, before a folder is made.
        """
        self._check()
        baselines = Baselines.of(self.result, self.seed, random_cells)
        families = {"uniform": uniform_of(self.result) if uniform else None}
        families["magnitude"] = pruned_of(self.result) if magnitude else None
        taught, name = self._given_teacher()
        how = self._how(name, taught)
        net, run = self._trainer.begin(self.folder, self.result.arch, how, prune=self.prune)
        with run.alone():
            reference = self._reference() if REFERENCE in (self.teacher, self.init) else None
            task = self._lessons(taught, reference)
            state = self._state(reference)
            chosen = self._trainer.finish(net, run, self.result.arch, task, state)
            beside = {name: made and self._made(name, made, task, how, state) for name, made in families.items()}
            cells = self._cells(baselines, task, how, state)
            save_weights(self.folder / "weights.safetensors", chosen.net)
            about: Json = chosen.figures | {"random_cells": cells, "random_within": baselines.budget} | beside
            if reference is not None and self.reference is not None:
                arch, given = self.space.space.format(self.reference), self._own is not None
                about["reference"] = Reference(arch=arch, scores=reference.scores, given=given)
            else:
                about["given_scores"] = self._given_scores()
            done = self._training(chosen, task, name, **about)
            write_sealed(self.folder / RESULT, written(done), "weights.safetensors")
        return chosen

    @property
    def folder(self) -> Path:
        """The run folder of the chosen network's training."""
        return training_folder(self.result.folder, self.name)

    @property
    def space(self) -> SpaceConfig:
        """The space whose networks are trained."""
        return self.network or self.result.space

    @property
    def _init(self) -> str:
        """Where weights start, by name."""
        return self.init if isinstance(self.init, str) else "given"

    @property
    def _trainer(self) -> Trainer:
        names = ("folder", "space", "network", "task", "settings", "seed", "resume", "say", "rest", "momentum")
        # what the search's weights are was extracted for its architecture
        return Trainer(larger=self.init != "shared", **{name: getattr(self, name) for name in names})

    @property
    def _own(self) -> nn.Module | None:
        """The reference where it is trained already; None where it would be trained first."""
        return self.trained if self.space.trained is None else self.space.trained

    @property
    def reference(self) -> Arch | None:
        """The reference architecture of the space; None where it has none."""
        return self.space.reference

    def _check(self) -> None:
        check_seed(self.seed)
        self._check_network()
        space, held = self.result.space, self.result.asked.model
        if held is not None and held != space.model_fingerprint:
            raise UserError(f"the model is no longer the one that was searched in {self.result.folder}: put it back")
        if isinstance(self.init, str) and self.init not in INITS:
            raise unknown("init", self.init, INITS)
        if isinstance(self.teacher, str) and self.teacher != REFERENCE:
            raise UserError(f"teacher is '{self.teacher}': give a module, the Result of a search, or '{REFERENCE}'")
        if self.teacher is None and self.distillation is not None:
            raise UserError("a distillation is given and nobody to distil: give a teacher too, or leave it out")
        if REFERENCE in (self.teacher, self.init) and self.reference is None:
            raise UserError(
                f"the space {self.result.about.space} has no reference network: give as teacher the folder of a "
                "trained search, and init 'fresh' or 'shared'"
            )

    def _check_network(self) -> None:
        """Raise UserError unless the network has the decisions of the search, and takes the data."""
        if self.network is None:
            self.result.check_task(self.task)
            return
        searched = self.result.space
        if type(self.network) is not type(searched) or self.network.space.decisions != searched.space.decisions:
            raise UserError(
                f"network is {self.network}, which has other decisions than the search in {self.result.folder}: "
                "change settings of that space which leave its decisions as they are"
            )
        if self.init == "shared":
            raise UserError("the search has no weights for another network than the one it searched: init is 'shared'")
        self.network.check_size((self.task.channels, *self.task.size))

    def _given_teacher(self) -> tuple[nn.Module | None, str | None]:
        """Return the teacher that need not be trained first, and its name."""
        if self.teacher is None or isinstance(self.teacher, str):
            return None, self.teacher
        if isinstance(self.teacher, nn.Module):
            net, name = self.teacher, type(self.teacher).__name__
        else:
            named, folder = self.teacher.name is not None, self.teacher.folder
            net = self.teacher.trained().to(memory_format=self.teacher.space.memory_format)  # type: ignore[call-overload]
            net = at_resolution(net, self.teacher.arch)
            name = str(self.teacher.fit_folder if named else folder)
        return Distilled(self.task, net, self.distillation).teacher, name  # which refuses one that does not fit

    def _how(self, name: str | None, teacher: nn.Module | None) -> Json:
        """Return what a configuration says of teacher, start and the user's functions; of a plain training nothing.

        The reference's weights follow from the rest of the configuration, so that its name is enough.
        """
        how: Json = {"source": given} if (given := self.settings.sources) else {}
        if name is not None:
            how["teacher"] = {"name": name, **({"sha256": fingerprint(teacher.state_dict())} if teacher else {})}
            how["distillation"] = asdict(self.distillation or Distillation())
        if not isinstance(self.init, str):
            how["init"] = {"name": "given", "sha256": fingerprint(_tensors(self.init))}
        elif self.init != "fresh":
            how["init"] = {"name": self.init}
        if self.rest != ALONE:
            how["rest"] = asdict(self.rest)
        return how

    def _lessons(self, taught: nn.Module | None, reference: Fitted | None) -> Task:
        """Return the task, with its teacher."""
        if self.teacher == REFERENCE and reference is not None and self.reference is not None:
            taught = at_resolution(reference.net, self.reference)
        return Distilled(self.task, taught, self.distillation) if taught is not None else self.task

    def _state(self, reference: Fitted | None) -> Mapping[str, Tensor] | None:
        """Return the weights to inherit from; None for fresh ones."""
        if not isinstance(self.init, str):
            return _tensors(self.init)
        if self.init == "shared":
            return self.result.shared
        return reference.net.state_dict() if self.init == REFERENCE and reference is not None else None

    def _reference(self) -> Fitted:
        """Return the reference trained identically; one that is trained already, such as a user's model, as it is."""
        assert self.reference is not None
        if (own := self._own) is not None:
            net, (_, split) = own.to(self.task.device).eval(), splits(self.task)
            return Fitted(net, {split: accuracy(at_resolution(net, self.reference), self.task, split)}, 0.0)
        net, run = self._trainer.begin(self.folder / REFERENCE, self.reference, {}, prune=False)
        return self._trainer.finish(net, run, self.reference, self.task, None)

    def _given_scores(self) -> dict[str, float]:
        """Return what a user's model reaches as it was given; nothing where its own weights are not what counts."""
        known, own, (_, split) = self.result.about.original, self.space.given, splits(self.task)
        if known is None or not known.given or own is None or self.reference is None or self.network:
            return {}
        return {split: accuracy(at_resolution(own, self.reference).to(self.task.device), self.task, split)}

    @property
    def _init_beside(self) -> str:
        """Where the weights of baselines start: where those of the result do, but for the search's shared ones.

        Those were extracted for the chosen architecture; the supernet that has them for others is not kept. In their
        place a baseline has those of the user's own model, its channels in order, as it would have without a search.
        """
        if self._init != SHARED:
            return self._init
        return "model" if self.space.given is not None else "fresh"

    def _beside(self, folder: str, arch: Arch, task: Task, how: Json, state: Mapping[str, Tensor] | None) -> Fitted:
        """Train a baseline with the teacher of the result, and its start where a baseline can have it."""
        init = self._init_beside
        if init == "model":
            how = how | {"init": {"name": init}}
            state = self.space.supernet(self.task.channels, self.task.classes).extract(arch).state_dict()
        elif init == "fresh":
            how, state = {key: value for key, value in how.items() if key != "init"}, None
        net, run = self._trainer.begin(self.folder / folder, arch, how, prune=self.prune)
        return self._trainer.finish(net, run, arch, task, state)

    def _made(self, name: str, made: Scaled, task: Task, how: Json, state: Mapping[str, Tensor] | None) -> Uniform:
        """Train the network that a family gives, in a folder of its name."""
        scores = self._beside(name, self.space.space.parse(made.arch), task, how, state).scores
        return Uniform(arch=made.arch, init=self._init_beside, costs=made.costs, scores=scores)

    def _cells(self, baselines: Baselines, task: Task, how: Json, state: Mapping[str, Tensor] | None) -> list[Cell]:
        """Train random architectures."""
        found = []
        for number, arch in enumerate(baselines.archs, start=1):
            scores = self._beside(f"random-{number}", arch, task, how, state).scores
            found.append(Cell(arch=self.result.space.space.format(arch), costs=baselines.costs(arch), scores=scores))
        return found

    def _training(self, chosen: Fitted, task: Task, teacher: str | None, **about: Any) -> Training:
        plain = self._trainer.plain(self.result.arch, self.prune)  # the trained one may be in double precision
        data: Any = {"channels": self.task.channels, "size": self.task.size, "classes": self.task.classes}
        if self.network:
            about["network"] = Network(space_config=written(self.network), **data)
        lessons = task if teacher is not None and isinstance(task, Distilled) else None
        sha256 = fingerprint(lessons.teacher.state_dict()) if lessons else ""
        return Training(
            task=self.task.name,
            same_data=self.result.searched_on(self.task),
            scores=chosen.scores,
            seconds=round(chosen.seconds, 3),
            settings=self.settings,
            seed=self.seed,
            prune=self.prune,
            params=params(plain),
            macs=count(plain, input_shape(self.result.arch, (self.task.channels, *self.task.size))).macs,
            teacher=Teacher(name=teacher, sha256=sha256) if lessons and teacher else None,
            distillation=lessons.settings if lessons else None,
            init=self._init,
            random_init=self._init_beside,
            searched_epochs=self.rest.epochs,
            preparation=self.task.preparation,
            **about,
        )


def _tensors(given: nn.Module | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return given.state_dict() if isinstance(given, nn.Module) else given

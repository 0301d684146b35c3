"""What the run folder of a finished search says, read and checked, and the networks that it describes."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.files import Json, is_there, read_json
from renascent.core.preparation import Preparation
from renascent.core.protocols import SpaceConfig, Task
from renascent.core.schema import checked, read_as
from renascent.core.space import Arch, Integer
from renascent.costs import Latency
from renascent.loops.weightsfile import fill
from renascent.nets import ADAPTED, RECORDED, settings_from, space_from
from renascent.nets.adapt.config import Adapted
from renascent.nets.adapt.described import Described
from renascent.nets.sizes.resolution import input_shape
from renascent.results import outside
from renascent.results.epochs import Epoch, SearchEpoch, read_epochs
from renascent.results.facts import About, Asked, Decided, Training
from renascent.results.seal import KEY, check_seal
from renascent.results.sealed import read_sealed
from renascent.results.trainings import RESULT, chosen, finished, shown, training_folder

MOMENTUM = "momentum.safetensors"
"""In a run folder: of the optimiser, for the weights that the chosen network has from the search."""


class Record:
    """The outcome of a search, in its run folder.

    name: of the training that it speaks of; None: of the one without a name, else of the one that ended last.
    """

    name: str | None = None

    def __init__(self, folder: Path, facts: Json, space: SpaceConfig | None = None) -> None:
        self.folder, self.facts, self._seal = Path(folder), {k: v for k, v in facts.items() if k != KEY}, facts
        path, advice = self.folder / "arch.json", "repeat the search"
        self.about: About = checked(About, facts, path, advice)
        if space is not None and self.about.decisions not in ({}, decided(space)):
            raise UserError(f"the model is no longer the one that was searched in {self.folder}: put it back")
        space = space or outside.installed(self.about, self.folder)
        try:
            self.space: SpaceConfig = space or self._space()
            self.arch: Arch = self.space.space.parse(self.about.arch)
        except (UserError, TypeError, ValueError, AttributeError, LookupError) as e:
            raise UserError(f"{path} is damaged ({e!s:.300}): {advice}") from None

    def _space(self) -> SpaceConfig:
        """Return the space that was searched; of a user's model what is known of it without its code."""
        if not self.is_adapted:
            return space_from(self.about.space, self.about.space_config)
        known = {name: Integer(d.options, d.when) for name, d in self.about.decisions.items()}
        parts = [part.rpartition("=") for part in self.about.arch.split(",")]
        return Described(known or {unquote(name): Integer((int(value),)) for name, _, value in parts}, bool(known))

    @property
    def is_adapted(self) -> bool:
        """Whether a model of the user's own was searched."""
        return self.about.space == ADAPTED

    @classmethod
    def load(
        cls,
        folder: str | Path,
        space: SpaceConfig | type[SpaceConfig] | str | None = None,
        *,
        model: nn.Module | Callable[[], nn.Module] | str | None = None,
    ) -> Self:
        """Read the result of a finished search. Raises UserError when there is none, or it is damaged.

        space: needed only when it is of your own making and no installed package adds it: the space, or its class, as
        such or as "package.module:Class", which then has the settings of the search.
        model: of a search of your own model: that model, or the function that makes it, as such or as
        "package.module:function". Without it, the result can be reported and looked at, but no network can be built:
        what a run folder says is not imported.
        """
        folder, path = Path(folder), Path(folder) / "arch.json"
        if not is_there(folder) or not folder.is_dir():
            raise UserError(f"there is no folder {folder}: give the folder of a finished search")
        if not is_there(path) and is_there(folder / "config.json"):
            raise UserError(f"the search in {folder} has not finished: resume it (`resume=True`)")
        facts = read_json(path)
        about = checked(About, facts, path, "repeat the search")  # says more of what is wrong than a digest
        check_seal(path, facts, "repeat the search")
        if isinstance(space, type | str):
            space = outside.named(about, folder, space)
        return cls(folder, facts, space or (None if model is None else _adapted(cls(folder, facts), model)))

    @property
    def config(self) -> Json:
        """The configuration of the search, as its file has it."""
        return read_json(self.folder / "config.json")

    @property
    def asked(self) -> Asked:
        """The configuration of the search, checked. Raises UserError when its file is damaged."""
        return read_as(Asked, self.folder / "config.json", "repeat the search")

    def named(self, name: str | None) -> Self:
        """Return the same result, which speaks of the training of that name: what it reports, exports, predicts by.

        None: the training without a name, or the only one that there is.

        Raises UserError where no training of that name has ended, or none is named and there are several.
        """
        found = copy.copy(self)
        found.name = chosen(self.folder, name)
        return found

    @property
    def training_name(self) -> str | None:
        """The name of the training that it speaks of; None: the one without."""
        return self.name or shown(self.folder)

    @property
    def fit_folder(self) -> Path:
        """The run folder of the training that it speaks of."""
        return training_folder(self.folder, self.training_name)

    @property
    def training(self) -> Training | None:
        """What the training reached, checked; None before any. Raises UserError when its file is damaged."""
        return _training(self.fit_folder)

    @property
    def trainings(self) -> dict[str | None, Training]:
        """What all trainings reached, by name; None is the one without. Raises UserError when a file is damaged."""
        read = {name: _training(training_folder(self.folder, name)) for name in finished(self.folder)}
        return {name: training for name, training in read.items() if training is not None}

    @property
    def fitted(self) -> Json | None:
        """What the training reached, as its file has it; None before any. Raises UserError when that is damaged."""
        if self.training is None:
            return None
        return {k: v for k, v in read_json(self.fit_folder / RESULT).items() if k != KEY}

    @property
    def epochs(self) -> list[SearchEpoch]:
        """The epochs of the search. Raises UserError when its events are damaged."""
        return read_epochs(SearchEpoch, self.folder)

    @property
    def training_epochs(self) -> list[Epoch]:
        """The epochs of the training, finished or not. Raises UserError when its events are damaged."""
        return read_epochs(Epoch, self.fit_folder)

    def searched_on(self, task: Task) -> bool:
        """Return whether `task` has the data of the search; how they are augmented or taught is no part."""
        asked, held = json.loads(json.dumps(task.describe())), self.config.get("task")
        keys = {"name", "sha256"} if "sha256" in asked else asked.keys() - {"augmentation", "distillation"}
        return isinstance(held, dict) and all(held.get(key) == asked[key] for key in keys)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of one input of the chosen network: images at its resolution, where it has one."""
        return input_shape(self.arch, (self.about.channels, *self.about.size))

    @property
    def trained_shape(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of one input of the trained network; that of `shape` before any `fit`."""
        other = self.training and self.training.network
        return input_shape(self.arch, (other.channels, *other.size)) if other else self.shape

    @property
    def latency(self) -> Latency:
        """Measured latency of the chosen network on one input.

        Where a share of the reference's was the bound: the share it takes, times what the reference took before the
        search.
        """
        return self.about.latency_ms

    def build(self, *, prune: bool = False) -> nn.Module:
        """Return the chosen network as a plain module with fresh weights.

        prune: leave out operations that no path from input to output uses.
        """
        return self.space.network(self.arch, self.about.channels, self.about.classes, prune=prune)

    def inherit(self) -> nn.Module:
        """Return the chosen network with the shared weights of the search.

        The running statistics of its batch normalisation were estimated on training images.
        """
        net = self.build()
        fill(net, self.shared, self.folder / "shared.safetensors")
        return net

    @property
    def shared(self) -> Mapping[str, Tensor]:
        """The weights that the chosen network has from the search. Raises UserError when their file is damaged."""
        return read_sealed(self.folder / "shared.safetensors", self._seal)

    @property
    def momentum(self) -> Mapping[str, Tensor]:
        """The momentum of those weights, where a training follows the search. Raises UserError as `shared`."""
        return read_sealed(self.folder / MOMENTUM, self._seal)

    def trained(self) -> nn.Module:
        """Return the trained network, in evaluation mode. Raises UserError before any, and where several have names."""
        record = self.named(self.name)
        training = record.training
        if training is None:
            raise UserError(f"nothing was trained in {self.folder} yet: run `renascent fit {self.folder}` first")
        if (other := training.network) is None:
            net = self.build(prune=training.prune)
        else:
            kind = RECORDED[self.about.space] if self.about.space in RECORDED else type(self.space)
            space = kind(**settings_from(other.space_config))
            net = space.network(self.arch, other.channels, other.classes, prune=training.prune)
        path = record.fit_folder / "weights.safetensors"
        fill(net, read_sealed(path, read_json(path.with_name(RESULT))), path)
        return net.eval()

    def deployable(self) -> nn.Module:
        """Return the trained network, or before any `fit` the one with the shared weights, in evaluation mode."""
        return self.trained() if self.training else self.inherit().eval()

    @property
    def preparation(self) -> Preparation | None:
        """How images became inputs of the network of `deployable`; None where its task did not say."""
        return (self.training or self.about).preparation

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.about.arch}, {self.folder})"

    def check_task(self, task: Task) -> None:
        """Raise UserError unless `task` has images and classes like those of the search."""
        given = (task.channels, *task.size, task.classes)
        held = (self.about.channels, *self.about.size, self.about.classes)
        if given != held:
            raise UserError(
                f"the data have (channels, h, w, classes) = {given}, the search was on {held}: give the same data set"
            )


def _training(folder: Path) -> Training | None:
    """Return what the training in a folder reached; None where none has ended."""
    path, advice = folder / RESULT, "repeat the fit"
    if not is_there(path):
        return None
    facts = read_json(path)
    training = checked(Training, facts, path, advice)
    check_seal(path, facts, advice)
    return training


def decided(space: SpaceConfig) -> dict[str, Decided]:
    """Return the decisions about a user's model as a run folder has them; nothing for other spaces."""
    if space.model_fingerprint is None:
        return {}
    found = {name: d for name, d in space.space.decisions.items() if isinstance(d, Integer)}
    return {name: Decided(options=d.options, when=d.when) for name, d in found.items()}


def _adapted(record: Record, model: nn.Module | Callable[[], nn.Module] | str) -> SpaceConfig:
    """Return the space of a user's model, with the settings of its search."""
    if not record.is_adapted:
        raise UserError(f"{record.folder} is a search of {record.about.space}: no model is to be given")
    held = {key: value for key, value in record.about.space_config.items() if key not in ("factory", "model")}
    try:
        config = {key: tuple(value) if isinstance(value, list) else value for key, value in held.items()}
        given: dict[str, Any] = {"factory": model} if isinstance(model, str) else {"model": model}
        return Adapted(**given | config)
    except TypeError as e:
        path = record.folder / "arch.json"
        raise UserError(f"{path} is damaged (space_config: {e}): repeat the search") from None

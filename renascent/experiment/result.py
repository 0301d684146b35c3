"""What a search returns: an architecture, what it costs, and every way on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from renascent.core.protocols import Goal, Say, SpaceConfig, Task
from renascent.core.schema import read_as, written
from renascent.costs import Latency, Lut, measure, params
from renascent.costs.latency import clock as timing
from renascent.costs.latency.blocks import BlockLatency
from renascent.loops.fit import Fit, Fitted
from renascent.loops.share import Scorer, SearchOutcome
from renascent.loops.training import FINE_TUNING
from renascent.loops.weightsfile import save_weights, write_tensors
from renascent.nets.macs import count
from renascent.nets.sizes.resolution import at_resolution, input_shape
from renascent.reports.live import shown
from renascent.results.baselines import UNIFORM, as_measured, pruned_of, uniform_of
from renascent.results.budgeted import costs_of
from renascent.results.calibration import calibrate
from renascent.results.facts import About, Asked
from renascent.results.finish import momentum_of
from renascent.results.original import original
from renascent.results.plane import plane
from renascent.results.predict import Prediction, predict
from renascent.results.prepared import description, preparation_of, prepared
from renascent.results.record import MOMENTUM, Record, decided
from renascent.results.retrain import REFERENCE, SHARED, Retraining
from renascent.results.sealed import write_sealed
from renascent.results.uniform import beside_uniform
from renascent.results.widening import widened
from renascent.strategies import FAMILIES
from renascent.tasks.distill import Distillation


class Result(Record):
    """The outcome of a search, in its run folder, and every way on from there. Load one with `Result.load`."""

    @classmethod
    def save_new(
        cls,
        folder: Path,
        space: SpaceConfig,
        found: SearchOutcome,
        task: Task,
        goals: Sequence[Goal] = (),
        seen: Latency | None = None,
        table: Lut | BlockLatency | None = None,
        clock: timing.Clock = timing.EAGER,
        cited: Sequence[str] = (),
    ) -> Result:
        """Measure what a finished search found, and write it to its folder.

        goals: the budget it keeps.  seen: its latency, where that was measured for the budget.  table: what predicted
        it, where a table did; it was then measured as the table was.  clock: how it was measured, where it was.
        cited: sources of a strategy of another package.
        """
        asked = read_as(Asked, folder / "config.json", "repeat the search")
        net = space.network(found.arch, task.channels, task.classes)
        shape = input_shape(found.arch, (task.channels, *task.size))
        bounded = seen is not None and table is None
        latency = seen if bounded and seen else measure(net.to(task.device), shape)
        counted, score, given = count(net, shape), Scorer(found.state), (task.channels, *task.size)
        untouched = asked.strategy in FAMILIES and found.arch == space.reference and space.given is not None
        inherited = _inherited(found, task, None if untouched else asked.seed)
        costs = costs_of(space, found.arch, task, goals, seen, table)
        fair = as_measured(tuple(goals), costs)
        facts = About(
            **{name: getattr(asked, name) for name in ("space", "strategy", "seed", "space_config")},
            arch=space.space.format(found.arch),
            task=asked.task.name,
            channels=task.channels,
            size=task.size,
            classes=task.classes,
            search_score=found.score,
            scored_by=asked.score,
            search_seconds=round(found.seconds, 3),
            truth=replace(asked.truth, accuracy=found.truth) if asked.truth else None,
            params=params(net),
            macs=counted.macs,
            not_counted=counted.unknown,
            latency_ms=latency,
            costs=costs,
            plane=plane(space, found.arch, goals, score, given, task.classes),
            decisions=decided(space),
            preparation=task.preparation,
            uniform=None if asked.strategy == UNIFORM else beside_uniform(space, fair, given, task.classes),
            original=original(space, found, inherited, task, asked.seed, clock if bounded else measure, untouched),
            cited=tuple(cited),
            instead=found.instead,
        )
        save_weights(folder / "shared.safetensors", inherited)
        others = [MOMENTUM] if asked.finish else []
        if others:
            write_tensors(folder / MOMENTUM, momentum_of(found.state, found.arch))
        write_sealed(folder / "arch.json", written(facts), "shared.safetensors", *others)
        return cls.load(folder, space)

    def fit(
        self,
        task: Task,
        settings: Fit | None = None,
        *,
        teacher: nn.Module | Result | str | None = None,
        distillation: Distillation | None = None,
        init: str | nn.Module | Mapping[str, Tensor] = "fresh",
        seed: int = 0,
        prune: bool = False,
        network: SpaceConfig | None = None,
        random_cells: int = 0,
        name: str | None = None,
        uniform: bool = False,
        magnitude: bool = False,
        resume: bool = False,
        progress: bool = True,
        say: Say = lambda event: None,
    ) -> Fitted:
        """Train the chosen network on all training images, and evaluate it on the test images.

        settings: `Fit()` unless given, or `FINE_TUNING` where `init` is "shared".
        teacher: whose soft targets are learnt too: a module that takes the data as they are, a `Result` (its trained
        network), or "reference": the space's reference network, trained first with the same settings.
        distillation: how much the teacher counts.
        init: "fresh" weights; "shared", those of the search; or the leading slices of a larger network's, TAS's
        "w/ Init": "reference", or that network or its state dict. Inherited statistics are estimated anew.
        network: another network of the space with the same decisions, such as a wider one, which is then trained; its
        data may have other sizes and classes than the search's.
        random_cells: so many random architectures are then trained identically, for comparison: inside the budget that
        the search kept, same teacher, same start. Where that is "shared", which nothing but the chosen one has, they
        have your own model's weights, its strongest channels first, or fresh ones where the model is not yours.
        uniform: the reference scaled uniformly to the search's budget is then trained so, too, where that is another
        network than the result.  magnitude: so is your own model pruned by magnitude to that budget.
        name: of this training among several, each in a folder of its own; `named` chooses one of them afterwards.
        resume: go on with an interrupted training.
        progress: show on standard error how it goes: bars on a terminal, a line an epoch elsewhere.

        The network of what is returned takes images of its own resolution, where that was decided.
        Raises UserError when the folder holds a training of that name already, `task` has other shapes than the
        search's, `network` other decisions, the teacher does not fit it, or the space has no reference.
        """
        others = [f"random cell {number + 1} of {random_cells}" for number in range(random_cells)]
        trains_first = REFERENCE in (teacher, init) and (network or self.space).trained is None
        scaled = ["uniform scaling"] if uniform and uniform_of(self) else []
        scaled += ["magnitude pruning"] if magnitude and pruned_of(self) else []
        labels = [*([f"{REFERENCE} network"] if trains_first else []), "training", *scaled, *others]
        with shown(labels if progress else [], say) as hear:
            training = Retraining(
                result=self,
                task=task,
                settings=settings or (FINE_TUNING if init == SHARED else Fit()),
                teacher=teacher,
                distillation=distillation,
                init=init,
                seed=seed,
                prune=prune,
                network=network,
                resume=resume,
                say=hear,
                name=name,
            )
            return training.run(random_cells, uniform=uniform, magnitude=magnitude)

    def widened(self, budget: str, task: Task | None = None, network: SpaceConfig | None = None) -> SpaceConfig:
        """Return the space with the most channels whose network of what was found keeps a budget: `network` of `fit`.

        budget: as in "params<=3M", in numbers.  task: whose data it takes; those of the search unless given.
        network: of the same decisions, whose channels are set; that of the search unless given.

        Raises UserError for a budget that is relative, of latency, or below the narrowest network, and for a space
        without channels to set.
        """
        given = task or self.about
        shape = given.channels, *given.size
        return widened(network or self.space, self.arch, shape, given.classes, budget)

    def export(self, path: str | Path, *, with_preprocessing: bool = False, name: str | None = None) -> Path:
        """Write the trained network, or before any `fit` the one with the shared weights, as .pt2 or .onnx.

        Class names and how an image becomes an input are in the file, and in a .json of the same name beside it.
        The file is run again and compared before it is accepted.

        with_preprocessing: the file takes pictures (batch, h, w, channels) of whole numbers from 0 to 255 and of the
        size of the data, normalises them itself, and resizes them where its resolution was decided.
        name: of the training whose network it is, as in `named`.

        Raises UserError for another ending, a failed comparison, a run that does not say what was done to its
        images, or several trainings and no name, MissingExtra when onnx is not installed.
        """
        from renascent.results.export import export  # only here: exporting takes seconds to import

        found = self.named(name or self.name)
        about = description(found, inside=with_preprocessing)
        if not with_preprocessing:
            return export(found.deployable(), found.trained_shape, Path(path), about)
        net, p = prepared(found), preparation_of(found)
        return export(net, (*p.size, p.channels), Path(path), about)

    def predict(
        self, *images: str | Path, skip_bad: bool = False, device: str = "cpu", name: str | None = None
    ) -> list[Prediction]:
        """Return what the network of `export` says of image files, in their order; of a folder, of all in it.

        skip_bad: leave out what cannot be used.  device: where the network runs.  name: of a training, as in `named`.
        Raises UserError, naming all images that cannot be used, or where the run does not say what it needs.
        """
        return predict(self.named(name or self.name), images, skip_bad=skip_bad, device=device)

    def report(self) -> Path:
        """Write report.html into the run folder and return its path."""
        from renascent.reports.page import write_report  # only here: drawing takes seconds to import

        return write_report(self)

    def __str__(self) -> str:
        from renascent.reports.summary import summary

        return summary(self)


def _inherited(found: SearchOutcome, task: Task, seed: int | None) -> nn.Module:
    """Return what was found, with the search's weights, and statistics estimated anew unless `seed` is None."""
    net = found.state.net.extract(found.arch)
    if seed is not None:
        calibrate(at_resolution(net, found.arch), task, "train", seed)
    return net

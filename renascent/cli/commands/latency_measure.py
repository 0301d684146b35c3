"""`renascent latency measure`: a table of the latency of a space's layers, on this device."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from renascent.cli.commands.command import Command, Machine, Outcome, Output
from renascent.cli.flags import Part, glance, switches
from renascent.cli.progress import Counted
from renascent.core.environment import processor_name
from renascent.core.errors import UserError, unknown
from renascent.core.files import Json
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig
from renascent.costs.latency.build import Plan, Sampling, measured, plan
from renascent.costs.latency.runtimes import check_runtime, named
from renascent.costs.latency.table import Lut
from renascent.loops.run import interruptible
from renascent.nets import SPACES

EXAMPLE = "renascent latency measure resnet20 --out resnet20.json"

ABOUT = f"""Measure the latency of a size space's layers on this device, each by itself, and write a look-up table.

Layers and a few whole networks are measured in turns, again and again, with one thread: a slow phase of the machine
hits all alike, and only the quieter half of the visits counts. Of a space with more layers than `--limit` a
well-spread sample is measured; a Gaussian process fills in the rest. For example: `{EXAMPLE}`

A build that is stopped or killed goes on with `--resume`."""


@dataclass(frozen=True, kw_only=True)
class MeasureFlags:
    """What to measure.

    out: the file to write.
    resume: go on with the build of that file.
    input: channels, height and width of the data.
    classes: of the data.
    runtime: eager (PyTorch as it is), compiled (torch.compile) or onnxruntime (needs the extra renascent[onnx]).
    device: cpu, cuda or cuda:1 (the second GPU).
    """

    out: str | None = None
    resume: bool = False
    input: tuple[str, ...] = ("3", "32", "32")
    classes: int = 10
    runtime: str = "eager"
    device: str = "cpu"

    def shape(self) -> tuple[int, int, int]:
        """Return (channels, h, w). Raises UserError for what is none."""
        if len(self.input) != 3 or not all(word.isdigit() and int(word) for word in self.input):
            raise UserError(f"--input is '{','.join(self.input)}': give channels, height and width, such as 3,32,32")
        channels, height, width = map(int, self.input)
        return channels, height, width


@dataclass(frozen=True)
class Groups:
    """The groups of flags. space: None before it is named."""

    main: Part[MeasureFlags]
    space: Part[SpaceConfig] | None
    sampling: Part[Sampling]

    @property
    def parts(self) -> list[Part[Any]]:
        found = (self.main, self.space, self.sampling)
        return [*(part for part in found if part is not None), Part("Output", Output())]


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space that `words` name. Raises UserError for an unknown one."""
    spaces = sized_spaces()
    alone, _ = glance(words, switches([*_groups(None).parts, *(Part("", space) for space in spaces.values())]))
    if alone and alone[0] not in spaces:
        raise unknown("size space", alone[0], spaces)
    groups = _groups(spaces[alone[0]] if alone else None)
    place_help = f"The space whose layers are measured: {', '.join(spaces)}."
    return Command(ABOUT, groups.parts, functools.partial(_run, groups), "space", place_help, tuple(alone[:1]))


def sized_spaces() -> dict[str, SpaceConfig]:
    """Return the spaces that can list their layers, by name."""
    return {name: space for name, make in SPACES.items() if (space := make()).layered}


def _groups(space: SpaceConfig | None) -> Groups:
    named_part = Part(f"Space {name_of(space, SPACES)}", space) if space else None
    return Groups(Part("Measure", MeasureFlags()), named_part, Part("Sampling", Sampling()))


def _run(groups: Groups, word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags, sampling = groups.main.build(values), groups.sampling.build(values)
    if groups.space is None:
        raise UserError(f"which space? name one of {', '.join(sized_spaces())}, as in: {EXAMPLE}")
    if flags.out is None:
        raise UserError("--out is missing: give the file to write, such as --out table.json")
    config, path, shape = groups.space.build(values), Path(flags.out), flags.shape()
    device = Machine(device=flags.device).ready()
    check_runtime(flags.runtime, device)
    chosen = plan(config, shape, flags.classes, sampling)
    started = _started(path, _about(config, flags, sampling, device), flags.resume)
    with Counted() as bar, interruptible() as interrupt:
        bar.say(_announced(chosen, sampling, path))

        def show(done: int, of: int) -> None:
            bar.show("measured", done, of, " visits")
            if interrupt.asked:
                raise KeyboardInterrupt

        table = measured(
            chosen,
            config,
            shape,
            flags.classes,
            sampling,
            table=started,
            runtime=flags.runtime,
            device=device,
            save=lambda part: part.save(path),
            show=show,
        )
        bar.say("fitting what fills the gaps")
        table = table.filled()
    table.save(path)
    return Outcome(facts_of(table, path), _summary(table, path))


def _about(config: SpaceConfig, flags: MeasureFlags, sampling: Sampling, device: torch.device) -> Json:
    """Return what a table says of itself; all but date and seconds must be equal for a build to be gone on with."""
    asked = {key: value for key, value in asdict(sampling).items() if key not in ("minutes", "visits")}
    return {
        "space": name_of(config, SPACES),
        "settings": asdict(config),  # type: ignore[call-overload]
        "input": list(flags.shape()),
        "classes": flags.classes,
        "sampling": asked,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor_name(),
        "runtime": named(flags.runtime, device),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "date": time.strftime("%Y-%m-%d"),
    }


def _started(path: Path, about: Json, resume: bool) -> Lut:
    """Return the table to go on with. Raises UserError when there is another one, or one and no --resume."""
    about = json.loads(json.dumps(about))
    if not path.exists():
        empty = Lut(about, {})
        return Lut.load(empty.save(path))  # a folder that cannot be written is told now, not in five minutes
    if not resume:
        raise UserError(f"{path} is there already: go on with it (--resume), or give another --out")
    held = Lut.load(path)
    differs = [key for key in about if key != "date" and held.about.get(key) != about[key]]
    if differs:
        key = differs[0]
        raise UserError(
            f"{path} was begun with another {key} ({held.about.get(key)!r}, now {about[key]!r}): "
            "resume with the same, or give another --out"
        )
    return held


def _announced(chosen: Plan, sampling: Sampling, path: Path) -> str:
    return (
        f"{len(chosen.layers)} layers and {len(chosen.networks)} networks, up to {sampling.visits} visits each, "
        f"at most {sampling.minutes:g} minutes; table {path}"
    )


def facts_of(table: Lut, path: Path) -> Json:
    """Return what --json prints of a table."""
    return {
        "path": str(path),
        **{key: table.about.get(key) for key in ("space", "device", "processor", "runtime", "date", "seconds")},
        "layers": len(table.layers),
        "networks": len(table.networks),
        "calibration": asdict(table.calibration),
        "calibration_error": table.error(),
    }


def _summary(table: Lut, path: Path) -> str:
    calibration = table.calibration
    lines = [
        f"{path}: {len(table.layers)} layers in {table.about.get('seconds', 0):.0f} s; {table.about.get('runtime')}"
    ]
    if calibration.networks:
        lines.append(
            f"a network takes {calibration.constant_ms:.3g} ms + {calibration.scale:.3f} times the sum of its layers; "
            f"median error {100 * (table.error() or 0):.1f} % on the {calibration.networks} networks it was learnt from"
        )
    lines.append(f"next: renascent latency show {path}")
    return "\n".join(lines)

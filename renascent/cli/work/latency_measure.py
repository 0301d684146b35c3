"""What `renascent latency measure` does."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from renascent.cli.commands.command import Machine, Outcome, shape_of
from renascent.cli.commands.latency_measure import MeasureFlags
from renascent.cli.progress import Counted
from renascent.cli.work.running import ready
from renascent.core.environment import processor_name
from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig
from renascent.costs.latency.build import Plan, Sampling, measured, plan
from renascent.costs.latency.runtimes import check_runtime, named
from renascent.costs.latency.table import Lut
from renascent.loops.run import interruptible
from renascent.nets import SPACES


def run(word: str | None, *, flags: MeasureFlags, space: SpaceConfig, sampling: Sampling) -> Outcome:
    """Measure the layers of a space, and fill in what was not measured."""
    config, path, shape = space, Path(str(flags.out)), shape_of(flags.input)
    device = ready(Machine(device=flags.device))
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
        "input": list(shape_of(flags.input)),
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

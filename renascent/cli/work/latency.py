"""What the commands on latency do: measure a table, leave layers out of it, and show it."""

import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from renascent.cli.commands.command import Machine, Outcome, shape_of
from renascent.cli.commands.latency_fit import FitFlags
from renascent.cli.commands.latency_measure import MeasureFlags
from renascent.cli.commands.latency_show import ShowFlags
from renascent.cli.work.running import ready
from renascent.core.environment import processor_name
from renascent.core.errors import Interrupted, UserError
from renascent.core.files import Json
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import aligned, number, short
from renascent.costs.latency.blocks import Twin
from renascent.costs.latency.build import Sampling, layers_of, measured, plan
from renascent.costs.latency.config import family_name
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.gp import by_family
from renascent.costs.latency.runtimes import check_runtime, named
from renascent.costs.latency.sources import twin_of
from renascent.costs.latency.table import Lut, leave_out
from renascent.loops.run import interruptible
from renascent.nets import SPACES
from renascent.reports.live import Counted


def measure(word: str | None, *, flags: MeasureFlags, space: SpaceConfig, sampling: Sampling) -> Outcome:
    """Measure the layers of a space, and fill in what was not measured."""
    path, shape = Path(str(flags.out)), shape_of(flags.input)
    device = ready(Machine(device=flags.device))
    check_runtime(flags.runtime, device)
    chosen = plan(space, shape, flags.classes, sampling)
    started = _started(path, _about(space, flags, sampling, device), flags.resume)
    visited = [0, 0]
    with Counted() as bar, interruptible() as interrupt:
        bar.say(
            f"{len(chosen.layers)} layers and {len(chosen.networks)} networks on {device}, up to "
            f"{sampling.visits} visits each, at most {sampling.minutes:g} minutes; table {path}"
        )

        def seen(done: int, of: int) -> None:
            visited[:] = done, of
            bar.show("measured", done, of, " visits")
            if interrupt.asked:
                raise KeyboardInterrupt

        case = chosen, space, shape, flags.classes, sampling
        keep = partial(Lut.save, path=path)
        try:
            table = measured(*case, table=started, runtime=flags.runtime, device=device, save=keep, show=seen)
            bar.say("fitting what fills the gaps")
            table = table.filled()
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted after {visited[0]} of {visited[1]} visits; to go on") from None
    if why := table.contradiction():
        raise UserError(f"{why}: the machine was too busy; go on with more `visits`, and `resume=True`")
    table.save(path)
    return Outcome(_facts(table, path), _summary(table, path))


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
            f"{path} was begun with another {key} ({short(held.about.get(key))}, now {short(about[key])}): "
            "resume with the same, or give another --out"
        )
    return held


def _facts(table: Lut, path: Path) -> Json:
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


def fit(path: str, *, flags: FitFlags) -> Outcome:
    """Leave layers out of a table, and say how well the rest predicts them."""
    sparse, error = leave_out(Lut.load(path), flags.keep, flags.seed)
    if flags.out is not None and (why := sparse.contradiction()):
        raise UserError(f"of so few layers, {why}: keep more by a higher `keep`")
    lines = [
        f"{error.kept} layers kept, {error.left_out} left out",
        f"relative error on those: median {100 * error.median:.1f} %, nine in ten below {100 * error.p90:.1f} %",
        f"Spearman {error.spearman:.4f}; {100 * error.within:.0f} % lie within two standard deviations",
    ]
    facts = {"keep": flags.keep, "seed": flags.seed, **error._asdict()}
    if flags.out is not None:
        written = sparse.save(flags.out)
        facts |= _facts(sparse, written)
        lines.append(f"written: {written}")
    return Outcome(facts, "\n".join(lines))


def show(path: str, *, flags: ShowFlags) -> Outcome:
    """Show a table, or what it says of an architecture."""
    table = Lut.load(path)
    if flags.arch is None:
        facts, families = _facts(table, Path(path)), _families(table)
        return Outcome({**facts, "families": families}, _shown(table, families))
    config, shape, classes = twin_of(table, Path(path))
    named = config.reference if flags.arch == "reference" else config.space.parse(flags.arch)
    assert named is not None, "only spaces of sizes are measured"
    return _predicted(table, Twin(config, shape, classes), named)


def _families(table: Lut) -> Json:
    configs, found = list(table.layers), {}
    for family, rows in by_family(configs).items():
        times = [table.layers[configs[row]].median_ms for row in rows]
        low, middle, high = np.percentile(times, (0, 50, 100))
        spread = {"fastest_ms": float(low), "median_ms": float(middle), "slowest_ms": float(high)}
        found[family_name(family)] = {"layers": len(rows), **spread}
    return found


def _shown(table: Lut, families: Json) -> str:
    about, calibration = table.about, table.calibration
    lines = [
        f"space {about.get('space')}, input {'x'.join(map(str, about.get('input', [])))}; {about.get('date')}",
        f"{about.get('runtime')}; {about.get('processor')}",
        f"network: {calibration.constant_ms:.3g} ms + {calibration.scale:.3f} times the sum of its layers "
        f"(from {calibration.networks} networks)",
        "",
    ]
    head = ("layers of", "measured", "fastest ms", "median ms", "slowest ms")
    columns = ("fastest_ms", "median_ms", "slowest_ms")
    rows = [
        (name, number(row["layers"]), *(number(row[key], places=4) for key in columns))
        for name, row in families.items()
    ]
    return "\n".join([*lines, aligned([head, *rows], "<>")])


def _predicted(table: Lut, twin: Twin, arch: Arch) -> Outcome:
    config, shape, classes = twin
    total = float(LatencyCost(config, table, shape, classes).exact(config.space.indices(arch)[None])[0])
    layers = layers_of(config, arch, shape, classes)
    rows = [
        {"layer": c.key, "ms": table.sum_ms([c]) * table.calibration.scale, "measured": c in table.layers}
        for c in layers
    ]
    lines = [(f"{row['ms']:.4f} ms", "measured" if row["measured"] else "filled", str(row["layer"])) for row in rows]
    last = (f"{total:.4f} ms", "in all", f"on {table.about.get('processor')}")
    facts = {"arch": config.space.format(arch), "latency_ms": total, "layers": rows}
    return Outcome(facts, aligned([*lines, last], "><"))

"""What `renascent latency show` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from renascent.cli.commands.command import Outcome
from renascent.cli.commands.latency_show import ShowFlags
from renascent.cli.work.latency_measure import facts_of
from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.protocols import SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import aligned, number
from renascent.costs.latency.build import layers_of
from renascent.costs.latency.config import family_name
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.gp import by_family
from renascent.costs.latency.table import Lut
from renascent.nets import SPACES


def run(path: str, *, flags: ShowFlags) -> Outcome:
    """Show a table, or what it says of an architecture."""
    table = Lut.load(path)
    if flags.arch is None:
        facts, families = facts_of(table, Path(path)), _families(table)
        return Outcome({**facts, "families": families}, _shown(table, families))
    config = space_of(table)
    named = config.reference if flags.arch == "reference" else config.space.parse(flags.arch)
    assert named is not None, "only spaces of sizes are measured"
    return _predicted(table, config, named)


def space_of(table: Lut) -> SpaceConfig:
    """Return the space a table was measured for. Raises UserError when it cannot be made here."""
    name, settings = table.about.get("space"), table.about.get("settings", {})
    try:
        config = SPACES[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})  # type: ignore[index]
    except (KeyError, TypeError):
        raise UserError(
            f"the table is of space '{name}', which is not here: measure one of {', '.join(SPACES)}"
        ) from None
    return config


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


def _predicted(table: Lut, config: SpaceConfig, arch: Arch) -> Outcome:
    channels, height, width = table.about["input"]
    shape, classes = (channels, height, width), table.about["classes"]
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

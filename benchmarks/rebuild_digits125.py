"""Is the table that ships what its recorded command builds?

Builds it from scratch in a scratch folder and compares every column that is not measured. On the processor and torch
of the shipped table they must be the same bit for bit; elsewhere, mean accuracies within 0.5 points and the rank
correlation above 0.98. Exit code 1 when they are not.

    python benchmarks/rebuild_digits125.py [--workers 2] [--third]
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from renascent.bench.building.plan import Plan
from renascent.bench.building.work import machine
from renascent.bench.importers import SHIPPED, open_table
from renascent.bench.tables.table import Table

POINTS, RANKS = 0.5, 0.98


def rebuild(shipped: Table, folder: Path, workers: int | None, third: bool) -> Table:
    """Run the recorded command in a folder; only every third architecture if asked."""
    words = shlex.split(shipped.about["command"])
    words += ["--workers", str(workers)] if workers else []
    if workers and "--workers" in words[:-2]:
        place = words.index("--workers")
        del words[place : place + 2]
    if third:
        rows = range(0, len(shipped), 3)
        (folder / "archs.txt").write_text("".join(f"{shipped.space.format(shipped.arch(row))}\n" for row in rows))
        words += ["--archs", "archs.txt"]
    print("running:", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", *words], cwd=folder, check=True)
    return Table.open(folder / words[words.index("--out") + 1])


def compared(shipped: Table, rebuilt: Table) -> tuple[bool, bool]:
    """Print how columns compare; return whether all are the same bit for bit, and whether they are near enough."""
    rows = shipped.rows(rebuilt.archs)
    identical, near = True, True
    for key, column in shipped.columns.items():
        if column.measured:
            continue
        old, new = shipped.array(key)[rows], rebuilt.array(key)
        same = old.tobytes() == new.tobytes()
        line = "the same bit for bit" if same else f"differs by up to {np.nanmax(np.abs(old - new)):.3g}"
        if column.metric.endswith("accuracy"):
            before, now = shipped.values(key)[rows], rebuilt.values(key)
            points, ranks = abs(before.mean() - now.mean()), spearmanr(before, now).statistic
            near &= bool(points < POINTS and ranks > RANKS)
            line += f"; means {points:.4f} points apart, rank correlation {ranks:.4f}"
        identical &= same
        print(f"{key:28} {line}")
    return identical, near


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--workers", type=int, help="as recorded, if not given")
    flags.add_argument("--third", action="store_true", help="only every third architecture")
    given = flags.parse_args()
    shipped = open_table(SHIPPED)
    task = Plan.from_json({**json.loads(shipped.about["settings"]), "archs": ["none"]}).task()
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = rebuild(shipped, Path(folder), given.workers, given.third)
        here, now = machine(task), rebuilt.about["versions"].split(", ")
        torch = next(version for version in now if version.startswith("torch "))
        alike = here == shipped.about["processor"] and torch in shipped.about["versions"].split(", ")
        identical, near = compared(shipped, rebuilt)
    print(f"shipped: {shipped.about['processor']}; {shipped.about['versions']}")
    print(f"here:    {here}; {', '.join(now)}")
    passed = identical if alike else near
    asked = "the same bit for bit" if alike else f"within {POINTS} points, rank correlation above {RANKS}"
    print(f"{'passed' if passed else 'FAILED'}: on this machine it has to be {asked}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

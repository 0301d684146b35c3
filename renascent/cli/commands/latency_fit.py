"""`renascent latency fit`: keep a part of a table, fill in the rest, and say how well that went."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Command, Outcome, Output
from renascent.cli.commands.latency_measure import facts_of
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.costs.latency.leaveout import leave_out
from renascent.costs.latency.table import Lut

ABOUT = """Keep some layers of a latency table, fill in the others by a Gaussian process, and compare.

It tells how few layers need to be measured: the error is that on the layers that were not kept. `--out` writes the
sparse table, which predicts networks like any other."""


@dataclass(frozen=True, kw_only=True)
class FitFlags:
    """What to keep.

    keep: share of the layers, drawn at random in each family.
    seed: of that draw.
    out: the file to write; none if not given.
    """

    keep: float = 0.2
    seed: int = 0
    out: str | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    what = Part("Fit", FitFlags())
    return Command(
        ABOUT, [what, Part("Output", Output())], functools.partial(_run, what), "table", "File of a latency table."
    )


def _run(what: Part[FitFlags], word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = what.build(values)
    if word is None:
        raise UserError("which table? write `renascent latency fit TABLE`, TABLE being the --out of `latency measure`")
    if flags.out is not None and Path(flags.out).resolve() == Path(word).resolve():
        raise UserError(f"--out {flags.out} is the table itself, of which layers would be lost: give another file")
    sparse, error = leave_out(Lut.load(word), flags.keep, flags.seed)
    lines = [
        f"{error.kept} layers kept, {error.left_out} left out",
        f"relative error on those: median {100 * error.median:.1f} %, nine in ten below {100 * error.p90:.1f} %",
        f"Spearman {error.spearman:.4f}; {100 * error.within:.0f} % lie within two standard deviations",
    ]
    facts = {"keep": flags.keep, "seed": flags.seed, **error._asdict()}
    if flags.out is not None:
        path = sparse.save(flags.out)
        facts |= facts_of(sparse, path)
        lines.append(f"written: {path}")
    return Outcome(facts, "\n".join(lines))

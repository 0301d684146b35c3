"""`renascent latency fit`: keep a part of a table, fill in the rest, and say how well that went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Command, Outcome, table_of
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, Whole, settings

ABOUT = """Keep some layers of a latency table, fill in the others by a Gaussian process, and compare.

It tells how few layers need to be measured: the error is that on the layers that were not kept. `--out` writes the
sparse table, which predicts networks like any other."""


@settings
class FitFlags:
    """What to keep.

    Args:
        keep: share of the layers, drawn at random in each family.
        seed: of that draw.
        out: the file to write; none if not given.
    """

    keep: NonNegative = 0.2
    seed: Whole = 0
    out: str | None = None


def _check(flags: FitFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    if flags.out is not None and Path(flags.out).resolve() == Path(str(words[0])).resolve():
        raise UserError(f"--out {flags.out} is the table itself, of which layers would be lost: give another file")


COMMAND = Command(
    run="renascent.cli.commands.latency_fit:run",
    parts={"flags": Part("Fit", FitFlags())},
    check=_check,
    **table_of("fit"),
)


def run(path: str, *, flags: FitFlags) -> Outcome:
    """Leave layers out of a table, and say how well the rest predicts them."""
    from renascent.cli.work.latency_measure import facts_of
    from renascent.costs.latency.leaveout import leave_out
    from renascent.costs.latency.table import Lut

    sparse, error = leave_out(Lut.load(path), flags.keep, flags.seed)
    lines = [
        f"{error.kept} layers kept, {error.left_out} left out",
        f"relative error on those: median {100 * error.median:.1f} %, nine in ten below {100 * error.p90:.1f} %",
        f"Spearman {error.spearman:.4f}; {100 * error.within:.0f} % lie within two standard deviations",
    ]
    facts = {"keep": flags.keep, "seed": flags.seed, **error._asdict()}
    if flags.out is not None:
        written = sparse.save(flags.out)
        facts |= facts_of(sparse, written)
        lines.append(f"written: {written}")
    return Outcome(facts, "\n".join(lines))

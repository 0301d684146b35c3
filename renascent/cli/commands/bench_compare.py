"""`renascent bench compare`: multi-trial strategies on a table, many runs of each."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from renascent.cli.commands.bench_query import TABLE
from renascent.cli.commands.command import Command
from renascent.cli.flags import Part, chosen, glance, keys, warn_of_hidden
from renascent.core.errors import UserError
from renascent.core.fields import Count, Whole, settings
from renascent.core.source import static
from renascent.strategies.trials import MULTITRIAL

ABOUT = f"""Compare multi-trial strategies on a benchmark table: many runs of each, against the table's own clock.

Strategies: {", ".join(MULTITRIAL)}; and optuna:SAMPLER for any sampler of Optuna (extra renascent[optuna]);
and those of your own, as package.module:Class, or as an installed package calls them (`renascent list`).

Writes DIR/compare.json, DIR/settings.json and DIR/report.html with its figures. A comparison that is stopped goes on
with `--resume`; until it is finished, its runs lie in DIR/runs.jsonl."""


@settings
class CompareFlags:
    """What to compare, and for how long.

    Args:
        strategies: names, with commas between.
        runs: of each strategy on each data set, with seeds of their own.
        budget_seconds: simulated seconds of a run, one number or DATA=SECONDS with commas between; then only those
            data.
        trials: of a run; no limit if not given.
        constraints: bounds such as latency_ms:pixel3<=6, with commas between.
        objectives: columns to keep small beside a high accuracy, such as latency_ms:pixel3, with commas between.
        workers: simulated trials under way at a time in a run.
        seed: of the first run; the others follow.
        processes: that share the work; one for each core if not given.
        out: folder for the figures; it must hold no other comparison.
        resume: go on with the comparison in that folder, which was stopped.
    """

    strategies: tuple[str, ...] = tuple(MULTITRIAL)
    runs: Count = 500
    budget_seconds: tuple[str, ...] | None = None
    trials: Whole | None = None
    constraints: tuple[str, ...] | None = None
    objectives: tuple[str, ...] | None = None
    workers: Count = 1
    seed: Whole = 0
    processes: Whole | None = None
    out: str | None = None
    resume: bool = False


def command(words: Sequence[str]) -> Command:
    """Return the command, with a group of flags for each strategy that `words` name. Raises UserError for another."""
    _, given = glance(words, [])
    names = given["--strategies"].split(",") if given.get("--strategies") else list(MULTITRIAL)
    main = Part("Compare", CompareFlags())
    return Command(
        run="renascent.cli.work.bench_compare:run",
        parts={"where": TABLE, "flags": main, **{name: _part(name) for name in dict.fromkeys(names)}},
        needs={"out": "--out is missing: give a folder, as in: renascent bench compare --out comparison"},
        check=_check,
    )


def _part(name: str) -> Part:
    """Return the flags of a strategy. Every one carries its name, as several are given at once."""
    sampler = name.partition(":")[2] if name.startswith("optuna:") else ""
    sampled = static("renascent.bench.optuna:OptunaSampler")(sampler=sampler) if sampler else None
    strategy = sampled or chosen("strategy", MULTITRIAL, name)
    warn_of_hidden(MULTITRIAL, name)
    return Part(f"Strategy {name}", strategy, re.sub(r"[:.]", "-", name), keys(strategy))


def _check(flags: CompareFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    folder = Path(str(flags.out))
    if folder.is_file():
        raise UserError(f"--out {folder} is a file, and a comparison needs a folder: name another")
    if (folder / "compare.json").exists():
        raise UserError(f"{folder} already holds a comparison: choose another --out, or remove it")

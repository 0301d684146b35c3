"""The commands of `renascent`, one a file: what each takes, and what it does."""

from collections.abc import Callable, Sequence

from renascent.commands import (
    bench_analyse,
    bench_build,
    bench_compare,
    bench_import,
    bench_query,
    export,
    fit,
    listing,
    report,
    search,
)
from renascent.commands.command import Command as Command
from renascent.commands.command import Outcome as Outcome

COMMANDS: dict[str, Callable[[Sequence[str]], Command]] = {
    "search": search.command,
    "fit": fit.command,
    "report": report.command,
    "export": export.command,
    "list": listing.command,
    "bench build": bench_build.command,
    "bench import": bench_import.command,
    "bench query": bench_query.command,
    "bench compare": bench_compare.command,
    "bench analyse": bench_analyse.command,
}
"""Command name -> its flags and work, given the command line's other words (some flags depend on others)."""

GROUPS = {"bench": "Benchmark tables: look architectures up, build and import tables, compare strategies on them."}
"""First word of the commands that have two, and what they have in common."""

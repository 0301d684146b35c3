"""The commands of `renascent`, one a file: what each takes, and what it does."""

from collections.abc import Callable, Sequence

from renascent.cli.commands import (
    bench_analyse,
    bench_build,
    bench_compare,
    bench_import,
    bench_query,
    cost,
    export,
    fit,
    latency_fit,
    latency_measure,
    latency_show,
    listing,
    report,
    search,
    shrink,
)
from renascent.cli.commands.command import Command as Command
from renascent.cli.commands.command import Outcome as Outcome

COMMANDS: dict[str, Callable[[Sequence[str]], Command]] = {
    "search": search.command,
    "shrink": shrink.command,
    "fit": fit.command,
    "report": report.command,
    "export": export.command,
    "cost": cost.command,
    "list": listing.command,
    "latency measure": latency_measure.command,
    "latency fit": latency_fit.command,
    "latency show": latency_show.command,
    "bench build": bench_build.command,
    "bench import": bench_import.command,
    "bench query": bench_query.command,
    "bench compare": bench_compare.command,
    "bench analyse": bench_analyse.command,
}
"""Command name -> its flags and work, given the command line's other words (some flags depend on others)."""

GROUPS = {
    "bench": "Benchmark tables: look architectures up, build and import tables, compare strategies on them.",
    "latency": "Latency of this device: measure the layers of a space, fill in what was not measured, show it.",
}
"""First word of the commands that have two, and what they have in common."""

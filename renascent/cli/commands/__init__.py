"""The commands of `renascent`, one a file: `ABOUT` it, and what it takes. What the larger ones do is in `cli.work`."""

from collections.abc import Callable, Sequence

from renascent.cli.commands.command import Command as Command
from renascent.core.names import Names

COMMANDS: Names[Command | Callable[[Sequence[str]], Command]] = Names(
    {
        "search": "renascent.cli.commands.search:command",
        "shrink": "renascent.cli.commands.shrink:command",
        "fit": "renascent.cli.commands.fit:command",
        "report": "renascent.cli.commands.report:COMMAND",
        "export": "renascent.cli.commands.export:COMMAND",
        "predict": "renascent.cli.commands.predict:COMMAND",
        "runs": "renascent.cli.commands.runs:COMMAND",
        "cost": "renascent.cli.commands.cost:command",
        "completion": "renascent.cli.commands.completion:COMMAND",
        "list": "renascent.cli.commands.listing:COMMAND",
        "latency measure": "renascent.cli.commands.latency_measure:command",
        "latency fit": "renascent.cli.commands.latency_fit:COMMAND",
        "latency show": "renascent.cli.commands.latency_show:COMMAND",
        "bench build": "renascent.cli.commands.bench_build:command",
        "bench import": "renascent.cli.commands.bench_import:COMMAND",
        "bench query": "renascent.cli.commands.bench_query:COMMAND",
        "bench compare": "renascent.cli.commands.bench_compare:command",
        "bench analyse": "renascent.cli.commands.bench_analyse:COMMAND",
    }
)
"""Command name -> its flags and work; where flags depend on others, a function of the command line's other words."""

GROUPS = {
    "bench": "Benchmark tables: look architectures up, build and import tables, compare strategies on them.",
    "latency": "Latency of this device: measure the layers of a space, fill in what was not measured, show it.",
}
"""First word of the commands that have two, and what they have in common."""

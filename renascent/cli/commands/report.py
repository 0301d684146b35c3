"""`renascent report`: one page about a search."""

from renascent.cli.commands.command import Command, Outcome, folder_of
from renascent.cli.flags import Part
from renascent.core.fields import settings

ABOUT = """Write the report of a finished search: one HTML page that needs no other file."""


@settings
class ReportFlags:
    """What the report is of.

    Args:
        space: of a search of a space of your own, package.module:Class; not needed where an installed package adds it.
    """

    space: str | None = None


COMMAND = Command(
    run="renascent.cli.commands.report:run", parts={"flags": Part("Report", ReportFlags())}, **folder_of("report")
)


def run(folder: str, *, flags: ReportFlags) -> Outcome:
    """Write the report."""
    from renascent.cli.work.running import told
    from renascent.experiment.result import Result

    return told(Result.load(folder, flags.space))

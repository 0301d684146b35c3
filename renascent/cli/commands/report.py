"""`renascent report`: one page about a search."""

from typing import Annotated

from renascent.cli.commands.command import Command, Outcome, folder_of
from renascent.cli.flags import Part
from renascent.core.fields import settings
from renascent.results.trainings import NAME

ABOUT = """Write the report of a finished search: one HTML page that needs no other file.

Where its network was trained several times (`renascent fit --name`), the page compares the trainings."""


@settings
class ReportFlags:
    """What the page is about.

    Args:
        name: of the training that it begins with; the one without a name, or the last one, if not given.
        space: of a search of a space of your own, package.module:Class; not needed where an installed package adds it.
    """

    name: Annotated[str, NAME] | None = None
    space: str | None = None


COMMAND = Command(
    run="renascent.cli.commands.report:run", parts={"flags": Part("Report", ReportFlags())}, **folder_of("report")
)


def run(folder: str, *, flags: ReportFlags) -> Outcome:
    """Write the report."""
    from renascent.cli.work.running import told
    from renascent.experiment.result import Result

    result = Result.load(folder, flags.space)
    return told(result.named(flags.name) if flags.name else result)

"""`renascent report`: one page about a search."""

from renascent.cli.commands.command import Command, Outcome, folder_of

ABOUT = """Write the report of a finished search: one HTML page that needs no other file."""


COMMAND = Command(run="renascent.cli.commands.report:run", **folder_of("report"))


def run(folder: str) -> Outcome:
    """Write the report."""
    from renascent.cli.work.running import told
    from renascent.experiment.result import Result

    return told(Result.load(folder))

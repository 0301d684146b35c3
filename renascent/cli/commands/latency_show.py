"""`renascent latency show`: what a latency table holds, and what it says of an architecture."""

from renascent.cli.commands.command import Command, table_of
from renascent.cli.flags import Part
from renascent.core.fields import settings

ABOUT = """Show what a latency table holds; with `--arch`, what it predicts of an architecture, layer by layer."""


@settings
class ShowFlags:
    """What to show.

    Args:
        arch: an architecture of the table's space as an exchange string, or reference for the published one.
    """

    arch: str | None = None


COMMAND = Command(
    run="renascent.cli.work.latency:show",
    parts={"flags": Part("Show", ShowFlags())},
    **table_of("show"),
)

"""`renascent cost`: what an architecture of a space costs, and what the space can cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from renascent.cli.commands.command import MACHINE, Command, Input, check_data, of_space
from renascent.cli.flags import Part
from renascent.core.bounds import LATENCY, read_budget
from renascent.core.errors import UserError
from renascent.core.fields import Count, settings
from renascent.nets import SPACES

EXAMPLE = "renascent cost resnet20"

ABOUT = f"""Show what an architecture costs, beside the smallest, the reference and the largest of its space.

Without ARCH it is the reference network. `--budget` says whether a budget can be kept, and whether ARCH keeps it.

For example: `{EXAMPLE} --budget "macs<=0.5x"`"""


@settings
class CostFlags:
    """What to price, and for which data.

    Args:
        data: name of a data set, or a folder of images, whose input and classes are taken.
        input: channels, height and width of the data; 3,32,32 unless given.
        classes: of the data; 10 unless given.
        budget: bounds to check, such as "macs<=0.5x,params<=2M"; x: times the space's reference network.
        latency_table: predicts latency_ms: a FILE (`renascent latency measure`), pixel1 (of mbconv) or fbnet:DEVICE.
        measure: measure the latency of the architecture on this device, too.
    """

    data: str | None = None
    input: Input | None = None
    classes: Count | None = None
    budget: str | None = None
    latency_table: str | None = None
    measure: bool = False


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space that `words` name. Raises UserError for an unknown one."""
    return of_space(
        words,
        {"flags": Part("Cost", CostFlags()), "machine": MACHINE},
        EXAMPLE,
        run="renascent.cli.work.cost:run",
        words={
            "space": f"The space: {', '.join(SPACES)}.",
            "arch": "The architecture as an exchange string; the reference if not given.",
        },
        check=_check,
    )


def _check(flags: CostFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    if flags.data is not None:
        if flags.input is not None or flags.classes is not None:
            raise UserError("--data brings input and classes with it: leave --input and --classes out, or --data")
        check_data(flags.data)
    bounds = read_budget(flags.budget) if flags.budget is not None else ()
    if flags.latency_table is None and any(bound.name == LATENCY for bound in bounds):
        raise UserError(f"a bound on {LATENCY} needs something that predicts it: give --latency-table TABLE")

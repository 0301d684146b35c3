"""`renascent shrink`: make your own model smaller or faster."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from renascent.cli.commands.command import MACHINE, OPTIONS, OUTPUT, WEIGHTS, Command, Input, check_data
from renascent.cli.commands.search import SearchingFlags, strategy_part
from renascent.cli.flags import Part, chosen, glance, keys
from renascent.core.errors import UserError
from renascent.core.fields import Count, NonNegative, OneOf, settings
from renascent.core.source import static
from renascent.experiment.defaults import DEFAULTS
from renascent.strategies import FAMILIES, NAMED, STRATEGIES
from renascent.tasks import DATASETS

DEFAULT = DEFAULTS["sizes"].strategy

SEARCHES = frozenset(("epochs", "sandwich", "score", "bf16", "depth", "resolution"))
"""Flags of a search: who gives one wants to search."""

EXAMPLE = 'renascent shrink my_models:resnet --input 3,32,32 --data photos --budget "macs<=0.5x"'

ABOUT = f"""Make your own model smaller or faster: search its widths, its depth and the size of its input.

The model is what a function of yours returns: any convolutional network or plain transformer, trained or not. A table
says which of its layers can change, and why others cannot; `--dry-run` shows that table and stops.

Strategies: {", ".join(STRATEGIES)}. Unless you name one: {DEFAULT}; but uniform with a budget and no flag of a \
search, such as --epochs: of widths and depths for a model without depthwise convolutions, and blocks first, where \
some can be left out, inside a latency alone. No search was measured to do better there in the same time. --finish then
trains what was scaled.

Without a search, the largest model that a budget allows, in seconds: {", ".join(FAMILIES)}.

Data sets: {", ".join(DATASETS)}; or a folder of images, one folder in it for each class.

As in: `{EXAMPLE}`"""

ORDER = "magnitude"

Order = Annotated[str, OneOf("order", static("renascent.nets.adapt.config:ORDERS"))]


@settings
class ShrinkFlags(SearchingFlags):
    """What to shrink, to what, and for how long.

    Args:
        out: the run folder; runs/shrink-STRATEGY-DATA-SEED if not given.
        input: shape of one input, channels,height,width; that of the data if not given.
        weights: .safetensors file with the model's trained weights; what the function returns has them if not given.
        multiple: widths are multiples of this, or the model's own.
        least: no width is below this share of the model's own, and no row of blocks shorter.
        depth: let blocks that add to their input be left out.
        resolution: let the size of the input be decided, too.
        order: which channels a narrower layer keeps: those of the largest weights (magnitude), or the first ones
            (given).
        dry_run: show what of the model can be searched, and stop.
    """

    epochs: Count = 20
    input: Input | None = None
    weights: str = ""
    multiple: Count = 8
    least: NonNegative = 0.25
    depth: bool = True
    resolution: bool = False
    order: Order = ORDER
    dry_run: bool = False


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the strategy that `words` name. Raises UserError for an unknown one."""
    options, weights = Part("Data", OPTIONS()), Part("Shared weights (SGD)", WEIGHTS())
    _, given = glance(words, [Part("", ShrinkFlags()), options, weights, MACHINE])
    name = given.get("--strategy", DEFAULT if _of_a_search(given) else None)
    main = ShrinkFlags(strategy=name)
    strategy = chosen("strategy", NAMED, name)
    if name == "uniform":  # what may change by a flag of this command is scaled, too
        depth = "--depth" in given and "--depth-first" not in given
        strategy = replace(strategy, depth=depth, resolution="--resolution" in given)
    return Command(
        parts={
            "flags": Part("Shrink", main),
            **({"strategy": strategy_part(name, strategy, main, options.settings, weights.settings)} if name else {}),
            "weights": weights,
            "options": options,
            "machine": MACHINE,
        },
        run="renascent.cli.work.shrink:run",
        words={"factory": "The function that makes the model: package.module:function."},
        needs={"factory": f"which model? name the function that makes it, as in: {EXAMPLE}"},
        check=_check,
        chosen=["--strategy", name] if name else [],
    )


def _of_a_search(given: Mapping[str, str]) -> bool:
    """Return whether some flag says nothing without a search."""
    always = [ShrinkFlags(), OPTIONS(), MACHINE.settings, OUTPUT.settings]
    common = {key.replace("_", "-") for key in keys(*always)} - SEARCHES
    given = {flag: value for flag, value in given.items() if flag != "--no-depth"}  # scaling keeps to that
    others = any(flag.removeprefix("--").removeprefix("no-") not in common for flag in given)
    return others or given.get("--order", ORDER) != ORDER  # without a search the strongest channels are kept


def _check(flags: ShrinkFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    """Raise UserError for what is missing."""
    if flags.input is None and flags.data is None:
        raise UserError("--input is missing: give channels,height,width of one input, as in 3,32,32")
    if flags.data is not None or not flags.dry_run:
        check_data(flags.data)
    if not flags.dry_run:
        flags.check(values)

"""`renascent latency measure`: a table of the latency of a space's layers, on this device."""

from collections.abc import Sequence

from renascent.cli.commands.command import Command, Device, Input, Runtime, of_space
from renascent.cli.flags import Part
from renascent.core.fields import Count, settings
from renascent.core.source import static
from renascent.nets import MEASURED

EXAMPLE = "renascent latency measure resnet20 --out resnet20.json"

ABOUT = f"""Measure the latency of a space's layers on this device, each by itself, and write a look-up table.

Layers and a few whole networks are measured in turns, again and again, with one thread: a slow phase of the machine
affects all equally, and only the quieter half of the visits counts. If a space has more layers than `--limit`, a
well-spread sample is measured and a Gaussian process fills in the rest. For example: `{EXAMPLE}`

A build that is stopped or killed goes on with `--resume`."""


@settings
class MeasureFlags:
    """What to measure.

    Args:
        out: the file to write.
        resume: go on with the build of that file.
        input: channels, height and width of the data.
        classes: of the data.
        runtime: eager (PyTorch as it is), compiled (torch.compile) or onnxruntime (needs the extra renascent[onnx]).
        device: cpu, cuda, cuda:1 (the second GPU), mps; auto is the first there is of cuda, mps and cpu.
    """

    out: str | None = None
    resume: bool = False
    input: Input = "3,32,32"
    classes: Count = 10
    runtime: Runtime = "eager"
    device: Device = "auto"


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space that `words` name. Raises UserError for an unknown one."""
    sampling = static("renascent.costs.latency.build:Sampling")()
    return of_space(
        words,
        {"flags": Part("Measure", MeasureFlags()), "sampling": Part("Sampling", sampling)},
        EXAMPLE,
        MEASURED,
        run="renascent.cli.work.latency:measure",
        words={"space": f"The space whose layers are measured: {', '.join(MEASURED)}."},
        needs={"out": "--out is missing: give the file to write, such as --out table.json"},
    )

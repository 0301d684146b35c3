"""The network that a search of sizes began with, beside what it found: what both cost, and reach on the same images."""

from collections.abc import Callable

from torch import nn

from renascent.core.protocols import SpaceConfig, Task
from renascent.core.space import Arch
from renascent.costs import Latency, params
from renascent.costs.latency import clock as timing
from renascent.costs.scaling import is_size_space
from renascent.loops.evaluate import accuracy
from renascent.loops.share import SearchOutcome
from renascent.nets.macs import count
from renascent.nets.sizes.resolution import at_resolution, input_shape
from renascent.results.calibration import calibrate
from renascent.results.facts import Original

SPLIT = "val"
"""What both are judged on after a search: images that no weights learnt from."""

Timed = timing.Clock | Callable[[nn.Module, tuple[int, int, int]], Latency]
"""How a latency is measured: as a bounded one, or of a network and the shape of one input."""


def original(
    space: SpaceConfig,
    found: SearchOutcome,
    inherited: nn.Module,
    task: Task,
    seed: int,
    timed: Timed,
    untouched: bool = False,
) -> Original | None:
    """Compare the reference with what was found; None where a space is not all sizes, or has no reference.

    The reference has its own weights where they were given: a user's model that is known by its function alone, which
    may be trained or not, has those or the search's, whichever are better.

    inherited: what was found, with the search's weights.  seed: of the images that statistics are estimated on.
    timed: how the latency of what was found was measured.  untouched: what was found is the model as it came.
    """
    reference = space.reference
    if reference is None or not is_size_space(space):
        return None
    own = space.given
    scores = {True: _score(own, reference, task)} if own is not None else {}
    if space.trained is None and not untouched:
        shared = found.state.net.extract(reference)
        calibrate(at_resolution(shared, reference), task, "train", seed)
        scores[False] = _score(shared, reference, task)
        own = own or shared
    assert own is not None
    shape = input_shape(reference, (task.channels, *task.size))
    if isinstance(timed, timing.Clock):
        latency = timing.latency_of(space, reference, task, timed)
    else:
        latency = timed(own.to(task.device), shape)
    given = max(scores, key=lambda known: scores[known])
    return Original(
        params=params(own),
        macs=count(own, shape).macs,
        latency_ms=latency,
        given=given,
        split=SPLIT,
        score=scores[given],
        found=_score(inherited, found.arch, task),
    )


def _score(net: nn.Module, arch: Arch, task: Task) -> float:
    return accuracy(at_resolution(net, arch).to(task.device), task, SPLIT)

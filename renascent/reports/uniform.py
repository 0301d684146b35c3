"""The result of a search of sizes beside uniform scaling: what both cost, and reach where both were trained."""

from collections.abc import Iterator, Mapping

from renascent.core.bounds import LATENCY
from renascent.core.files import Json
from renascent.core.schema import with_defaults
from renascent.core.text import aligned, listed, number
from renascent.costs.scaling import flags
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.results.facts import Asked, Training, Uniform
from renascent.results.record import Record
from renascent.results.uniform import scaled_parts
from renascent.strategies import FAMILIES, NAMED

HEAD = ("beside uniform scaling", "result", "uniform")
STARTS = {"model": "from the model's own weights", "fresh": "from fresh weights"}
NAMES = {"params": "parameters", "macs": "MACs", LATENCY: "latency (ms, predicted)"}


def uniform_costs(result: Record) -> dict[str, tuple[float, float]]:
    """Return what the result and the uniformly scaled network cost, by name; nothing without another such network."""
    about, held = result.about, result.about.beside
    if held is None:
        return {}
    own = {name: cost.promised for name, cost in about.costs.items()}
    own |= {"params": float(about.params), "macs": float(about.macs)}
    return {name: (own[name], value) for name, value in held.costs.items() if name in own}


def uniform_rows(result: Record) -> list[tuple[str, str, str]]:
    """List `uniform_costs` as a table shows them: name, result, uniform."""
    costs = uniform_costs(result)
    return [(NAMES.get(name, name), number(own), number(other)) for name, (own, other) in costs.items()]


def uniform_table(result: Record) -> list[str]:
    """Return the lines of that table, and of what is said below it; none where there is nothing to say."""
    rows = uniform_rows(result)
    table = aligned([HEAD, *rows], "<>").splitlines() if rows else []
    return [*table, *filter(None, [uniform_origin(result), uncompared(result)])]


def uniform_origin(result: Record) -> str:
    """Say in one line what was scaled; nothing where there is no such network."""
    held = result.about.uniform
    if held is None:
        return ""
    what = f"{_scaled(result, held.arch)} of the reference, scaled without a search"
    return f"uniform: {what}" if result.about.beside else f"the result is what uniform scaling gives: {what}"


def uniform_score(result: Record, training: Training, split: str) -> str:
    """Say what the uniformly scaled network reaches, and how far the result is from it; nothing where untrained."""
    made = training.uniform
    return _told(training, made, split, f"{_scaled(result, made.arch)} scaled, ") if made else ""


def pruned_score(training: Training, split: str) -> str:
    """Say what the user's model pruned by magnitude reaches, likewise; nothing where untrained."""
    return _told(training, training.magnitude, split) if training.magnitude else ""


def _told(training: Training, made: Uniform, split: str, how: str = "") -> str:
    other, own = made.scores[split], training.scores[split]
    start = "" if made.init == training.init else f", but {STARTS[made.init]}"
    points = f"{100 * (own - other):+.2f} points from it"
    return f"{100 * other:.2f} % ({how}trained identically{start}; the result is {points})"


def uncompared(result: Record) -> str:
    """Say in one line how to train uniform scaling beside a result; nothing where that was done, or cannot be."""
    training, held = result.training, result.about.beside
    if held is None or (training and (training.uniform or training.network)):
        return ""
    how = ""
    if training is None:
        how = "" if result.asked.finish else f"`renascent fit {result.folder} --uniform` trains it beside"
    elif not result.asked.finish:
        how = "the training's command with --uniform --resume trains it beside"
    elif held.way is not None:
        less = f", without {listed(extra)}," if (extra := list(_of_the_search(result, held.way))) else ""
        said = f"--strategy uniform{flags(held.way)} --finish {training.searched_epochs + training.settings.epochs}"
        how = f"the same command with {said} and another --out{less} trains it as long"
    return f"not compared with uniform scaling: {how}" if how else ""


def _of_the_search(result: Record, way: Mapping[str, bool]) -> Iterator[str]:
    """Give the flags of a search that uniform scaling does not take. way: in which it scales."""
    # the flag that lets the resolution of a user's model be decided has it scaled, too
    if result.about.decisions and RESOLUTION in result.space.space.decisions and not way.get(RESOLUTION):
        yield "--resolution"
    if result.about.strategy not in FAMILIES:
        yield "--epochs"
    if result.asked.sandwich:
        yield "--sandwich"
    if result.asked.score != Asked.score:
        yield "--score"
    if result.about.space_config.get("order") == "given":
        yield "--order"
    name, given = result.about.strategy, result.asked.strategy_config
    if name not in NAMED or with_defaults(NAMED[name], given) != with_defaults(NAMED[name], {}):
        yield f"the flags of {name}"


def uniform_notes(result: Record) -> Iterator[str]:
    """Say what the uniformly scaled network is, what it reaches, and how to train it where it was not."""
    yield uniform_origin(result)
    training = result.training
    for split in training.scores if training else ():
        what = "test accuracy" if split == "test" else "validation accuracy"
        if training and (beside := uniform_score(result, training, split)):
            yield f"{what} of uniform scaling: {beside}"
        if training and (beside := pruned_score(training, split)):
            yield f"{what} of magnitude pruning: {beside}"
    if note := uncompared(result):
        yield note


def uniform_facts(result: Record) -> Json:
    """Return the comparison as JSON; nothing where there is none."""
    told: Json = {name: {"result": own, "uniform": other} for name, (own, other) in uniform_costs(result).items()}
    training = result.training
    if training and training.uniform:
        for split, own in training.scores.items():
            other = training.uniform.scores[split]
            told[split] = {"result": own, "uniform": other, "difference": own - other}
    if note := uncompared(result):
        told["note"] = note
    return told


def pruned_facts(result: Record) -> Json:
    """Return the accuracies beside magnitude pruning as JSON; nothing where that was not trained."""
    training = result.training
    if training is None or training.magnitude is None:
        return {}
    pairs = {split: (own, training.magnitude.scores[split]) for split, own in training.scores.items()}
    return {split: {"result": a, "magnitude": b, "difference": a - b} for split, (a, b) in pairs.items()}


def _scaled(result: Record, arch: str) -> str:
    return scaled_parts(result.space, result.space.space.parse(arch))

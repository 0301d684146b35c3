"""One page about one search: what was found, how the search went, what it cost, and how to repeat it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from markupsafe import Markup

from renascent.core.codecs import nats_topology as topology
from renascent.core.errors import UserError
from renascent.core.files import Json, write_text
from renascent.core.schema import checked, written
from renascent.core.text import counted, number, percent
from renascent.costs.scaling import is_size_space
from renascent.loops.run import read_sessions
from renascent.reports import sizes as sizereport
from renascent.reports.by_class import class_table
from renascent.reports.cell import cell as draw_cell
from renascent.reports.cell import short
from renascent.reports.citations import citations
from renascent.reports.entropy import policy_entropy, replaced
from renascent.reports.gain import gains, origin
from renascent.reports.plots import COLOURS, Line, Picture, chart
from renascent.reports.policy import curves, expected_cost_figure, policy_figures, undecided
from renascent.reports.render import breakable, render
from renascent.reports.strip import strip
from renascent.reports.summary import (
    elsewhere,
    inside_score,
    not_counted,
    score_text,
    table_accuracy,
    training_description,
)
from renascent.reports.trainings import compared, unfinished
from renascent.reports.uniform import uniform_notes, uniform_rows
from renascent.reports.verdict import baseline_description, multiple, searched, verdict
from renascent.results.epochs import SearchEpoch
from renascent.results.facts import Session, Training, Truth
from renascent.results.record import Record

Rows = list[tuple[str, str]]
"""Name and value, as a table shows them."""

GROUPS = {
    "strategy_config": "strategy",
    "space_config": "space",
    "task": "data",
    "truth": "truth table",
    "weights": "shared weights",
}
"""Parts of the configuration, in the order of the page, and their headings."""


def write_report(result: Record) -> Path:
    """Write report.html, one page that needs nothing else, into the run folder and return its path.

    Raises UserError when a file of the run folder is missing or cannot be read, or the page cannot be written.
    """
    path = result.folder / "report.html"
    write_text(path, render("report.html.j2", _page(result)))
    return path


def _page(result: Record) -> Json:
    asked, training, epochs = result.asked, result.training, result.epochs
    path, advice = result.folder / "environment.json", "remove that file to begin the list again"
    # a list that was removed is no reason to have no page
    sessions = [checked(Session, held, path, advice) for held in read_sessions(result.folder)]
    styles = _styles(result)
    drawing, unreachable = (Markup(""), set()) if is_size_space(result.space) else _drawing(result, styles)
    return {
        "facts": result.facts,
        "arch": breakable(result.about.arch),
        "started": sessions[0].time if sessions else "",
        "notes": list(_notes(result, epochs)),
        "tiles": list(_tiles(result)),
        "trainings": compared(result),
        "gains": [gain.cells for gain in gains(result)],
        "origin": origin(result),
        "drawing": drawing,
        "unreachable": unreachable,
        "strip": strip(result),
        "decisions": _decisions(result, epochs),
        "curves": curves(epochs, "the search"),
        "truth": _truth(asked.truth, epochs),
        "fit_curves": curves(result.training_epochs, "the training of the found network"),
        "policy": policy_figures(result, epochs, styles),
        "undecided": undecided(result, epochs),
        "spent": expected_cost_figure(result, epochs),
        "shapes": sizereport.shapes(result),
        "plane": sizereport.plane(result),
        "budget": sizereport.budget(result.about.costs),
        "uniform": uniform_rows(result),
        "uniform_notes": list(uniform_notes(result)),
        "costs": _costs(result),
        "classes": class_table(training),
        "random_cells": _random_cells(result),
        "baseline_description": baseline_description(training, "random ") if training else "",
        "settings": _settings(result.config, training),
        "environment": _environment(sessions[0] if sessions else None),
        "resumed": [(s.time, s.device) for s in sessions[1:]],
        "command": _command(sessions[0].command if sessions else []),
        "citations": list(citations(result)),
    }


def _notes(result: Record, epochs: Sequence[SearchEpoch]) -> Iterator[str]:
    """Say what the page cannot show."""
    yield from (left := list(unfinished(result)))
    if result.training is None and not left:
        yield f"The found network was not trained alone yet: {shlex.join(['renascent', 'fit', str(result.folder)])}"
    for name, cost in result.about.costs.items():
        if cost.by and (cost.network or cost.measured is None):
            of = f" of {cost.network}, which has the same decisions" if cost.network else ""
            told = "" if cost.measured is not None else "; it was not measured: that device is not here"
            yield f"The budget's {name} is that{of} on {cost.by}{told}."
    if busy := result.latency.busy:
        yield f"{busy[0].upper()}{busy[1:]}."
    moved = policy_entropy(result)
    yield from filter(None, [verdict(result), moved.undecided if moved else "", replaced(result)])
    if not epochs and searched(result):
        yield "The events of the search are missing, so there are no curves."


def _tiles(result: Record) -> Iterator[tuple[str, str, str]]:
    """Give label, value and remark of every headline number."""
    about, training, latency = result.about, result.training, result.latency
    for split, score in training.scores.items() if training else ():
        name = "test accuracy" if split == "test" else "validation accuracy"
        yield name, percent(score), _versus(result, training, split) if training else ""
    where, weights = inside_score(result)
    yield where, score_text(about.search_score, about.scored_by), f"with {weights}, on one validation batch"
    if told := about.truth:
        yield "accuracy in the table", *table_accuracy(told)
    yield "parameters", f"{about.params:,}", ""
    yield "MACs", f"{about.macs:,}", f"multiply-accumulates an image{not_counted(result)}"
    spread = f"p10 to p90: {latency.p10_ms:.2f} to {latency.p90_ms:.2f} ms"
    yield "latency", f"{latency.median_ms:.2f} ms", f"median, one image; {spread}; {latency.runtime}"
    yield "search", _duration(about.search_seconds), multiple(result)


def _truth(told: Truth | None, epochs: Sequence[SearchEpoch]) -> list[Picture]:
    """Draw what the truth table says of the likeliest architecture at each epoch, if the search was given one."""
    points = [(e.epoch, e.truth) for e in epochs if e.truth is not None]
    if told is None or not points:
        return []
    levels = {f"best {told.best:.2f}": told.best, f"mean of all {told.mean:.2f}": told.mean}
    title = f"accuracy in {told.table} of the policy's mode in each epoch"
    line = Line("mode", points, COLOURS[0])
    return [chart([line], title, f"accuracy in {told.table} (%)", known=levels)]


def _versus(result: Record, training: Training, split: str) -> str:
    """Compare the found network with its random baselines."""
    others = [cell.scores[split] for cell in training.random_cells]
    alone = training_description(training) + elsewhere(result, ", ")
    if not others:
        return alone
    spread = f" ± {100 * stdev(others):.2f}" if len(others) > 1 else ""
    gap = 100 * (training.scores[split] - mean(others))
    side = f"{abs(gap):.2f} points {'above' if gap >= 0 else 'below'}"
    return (
        f"{alone}; {side} the mean of {baseline_description(training, 'random ')} ({100 * mean(others):.2f}{spread} %)"
    )


def _styles(result: Record) -> dict[object, str]:
    """Give each option a colour of the style sheet, and "none" grey."""
    options = [o for d in result.space.space.decisions.values() for o in getattr(d, "options", ())]
    distinct = [o for o in dict.fromkeys(options) if o != "none"]
    return {"none": "none"} | {option: f"o{k % 8}" for k, option in enumerate(distinct)}


def _drawing(result: Record, styles: Mapping[object, str]) -> tuple[Markup, set[str]]:
    """Return the cell as a drawing, or in text where the architecture is no cell; and its unreachable edges."""
    arch = result.arch
    try:
        live = topology.reachable(arch)
    except UserError:
        return Markup("<pre>{}</pre>").format(result.space.draw(arch)), set()
    pairs = {
        name: (int(i), int(j)) for name in arch for i, _, j in [name.partition("-")] if i.isdecimal() and j.isdecimal()
    }
    edges = {pair: str(arch[name]) for name, pair in pairs.items()}
    unreachable = {name for name in pairs if name not in live and arch[name] != "none"}
    return draw_cell(edges, [pairs[name] for name in live], styles), unreachable


def _decisions(result: Record, epochs: Sequence[SearchEpoch]) -> list[tuple[str, str, str, str]]:
    """List decision, the reference's option where there is one, the chosen one and the entropy (nats) it ended with."""
    last = epochs[-1].entropy if epochs else {}
    before = {size.name: size for size in sizereport.sizes(result)}
    rows = []
    for name, value in result.arch.items():
        size, entropy = before.get(name), f"{last[name]:.3f}" if name in last else ""
        chosen = "left out" if size and size.after is None else short(value)
        rows.append((name, f"{size.before:g}" if size else "", chosen, entropy))
    return rows


def _costs(result: Record) -> list[tuple[str, str, str]]:
    about, training, latency = result.about, result.training, result.latency
    of_what = "every chosen operation counted, reachable or not"
    of_what = "of what lies on a path from input to output" if result.space.space.alive else of_what
    spent = "training of the shared weights and the strategy" if searched(result) else "nothing was trained"
    rows = [
        ("parameters", f"{about.params:,}", of_what),
        ("MACs", f"{about.macs:,}", f"one image of {'x'.join(map(str, result.shape))}"),
        ("latency, median", f"{latency.median_ms:.3f} ms", f"one image, {latency.runtime}"),
        ("latency, p10 to p90", f"{latency.p10_ms:.3f} to {latency.p90_ms:.3f} ms", "of repeated passes"),
        ("search", f"{about.search_seconds:,.1f} s", spent),
    ]
    if training is None:
        return rows
    other = "another network of the space" if training.network else "unreachable operations left out"
    for what, count in (("parameters", training.params), ("MACs", training.macs)):
        if training.prune or training.network:
            rows.append((f"{what} as trained", f"{count:,}", other))
    name = "training behind the search" if training.searched_epochs else "training once"
    rows.append((name, f"{training.seconds:,.1f} s", counted(training.settings.epochs, "epoch")))
    if times := multiple(result):
        rows.append(("search as a multiple", times.partition(" ")[0], "times training once"))
    return rows


def _random_cells(result: Record) -> list[tuple[Markup, str, str]]:
    """List the result, in bold, and its random baselines, the best first: architecture, bounded cost, score."""
    training = result.training
    if training is None or not training.random_cells:
        return []
    split, own = next(iter(training.scores)), {name: cost.promised for name, cost in result.about.costs.items()}
    rows = [("found", result.about.arch, own, training.scores[split])]
    for k, cell in enumerate(training.random_cells, start=1):
        rows.append((f"random {k}", cell.arch, cell.costs, cell.scores[split]))
    listed = []
    for name, arch, costs, score in sorted(rows, key=lambda row: -row[3]):
        tag = Markup("strong" if name == "found" else "span")
        if is_size_space(result.space):  # an architecture is too long to be read
            prices = ", ".join(f"{number(value)} {cost}" for cost, value in costs.items())
            listed.append((Markup('<{0} title="{1}">{2}</{0}>').format(tag, arch, name), prices, percent(score)))
        else:
            listed.append((Markup("<{0}>{1}</{0}>").format(tag, breakable(arch)), "", percent(score)))
    return listed


def _settings(config: Json, training: Training | None) -> list[tuple[str, Rows]]:
    """List the resolved configuration in groups."""
    plain = {key: value for key, value in config.items() if key not in GROUPS}
    groups = [("search", plain), *((heading, config.get(key, {})) for key, heading in GROUPS.items())]
    if training:
        told: Json = written(training)
        how = {key: told[key] for key in ("seed", "prune", "init", "teacher", "distillation")}
        groups.append(("training of the found network", {**told["settings"], **how}))
    return [(heading, list(_flat(values))) for heading, values in groups if values]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _environment(session: Session | None) -> Rows:
    if not session:
        return [("environment", "not recorded: environment.json is missing")]
    git = session.git
    state = f"{git.commit[:12]}{', with local changes' if git.changed else ''}" if git else "not a checkout"
    machine = [(name, str(getattr(session, name))) for name in ("processor", "device", "threads", "platform")]
    return [*machine, ("git", state), ("python", session.python), *session.versions.items()]


def _command(words: Sequence[str]) -> str:
    """Return the command that started the run; empty when it was not `renascent`, but Python at work.

    A notebook or a script of the user's own is no command that repeats the search: its arguments say nothing of it.
    """
    program, *given = words or [""]
    # `python -m renascent search` is recorded by the name of its file
    ours = program.removesuffix(".exe") == "renascent" or (program == "__main__.py" and given[:1] == ["search"])
    return shlex.join(["renascent", *given]) if ours else ""


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"

"""What `renascent predict` does."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from renascent.cli.commands.command import Machine, Outcome
from renascent.cli.commands.predict import PredictFlags
from renascent.cli.work.models import loaded
from renascent.cli.work.running import ready, weights_of
from renascent.core.text import aligned, percent
from renascent.reports.live import Counted
from renascent.results.predict import Prediction


def run(folder: str, *images: str, flags: PredictFlags) -> Outcome:
    """Look at pictures; say in a table, or of a folder in a CSV, what they show."""
    device = ready(Machine(device=flags.device, threads=flags.threads))
    result = loaded(folder, flags.factory, flags.space).named(flags.name)
    found = result.predict(*images, skip_bad=flags.skip_bad, device=str(device))
    prepared = result.preparation
    scaled = sum(one.scaled for one in found)
    if scaled and prepared and not prepared.resized:
        size = "{1} x {0}".format(*prepared.size)
        Counted().say(
            f"{scaled} of {len(found)} pictures were scaled to {size} pixels; "
            "those of the training had that size already"
        )
    rows = [{"image": str(one.image), "class": one.label, "probabilities": one.probabilities} for one in found]
    facts = {"folder": folder, "weights": weights_of(result), "images": rows}
    in_folders = any(Path(image).is_dir() for image in images)
    return Outcome(facts, _csv(found) if in_folders else _table(found, flags.top))


def _table(found: Sequence[Prediction], top: int) -> str:
    """Write the most likely classes of each picture, one picture a line."""
    return aligned([(str(one.image), ", ".join(_likeliest(one, top))) for one in found])


def _likeliest(one: Prediction, top: int) -> list[str]:
    ordered = sorted(one.probabilities.items(), key=lambda pair: -pair[1])
    return [f"{name} {percent(value)}" for name, value in ordered[:top]]


def _csv(found: Sequence[Prediction]) -> str:
    """Write one line for each picture: file, class, and the probability of every class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", *found[0].probabilities])
    for one in found:
        writer.writerow([str(one.image), one.label, *(f"{value:.7g}" for value in one.probabilities.values())])
    return text.getvalue().removesuffix("\n")

"""How the trained network does on each class: one line for the terminal, and a table for the page."""

from collections.abc import Sequence

from renascent.core.text import percent
from renascent.loops.evaluate import ByClass
from renascent.results.facts import Training

Row = tuple[str, str, str, str]


def class_line(training: Training, split: str) -> list[tuple[str, str]]:
    """Return the row of a summary about balanced accuracy and the worst class; none where nothing is known of classes.

    And one of the metric of the user's own, where there is one.
    """
    rows = []
    if found := training.by_class.get(split):
        recall, name = min((value, name) for value, name in _recalls(training, found))
        what = f"lowest of {len(found.images)} classes: {name}, {percent(recall)}"
        rows.append(("balanced accuracy", f"{percent(found.balanced_accuracy)} ({what})"))
    if split in training.metrics:
        rows.append((f"metric on {split}", f"{training.metrics[split]:.4g} ({training.settings.metric})"))
    return rows


def class_table(training: Training | None) -> list[tuple[str, str, list[Row]]]:
    """Return split, balanced accuracy and rows of class, images, recall and precision: the lowest recall first."""
    tables = []
    for split, found in training.by_class.items() if training else ():
        rows = zip(_names(training, found), found.images, found.recall, found.precision, strict=True)
        ordered = sorted(rows, key=lambda row: (row[2] is None, row[2] or 0.0))
        shown = [
            (name, f"{images:,}", _share(recall), _share(precision)) for name, images, recall, precision in ordered
        ]
        tables.append((split, percent(found.balanced_accuracy), shown))
    return tables


def _recalls(training: Training, found: ByClass) -> list[tuple[float, str]]:
    named = zip(found.recall, _names(training, found), strict=True)
    return [(recall, name) for recall, name in named if recall is not None]


def _names(training: Training | None, found: ByClass) -> Sequence[str]:
    """Return the names of the classes, their numbers where nobody named them."""
    known = training.preparation.class_names if training and training.preparation else ()
    return known if len(known) == len(found.images) else tuple(map(str, range(len(found.images))))


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)

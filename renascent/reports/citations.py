"""What to cite for one search: the strategy, the space, the data and every option that was used, and nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from renascent.loops.fit import Fit
from renascent.nets.sizes.inherit import first_k
from renascent.results.facts import Training
from renascent.results.record import Record
from renascent.strategies import STRATEGIES
from renascent.tasks.augment import cutout
from renascent.tasks.distill import Distillation

Citation = tuple[str, Markup]
"""What was used, and where it comes from, with links."""


def citations(result: Record) -> Iterator[Citation]:
    """Cite exactly what was used. The texts are those of the docstrings, where they stand beside the code."""
    asked = result.asked
    strategy = STRATEGIES.get(asked.strategy)
    sources = [(f"strategy {asked.strategy}", strategy), (f"space {asked.space}", type(result.space))]
    for what, kind in sources:
        yield from ((what, _linked(text)) for text in _cited(kind))
    yield f"data {asked.task.name}", _linked(asked.task.source)
    if asked.task.augmentation.cutout > 0:
        # the sentence describes the square, and names its source behind the colon
        yield from (("augmentation, cutout", _linked(text.rpartition(": ")[2])) for text in _cited(cutout))
    if told := asked.truth:
        yield f"truth table {told.table}", _linked(told.source or "given by the user")
    if training := result.training:
        yield from _of_training(training.settings)
        yield from _of_lessons(training)


def _of_lessons(training: Training) -> Iterator[Citation]:
    """Cite what a teacher and inherited weights are from."""
    if training.teacher:
        yield from (("training, distillation", _linked(text)) for text in _cited(Distillation))
    if training.init == "reference":
        yield from (("training, weights of the reference", _linked(text)) for text in _cited(first_k))


def _of_training(settings: Fit) -> Iterator[Citation]:
    """Cite the options that are on; the docstring of `Fit` has one a line."""
    for line in (inspect.getdoc(Fit) or "").splitlines():
        name, _, text = line.partition(": ")
        if "arXiv:" in text and getattr(settings, name, None):
            yield f"training, {name.replace('_', ' ')}", _linked(text)


def _cited(thing: object) -> list[str]:
    """Return the paragraphs of a docstring that name a paper."""
    paragraphs = ((inspect.getdoc(thing) if thing else "") or "").split("\n\n")
    found = [text.removeprefix("References:") for text in paragraphs if "arXiv:" in text]
    return [" ".join(text.split()) for text in found]


def _linked(text: str) -> Markup:
    linked = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', str(escape(text)))
    return Markup(re.sub(r'(?<!["=])(https?://[^\s<,;)]+[^\s<,;).])', r'<a href="\1">\1</a>', linked))

"""What to cite for one search: the strategy, the space, the data and every option that was used, and nothing else."""

import re
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from renascent.core.source import arguments, docstring, place_of, references
from renascent.results.record import Record
from renascent.strategies import NAMED

FIT, DISTILLATION = "renascent.loops.training:Fit", "renascent.tasks.distill:Distillation"
WEIGHTS = "renascent.core.optimiser:WeightRule"
CUTOUT, INHERITED = "renascent.tasks.augment:cutout", "renascent.nets.sizes.inherit:first_k"
SANDWICH = "renascent.strategies._sandwich:sandwich"

Citation = tuple[str, Markup]
"""What was used, and where it comes from, with links."""


def citations(result: Record) -> Iterator[Citation]:
    """Cite exactly what was used. The texts are the `References:` of the docstrings beside the code."""
    for what, texts in _used(result):
        yield from ((what, _linked(text)) for text in texts)


def _used(result: Record) -> Iterator[tuple[str, Sequence[str]]]:
    asked, training = result.asked, result.training
    strategy, _ = NAMED.places.get(asked.strategy, ("", {}))
    yield f"strategy {asked.strategy}", references(strategy) or result.about.cited
    yield f"space {asked.space}", references(place_of(type(result.space)))
    yield f"data {asked.task.name}", [asked.task.source]
    if asked.task.augmentation.cutout > 0:
        yield "augmentation, cutout", references(CUTOUT)
    if asked.sandwich:
        yield "search, sandwich steps", references(SANDWICH)
    if truth := asked.truth:
        yield f"truth table {truth.table}", [truth.source or "given by the user"]
    if training is None:
        return
    for place, held in ((FIT, training.settings), (WEIGHTS, training.settings.weights)):
        for name, text in arguments(docstring(place), "References").items():
            if getattr(held, name, None):
                yield f"training, {name.replace('_', ' ')}", [text]
    if training.teacher:
        yield "training, distillation", references(DISTILLATION)
    if training.init == "reference":
        yield "training, weights of the reference", references(INHERITED)


def _linked(text: str) -> Markup:
    linked = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', str(escape(text)))
    return Markup(re.sub(r'(?<!["=])(https?://[^\s<,;)]+[^\s<,;).])', r'<a href="\1">\1</a>', linked))

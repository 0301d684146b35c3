"""What to cite for one search: the strategy, the space, the data and every option that was used, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from renascent.core.source import arguments, docstring, place_of, references
from renascent.results.record import Record
from renascent.strategies import STRATEGIES

FIT, DISTILLATION = "renascent.loops.fit:Fit", "renascent.tasks.distill:Distillation"
CUTOUT, INHERITED = "renascent.tasks.augment:cutout", "renascent.nets.sizes.inherit:first_k"

Citation = tuple[str, Markup]
"""What was used, and where it comes from, with links."""


def citations(result: Record) -> Iterator[Citation]:
    """Cite exactly what was used. The texts are the `References:` of the docstrings beside the code."""
    yield from ((what, _linked(text)) for what, text in _texts(result))


def _texts(result: Record) -> Iterator[tuple[str, str]]:
    asked = result.asked
    strategy, _ = STRATEGIES.places.get(asked.strategy, ("", {}))
    yield from _of(f"strategy {asked.strategy}", strategy)
    yield from _of(f"space {asked.space}", place_of(type(result.space)))
    yield f"data {asked.task.name}", asked.task.source
    if asked.task.augmentation.cutout > 0:
        yield from _of("augmentation, cutout", CUTOUT)
    if truth := asked.truth:
        yield f"truth table {truth.table}", truth.source or "given by the user"
    if training := result.training:
        options = arguments(docstring(FIT), "References")
        yield from (
            (f"training, {name.replace('_', ' ')}", text)
            for name, text in options.items()
            if getattr(training.settings, name, None)
        )
        if training.teacher:
            yield from _of("training, distillation", DISTILLATION)
        if training.init == "reference":
            yield from _of("training, weights of the reference", INHERITED)


def _of(what: str, place: str) -> Iterator[tuple[str, str]]:
    yield from ((what, text) for text in references(place))


def _linked(text: str) -> Markup:
    linked = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', str(escape(text)))
    return Markup(re.sub(r'(?<!["=])(https?://[^\s<,;)]+[^\s<,;).])', r'<a href="\1">\1</a>', linked))

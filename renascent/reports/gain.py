"""Before and after: what the original network costs and reaches, what was found, and the ratio of the two."""

from collections.abc import Iterator
from dataclasses import dataclass

from renascent.core.files import Json
from renascent.core.text import aligned, number, percent
from renascent.results.record import Record
from renascent.strategies import FAMILIES

HEAD = ("", "original", "result", "ratio")


@dataclass(frozen=True)
class Gain:
    """One quantity of the original and of the result.

    Args:
        key: Its name in JSON.
        name: Its name for readers, unit included.
        before: Of the original; None where it is not known.
        after: Of the result.
        share: Whether it is an accuracy in [0, 1].
    """

    key: str
    name: str
    before: float | None
    after: float
    share: bool = False

    @property
    def ratio(self) -> float | None:
        """The result's as a multiple of the original's; None where there is none."""
        return self.after / self.before if self.before else None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Name, original, result and ratio, as a table shows them.

        >>> Gain("macs", "MACs", 400.0, 100.0).cells
        ('MACs', '400', '100', '0.25x')
        >>> Gain("accuracy", "accuracy", 0.8, 0.79, share=True).cells
        ('accuracy', '80.00 %', '79.00 %', '0.99x (-1.00 points)')
        """
        if not self.share:
            return self.name, number(self.before), number(self.after), self._times
        points = "" if self.before is None else f" ({100 * (self.after - self.before):+.2f} points)"
        before = "-" if self.before is None else percent(self.before)
        return self.name, before, percent(self.after), self._times + points

    @property
    def _times(self) -> str:
        return "-" if self.ratio is None else f"{number(self.ratio, 2 if self.ratio < 1 else 3)}x"


def gains(result: Record) -> list[Gain]:
    """List parameters, MACs, latency and accuracy before and after; nothing where a search was not of sizes.

    The accuracy is of the images that the training was judged on; of those of the search where nothing was trained, and
    beside it where the original has none on the training's.
    """
    about, training = result.about, result.training
    old = about.original
    if old is None:
        return []
    found = [Gain("params", "parameters", old.params, about.params), Gain("macs", "MACs", old.macs, about.macs)]
    if old.latency_ms is not None:
        found.append(Gain("latency_ms", "latency (ms)", old.latency_ms.median_ms, result.latency.median_ms))
    trained = list(_trained(result))
    if training is None or any(gain.before is None for gain in trained):
        found.append(Gain("search_accuracy", "validation accuracy", old.score, old.found, share=True))
    return [*found, *trained]


def _trained(result: Record) -> Iterator[Gain]:
    training = result.training
    if training is None or not training.same_data:
        return
    known = training.reference.scores if training.reference else training.given_scores
    for split, score in training.scores.items():
        name = "test accuracy" if split == "test" else "validation accuracy, trained"
        yield Gain("test_accuracy" if split == "test" else "accuracy", name, known.get(split), score, share=True)


def origin(result: Record) -> str:
    """Say in one line what the original is, and with which weights it was judged; nothing where there is none."""
    about, training = result.about, result.training
    old = about.original
    if old is None:
        return ""
    what = "your model as given" if result.is_adapted else "the reference network"
    compared = training.reference if training and training.same_data else None
    if compared:
        weights = "with the weights it came with" if compared.given else "trained as the result was, from fresh weights"
    elif old.given:
        weights = "with the weights it came with"
    else:
        weights = "with the weights that it starts from" if about.strategy in FAMILIES else "with the search's weights"
    return f"original: {what}, {weights}"


def gain_table(result: Record) -> list[str]:
    """Return the lines of a table of `gains`, and of what the original is; none where there are none."""
    found = gains(result)
    return [*aligned([HEAD, *(gain.cells for gain in found)], "<>").splitlines(), origin(result)] if found else []


def gain_facts(result: Record) -> Json:
    """Return `gains` by their keys, each with `original`, `result` and `ratio`."""
    return {g.key: {"original": g.before, "result": g.after, "ratio": g.ratio} for g in gains(result)}

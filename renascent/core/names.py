"""Tables of things by name, which are imported when they are first asked for."""

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Settings = Mapping[str, object]


class Names(Mapping[str, T], Generic[T]):
    """Name -> a class, a class with some of its settings, or a value. To know a name imports nothing.

    places: name -> "module:attribute", or that and settings.  use: what is done with each before it is given out.

    >>> table = Names({"ratio": "fractions:Fraction", "half": ("fractions:Fraction", {"denominator": 2})})
    >>> list(table), table["half"](1)
    (['ratio', 'half'], Fraction(1, 2))
    """

    def __init__(
        self, places: Mapping[str, str | tuple[str, Settings]], use: Callable[[Any], T] = lambda thing: thing
    ) -> None:
        self.places: dict[str, tuple[str, Settings]] = {
            name: place if isinstance(place, tuple) else (place, {}) for name, place in places.items()
        }
        self.use = use

    def __getitem__(self, name: str) -> T:
        place, settings = self.places[name]
        module, _, attribute = place.partition(":")
        thing = getattr(importlib.import_module(module), attribute)
        return self.use(functools.partial(thing, **settings) if settings else thing)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self.places


def name_of(thing: object, table: Names[Any]) -> str:
    """Return the name under which a table makes objects like this one; its class's own name when none does.

    A name that stands for a class with some settings goes before one of another setting.

    >>> from fractions import Fraction
    >>> name_of(Fraction(3, 2), Names({"half": ("fractions:Fraction", {"denominator": 2})}))
    'half'
    """
    kind = type(thing)
    made = f"{kind.__module__}:{kind.__qualname__}"
    fits = {name: settings for name, (place, settings) in table.places.items() if place == made}
    alike = [name for name, settings in fits.items() if all(getattr(thing, k) == v for k, v in settings.items())]
    return next(iter(alike or fits), kind.__name__)

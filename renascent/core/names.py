"""Tables of things by name, which are imported when they are first asked for."""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from renascent.core.outside import Others
from renascent.core.source import place_of

T = TypeVar("T")

Settings = Mapping[str, object]


class Names(Mapping[str, T], Generic[T]):
    """Name -> a class, a class with some of its settings, or a value. To know a name imports nothing.

    places: name -> "module:attribute", or that and settings.  use: what is done with each before it is given out.
    others: what other packages may add; it is no part of the mapping.

    >>> table = Names({"ratio": "fractions:Fraction", "half": ("fractions:Fraction", {"denominator": 2})})
    >>> list(table), table["half"](1)
    (['ratio', 'half'], Fraction(1, 2))
    """

    def __init__(
        self,
        places: Mapping[str, str | tuple[str, Settings]],
        use: Callable[[Any], T] = lambda thing: thing,
        *,
        others: Others | None = None,
    ) -> None:
        self.places: dict[str, tuple[str, Settings]] = {
            name: place if isinstance(place, tuple) else (place, {}) for name, place in places.items()
        }
        self.use, self.others = use, others

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
    """Return the name under which a table makes objects like this one; "module:Class" where none does.

    A name that stands for a class with some settings goes before one of another setting. A class that cannot be
    imported, such as one of a notebook, has its own name alone.

    >>> from fractions import Fraction
    >>> table = Names({"half": ("fractions:Fraction", {"denominator": 2})})
    >>> name_of(Fraction(3, 2), table), name_of(table, table)
    ('half', 'renascent.core.names:Names')
    """
    kind = type(thing)
    made = place_of(kind)
    fits = {name: settings for name, (place, settings) in table.places.items() if place == made}
    alike = [name for name, settings in fits.items() if all(getattr(thing, k) == v for k, v in settings.items())]
    module = sys.modules.get(kind.__module__)
    found = kind.__module__ != "__main__" and getattr(module, kind.__qualname__, None) is kind
    return next(iter(alike or fits), made if found else kind.__name__)


def short(name: str) -> str:
    """Return a name as folders and flags have it: of "module:Class" the class.

    >>> short("my_package:Mine"), short("gdas")
    ('Mine', 'gdas')
    """
    return name.rpartition(":")[2]

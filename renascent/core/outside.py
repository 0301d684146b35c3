"""Classes of other packages: named by their place, or added to a name table by what is installed.

Both are the user's choice, and both are imported. What a run folder says is neither, and never imported.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import FunctionType
from typing import Any

from renascent.core.errors import UserError, unknown
from renascent.core.source import place_of
from renascent.core.text import short


@dataclass(frozen=True)
class Others:
    """What other packages may add to a name table.

    Args:
        kind: what it has names of: "strategy".
        group: of the entry points by which a package adds names.
        needs: what its classes have to have: all of one of these rows of attributes.
        advice: what an error tells the author of a class that lacks some.
    """

    kind: str
    group: str
    needs: tuple[tuple[str, ...], ...]
    advice: str = ""

    @property
    def installed(self) -> dict[str, list[EntryPoint]]:
        """What installed packages add, by name: more than one where several packages add the same name."""
        found: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
            found.setdefault(point.name, []).append(point)
        return found

    def installed_at(self, place: str) -> type | None:
        """Return the class at "module:Class" where an installed package adds it; None where none does.

        It is imported from where the package is installed, and nothing else is.
        """
        top = place.partition(":")[0].partition(".")[0]
        for point in (point for points in self.installed.values() for point in points):
            if point.module.partition(".")[0] == top:
                with contextlib.suppress(UserError):
                    kind = imported(value_of(point))
                    if place in (value_of(point), place_of(kind)) and not self.lacking(kind):
                        return kind  # type: ignore[no-any-return]
        return None

    def find(self, name: str, ours: Iterable[str] = ()) -> type:
        """Return the class that an installed package adds under a name, or the one at "module:Class".

        ours: names that are known beside, for the error.
        Raises UserError where there is none, it cannot be imported, or it is not of this kind.
        """
        if ":" in name:
            kind: Any = imported(name, os.getcwd())
        else:
            installed = self.installed
            points = installed.get(name, [])
            if not points:
                raise unknown(self.kind, name, [*ours, *installed, "or module:Class of your own"])
            if len(points) > 1:
                places = " and ".join(f"{value_of(point)} ({brought_by(point)})" for point in points)
                raise UserError(f"{self.kind} '{name}' is {places}: name the one you mean as module:Class")
            kind = imported(value_of(points[0]))
        if lacking := self.lacking(kind):
            raise UserError(f"'{name:.80}' is no {self.kind} that can be used here: {lacking}")
        found: type = kind
        return found

    def lacking(self, kind: object) -> str:
        """Return what keeps something from being of this kind; nothing where it is."""
        if not isinstance(kind, type):
            return f"it is {type(kind).__name__}, no class; give the class"
        open_ = getattr(kind, "__abstractmethods__", ())
        rows = [[name for name in row if name in open_ or not hasattr(kind, name)] for row in self.needs]
        # of the row of which it has the most: what it was meant to be
        _, missing = max(zip(self.needs, rows, strict=True), key=lambda pair: len(pair[0]) - len(pair[1]))
        if missing and all(rows):
            return f"{kind.__name__} lacks {', '.join(missing)}; {self.advice or 'add what is missing'}"
        parameters = getattr(kind, "__dataclass_params__", None)
        if parameters is None or not parameters.frozen or "__dataclass_params__" not in vars(kind):
            return f"{kind.__name__} is no frozen dataclass; put @settings of renascent.core.fields above it"
        return ""


def value_of(point: EntryPoint) -> str:
    """Return what an entry point names, as "module:Class"."""
    return f"{point.module}:{point.attr}"


def brought_by(point: EntryPoint) -> str:
    """Return the name and version of the package that an entry point is of."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"


def imported(place: str, root: str | None = None, what: str = "Class") -> Any:
    """Return what is at "module:Class". Raises UserError where there is nothing, or its module fails.

    root: a folder in which its module is looked for first, as `python -m` does.  what: is meant, "function" say.

    >>> imported("fractions:Fraction").__name__
    'Fraction'
    >>> imported("fractions:Friction")
    Traceback (most recent call last):
    renascent.core.errors.UserError: module 'fractions' has no 'Friction': give module:Class, as in fractions:Fraction
    """
    module, _, name = place.partition(":")
    if not all(part.isidentifier() for part in f"{module}.{name}".split(".")):
        example = "my_package.search:Mine" if what == "Class" else "my_training:mine"
        raise UserError(f"'{place:.80}' names no {what.lower()}: write module:{what}, as in {example}")
    if root is not None and root not in sys.path:
        sys.path.insert(0, root)
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as e:
        why = f"{type(e).__name__}: {e!s:.300}"
        raise UserError(
            f"module '{module:.80}' cannot be imported ({why}): mend it, or name one that Python finds"
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            kind = type if what == "Class" else FunctionType
            known = [each for each, value in vars(found).items() if isinstance(value, kind)]
            example = f", as in {module}:{known[-1]}" if known else ""
            raise UserError(f"module '{module:.80}' has no '{name:.80}': give module:{what}{example}")
        found = getattr(found, part)
    return found


def made(kind: type, values: dict[str, Any] | None = None) -> Any:
    """Return an object of a class of settings. Raises UserError where its settings need more than they are given."""
    try:
        return kind(**values or {})
    except TypeError as e:
        raise UserError(f"{kind.__name__} cannot be made ({e}): give every setting of it a default") from None


def check_returned(owner: object, method: str, fits: bool, wanted: str, value: object) -> None:
    """Raise UserError unless what a method returned fits, for it may be a user's. wanted: what does, in words."""
    if not fits:
        raise UserError(f"{type(owner).__qualname__}.{method} has to return {wanted}, and not {short(value)}: mend it")

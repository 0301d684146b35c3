"""Command-line flags of the fields of settings: their types, ranges, defaults and meanings.

Cyclopts reads a dataclass itself, but not one whose defaults depend on the command line, whose nested settings have
defaults of their own, or that is not imported. So each field becomes one parameter of a function that it reads.
"""

import inspect
import math
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any

from cyclopts import Group, Parameter

from renascent.cli.outlines import outline_of, plain
from renascent.core.errors import UserError, unknown
from renascent.core.fields import AUTO, Limit, OrAuto, Range
from renascent.core.names import Names, name_of
from renascent.core.outside import brought_by, made, value_of
from renascent.core.source import arguments, realised, static


@dataclass(frozen=True)
class Flag:
    """One flag.

    Args:
        key: its name with `_` for `-`.
        kind: type of its value; of several with commas between, tuple[type, ...].
        default: None where there is none.
        optional: whether it can be left open, so that a switch has three states.
        help: what it means.
        limit: which values it takes.
    """

    key: str
    kind: Any
    default: Any
    optional: bool
    help: str
    limit: Limit

    @property
    def name(self) -> str:
        """The flag as it is typed.

        >>> Flag("arch_lr", float, 3e-4, False, "", Range()).name
        '--arch-lr'
        """
        return "--" + self.key.replace("_", "-")

    @property
    def negative(self) -> tuple[str, ...]:
        """The flag that switches this one off, where there is something to switch off."""
        return (f"--no-{self.name[2:]}",) if self.kind is bool and (self.optional or self.default) else ()

    @property
    def several(self) -> bool:
        """Whether it takes several values."""
        return typing.get_origin(self.kind) is tuple

    def parameter(self, group: Group) -> inspect.Parameter:
        """Return the flag as a parameter of a function that cyclopts reads."""
        about = Parameter(
            name=self.name,
            negative=self.negative,
            help=self.help,
            group=group,
            converter=None if self.kind is bool else lambda _, tokens: self._read(tokens[0].value),
            show_default=False if self.default is None or self.default is False else _shown,
        )
        kind: Any = str if self.several else self.kind
        kind = kind | None if self.default is None else kind
        return inspect.Parameter(
            self.key, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, about], default=self.default
        )

    def _read(self, text: str) -> Any:
        """Return the value that is given: a number, text, or several with commas between."""
        if not text:
            raise UserError(f"{self.name} is empty: give a value, or leave it out")
        if self.kind in (int, float):
            if text == AUTO and isinstance(self.limit, OrAuto):
                return text
            return self._number(text)
        value: Any = text.split(",") if self.several else text
        if self.several:
            kind = typing.get_args(self.kind)[0]
            value = tuple(map(replace(self, kind=kind)._number, value) if kind is int else value)
        if not isinstance(self.limit, Range):
            self.limit.check(self.name, value)
        return value

    def _number(self, text: str) -> float:
        """Return the number that is given. Cyclopts would round 1.5 to a whole one, and take nan."""
        what = "a whole number" if self.kind is int else "a number"
        try:
            value: float = self.kind(text) if text.isascii() else math.nan  # Python reads digits of any script
        except ValueError:
            value = math.nan
        if self.kind is int and abs(value) >= 2**63:
            raise UserError(f"{self.name} is '{text}': give a whole number below 2**63")
        if isinstance(self.limit, Range) and value not in self.limit:
            raise UserError(f"{self.name} is '{text}': give {what} {self.limit}".removesuffix(" of at least -inf"))
        return value


@dataclass(frozen=True)
class Part:
    """Settings as one group of flags.

    Args:
        title: heading in the help.
        settings: hold the defaults; of a class by `static`, the real one is made once a command runs.
        prefix: put before the flags whose names are in `taken`.
        taken: names of flags of other groups.
        blank: show no defaults, since they are only known when the command runs.
    """

    title: str
    settings: Any
    prefix: str = ""
    taken: frozenset[str] = frozenset()
    blank: bool = False

    def flags(self) -> list[Flag]:
        """Return one flag for each setting, nested dataclasses flattened."""
        return list(self._flags(self.settings))

    def build(self, values: Mapping[str, Any]) -> Any:
        """Return the settings with what `values`, by `Flag.key`, gives; None leaves a setting as it is.

        Of a blank group only what is given is returned, by name.
        """
        if self.blank:
            given = {flag.key: values.get(flag.key) for flag in self.flags()}
            return {key: value for key, value in given.items() if value is not None}
        return realised(self._build(self.settings, values))

    def _flags(self, settings: Any) -> Iterable[Flag]:
        outline = outline_of(settings)
        meanings = arguments(outline.__doc__ or "")
        for f in fields(outline):
            value = getattr(settings, f.name)
            if is_dataclass(value):
                yield from self._flags(value)
            else:
                kind, optional, span = plain(f.type)
                default = None if self.blank else value
                yield Flag(self._key(f.name), kind, default, optional or self.blank, meanings.get(f.name, ""), span)

    def _build(self, settings: Any, values: Mapping[str, Any]) -> Any:
        changes: dict[str, Any] = {}
        for f in fields(settings):
            held, given = getattr(settings, f.name), values.get(self._key(f.name))
            if is_dataclass(held):
                changes[f.name] = self._build(held, values)
            elif given is not None:
                changes[f.name] = given
        return replace(settings, **changes)

    def _key(self, name: str) -> str:
        return f"{self.prefix}_{name}".replace("-", "_") if name in self.taken else name


def chosen(kind: str, table: Names[Any], name: str | None, recipes: Any = None) -> Any:
    """Return the named settings' defaults, or the recipe's if they are of that name; the recipe's if none is named.

    Those of another package are imported. Raises UserError for an unknown name, and for what cannot be used.
    """
    if name is None or (recipes is not None and name_of(recipes, table) == name):
        return recipes
    if name in table:
        place, settings = table.places[name]
        return static(place)(**settings)
    if table.others is None:
        raise unknown(kind, name, table)
    return made(table.others.find(name, table))


def warn_of_hidden(table: Names[Any], name: str | None) -> None:
    """Say so where a package adds something under a name of ours, which stays ours."""
    if name is not None and name in table and table.others is not None:
        for point in table.others.installed.get(name, []):
            place, package = value_of(point), brought_by(point)
            print(f"warning: '{name}' is renascent's own; that of {package} is named {place}", file=sys.stderr)


def keys(*settings: Any) -> frozenset[str]:
    """Return the names of all settings, nested ones included."""
    return frozenset(flag.key for each in settings for flag in Part("", each).flags())


def signed(words: Mapping[str, str], parts: Iterable[Part], *, several: bool = False) -> Callable[..., Any]:
    """Return a function whose signature has positional words and the flags of `parts`; it returns what it gets.

    words: name -> help.  several: the last word may stand any number of times.
    """

    def gather(*given: str | None, **values: Any) -> tuple[list[str | None], dict[str, Any]]:
        return [*given, *[None] * (len(words) - len(given))], values

    last = list(words)[-1] if several else ""
    places = [_word(name, about, several=name == last) for name, about in words.items()]
    groups = [(part, Group(part.title, sort_key=number)) for number, part in enumerate(parts)]
    flags = [flag.parameter(group) for part, group in groups for flag in part.flags()]
    gather.__signature__ = inspect.Signature([*places, *flags])  # type: ignore[attr-defined]
    return gather


def _word(name: str, about: str, *, several: bool) -> inspect.Parameter:
    if several:
        return inspect.Parameter(
            name, inspect.Parameter.VAR_POSITIONAL, annotation=Annotated[str, Parameter(help=about)]
        )
    kind = Annotated[str | None, Parameter(help=about, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY, annotation=kind, default=None)


def glance(
    argv: Sequence[str], parts: Iterable[Part], names: Names[Any] | None = None, *others: Names[Any]
) -> tuple[list[str], dict[str, str]]:
    """Return the words of a command line that stand alone, and its flags' values, before all its flags are known.

    Args:
        argv: the words.
        parts: groups of flags, to know those that take no value.
        names: of what the first word is; if it is none of these, it may be the value of a flag that is not in `parts`,
            and all flags of `names` and `others` are looked at.
        others: further tables of settings.

    >>> glance(["space", "--json", "--seed", "3", "--lr=1"], [])
    (['space'], {'--json': '', '--seed': '3', '--lr': '1'})
    """
    parts = list(parts)
    alone, given = _split(argv, parts)
    if names is not None and (not alone or alone[0] not in names):
        taken = frozenset(flag.key for part in parts for flag in part.flags())
        more = [Part("", chosen("", table, name), name, taken) for table in (names, *others) for name in table]
        return _split(argv, [*parts, *more])
    return alone, given


def _split(argv: Sequence[str], parts: Iterable[Part]) -> tuple[list[str], dict[str, str]]:
    flags = [flag for part in parts for flag in part.flags() if flag.kind is bool]
    plain = {"--help", "-h", "--json", *(name for flag in flags for name in (flag.name, *flag.negative))}
    alone, values, left = [], {}, list(argv)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if not re.match(r"-(?!\.?\d)", word):  # a number below zero is no flag
            alone.append(word)
        else:
            takes = not equals and name not in plain and left and not left[0].startswith("--")
            values[name] = left.pop(0) if takes else value
    return alone, values


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

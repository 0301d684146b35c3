"""Command-line flags derived from frozen dataclasses of settings, their help from the classes' docstrings."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Generic, TypeVar, cast

from cyclopts import Group, Parameter, Token

from renascent.core.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Flag:
    """One flag. key: its name with `_` for `-`.  kind: type of its value.  default: None where there is none.

    optional: whether it can be left open, so that a switch has three states.  help: what it means.
    """

    key: str
    kind: type
    default: Any
    optional: bool
    help: str

    @property
    def name(self) -> str:
        """The flag as it is typed.

        >>> Flag("arch_lr", float, 3e-4, False, "").name
        '--arch-lr'
        """
        return "--" + self.key.replace("_", "-")

    @property
    def negative(self) -> tuple[str, ...]:
        """The flag that switches this one off, where there is something to switch off."""
        return (f"--no-{self.name[2:]}",) if self.kind is bool and (self.optional or self.default) else ()

    @property
    def least(self) -> int:
        """The smallest number taken: a count that starts above 0 stays there, unless its help says what 0 means."""
        return int(self.kind is int and bool(self.default) and "0 means" not in self.help)

    def parameter(self, group: Group) -> inspect.Parameter:
        """Return the flag as a parameter of a function that cyclopts reads."""
        convert = _CONVERTERS.get(self.kind)
        about = Parameter(
            name=self.name,
            negative=self.negative,
            help=self.help,
            group=group,
            converter=convert(self) if convert else None,
            show_default=False if self.default is None or self.default is False else _shown,
        )
        kind: Any = str if self.kind is tuple else self.kind
        kind = kind | None if self.default is None else kind
        return inspect.Parameter(
            self.key, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, about], default=self.default
        )


@dataclass(frozen=True)
class Part(Generic[T]):
    """A dataclass of settings as one group of flags. title: heading in the help.  settings: hold the defaults.

    prefix: put before the flags whose names are in `taken`.
    blank: show no defaults, since they are only known when the command runs.
    """

    title: str
    settings: T
    prefix: str = ""
    taken: frozenset[str] = frozenset()
    blank: bool = False

    def flags(self) -> list[Flag]:
        """Return one flag for each setting, nested dataclasses flattened."""
        return list(self._flags(self.settings))

    def build(self, values: Mapping[str, Any]) -> T:
        """Return the settings with what `values`, by `Flag.key`, gives; None leaves a setting as it is."""
        return cast("T", self._build(self.settings, values))

    def _flags(self, settings: Any) -> Iterable[Flag]:
        kinds, help_of = typing.get_type_hints(type(settings)), meanings(type(settings))
        for f in fields(settings):
            value = getattr(settings, f.name)
            if is_dataclass(value):
                yield from self._flags(value)
            else:
                kind, optional = _plain(kinds[f.name])
                default = None if self.blank else value
                yield Flag(self._key(f.name), kind, default, optional or self.blank, help_of[f.name])

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


def keys(settings: Any) -> frozenset[str]:
    """Return the names of all settings, nested ones included."""
    return frozenset(flag.key for flag in Part("", settings).flags())


def switches(parts: Iterable[Part[Any]]) -> frozenset[str]:
    """Return the flags of `parts` that take no value.

    >>> @dataclass
    ... class Lamp:
    ...     '''on: lit.'''
    ...     on: bool = True
    >>> sorted(switches([Part("Lamp", Lamp())]))
    ['--help', '--no-on', '--on', '-h']
    """
    plain = [flag for part in parts for flag in part.flags() if flag.kind is bool]
    return frozenset(["--help", "-h", *(flag.name for flag in plain), *(n for flag in plain for n in flag.negative)])


def meanings(kind: type) -> dict[str, str]:
    """Return what each field means, from the lines `name: meaning.` or `a, b: meaning.` of the class docstring.

    A meaning goes on in the following lines, up to an empty one; two spaces after a full stop may start another name.

    >>> @dataclass
    ... class Shape:
    ...     '''A box.
    ...
    ...     width, height: in
    ...     pixels.  depth: in bytes.
    ...     '''
    ...     width: int; height: int; depth: int
    >>> meanings(Shape)
    {'width': 'in pixels.', 'height': 'in pixels.', 'depth': 'in bytes.'}
    """
    names = {f.name for f in fields(kind)}
    found: dict[str, str] = {}
    now: list[str] = []
    for line in re.split(r"\n|(?<=\.)  (?=\w+: )", inspect.getdoc(kind) or ""):
        head, colon, rest = line.partition(": ")
        given = [name.strip() for name in head.split(",")]
        if colon and names.issuperset(given):
            now = given
            found |= dict.fromkeys(now, rest.strip())
        else:
            now = now if line.strip() else []
            found |= {name: f"{found[name]} {line.strip()}" for name in now}
    return found


def first_line(thing: object) -> str:
    """Return the first line of a docstring: what the thing is.

    >>> first_line(Flag)[:9]
    'One flag.'
    """
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def papers(thing: object) -> list[str]:
    """Return the arXiv numbers that a docstring names, in order.

    >>> papers(Part)
    []
    """
    return list(dict.fromkeys(re.findall(r"arXiv:\d+\.\d+", inspect.getdoc(thing) or "")))


def signed(
    parts: Iterable[Part[Any]], place: str, place_help: str, second: str = "", second_help: str = ""
) -> Callable[..., Any]:
    """Return a function whose signature has one positional word and the flags of `parts`; it returns what it gets.

    place: name of the word; none when empty.  second: of one more, which comes with the flags' values.
    """

    def gather(*words: str | None, **values: Any) -> tuple[str | None, dict[str, Any]]:
        more = {second: words[1]} if second and len(words) > 1 else {}
        return (words[0] if words else None), values | more

    places = [_word(place or "word", place_help), *([_word(second, second_help)] if second else [])]
    flags = [
        flag.parameter(Group(part.title, sort_key=number)) for number, part in enumerate(parts) for flag in part.flags()
    ]
    gather.__signature__ = inspect.Signature([*places, *flags] if place else flags)  # type: ignore[attr-defined]
    return gather


def _word(name: str, about: str) -> inspect.Parameter:
    kind = Annotated[str | None, Parameter(help=about, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY, annotation=kind, default=None)


def glance(argv: Sequence[str], switches: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words of a command line that stand alone, and its flags' values, before its flags are known.

    switches: the flags that take no value.

    >>> glance(["space", "--json", "--seed", "3", "--lr=1"], ["--json"])
    (['space'], {'--json': '', '--seed': '3', '--lr': '1'})
    """
    alone, values, left, plain = [], {}, list(argv), set(switches)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if not name.startswith("-") or _is_number(word):
            alone.append(word)
        else:
            takes = not equals and name not in plain and left
            values[name] = left.pop(0) if takes else value
    return alone, values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(kind: Any) -> tuple[type, bool]:
    """Return the type without None, and whether None was in it."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        (rest,) = [k for k in typing.get_args(kind) if k is not types.NoneType]
        return _plain(rest)[0], True
    return typing.get_origin(kind) or kind, False


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _number(flag: Flag) -> Callable[[Any, Sequence[Token]], float]:
    what = "a whole number" if flag.kind is int else "a number"

    def convert(_: Any, tokens: Sequence[Token]) -> float:
        text = tokens[0].value
        try:
            value: float = flag.kind(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < flag.least:
            raise UserError(f"{flag.name} is '{text}': give {what} of at least {flag.least}")
        return value

    return convert


def _listed(flag: Flag) -> Callable[[Any, Sequence[Token]], tuple[str, ...]]:
    return lambda _, tokens: tuple(tokens[0].value.split(","))


_CONVERTERS: Mapping[type, Callable[[Flag], Callable[[Any, Sequence[Token]], Any]]] = {
    int: _number,
    float: _number,
    tuple: _listed,
}

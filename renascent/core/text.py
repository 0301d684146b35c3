"""How numbers and tables are written as text, wherever a user reads them."""

import math
import reprlib
from collections.abc import Sequence
from itertools import zip_longest

UNITS = {"G": 1e9, "M": 1e6, "k": 1e3}


def number(
    value: float | None, digits: int = 4, *, places: int | None = None, short: bool = False, up: bool = False
) -> str:
    """Write a number: whole from a thousand on, in a few digits below; a dash where there is none.

    Args:
        value: The number.
        digits: How many digits count below a thousand.
        places: How many decimal places it has instead, whatever its size, as in a column of measurements.
        short: Whether thousands, millions and billions are written as k, M and G, in so many digits.
        up: Whether it is rounded up and has no commas, as a bound that must allow the number.

    >>> number(40813184.0), number(5.2345), number(None), number(5, places=2)
    ('40,813,184', '5.234', '-', '5.00')
    >>> number(40813184.0, short=True), number(40813184.0, short=True, up=True), number(0.51234, up=True)
    ('40.81M', '40.82M', '0.5124')
    """
    if value is None:
        return "-"
    if places is not None:
        return f"{value:,.{places}f}"
    unit, factor = next(((u, f) for u, f in UNITS.items() if short and abs(value) >= f), ("", 1.0))
    scaled = value / factor
    if abs(scaled) >= 1000:
        return str(math.ceil(scaled)) if up else f"{scaled:,.0f}"
    text = f"{scaled:.{digits}g}"
    if up and float(text) * factor < value:
        text = f"{scaled + 10.0 ** (math.floor(math.log10(scaled)) + 1 - digits):.{digits}g}"
    return text + unit


def short(value: object) -> str:
    """Quote a value of any kind in at most some sixty characters, without writing out all of it.

    >>> short("a" * 100000), short([[[[1]]], 2])
    ("'aaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaa'", '[[[...]], 2]')
    """
    return " ".join(f"{_BRIEF.repr(value):.80}".split())


def cut(text: str, most: int = 200) -> str:
    """Cut text after so many characters, and say of how many.

    >>> cut("a=1,b=2"), cut("a=1,b=2,c=3", 7)
    ('a=1,b=2', 'a=1,b=2... (11 characters)')
    """
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother, _BRIEF.maxlong = 2, 58, 58, 40


def percent(share: float) -> str:
    """Write a share of one in percent.

    >>> percent(0.91256)
    '91.26 %'
    """
    return f"{100 * share:.2f} %"


def counted(number: int, what: str) -> str:
    """Return a number of things, in words.

    >>> counted(1, "epoch"), counted(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    >>> listed(["widths"]), listed(["widths", "depths"]), listed("abc")
    ('widths', 'widths and depths', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def aligned(rows: Sequence[Sequence[str]], sides: str = "<") -> str:
    """Write rows in columns, each as wide as its widest cell. A row may be shorter than others.

    Args:
        rows: The cells of each row, a head among them where there is one.
        sides: `<` for a column set to the left, `>` for one to the right; the last one is for all that follow.

    >>> print(aligned([("cost", "limit"), ("macs", "2,000,000"), ("params", "512")], "<>"))
    cost        limit
    macs    2,000,000
    params        512
    """
    wide = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    sides = sides.ljust(len(wide), sides[-1])
    return "\n".join(
        "  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, wide, strict=False)).rstrip() for row in rows
    )


def words(text: str) -> tuple[str, ...]:
    """Return the names in a text.

    >>> words("relu  gelu")
    ('relu', 'gelu')
    """
    return tuple(text.split())

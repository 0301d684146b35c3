"""Reading other people's pickles without running them: the one place of the project where a pickle is opened.

A pickle is a program that may call any function. The readers here know a short list of names, each of which makes a
container, a number or an array, and refuse every other one by name before anything is called.
"""

from __future__ import annotations

import io
import itertools
import pickle
import re
import struct
import sys
import tokenize
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from renascent.bench.importers._streams import MOST_BYTES, opened
from renascent.core.errors import UserError
from renascent.core.text import short

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a file of torch.save's first format; the fourth is what was saved."""

DAMAGE = (
    *(pickle.UnpicklingError, EOFError, OSError, zlib.error, zipfile.BadZipFile, struct.error, NotImplementedError),
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError, MemoryError),
    *(AssertionError, RecursionError, SyntaxError, tokenize.TokenError),
)
"""What a reader raises for a file that was cut short or edited."""


DEEPEST = 4
"""How many tuples may stand in each other: Python follows them without end when it compares them."""


class Maker:
    """A function that a pickle may call. It cannot be changed, or a pickle could change it for the next one."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise TypeError("a pickle tried to change how it is read")


class Kind:
    """A number type as a pickle tells it; numpy's own would take any state, and trust it."""

    __slots__ = ("name", "order")

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", name):
            raise ValueError(f"an array of type {name!r}, which is no number")
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {state[1]!r}")
        self.order = state[1]

    def plain(self) -> np.dtype[Any]:
        """Return it as numpy's."""
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class Array(np.ndarray[Any, np.dtype[Any]]):
    """An array that is filled from a pickle with numbers only, as many as its shape says."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        whole = _numbers(data, kind, shape)  # raises unless they fit
        super().__setstate__((1, whole.shape, whole.dtype, bool(fortran), bytes(data)))  # type: ignore[arg-type]


def _numbers(data: bytes, kind: Kind, shape: Any) -> NDArray[Any]:
    sides = tuple(int(side) for side in shape)
    if min(sides, default=0) < 0:
        raise ValueError(f"an array of shape {sides}")
    return np.frombuffer(data, kind.plain()).reshape(sides)


def _empty(subtype: object, shape: object, kind: object) -> Array:
    if subtype is not NDARRAY:
        raise ValueError(f"an array of a foreign class ({short(subtype)})")
    return Array((0,))  # its shape and numbers come with its state


def _scalar(kind: Kind, data: bytes) -> Any:
    return _numbers(data, kind, (1,))[0].item()


def _buffer(data: bytes, kind: Kind, shape: Any, order: str) -> NDArray[Any]:
    flat = _numbers(data, kind, shape)
    return flat.ravel().reshape(flat.shape, order="F" if order == "F" else "C").copy()


def _encode(text: str, coding: str) -> bytes:
    if coding not in ("latin1", "latin-1"):
        raise ValueError(f"text in {coding!r:.20}")
    return text.encode("latin-1")


NDARRAY = "numpy.ndarray"
"""Stands for numpy's class, which a pickle only ever passes on."""

_CORES = ("numpy.core", "numpy._core")

KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    **{(module, t.__name__): t for module in ("builtins", "__builtin__") for t in (set, frozenset, complex)},
    **{(module, "bytes"): Maker(lambda: b"") for module in ("builtins", "__builtin__")},
    ("_codecs", "encode"): Maker(_encode),
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Maker(lambda name, align=False, copy=False: Kind(name)),
    **{(f"{core}.multiarray", "_reconstruct"): Maker(_empty) for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): Maker(_scalar) for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): Maker(_buffer) for core in _CORES},
}
"""Module and name in a pickle -> what it means here. No other name is ever looked up."""


class Strict:
    """What both readers refuse."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name means. Raises UserError for one that is not known."""
        if (module, name) not in KNOWN:
            raise UserError(
                f"it asks for '{module:.80}.{name:.80}', which was not called: "
                "only plain containers, numbers and arrays are read; get the file from its authors again"
            )
        return KNOWN[module, name]

    def persistent_load(self, pid: object) -> NoReturn:
        """Raise UserError."""
        raise UserError(
            f"it refers to something stored elsewhere ({short(pid)}), such as a tensor: "
            "only plain containers, numbers and arrays are read; get the release without trained weights"
        )


class Plain(Strict, pickle.Unpickler):
    """Reads a pickle at once."""


class Memo(list[Any]):
    """What a pickle may refer back to, by number. A dictionary of as many would fill the memory."""

    def __setitem__(self, place: Any, value: Any) -> None:
        if place == len(self):
            self.append(value)
        else:
            super().__setitem__(place, value)


_Python: Any = pickle._Unpickler  # the same reader, written in Python: each of its steps can be watched


def _shown(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Fill a dictionary, and show it."""

    def step(walker: Walker) -> None:
        load(walker)
        walker.show(walker, walker.stack[-1])

    return step


def _kept_once(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Read a text; the same text is kept once, as these files repeat "x-valid@0" millions of times."""

    def step(walker: Walker) -> None:
        load(walker)
        walker.stack[-1] = sys.intern(walker.stack[-1])

    return step


def _shallow(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Make a tuple, and refuse one that is deeper than any of a benchmark."""

    def step(walker: Walker) -> None:
        load(walker)
        if _deeper(walker.stack[-1], DEEPEST):
            raise ValueError("its tuples are nested too deeply")

    return step


def _deeper(value: object, levels: int) -> bool:
    return isinstance(value, tuple) and (not levels or any(_deeper(item, levels - 1) for item in value))


class Walker(Strict, _Python):  # type: ignore[misc]
    """Reads a pickle larger than the memory: shows every dictionary as soon as it is filled, so that it can be emptied.

    show: given the walker and the dictionary.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **_Python.dispatch,
        pickle.SETITEMS[0]: _shown(_Python.load_setitems),
        pickle.SETITEM[0]: _shown(_Python.load_setitem),
        pickle.BINUNICODE[0]: _kept_once(_Python.load_binunicode),
        pickle.SHORT_BINUNICODE[0]: _kept_once(_Python.load_short_binunicode),
        pickle.TUPLE[0]: _shallow(_Python.load_tuple),
        pickle.TUPLE1[0]: _shallow(_Python.load_tuple1),
        pickle.TUPLE2[0]: _shallow(_Python.load_tuple2),
        pickle.TUPLE3[0]: _shallow(_Python.load_tuple3),
    }

    def __init__(self, stream: BinaryIO, show: Callable[[Walker, dict[Any, Any]], None]) -> None:
        super().__init__(stream)
        self.memo = Memo()
        self.show = show

    def waiting(self, name: str) -> Any:
        """Return the value of a key that was read, and whose dictionary is still to be filled; None if there is none.

        A dictionary is filled when all its items were read: until then they wait on the stack.
        """
        for frame in (*self.metastack, self.stack):
            for key, value in itertools.pairwise(frame):
                if isinstance(key, str) and key == name:
                    return value
        return None


TUPLES, SUSPECT = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3), 20_000
"""What makes tuples. Where these bytes are as many, whatever they stand for, the reader is taken that counts levels."""


def read_plain(path: Path) -> Any:
    """Return what a pickle holds, compressed by bz2 or not. Raises UserError when it is damaged, or refused."""
    with reading(path), opened(path) as stream:
        held = io.BytesIO(stream.read(MOST_BYTES))
        if sum(map(held.getvalue().count, TUPLES)) > SUSPECT:
            return Walker(held, lambda walker, filled: None).load()
        return Plain(io.BufferedReader(held)).load()


def walk_plain(path: Path, show: Callable[[Walker, dict[Any, Any]], None]) -> Any:
    """Return what is left of a pickle after `show` was given every dictionary in it.

    path: of a pickle, compressed by bz2 or not, or of what torch.save wrote in either of its formats.
    Raises UserError when it is damaged, or refused.
    """
    with reading(path), opened(path) as stream:
        value = Walker(stream, show).load()
        if value == TORCH_MAGIC:
            for _ in ("version", "machine"):
                Plain(stream).load()
            value = Walker(stream, show).load()
        return value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged or refused file raises into one line that names it."""
    try:
        yield
    except UserError as e:
        raise UserError(f"{path} is refused: {e}" if str(e).startswith("it ") else str(e)) from None
    except FileNotFoundError:
        raise UserError(f"there is no {path}: check the name") from None
    except PermissionError as e:
        raise UserError(f"cannot read {path}: {e.strerror}; check its permissions") from None
    except DAMAGE as e:
        why = f"{type(e).__name__}: {short(e.args[0] if e.args else '')}"
        raise UserError(f"{path} is damaged (cut short or edited: {why}): get the file again") from None

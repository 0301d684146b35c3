"""Pickles of others: plain values arrive, and nothing else is looked up, called or changed."""

from __future__ import annotations

import bz2
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from renascent.bench.importers._plain import KNOWN, read_plain, walk_plain
from renascent.core.errors import UserError

READERS: dict[str, Callable[[Path], Any]] = {
    "at once": read_plain,
    "walked": lambda path: walk_plain(path, lambda walker, filled: None),
}


@pytest.fixture(params=READERS.values(), ids=READERS)
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Any]:
    """Read a pickle by each of the two readers."""

    def of(content: bytes) -> Any:
        (tmp_path / "x.pkl").write_bytes(content)
        return request.param(tmp_path / "x.pkl")

    return of


class Calls:
    """Pickles as a call of a function, whatever it does."""

    def __init__(self, function: Any, *words: Any) -> None:
        self.function, self.words = function, words

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.words


# --- what is read


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values(read: Any, protocol: int) -> None:
    held = {
        "text": "x-valid@0",
        "many": "é" * 300,
        "numbers": [1, -(2**40), 10**30, 0.1, float("inf"), 1j, True, None],
        "ordered": OrderedDict(b=1, a={2: (3, 4)}),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "whole": {(i, "k"): i / 7 for i in range(2500)},
    }
    assert read(pickle.dumps(held, protocol)) == held
    assert read(bz2.compress(pickle.dumps(held, protocol))) == held


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", ["numpy._core", "numpy.core"])
def test_arrays_of_numbers(read: Any, protocol: int, core: str) -> None:
    held = [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.zeros((0, 3), np.float32),
        np.array(7, np.uint8),
        np.array([True, False]),
    ]
    # names with a length before them cannot be replaced without it
    content = pickle.dumps(held, protocol)
    if core == "numpy.core":
        for name in (b"numpy._core.multiarray", b"numpy._core.numeric"):
            short = name.replace(b"_core", b"core")
            content = content.replace(b"\x8c" + bytes([len(name)]) + name, b"\x8c" + bytes([len(short)]) + short)
            content = content.replace(b"c" + name, b"c" + short)
        if protocol >= 4:
            content = _unframed(content)
    for got, array in zip(read(content), held, strict=True):
        assert isinstance(got, np.ndarray)
        assert (got.shape, got.tolist()) == (array.shape, array.tolist())
        assert got.dtype.kind == array.dtype.kind


def _unframed(content: bytes) -> bytes:
    """Make the frame of a pickle as long as it is now."""
    assert content[2:3] == b"\x95"
    return content[:3] + struct.pack("<Q", len(content) - 11) + content[11:]


@pytest.mark.parametrize("protocol", range(6))
def test_scalars_become_plain_numbers(read: Any, protocol: int) -> None:
    got = read(pickle.dumps([np.float64(1.5), np.float32(2.5), np.int64(-3), np.bool_(True)], protocol))
    assert got == [1.5, 2.5, -3, True]
    assert [type(value) for value in got] == [float, float, int, bool]


@pytest.mark.parametrize("legacy", [True, False])
def test_read_plain_reads_torch_files(tmp_path: Path, legacy: bool) -> None:
    held = {"meta_archs": ["a"], "arch2infos": {0: OrderedDict(x=[0.5])}}
    torch.save(held, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert walk_plain(tmp_path / "x.pth", lambda walker, filled: None) == held


def test_a_walker_shows_every_dictionary_when_it_is_full(tmp_path: Path) -> None:
    held = {"names": ["a", "b"], "all": {0: {"x": {1: 2.0}}, 1: OrderedDict(x={1: 3.0, 2: 4.0})}}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(held, 2))
    shown: list[Any] = []

    def show(walker: Any, filled: dict[Any, Any]) -> None:
        shown.append((str(dict(filled)), walker.waiting("names")))
        if "x" in filled:
            filled.clear()

    left = walk_plain(tmp_path / "x.pkl", show)
    texts = [text for text, _ in shown]
    assert texts[:4] == ["{1: 2.0}", "{'x': {1: 2.0}}", "{1: 3.0, 2: 4.0}", "{'x': {1: 3.0, 2: 4.0}}"]
    assert all(names == ["a", "b"] for _, names in shown[:5])
    assert left == {"names": ["a", "b"], "all": {0: {}, 1: {}}}


# --- what is refused


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, f"{os.system.__module__}.system"), (eval, "eval"), (getattr, "getattr"), (Path, "pathlib")],
)
def test_a_call_is_refused_by_name_and_not_made(
    read: Any, tmp_path: Path, protocol: int, function: Any, name: str
) -> None:
    trace = tmp_path / "trace"
    words = {
        os.system: (f"touch {trace}",),
        eval: (f"open({str(trace)!r}, 'w').close()",),
        getattr: (os, "system"),
        Path: ("a",),
    }[function]
    content = pickle.dumps({"a": [1, Calls(function, *words)]}, protocol) if function is not getattr else None
    content = content or b"c__builtin__\ngetattr\n(S'a'\nS'b'\ntR."
    with pytest.raises(UserError, match=rf"x\.pkl is refused: it asks for '.*{name}.*', which was not called"):
        read(content)
    assert not trace.exists()
    if function in (os.system, eval):  # the pickle is a working one: Python's own reader does what it says
        pickle.loads(content)
        assert trace.exists()


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"cos\nsystem\n.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.", "builtins.set.__init__"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x06_sys.x\x93.", "collections._sys.x"),
        (b"cnumpy\nload\n(S'/etc/passwd'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\narray\n.", "numpy.core.multiarray.array"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n.", "torch._utils._rebuild_tensor_v2"),
        (b"ctorch\nFloatStorage\n.", "torch.FloatStorage"),
        (b"crenascent.bench.importers._plain\nMaker\n.", "renascent.bench.importers._plain.Maker"),
    ],
)
def test_a_name_is_refused(read: Any, content: bytes, fragment: str) -> None:
    with pytest.raises(UserError, match=f"it asks for '{fragment}', which was not called"):
        read(content)


def test_tensors_are_refused(tmp_path: Path) -> None:
    for legacy in (True, False):
        torch.save({"w": torch.ones(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UserError, match=r"x\.pth is refused: it asks for 'torch"):
            walk_plain(tmp_path / "x.pth", lambda walker, filled: None)


@pytest.mark.parametrize("content", [b"Pstorage-0\n.", b"S'storage-0'\nQ."])
def test_something_stored_elsewhere_is_refused(read: Any, content: bytes) -> None:
    with pytest.raises(UserError, match=r"refused: it refers to something stored elsewhere .*storage-0"):
        read(content)


RECONSTRUCT, KIND = b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\n"
FLOATS = KIND + b"(S'f8'\nI0\nI1\ntR"


def state(shape: bytes, kind: bytes, data: bytes) -> bytes:
    """Return an array's pickle with a state of one's own."""
    made = RECONSTRUCT + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    return made + b"(I1\n" + shape + kind + b"I00\n" + data + b"tb."


@pytest.mark.parametrize(
    "content",
    [
        RECONSTRUCT + b"(ccollections\nOrderedDict\n(I0\ntS'b'\ntR.",  # an array of a foreign class
        RECONSTRUCT + b"(S'os.system'\n(I0\ntS'b'\ntR.",
        state(b"(I9\nt", FLOATS, b"S'12345678'\n"),  # larger than its data: would read what lies beyond
        state(b"(I-1\nt", FLOATS, b"S'12345678'\n"),
        state(b"(I99999999999\nt", FLOATS, b"S''\n"),
        state(b"(I1\nt", KIND + b"(S'O8'\nI0\nI1\ntR", b"S'12345678'\n"),  # eight bytes taken for a pointer
        state(b"(I1\nt", KIND + b"(S'V8'\nI0\nI1\ntR", b"S'12345678'\n"),
        state(b"(I1\nt", FLOATS + b"(I3\nS'O'\nNNNI-1\nI-1\nI0\ntb", b"S'12345678'\n"),  # a kind with a false state
        state(b"(I1\nt", b"S'O'\n", b"S'12345678'\n"),
        KIND + b"(I1\nI0\nI1\ntR.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"c_codecs\nencode\n}(S'_make'\nI1\nsb.",  # changes what the reader calls
        b"c_codecs\nencode\nN}(S'_make'\nI1\ns\x86b.",
        b"ccollections\nOrderedDict\nN}(S'__init__'\nI1\ns\x86b.",
        b"\x80\x02\x82\x01.",
        b"cnumpy\nndarray\n(I3\ntR.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",
    ],
)
def test_abuse_of_the_known_names(read: Any, content: bytes) -> None:
    before = {name: (value, getattr(value, "_make", None)) for name, value in KNOWN.items()}
    with pytest.raises(UserError, match=r"x\.pkl is damaged"):
        read(content)
    assert {name: (value, getattr(value, "_make", None)) for name, value in KNOWN.items()} == before


def test_honest_state_is_read(read: Any) -> None:
    """The hand-written pickles above fail for their abuse, not for their spelling."""
    honest = FLOATS + b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    data = b"c_codecs\nencode\n(V\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u00f0?\nS'latin1'\ntR"
    assert read(state(b"(I1\nt", honest, data)).tolist() == [1.0]


# --- what is damaged


def test_cut_short_anywhere(read: Any) -> None:
    whole = pickle.dumps({"a": [1.5, "x", (2, 3)], "b": np.arange(3)}, 4)
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(UserError, match=r"x\.pkl is damaged"):
            read(whole[:length])


def test_cut_or_changed_compression(read: Any) -> None:
    whole = bz2.compress(pickle.dumps(list(range(1000)), 4))
    zipped = b"PK\x03\x04" + b"\x00" * 40
    for content in (whole[:-20], whole[:100] + b"\x00" * 20 + whole[120:], b"BZh9" + b"x" * 50, zipped):
        with pytest.raises(UserError, match=r"x\.pkl is damaged"):
            read(content)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*nothing"):
        read_plain(tmp_path / "nothing")

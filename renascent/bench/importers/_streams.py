"""Streams of pickles in files of other people, compressed or not, which hold no more than a file can."""

import bz2
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

MOST_BYTES, MOST_TIMES, MOST_LINE = 256_000_000, 200, 100_000
"""Bytes of a file that is read at once; how many times over a file may be compressed; and bytes of a line."""


class Bounded:
    """A stream that reads no more than a file of its size can hold. size: of the file, compressed or not."""

    def __init__(self, stream: Any, size: int) -> None:
        self.stream, self.left = stream, max(MOST_BYTES, MOST_TIMES * size)

    def read(self, count: int) -> bytes:
        """Read bytes. Raises ValueError for too many."""
        if not 0 <= count <= MOST_BYTES or self.left < 0:
            raise ValueError("it holds more than it may")
        self.left -= count
        data: bytes = self.stream.read(count)
        return data

    def readline(self) -> bytes:
        """Read a line. Raises ValueError for one that is too long."""
        line: bytes = self.stream.readline(MOST_LINE)
        if len(line) == MOST_LINE:
            raise ValueError("it has a line that does not end")
        return line


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open the stream of pickles that is in a file."""
    with path.open("rb") as raw:
        start, size = raw.peek(4)[:4], path.stat().st_size
        if start[:3] == b"BZh":
            with bz2.BZ2File(raw) as stream:
                yield cast("BinaryIO", Bounded(stream, size))
        elif start == b"PK\x03\x04":
            with zipfile.ZipFile(raw) as held:
                name = next((n for n in held.namelist() if n.split("/")[1:] == ["data.pkl"]), "data.pkl")
                with held.open(name) as stream:
                    yield cast("BinaryIO", Bounded(stream, size))
        else:
            yield cast("BinaryIO", Bounded(raw, size))

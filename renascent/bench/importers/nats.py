"""The authors' releases of NATS-Bench and NAS-Bench-201: a folder of compressed pickles, or all in one file.

Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326.
Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from renascent.bench.importers._growing import Growing, Reading
from renascent.bench.importers._official import is_architecture, problems, readings
from renascent.bench.importers._plain import Walker, read_plain, reading, walk_plain
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_size import size_space
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import Interrupted, UserError

Show = Callable[[int, int], None]
"""A listener that is called after every architecture: how many were read, and of how many."""

META = "meta.pickle.pbz2"

ABOUT = {
    "source": "Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326; Dong et al., NATS-Bench, arXiv:2009.00437",
    "licence": "MIT, Xuanyi Dong",
}


class Work:
    """One import under way. names: the benchmark's architectures in its order, whose index is the row."""

    def __init__(self, source: Path, out: Path, names: Sequence[str], *, resume: bool, show: Show) -> None:
        digest = sha256("\n".join(names).encode()).hexdigest()
        identity = {"source": str(source.resolve()), "architectures": digest}
        self.source, self.out, self.names, self.show = source, out, names, show
        self.kind = "topology" if "|" in names[0] else "size"
        self.space = topology_space(names[0].count("+") + 2) if self.kind == "topology" else size_space()
        self.archs = np.array([self.space.indices(self.space.parse(name)) for name in names], np.uint8)
        self.columns = Growing(beside(out), identity, len(names), resume=resume)
        self.read = 0

    def has(self, row: int) -> bool:
        """Return whether a row was read before the import was stopped. Raises UserError for one there is not."""
        if not 0 <= row < len(self.names):
            raise UserError(f"there is an architecture {row}, and the list has 0 to {len(self.names) - 1}")
        return bool(self.columns.done[row])

    def put(self, row: int, found: Sequence[Reading] | None, total: int) -> None:
        """Keep what was read of a row, None for one that was there already."""
        if found is not None:
            self.columns.put(row, found)
        self.read += 1
        self.show(self.read, total)

    def finish(self, name: str) -> Table:
        """Write the table, and remove what stood beside it. Raises UserError when nothing was read."""
        columns = self.columns.finished()
        if not columns:
            self.columns.remove()
            raise UserError(f"{self.source} holds no result of any training: get the release again, all of its files")
        posed = problems(200 if self.kind == "topology" else 90, [column.key for column in columns])
        Table.of(name, self.space, self.archs, columns, posed, ABOUT).save(self.out)
        self.columns.remove()
        return Table.open(self.out)


def beside(out: Path) -> Path:
    """Return the folder that holds an unfinished import.

    >>> str(beside(Path("tables/nats.safetensors")))
    'tables/nats.safetensors.importing'
    """
    return out.with_name(out.name + ".importing")


def import_folder(source: Path, out: Path, *, resume: bool = False, show: Show = lambda done, total: None) -> Table:
    """Import the folder that NATS-Bench is released as, one file an architecture, and return the table.

    Architectures and seeds without a file are NaN. Raises UserError for damaged or refused files and an `out` that
    cannot be written, Interrupted after Ctrl-C: then, as after a kill, `resume` goes on.
    """
    paths = [path for path in source.glob("*.pickle.pbz2") if path.name.split(".")[0].isdigit()]
    files = {int(path.name.split(".")[0]): path for path in paths}
    if not files:
        raise UserError(f"{source} has {META} and no file of an architecture such as 000000.pickle.pbz2: get them all")
    names = _names(read_plain(source / META), source / META)
    work = Work(source, out, names, resume=resume, show=show)
    with _stoppable([work]):
        for row, path in sorted(files.items()):
            with reading(path):
                found = None if work.has(row) else readings(read_plain(path), row, names[row])
            work.put(row, found, len(files))
    return work.finish(f"nats-bench-{work.kind}")


def import_file(source: Path, out: Path, *, resume: bool = False, show: Show = lambda done, total: None) -> Table:
    """Import the one file of all architectures, `NAS-Bench-201-*.pth` or `NATS-*.pickle.pbz2`, and return the table.

    Errors as `import_folder`. A resume reads the file from its start, but does not take in again what it has.
    """
    started: list[Work] = []

    def take(walker: Walker, filled: dict[Any, Any]) -> None:
        if not is_architecture(filled):
            return
        if not started:
            names = _names({"meta_archs": walker.waiting("meta_archs")}, source)
            started.append(Work(source, out, names, resume=resume, show=show))
        _take(started[0], filled)

    with _stoppable(started):
        walk_plain(source, take)
    if not started:
        raise UserError(f"{source} holds no architectures of NAS-Bench-201: give the file that its authors released")
    return started[0].finish("nas-bench-201" if source.suffix == ".pth" else f"nats-bench-{started[0].kind}")


def _take(work: Work, filled: dict[Any, Any]) -> None:
    """Read one architecture, and empty it: the reader itself holds on to every container until its end."""
    row = int(next(iter(filled.values()))["arch_index"])
    found = None if work.has(row) else readings(filled, row, work.names[row])
    work.put(row, found, len(work.names))
    for results in filled.values():
        for run in results["all_results"].values():
            for value in run.values():
                if isinstance(value, dict):
                    value.clear()


@contextmanager
def _stoppable(started: Sequence[Work]) -> Iterator[None]:
    """Leave what was read on the disk, however the import ends. started: the work, once there is any."""
    try:
        yield
    except (KeyboardInterrupt, UserError) as e:
        for work in started:
            work.columns.flush()
            if isinstance(e, KeyboardInterrupt):
                raise Interrupted(f"interrupted after {work.read} architectures") from None
        raise


def _names(meta: Any, path: Path) -> list[str]:
    names = meta.get("meta_archs") if isinstance(meta, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} does not list its architectures (meta_archs): get the file again")
    return names

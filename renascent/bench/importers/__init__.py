"""Benchmark tables from elsewhere: what others published, as a `Table`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from renascent.bench.importers.blackbox import download, read_blackbox
from renascent.bench.importers.compact import read_compact
from renascent.bench.importers.sources import import_table
from renascent.bench.tables.table import Table

SHIPPED = "digits-125"
"""The table inside the package: all cells of three nodes, trained on digits."""


def open_table(name: str | Path | None = None) -> Table:
    """Open a table by its file's path: one of our own, or the compact arrays `nb201.npz` as they are.

    name: the table that ships with renascent if not given, or `digits-125`.
    Raises UserError for a file that is missing, damaged or no table.
    """
    if name is None or str(name) == SHIPPED:
        return Table.open(Path(str(files("renascent.bench") / "data" / f"{SHIPPED}.safetensors")))
    return read_compact(Path(name)) if Path(name).suffix == ".npz" else Table.open(name)


__all__ = ["SHIPPED", "download", "import_table", "open_table", "read_blackbox", "read_compact"]

"""Benchmark tables from elsewhere: what others published, as a `Table`."""

from pathlib import Path

from renascent.bench.tables.table import Table

SHIPPED = "digits-125"
"""The table inside the package: all cells of three nodes, trained on digits."""


def open_table(name: str | Path | None = None) -> Table:
    """Open a table by its file's path: one of our own, or the compact arrays `nb201.npz` as they are.

    name: the table that ships with renascent if not given, or `digits-125`.
    Raises UserError for a file that is missing, damaged or no table.
    """
    if name is None or str(name) == SHIPPED:
        return Table.open(Path(__file__).parents[1] / "data" / f"{SHIPPED}.safetensors")
    if Path(name).suffix == ".npz":
        from renascent.bench.importers.compact import read_compact  # only here: our own tables need no importer

        return read_compact(Path(name))
    return Table.open(name)

"""Which importer a source is for."""

from pathlib import Path

from renascent.bench.importers.blackbox import CELLS, FOLDER, HUB, download, is_copy, read_blackbox
from renascent.bench.importers.compact import TABLE, read_compact
from renascent.bench.importers.nats import META, Show, import_file, import_folder
from renascent.bench.tables.table import Table
from renascent.core.errors import UserError

KNOWN = (
    f"{TABLE} or its folder, NATS-Bench's folder with {META}, NAS-Bench-201's .pth, NATS-Bench's one .pickle.pbz2, "
    f"a folder with {CELLS} of {HUB}, or that name to fetch it"
)
"""What can be imported, in words."""


PICKLES = (".pth", ".pt", ".pbz2", ".pkl", ".pickle")


def import_table(
    source: str | Path, out: str | Path, *, resume: bool = False, show: Show = lambda done, total: None
) -> Table:
    """Bring a published benchmark into a table's file, and return the table.

    source: a file or folder, or "synetune/blackbox-repository" to fetch that from the Hugging Face hub.
    out: the file to write.
    resume: go on with an import of the authors' releases that was stopped; the others take seconds.
    show: is called with how many architectures were read, and of how many.
    Raises UserError when the source cannot be read or is none that is known, and when `out` exists or cannot be
    written; MissingExtra for a package; Interrupted after Ctrl-C when `resume` can go on.
    """
    name, source, out = str(source), Path(source), Path(out)
    if not source.exists() and name.strip("/") != HUB:
        raise UserError(f"there is no {source}: check the name; what can be imported is {KNOWN}")
    if out.suffix == ".npz":
        raise UserError(f"`out` {out} ends in .npz, which means the compact arrays: name it {out.stem}.safetensors")
    if out.exists():
        raise UserError(f"{out} exists already: remove it, or give another `out`")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UserError(f"cannot write {out}: {above} is a file; give another `out`")
    source = source if source.exists() else download()
    if (source / META).is_file():
        return import_folder(source, out, resume=resume, show=show)
    if source.is_file() and source.name.endswith(PICKLES):
        return import_file(source, out, resume=resume, show=show)
    if resume:
        raise UserError(f"{source} is imported in seconds and leaves nothing to resume: leave `resume=True` out")
    table = _quick(source)
    table.save(out)
    return Table.open(out)


def _quick(source: Path) -> Table:
    """Read a source that is arrays already. Raises UserError for one that is nothing known."""
    for folder in (source, source / FOLDER):
        if is_copy(folder):
            return read_blackbox(folder)
    path = source / TABLE if source.is_dir() else source
    if path.suffix == ".npz" and path.is_file():
        return read_compact(path)
    raise UserError(f"{source} is no benchmark that can be imported: give {KNOWN}")

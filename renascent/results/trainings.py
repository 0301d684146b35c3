"""Where the trainings of one result lie: one without a name in fit/, any number with names in fits/NAME."""

from pathlib import Path

from renascent.core.errors import UserError, unknown
from renascent.core.fields import Like
from renascent.core.files import is_there

NAME = Like(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "up to 64 letters, digits, '.', '-' and '_', a letter or digit first")
"""What a training may be called, so that a folder can be."""

ONE, SEVERAL = "fit", "fits"
"""The folder of the training without a name, and that in which those with names lie."""

RESULT = "result.json"
"""In the folder of a training: what it reached, once it has ended."""


def training_folder(run: Path, name: str | None) -> Path:
    """Return the folder of a training. Raises UserError for a name that cannot be.

    >>> training_folder(Path("run"), None).as_posix(), training_folder(Path("run"), "wide").as_posix()
    ('run/fit', 'run/fits/wide')
    """
    if name is None:
        return run / ONE
    NAME.check("name", name)
    return run / SEVERAL / name


def begun(run: Path) -> list[str | None]:
    """Return the names of the trainings of a run that were begun: None first, for the one without, then in order."""
    names = [path.name for path in (run / SEVERAL).iterdir()] if (run / SEVERAL).is_dir() else []
    found = [None, *sorted(name for name in names if NAME.accepts(name))]
    return [name for name in found if is_there(training_folder(run, name) / "config.json") or ended(run, name)]


def ended(run: Path, name: str | None) -> bool:
    """Return whether a training has ended."""
    return is_there(training_folder(run, name) / RESULT)


def finished(run: Path) -> list[str | None]:
    """Return the names of the trainings of a run that have ended, as `begun`."""
    return [name for name in begun(run) if ended(run, name)]


def shown(run: Path) -> str | None:
    """Return the training that a report is about unless told: the one without a name, else the one that ended last."""
    names = finished(run)
    if None in names or not names:
        return None
    return max(names, key=lambda name: (training_folder(run, name) / RESULT).stat().st_mtime_ns)


def chosen(run: Path, name: str | None) -> str | None:
    """Return the training that is meant by a name, or by none: the one without a name, or the only one.

    Raises UserError for a name that no training has that ended, and for none where there are several with names.
    """
    names = finished(run)
    known = [one for one in names if one is not None]
    if name is not None and name not in names:
        if name in begun(run):
            raise UserError(f"the training '{name}' in {run} has not finished: go on with it (`resume=True`)")
        raise unknown(f"training in {run}:", name, known)
    if name is None and None not in names and len(known) > 1:
        raise UserError(f"{run} holds several trainings: name one of {', '.join(known)} (`name`)")
    return known[0] if name is None and None not in names and known else name

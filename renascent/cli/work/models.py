"""Results of a user's own model: whose code may run.

A run folder says which function made its model, and may come from anywhere: that function is called only if the user
names it, or if this machine remembers that the search in that folder called it, from a file that is still the same.
What is remembered lies in the user's own folder of states, one small file for each run folder.
"""

import functools
import hashlib
import importlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from renascent.core.errors import UserError
from renascent.core.files import write_json
from renascent.core.schema import read_as
from renascent.experiment.result import Result
from renascent.nets.adapt.factory import made
from renascent.nets.adapt.trace import first_line


@dataclass(frozen=True)
class Confirmed:
    """What a search in a folder called. file: of the module that has the function, and its checksum."""

    folder: str
    factory: str
    file: str
    sha256: str

    @property
    def root(self) -> str:
        """The folder from which Python finds the module."""
        names = self.factory.partition(":")[0].split(".")
        inside = len(names) + (Path(self.file).name == "__init__.py")
        return str(Path(self.file).parents[inside - 1])

    @property
    def whole(self) -> bool:
        """Whether the file is still the same."""
        return _digest(Path(self.file)) == self.sha256


def hear_threads() -> None:
    """Let a thread that the user's code started, and that fails, say so in one line."""

    def told(failed: threading.ExceptHookArgs) -> None:
        reason = first_line(failed.exc_value) if failed.exc_value else "no reason given"
        print(f"warning: a thread that the model's code started has failed ({reason})", file=sys.stderr)

    threading.excepthook = told


def loaded(folder: str, factory: str | None, space: str | None = None) -> Result:
    """Return a result, with its model where that is the user's own. Raises UserError where it is not known whose.

    space: "module:Class" of a space of the user's own.
    """
    result = Result.load(folder, space)
    if not result.is_adapted:
        if factory is not None:
            raise UserError(f"--factory is for models of your own, not for {result.about.space}: leave it out")
        return result
    hear_threads()
    return Result.load(folder, model=factory or _confirmed(result))


def remember(folder: Path, factory: str) -> None:
    """Remember that the search in a folder called a factory; nowhere where there is no place for it."""
    file = getattr(sys.modules.get(factory.partition(":")[0]), "__file__", None)
    with suppress(UserError, OSError, RuntimeError):
        if file is not None:
            path = _place(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            found = Path(file).resolve()
            write_json(path, asdict(Confirmed(str(folder.resolve()), factory, str(found), _digest(found))))


def _confirmed(result: Result) -> Callable[[], nn.Module]:
    """Return what makes the model of a result, as it was remembered. Raises UserError where it was not."""
    factory = str(result.about.space_config.get("factory", ""))
    say = "add --factory package.module:function, the one that makes the model"
    why = f"was not searched by this user on this machine, and says that '{factory:.80}' makes its model"
    held = None
    with suppress(UserError, OSError, RuntimeError):
        held = read_as(Confirmed, _place(result.folder), say)
    if held is None or held.folder != str(result.folder.resolve()) or held.factory != factory:
        raise UserError(f"{result.folder} {why}: {say}")
    if not held.whole:
        raise UserError(f"{held.file}, which makes the model, has changed since the search: {say}, if it still does")
    return functools.partial(_made, held)


def _made(held: Confirmed) -> nn.Module:
    """Call a factory whose file was confirmed: that file's, whatever lies in the current folder."""
    name = held.factory.partition(":")[0]
    if held.root in sys.path:
        sys.path.remove(held.root)
    sys.path.insert(0, held.root)
    model = made(held.factory, held.root)
    if Path(str(getattr(importlib.import_module(name), "__file__", ""))).resolve() != Path(held.file):
        raise UserError(f"module '{name}' is no longer {held.file}: add --factory {held.factory}")
    return model


def _place(folder: Path) -> Path:
    """Return the file that remembers a run folder. Raises RuntimeError without a home."""
    given = os.environ.get("XDG_STATE_HOME", "")
    states = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    return states / "renascent" / "models" / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()}.json"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""

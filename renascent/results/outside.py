"""The space of a run that is another package's: whose code may run.

A run folder says which class it was, and may come from anywhere: that class is imported only if the user names it, or
if an installed package adds it to the spaces.
"""

from pathlib import Path
from typing import Any

from renascent.core.errors import UserError
from renascent.core.outside import made
from renascent.core.protocols import SpaceConfig
from renascent.core.source import place_of
from renascent.nets import OTHERS, RECORDED, settings_from
from renascent.results.facts import About


def named(about: About, folder: Path, kind: type[SpaceConfig] | str) -> SpaceConfig:
    """Return the space that was searched, of a class or "module:Class", with the settings of the search.

    Raises UserError where it is not the class that was searched.
    """
    if about.space in RECORDED:
        raise UserError(f"{folder} is a search of {about.space}, which needs no class: leave `space` out")
    found = OTHERS.find(kind) if isinstance(kind, str) else kind
    if about.space not in (place_of(found), found.__name__):  # a class that could not be imported has a name alone
        wrong = f"of '{about.space:.80}' and not of {place_of(found)}"
        raise UserError(f"{folder} is a search {wrong}: name the class that was searched")
    return _made(about, found)


def installed(about: About, folder: Path) -> SpaceConfig | None:
    """Return the space that was searched, where an installed package adds it; None where it is one of ours.

    Raises UserError where no package does.
    """
    if ":" not in about.space:
        return None
    if (kind := OTHERS.installed_at(about.space)) is None:
        raise UserError(
            f"{folder} is a search of '{about.space:.80}', which no installed package adds, and a run folder chooses "
            f"no code: name that class yourself, as `space`"
        )
    return _made(about, kind)


def _made(about: About, kind: type[Any]) -> SpaceConfig:
    space: SpaceConfig = made(kind, settings_from(about.space_config))
    return space

"""What a table is built of: a space, data, how to train, and which architectures."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from renascent.core.devices import usable_device
from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig, WeightRule
from renascent.core.schema import written
from renascent.core.space import Arch, Space
from renascent.loops.fit import Fit
from renascent.nets import SPACES, space_from
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

Job = tuple[str, int]
"""One training: an architecture by its exchange string, and a seed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a table is built of; all of it goes through JSON, so that a process on another machine has the same.

    space: one of those in `SPACES`.  data: name of a data set, or a folder.  archs: exchange strings, the rows.
    seeds: trainings of each architecture, seeded 0, 1, 2 and so on.
    device: where to train; "auto" becomes the first there is of cuda, mps and cpu.
    """

    space: SpaceConfig
    data: str
    archs: tuple[str, ...]
    options: ImageOptions = field(default_factory=ImageOptions)
    settings: Fit = field(default_factory=lambda: Fit(epochs=12))
    seeds: int = 3
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UserError(f"seeds is {self.seeds}: give a whole number of at least 1")
        if not self.archs:
            raise UserError("no architecture was given: name one, or leave the list out to train every one")
        if self.device == "auto":  # once, so that all processes train on the same
            object.__setattr__(self, "device", str(usable_device()))

    @property
    def jobs(self) -> list[Job]:
        """Every training: all architectures with the first seed, then all with the next."""
        return [(arch, seed) for seed in range(self.seeds) for arch in self.archs]

    def task(self) -> ImageTask:
        """Return the data on the device. Raises UserError when they cannot be used."""
        return load(self.data, options=self.options, device=self.device)

    def to_json(self) -> Json:
        """Return the plan as JSON values."""
        space = {"space": name_of(self.space, SPACES), "space_config": self.space}
        settings = {"options": self.options, "settings": self.settings}
        rest = {"data": self.data, "seeds": self.seeds, "device": self.device, "archs": self.archs}
        description: Json = written(space | settings | rest)
        return description

    def summary(self) -> Json:
        """Return the plan as JSON values, its architectures by their number and a checksum."""
        description = self.to_json()
        sha256 = hashlib.sha256("\n".join(description.pop("archs")).encode()).hexdigest()
        return {**description, "archs": {"count": len(self.archs), "sha256": sha256}}

    @classmethod
    def from_json(cls, description: Json) -> Plan:
        """Return the plan that `to_json` wrote."""
        weights = WeightRule(**description["settings"]["weights"])
        return cls(
            space=space_from(description["space"], description["space_config"], trusted=True),
            data=description["data"],
            archs=tuple(description["archs"]),
            options=ImageOptions(**description["options"]),
            settings=Fit(**{**description["settings"], "weights": weights}),
            seeds=description["seeds"],
            device=description["device"],
        )


@cache
def loaded(text: str) -> tuple[Plan, ImageTask]:
    """Return the plan of a JSON text, and its data; a process that trains many architectures reads them once."""
    plan = Plan.from_json(json.loads(text))
    return plan, plan.task()


def chosen(space: Space, given: str | None = None, sample: int = 0, seed: int = 0) -> tuple[str, ...]:
    """Return the exchange strings of the architectures to train: every one of the space unless others are given.

    given: a file with one a line, or the architectures themselves with commas between them.
    sample: draw so many different ones by `seed`; 0 means all.
    Raises UserError for one that is not of the space or given twice, and for more than there are.

    >>> from renascent.core.codecs.nats_topology import topology_space
    >>> space = topology_space(2, ("none", "skip"))
    >>> chosen(space), chosen(space, "|skip~0|"), len(chosen(space, sample=1))
    (('|none~0|', '|skip~0|'), ('|skip~0|',), 1)
    """
    if given is not None and sample:
        raise UserError("both a list of architectures and a sample were asked for: give one of `archs` and `sample`")
    if given is not None:
        archs = [space.format(arch) for arch in _read(given, space)]
        if len(set(archs)) < len(archs):
            arch = Counter(archs).most_common(1)[0][0]
            raise UserError(f"architecture {arch} is given twice: give it once")
        return tuple(archs)
    if sample > space.size or sample < 0:
        raise UserError(f"the sample is {sample}: give 1 to {space.size}, or 0 for every architecture of the space")
    if not sample:
        return tuple(space.format(arch) for arch in space)
    rng = np.random.default_rng(seed)
    drawn: dict[str, None] = {}  # in the order they were drawn
    while len(drawn) < sample:
        drawn[space.format(space.sample(rng))] = None
    return tuple(drawn)


def _read(given: str, space: Space) -> list[Arch]:
    """Return the architectures of a file, or of a list. Raises UserError, which names the line of a file."""
    if not os.path.isfile(given):  # which `Path` would not take for a long list
        # without a codec, an architecture itself is written with commas
        return [space.parse(part.strip()) for part in (given.split(",") if space.codec else [given])]
    try:
        lines = Path(given).read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{given} is no text in UTF-8: save it as such, with one architecture a line") from None
    except OSError as e:
        raise UserError(f"{given} cannot be read ({e.strerror}): check its permissions") from None
    found = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            try:
                found.append(space.parse(line))
            except UserError as e:
                raise UserError(f"line {number} of {given}: {e}") from None
    return found

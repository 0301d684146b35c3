"""How much memory there is, how much of it can still be had, and what would not fit."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

try:
    import resource
except ImportError:  # where the system knows no such limits
    resource = None  # type: ignore[assignment]

from renascent.core.errors import UserError

Read = Callable[[str], str]
"""Path of a file of the system -> its text, empty where there is no such file."""

GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of both versions of control groups: the folder, the files of limit and use, and what of the use can be given back."""


def check_memory(needed: int, what: str, smaller: str) -> None:
    """Raise UserError for more bytes than fit, once as they are and once more while they are put together."""
    there = memory()
    if 2 * needed > there:
        raise UserError(
            f"{what} take {needed / 2**30:.1f} GiB, twice that while they are read, and this machine has "
            f"{there / 2**30:.1f} GiB of memory: give {smaller}"
        )


def memory() -> float:
    """Return the bytes of memory of this machine; without end where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def available() -> float:
    """Return the bytes that this process can still have: of the machine, its container and its own limit the least."""
    soft = math.inf
    if resource is not None and (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        soft = float(limit)
    return least(_text, memory(), soft)


def least(read: Read, total: float, address_space: float) -> float:
    """Return the bytes that can still be had, at least 0.

    Args:
        read: Gives what the files of the system say, as Linux writes them.
        total: Bytes of the machine, which count where the system does not say how many are free.
        address_space: Bytes that the process may have in all (`ulimit -v`).

    >>> files = {"/proc/meminfo": "MemTotal: 80 kB\\nMemAvailable: 50 kB\\n", "/proc/self/statm": "3 2 1"}
    >>> least(lambda path: files.get(path, ""), 80 * 1024, math.inf)
    51200.0
    """
    free = _amount(read("/proc/meminfo"), "MemAvailable:")
    machine = total if free is None else 1024 * free
    pages = read("/proc/self/statm").split()
    own = address_space - int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else address_space
    return max(0.0, min(machine, own, *_groups(read)))


def _groups(read: Read) -> Iterator[float]:
    """Give what each control group that this process is in leaves it, from its own up to the outermost."""
    for line in read("/proc/self/cgroup").splitlines():
        number, controllers, place = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        folder, most, used, cache = GROUPS[number != "0"]
        for inner in [PurePosixPath(place), *PurePosixPath(place).parents]:
            at = folder + str(inner).rstrip("/")
            with contextlib.suppress(ValueError):  # "max", or no such file
                limit, taken = int(read(f"{at}/{most}")), int(read(f"{at}/{used}"))
                yield limit - taken + (_amount(read(f"{at}/memory.stat"), cache) or 0)


def _amount(text: str, name: str) -> float | None:
    """Return the number behind a name at the beginning of a line."""
    found = (line.split() for line in text.splitlines())
    return next((float(words[1]) for words in found if len(words) > 1 and words[0] == name), None)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

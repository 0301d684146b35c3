"""How much memory can still be had, by what the files of the system say."""

import math
import os

import pytest

from renascent.tasks.memory import available, least

GIB = 2**30
FREE = {"/proc/meminfo": f"MemTotal: {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {8 * 2**20} kB\n"}
PAGE = os.sysconf("SC_PAGE_SIZE")
NEW, OLD = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


def group(at: str, limit: object, used: int, cache: int) -> dict[str, str]:
    """What the files of a control group say, of the new or the old version by where they are."""
    most, now, name = ("max", "current", "inactive_file")
    if at.startswith(OLD):
        most, now, name = "limit_in_bytes", "usage_in_bytes", "total_inactive_file"
    stat = f"anon 1\n{name} {cache}\nfile 5\n"
    return {f"{at}/memory.{most}": f"{limit}\n", f"{at}/memory.{now}": f"{used}\n", f"{at}/memory.stat": stat}


@pytest.mark.parametrize(
    ("files", "limit", "expected"),
    [
        ({}, math.inf, 16 * GIB),
        (FREE, math.inf, 8 * GIB),
        (FREE | {"/proc/self/statm": f"{GIB // PAGE} 5 5"}, 3 * GIB, 2 * GIB),
        (FREE | {"/proc/self/statm": f"{4 * GIB // PAGE} 5 5"}, 3 * GIB, 0),
        (FREE | {"/proc/self/cgroup": "0::/\n"} | group(NEW, 4 * GIB, 3 * GIB, GIB), math.inf, 2 * GIB),
        (FREE | {"/proc/self/cgroup": "0::/a/b\n"} | group(f"{NEW}/a/b", "max", GIB, 0), math.inf, 8 * GIB),
        (FREE | {"/proc/self/cgroup": "0::/a/b\n"} | group(f"{NEW}/a", 4 * GIB, GIB, 0), math.inf, 3 * GIB),
        (
            FREE | {"/proc/self/cgroup": "9:cpu:/\n4:memory:/a\n0::/\n"} | group(f"{OLD}/a", 2 * GIB, GIB, 5),
            math.inf,
            GIB + 5,
        ),
        (FREE | {"/proc/self/cgroup": "4:memory:/outside\n"} | group(OLD, 2 * GIB, GIB, 0), math.inf, GIB),
    ],
)
def test_the_least_of_machine_container_and_limits_counts(files: dict[str, str], limit: float, expected: float):
    assert least(lambda path: files.get(path, ""), 16 * GIB, limit) == expected


def test_this_machine_has_some():
    assert 0 < available() < math.inf

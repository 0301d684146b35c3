"""Latencies that others have published, as their files have them.

Blocks: ProxylessNAS, Cai, Zhu and Han, ICLR 2019, arXiv:1812.00332 (Google Pixel 1). Networks: HELP, Lee et al.,
NeurIPS 2021, arXiv:2106.08630, of the FBNet space on images of 32 x 32.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.fields import Count, NonNegative
from renascent.core.schema import checked

PROXYLESS, FBNET = "latency_lut_proxylessnas_pixel1.json", "fbnet_help_latency.npz"


@dataclass(frozen=True)
class BlockEntry:
    """One measured block. count: of its measurements.  mean: of them, in milliseconds.  var: their variance."""

    count: Count
    mean: NonNegative
    var: NonNegative


@dataclass(frozen=True)
class BlockTable:
    """A published table of blocks. device: in words.  entries: by the name of the block."""

    device: str
    entries: dict[str, BlockEntry]


class FbnetNetworks(NamedTuple):
    """Whole networks of the FBNet space. operations: names of the options.  codes: their indices, (n, decisions).

    latency_ms: device -> (n,).
    """

    operations: tuple[str, ...]
    codes: NDArray[np.int64]
    latency_ms: Mapping[str, NDArray[np.float64]]


def published_folder() -> Path:
    """Return where published files lie: in nas/ of the environment's RENASCENT_DATA, or else of ./data."""
    return Path(os.environ.get("RENASCENT_DATA") or "data") / "nas"


def proxyless_entries(folder: str | Path) -> BlockTable:
    """Read ProxylessNAS's table from a folder, whole. Raises UserError when it is not there or damaged."""
    path = Path(folder) / PROXYLESS
    return checked(BlockTable, read_published(path), path, "fetch it again")


def fbnet_measurements(folder: str | Path) -> FbnetNetworks:
    """Read 5,000 networks of the FBNet space. Raises UserError when the file is not there or damaged."""
    stored = read_arrays(Path(folder) / FBNET)
    names = tuple(str(name) for name in stored["op_names"])
    return FbnetNetworks(names, stored["op_idx"].astype(np.int64), latencies(stored))


def latencies(stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Return the latencies among the arrays of a file, by device."""
    return {
        key.removeprefix("latency_"): stored[key].astype(np.float64) for key in stored if key.startswith("latency_")
    }


def read_published(path: Path) -> dict[str, Any]:
    """Return the JSON object of a published file. Raises UserError when it cannot be read."""
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return tree
    except (OSError, ValueError) as e:
        raise _unread(path, e) from None


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a published file. Raises UserError when it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError) as e:
        raise _unread(path, e) from None


def _unread(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read ({type(error).__name__}): set RENASCENT_DATA to the folder whose nas/ holds that file"
    )

"""What predicts a latency, from what a user names: a file that was measured here, or a published table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from renascent.core.errors import UserError, unknown
from renascent.core.files import parsed, read_bytes
from renascent.core.protocols import SpaceConfig
from renascent.core.schema import checked
from renascent.core.space import Integer
from renascent.core.text import short
from renascent.costs.latency.blocks import FORMAT, BlockLatency, Origin, Twin, check_decisions
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.entries import ADVICE, LARGEST
from renascent.costs.latency.published import BlockTable, fbnet_measurements, proxyless_entries, published_folder
from renascent.costs.latency.table import Lut
from renascent.nets import MEASURED
from renascent.nets.cells.fbnet import FBNet
from renascent.nets.cells.mbconv import ZERO, MBConv

PIXEL1, FBNET = "pixel1", "fbnet"

PIXEL1_BASE = (
    "Conv-input:224x224x3-output:112x112x32",
    "expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0",
    "Conv_1-input:7x7x320-output:7x7x1280",
    "Logits-input:7x7x1280-output:1000",
)
"""What all networks of the chain have: stem, first block, feature mix and logits."""

WHOLE = (3, 224, 224), 1000
"""Data and classes for which the Pixel 1 was measured."""


def latency_named(
    word: str, config: SpaceConfig, shape: tuple[int, int, int], classes: int
) -> LatencyCost | BlockLatency:
    """Return what predicts the latency of a space. word: a file, "pixel1", or "fbnet:DEVICE".

    shape: (channels, h, w) of the data. Raises UserError for a table that is not there, and one of another space.
    """
    name, colon, device = word.partition(":")
    if word == PIXEL1:
        return pixel1(config)
    if name == FBNET and colon:
        return fbnet(config, device)
    return read_latency(Path(word), config, shape, classes)


def read_latency(
    path: Path, config: SpaceConfig, shape: tuple[int, int, int], classes: int
) -> LatencyCost | BlockLatency:
    """Return what a file of a table says of a space. Raises UserError where the two do not fit."""
    if is_of_blocks(path):
        return BlockLatency.load(path, config.space)
    if all(isinstance(decision, Integer) for decision in config.space.decisions.values()):
        return LatencyCost(config, Lut.load(path), shape, classes)
    lut = Lut.load(path)
    return BlockLatency.of_layers(config.space, lut, twin_of(lut, path), str(path))


def is_of_blocks(path: Path) -> bool:
    """Return whether a file says that it is a table of blocks."""
    try:
        tree = parsed(read_bytes(path))
    except (OSError, ValueError):
        return False
    return isinstance(tree, dict) and tree.get("format") == FORMAT


def pixel1(config: SpaceConfig, folder: Path | None = None) -> BlockLatency:
    """Return what ProxylessNAS's table of the Pixel 1 says of the chain of MBConv blocks, at 224 x 224, of width 1.

    folder: of the published file; nas/ of RENASCENT_DATA unless given.
    Raises UserError for another space, a file that is not there, and one that lacks a block.
    """
    if not isinstance(config, MBConv):
        raise UserError(f"the latency table {PIXEL1} is of the blocks of mbconv, not of '{config.space.name}': {OTHER}")
    whole = replace(config, width=1.0, small=False)
    twin = Twin(whole, *WHOLE)
    table, space = proxyless_entries(folder or published_folder()), config.space

    def term(name: str, option: str) -> tuple[float, float]:
        if option == ZERO:
            return 0.0, 0.0
        return _mean_and_error(table, block_key(whole.option_layers(name, option, twin.shape)))

    terms = {name: {str(o): term(name, str(o)) for o in space.options(name)} for name in space.decisions}
    means, errors = zip(*(_mean_and_error(table, key) for key in PIXEL1_BASE), strict=True)
    base = sum(means), sum(error**2 for error in errors) ** 0.5
    return BlockLatency.of_terms(space, terms, Origin(PIXEL1, table.device, str(twin)), base=base)


def fbnet(config: SpaceConfig, device: str, folder: Path | None = None) -> BlockLatency:
    """Return the sum over blocks that fits HELP's measurements of 5,000 networks of the FBNet space on a device best.

    folder: of the published file; nas/ of RENASCENT_DATA unless given.
    Raises UserError for another space, an unknown device, and a file that is not there.
    """
    source, twin = f"{FBNET}:{device}", Twin(FBNet(), (3, 32, 32), 100)
    networks = fbnet_measurements(folder or published_folder())
    if device not in networks.latency_ms:
        raise unknown("device of the FBNet measurements", device, sorted(networks.latency_ms))
    check_decisions(twin.config.space, config.space, source, str(twin))
    origin = Origin(source, f"{device} (as HELP measured it)", str(twin))
    return BlockLatency.of_networks(config.space, networks.codes, networks.latency_ms[device], origin)


def block_key(layers: Any) -> str:
    """Return the name of an inverted residual block in ProxylessNAS's table, from its layers.

    >>> from renascent.nets.cells.mbconv import MBConv
    >>> block_key(MBConv().option_layers("stage1.block1", "mb3_k3", (3, 224, 224)))
    'expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0'
    """
    first, deep, last = (layer for layer in layers if layer.kind != "add")
    shortcut = any(layer.kind == "add" for layer in layers)
    before, after = (f"{h}x{w}x{c}" for (h, w), c in ((first.size, first.inputs), (last.size, last.outputs)))
    about = f"expand:{deep.inputs // first.inputs}-kernel:{deep.kernel}-stride:{deep.stride}-idskip:{int(shortcut)}"
    return f"expanded_conv-input:{before}-output:{after}-{about}"


def twin_of(table: Lut, path: Path) -> Twin:
    """Return the network that a table was measured for. Raises UserError when it cannot be made here."""
    name, known = str(table.about.get("space")), ", ".join(MEASURED)
    if name not in MEASURED:
        raise UserError(f"the table is of space {short(name)}, which is not here: measure one of {known}")
    if "input" not in table.about or "classes" not in table.about:
        raise UserError(f"the table does not say for which input and classes it is: measure {name} again")
    kind: Any = MEASURED[name]
    given = {**getattr(kind, "keywords", {}), **table.about.get("settings", {})}
    numbers = [n for value in given.values() for n in (value if isinstance(value, list) else [value])]
    if not all(abs(value) <= LARGEST for value in numbers if isinstance(value, int | float)):
        raise UserError(f"the settings of space {name} in the table are {short(given)}: give numbers up to {LARGEST}")
    channels, height, width = table.about["input"]
    config = checked(getattr(kind, "func", kind), given, path, ADVICE)
    return Twin(config, (channels, height, width), table.about["classes"])


OTHER = "give a table of this space"


def _mean_and_error(table: BlockTable, key: str) -> tuple[float, float]:
    """Return the milliseconds of an entry, and the standard error of that mean."""
    if (entry := table.entries.get(key)) is None:
        raise UserError(f"the latency table {PIXEL1} has no entry {key}: {OTHER}")
    return entry.mean, (entry.var / entry.count) ** 0.5

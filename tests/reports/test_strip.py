"""The strip of a chain shows the architecture: every block's kernel, its expansion, and the size of its map."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from renascent.core.spaces import SpaceConfig
from renascent.experiment.search import search
from renascent.nets.cells.fbnet import FBNet
from renascent.nets.cells.mbconv import MBConv
from renascent.nets.cells.nats import NatsTopology
from renascent.reports.page import write_report
from renascent.reports.strip import strip, strips
from renascent.strategies.rsps import RSPS
from renascent.tasks.images import ImageTask

pytestmark = pytest.mark.renders

CHAINS = [
    (MBConv(width=0.25), (64, 96)),
    (MBConv(width=0.125, small=True, blocks=(2, 1, 3, 1, 2, 1)), (28, 28)),
    (FBNet(width=0.125), (32, 32)),
]


def read(option: str) -> tuple[int, int]:
    """Return kernel and expansion by an option's name: mb6_k7, or k5_e1_g2."""
    return tuple(int(found[1]) if (found := re.search(f"{letter}(\\d)", option)) else 0 for letter in ("k", "(?:mb|e)"))  # type: ignore[return-value]


@pytest.mark.parametrize(("config", "size"), CHAINS)
def test_chain_says_what_the_network_of_an_architecture_has(config: Any, size: tuple[int, int]) -> None:
    arch = config.space.sample(np.random.default_rng(3))
    net, maps = config.network(arch, 3, 10).eval(), []
    for block in net.blocks:
        block.register_forward_hook(lambda module, given, out: maps.append(tuple(out.shape[-2:])))
    with torch.no_grad():
        net(torch.zeros(1, 3, *size))
    chain = config.chain(arch, size)
    assert [block.size for block in chain] == maps
    assert {block.decision: block.option for block in chain} == dict(arch)
    assert [(block.kernel, block.expansion) for block in chain] == [read(option) for option in arch.values()]
    kernels = [
        next((m.kernel_size[0] for m in block.modules() if getattr(m, "groups", 1) > 2), 0) for block in net.blocks
    ]
    assert [block.kernel for block in chain] == kernels


@pytest.mark.parametrize(("config", "size"), CHAINS)
def test_strip_shows_every_block_of_every_chain(config: Any, size: tuple[int, int], drawing: Any) -> None:
    rng = np.random.default_rng(5)
    archs = {name: config.space.sample(rng) for name in ("here", "there")}
    seen = drawing(strips({name: config.chain(arch, size) for name, arch in archs.items()}, "t").svg)
    assert set(archs) <= set(seen.words)
    boxes: dict[str, list[Any]] = {}
    for words, group in seen.tips:
        boxes.setdefault(words.partition(":")[0], []).append((words, seen.box(group)))
    assert list(boxes) == list(config.space.decisions)
    numbers = []
    for decision, drawn in boxes.items():
        for arch, (words, _) in zip(archs.values(), drawn, strict=True):
            kernel, expansion = read(arch[decision])
            numbers += [str(kernel), str(expansion)] if kernel else []
            assert words == f"{decision}: {arch[decision]}" + (
                f", kernel {kernel}, expansion {expansion}" if kernel else ""
            )
    assert sorted(word for word in seen.words if word.isdecimal()) == sorted(numbers)
    # in order from left to right, one chain above the other, and the more expansion the higher
    for row, arch in enumerate(archs.values()):
        columns = [drawn[row][1] for drawn in boxes.values()]
        assert [box[0] for box in columns] == sorted(box[0] for box in columns)
        assert len({round(box[3], 1) for box in columns}) == 1
        tall = {read(option)[1]: box[3] - box[1] for option, box in zip(arch.values(), columns, strict=True)}
        assert sorted(tall, key=tall.__getitem__) == sorted(tall)
    assert boxes[next(iter(boxes))][0][1][3] < boxes[next(iter(boxes))][1][1][1]


def test_strip_names_map_sizes_where_there_is_room(drawing: Any) -> None:
    config = MBConv()
    seen = drawing(strips({"": config.chain(config.reference, (224, 224))}, "t").svg)
    assert [word for word in seen.words if "x" in word] == ["56x56", "28x28", "14x14", "7x7"]


def test_strip_is_legible_on_a_narrow_page_and_coloured_by_the_page(drawing: Any) -> None:
    config = FBNet()
    svg = strips({"": config.chain(config.reference, (32, 32))}, "t").svg
    seen = drawing(svg)
    assert seen.width <= 360
    marks = sorted(seen.place(text) for text in seen.root.iter() if text.tag.endswith("text") and text.text == "3")
    assert min(b[0] - a[0] for a, b in itertools.pairwise(marks)) > 7  # wider than a digit of 10.5
    assert not re.findall(r"(?:fill|stroke): #", svg)


def test_other_spaces_have_no_strip() -> None:
    config: SpaceConfig = NatsTopology(channels=2, cells=1)
    arch = config.space.sample(np.random.default_rng(0))
    result: Any = SimpleNamespace(space=config, arch=arch, shape=(3, 32, 32))
    assert strip(result) == []


def test_report_of_a_chain_has_its_strip(tmp_path: Path, drawing: Any, without_measuring: None) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(24, 1, 16, 16), torch.arange(24) % 3
    config = MBConv(width=0.125, small=True, blocks=(2, 1, 1, 1, 1, 1))
    task = ImageTask.from_tensors(x, y, name="noise", source="made here")
    result = search(config, RSPS(), task, epochs=1, batch=8, out=tmp_path / "run")
    html = write_report(result).read_text(encoding="utf-8")
    figure = re.findall(r'<figure id="strip">(<svg.*?</svg>)', html, re.DOTALL)
    tips = [words.split(": ")[1].partition(",")[0] for words, _ in drawing(figure[0]).tips]
    assert tips == list(result.arch.values())

"""The drawing of a cell: SVG as text, coloured by the page's style sheet, as no library of plots draws one."""

import math
from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

NODE, MARGIN = 15.0, 54.0

SHORT = {
    "skip_connect": "skip",
    "nor_conv_1x1": "conv 1x1",
    "nor_conv_3x3": "conv 3x3",
    "avg_pool_3x3": "avg pool 3x3",
}
"""Names of operations as a drawing has room for them."""


def short(option: object) -> str:
    """Return an option as a drawing writes it.

    >>> short("nor_conv_3x3"), short("dil_conv"), short(32), short(("a", "b")), short(())
    ('conv 3x3', 'dil conv', '32', 'a, b', 'nothing')
    """
    if isinstance(option, tuple):
        return ", ".join(map(short, option)) or "nothing"
    return SHORT.get(str(option), str(option).replace("_", " "))


def cell(edges: Mapping[tuple[int, int], str], live: Iterable[tuple[int, int]], styles: Mapping[object, str]) -> Markup:
    """Draw a cell: nodes in a row, an arrow for each edge. Operations outside `live` are grey and dashed."""
    nodes, alive = max(target for _, target in edges) + 1, set(live)
    gap = 122.0 if nodes > 2 else 244.0
    width = gap * (nodes - 1) + 2 * (NODE + MARGIN)
    at = [NODE + MARGIN + gap * k for k in range(nodes)]
    above = max((_rise(i, j) for i, j in edges if i % 2 == 0), default=0)
    below = max((_rise(i, j) for i, j in edges if i % 2), default=0)
    y = max(above, NODE) + 22
    height = y + max(below, NODE) + 24
    parts: list[str] = []
    for (i, j), option in sorted(edges.items(), key=lambda edge: edge[1] != "none"):
        style = f"edge {styles.get(option, '')}" + ("" if (i, j) in alive or option == "none" else " dead")
        parts.append(f'<g class="{style}">{_arrow(at[i], at[j], y, _bend(i, j))}</g>')
    for (i, j), option in edges.items():
        dead = option != "none" and (i, j) not in alive
        style = f"label {styles.get(option, '')}{' dead' if dead else ''}"
        label_y = y + _rise(i, j) + 17 if _bend(i, j) > 0 else y - _rise(i, j) - 9
        parts.append(_text((at[i] + at[j]) / 2, label_y, short(option), f"{style} middle halo"))
    for k, x in enumerate(at):
        parts.append(f'<circle class="node" cx="{x:.1f}" cy="{y}" r="{NODE}"/>' + _text(x, y + 4, k, "number middle"))
    parts += [_text(at[0] - NODE - 6, y + 4, "input", "tick end"), _text(at[-1] + NODE + 6, y + 4, "output", "tick")]
    said = ", ".join(f"{i} to {j} {short(option)}" for (i, j), option in edges.items())
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(f"The chosen cell: {said}")}"'
    return Markup(f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{"".join(parts)}</svg>')


def _bend(source: int, target: int) -> float:
    """Return how far, and to which side, an edge leaves the row of nodes: its control points' offset."""
    return 0.0 if target - source == 1 else (-1 if source % 2 == 0 else 1) * 60.0 * (target - source - 1)


def _rise(source: int, target: int) -> float:
    return abs(_bend(source, target)) * 0.75  # a cubic curve reaches three quarters of its control points' offset


def _arrow(x1: float, x2: float, y: float, bend: float) -> str:
    lean = (x2 - x1) * 0.14
    c1, c2 = (x1 + lean, y + bend), (x2 - lean, y + bend)
    length = math.hypot(lean, bend)
    ux, uy = lean / length, bend / length  # the way out of the first node, and mirrored into the second
    sx, sy = x1 + ux * NODE, y + uy * NODE
    tx, ty = x2 - ux * (NODE + 1), y + uy * (NODE + 1)
    bx, by = tx - ux * 8, ty + uy * 8
    line = f'<path d="M{sx:.1f},{sy:.1f} C{c1[0]:.1f},{c1[1]:.1f} {c2[0]:.1f},{c2[1]:.1f} {bx:.1f},{by:.1f}"/>'
    head = f"{tx:.1f},{ty:.1f} {bx + uy * 4:.1f},{by + ux * 4:.1f} {bx - uy * 4:.1f},{by - ux * 4:.1f}"
    return f'{line}<polygon points="{head}"/>'


def _text(x: float, y: float, words: object, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'

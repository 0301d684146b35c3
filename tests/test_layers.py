"""The shape of the package, read from its source: who may import whom, how long things are, and what is not allowed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import renascent

ROOT = Path(renascent.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PARTS = {path: path.relative_to(ROOT).as_posix() for path in FILES}

FLOORS = {
    0: (
        *("errors", "decisions", "arch", "space", "topology", "sizes"),
        *("spacefile", "tablefile", "columns", "table", "asktell", "multitrial", "objectives"),
    ),
    1: ("gates", "weights", "core", "within"),
    2: ("nets", "tasks", "costs", "strategies"),
    3: ("checkpoint", "run", "journal", "lock", "loops"),
    4: ("evaluate",),
}
"""What lies where; everything else is on the top floor."""

TOP = 5

SIDEWAYS = {
    "decisions": {"errors"},
    "arch": {"errors", "decisions"},
    "space": {"errors", "decisions", "arch"},
    "topology": {"errors", "space"},
    "sizes": {"errors", "space"},
    "spacefile": {"errors", "decisions", "space", "sizes", "topology"},
    "tablefile": {"errors"},
    "columns": {"errors"},
    "table": {"errors", "arch", "space", "spacefile", "tablefile", "columns"},
    "asktell": {"errors", "space"},
    "multitrial": {"errors", "space", "asktell"},
    "objectives": {"errors"},
    "core": {"gates", "weights"},
    "within": {"core"},
    "costs": {"nets"},
    "run": {"checkpoint"},
    "journal": {"run"},
    "loops": {"run", "checkpoint", "journal", "lock"},
}
"""What each may import on its own floor. Without an entry: nothing. The top floor is held to having no cycle."""

ONLY = {
    "strategies": {"core", "gates", "space", "errors"},
    "loops": {"core", "gates", "within", "space", "errors", "asktell", "run", "checkpoint", "journal", "lock"},
}
"""The whole of what these may import, where that is less than all that lies below."""

LIGHT = {"numpy", *sys.stdlib_module_names}
"""What the lowest floor may import, so that a benchmark's client needs no torch."""


def part(module: str) -> str:
    """Return the file or folder directly below `renascent` that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(path: Path) -> str:
    names = ("renascent", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {module_of(path) for path in FILES}


def floor(name: str) -> int:
    return next((number for number, names in FLOORS.items() if name in names), TOP)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Return every module that a file imports, anywhere in it, as (full name, line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else str(node.module)), node.lineno


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def refused(importer: str, imported: str) -> str | None:
    """Return why one module of ours may not import another, None if it may."""
    here, there = part(importer), part(imported)
    if here == there:
        return None
    if there == "__init__":
        return "only the top floor uses the package's front door" if floor(here) < TOP else None
    if here in ONLY and there not in ONLY[here]:
        return f"{here} may import only {', '.join(sorted(ONLY[here]))}"
    if floor(there) > floor(here):
        return f"floor {floor(here)} does not know floor {floor(there)}"
    if floor(there) == floor(here) < TOP and there not in SIDEWAYS.get(here, ()):
        return f"{here} and {there} lie side by side on floor {floor(here)}"
    return None


@pytest.mark.parametrize("path", FILES, ids=PARTS.values())
def test_imports_go_down(path: Path) -> None:
    if path == ROOT / "__init__.py":
        return
    found = []
    for name, line in imports(parsed(path)):
        if name.split(".")[0] == "renascent" and (why := refused(module_of(path), name)):
            found.append(f"{PARTS[path]}:{line} imports {name}: {why}")
    assert found == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("renascent.errors", "renascent.space"),
        ("renascent.space", "renascent.gates"),
        ("renascent.gates", "renascent.core"),
        ("renascent.core", "renascent.nets.nats"),
        ("renascent.nets.nats", "renascent.tasks"),
        ("renascent.nets.nats", "renascent.costs.counts"),
        ("renascent.strategies.gdas", "renascent.nets"),
        ("renascent.strategies.gdas", "renascent.costs"),
        ("renascent.checkpoint", "renascent.run"),
        ("renascent.loops.fit", "renascent.tasks"),
        ("renascent.loops.fit", "renascent.strategies"),
        ("renascent.run", "renascent.loops"),
        ("renascent.tasks.images", "renascent.cli"),
        ("renascent.loops.fit", "renascent"),
    ],
)
def test_the_rule_refuses(importer: str, imported: str) -> None:
    assert refused(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("renascent.costs.counts", "renascent.nets"),
        ("renascent.strategies.gdas", "renascent.strategies._policy"),
        ("renascent.loops.fit", "renascent.run"),
        ("renascent.cli", "renascent.result"),
        ("renascent.result", "renascent.nets"),
    ],
)
def test_the_rule_allows(importer: str, imported: str) -> None:
    assert refused(importer, imported) is None


def test_no_strategy_imports_another() -> None:
    found = []
    for path in (ROOT / "strategies").glob("*.py"):
        for name, line in imports(parsed(path)):
            other = name.removeprefix("renascent.strategies")
            if other != name and path.name != "__init__.py" and not other.startswith("._"):
                found.append(f"{PARTS[path]}:{line} imports {name}")
    assert found == []


def test_the_lowest_floor_needs_numpy_and_nothing_else() -> None:
    found = [
        f"{PARTS[path]}:{line} imports {name}"
        for path in FILES
        if floor(part(module_of(path))) == 0
        for name, line in imports(parsed(path))
        if name.split(".")[0] not in LIGHT | {"renascent"}
    ]
    assert found == []


def test_no_circle_of_imports() -> None:
    """Imports at the top of a module only: one inside a function is made when everything is there."""
    graph = {}
    for path in FILES:
        top = ast.Module([node for node in parsed(path).body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        graph[module_of(path)] = {name for name, _ in imports(top) if name in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("name", ["space", "topology", "errors"])
def test_importing_it_loads_no_torch(name: str) -> None:
    code = f"import sys, renascent.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- sizes


@pytest.mark.parametrize("path", FILES, ids=PARTS.values())
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    limit = 150 if PARTS[path].startswith("strategies/") else 300
    assert lines <= limit, f"{PARTS[path]} has {lines} lines, over {limit}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1
            assert length <= 40, f"{PARTS[path]}:{node.lineno} {node.name} has a body of {length} lines, over 40"


# --- what is not allowed

READS_PICKLES = "importers/_plain.py"
"""The one file that opens pickles, of others and without running them: tests/importers/test_plain.py holds it to it."""


def test_no_pickles() -> None:
    found = []
    for path in FILES:
        if PARTS[path] == READS_PICKLES:
            continue
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            loads = isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save"}
            allows = isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
            banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
            if loads or allows or banned & {n.split(".")[0] for n in names}:
                found.append(f"{PARTS[path]}:{getattr(node, 'lineno', 0)} {ast.unparse(node)}")
    assert found == []


def test_no_utils() -> None:
    assert not [name for name in PARTS.values() if "util" in name or "helper" in name or "common" in name]

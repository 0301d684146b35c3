"""The shape of the package, read from its source: who may import whom, how long things are, and what is not allowed."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import renascent

ROOT = Path(renascent.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PARTS = {path: path.relative_to(ROOT).as_posix() for path in FILES}

BELOW = {
    "core": set(),
    "nets": {"core"},
    "tasks": {"core"},
    "strategies": {"core"},
    "costs": {"core", "nets"},
    "loops": {"core", "strategies"},
    "results": {"core", "nets", "tasks", "costs", "loops"},
    "testing": {"core", "nets", "tasks", "costs", "strategies", "loops"},
    "bench": {"core", "nets", "tasks", "costs", "strategies", "loops"},
    "reports": {"core", "nets", "tasks", "costs", "strategies", "loops", "results", "bench"},
    "experiment": {"core", "nets", "tasks", "costs", "strategies", "loops", "results", "bench", "reports"},
    "cli": {"core", "nets", "tasks", "costs", "strategies", "loops", "results", "bench", "reports", "experiment"},
}
"""What each package may import: what lies below it. `docs/architecture.md` draws it."""

GROUND = (
    *(
        "core.errors",
        "core.fields",
        "core.files",
        "core.names",
        "core.outside",
        "core.source",
        "core.decisions",
        "core.flow",
        "core.arch",
        "core.rules",
        "core.codec",
        "core.space",
        "core.schema",
        "core.text",
    ),
    *("core.codecs", "bench.tables", "strategies.trials"),
)
"""What needs numpy and nothing else, so that a client of a benchmark loads no torch."""

LIGHT = {"numpy", "renascent", *sys.stdlib_module_names}


def module_of(path: Path) -> str:
    names = ("renascent", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {module_of(path): path for path in FILES}


def package_of(module: str) -> str:
    """Return the package directly below `renascent` that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every module that a file imports as (full name, line): inside functions and for type checking, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else str(node.module)), node.lineno


def ours(path: Path) -> list[tuple[str, int]]:
    return [(name, line) for name, line in imports(parsed(path)) if name.split(".")[0] == "renascent"]


def refused(importer: str, imported: str) -> str | None:
    """Return why one module of ours may not import another, None if it may."""
    here, there = package_of(importer), package_of(imported)
    if here in ("", "__main__", there):
        return None
    if there == "":
        return None if here == "cli" else "only the command line uses the package's front door"
    if (here, there) == ("loops", "strategies") and imported != "renascent.strategies.trials.protocol":
        return "a loop knows no strategy, only the protocol of those that ask and tell"
    return None if there in BELOW[here] else f"{there} does not lie below {here}"


def test_every_package_has_its_place() -> None:
    packages = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(BELOW)
    assert {path.name for path in ROOT.iterdir() if path.is_file()} == {"__init__.py", "__main__.py", "py.typed"}


@pytest.mark.parametrize("path", FILES, ids=PARTS.values())
def test_imports_go_down(path: Path) -> None:
    found = []
    for name, line in ours(path):
        if why := refused(module_of(path), name):
            found.append(f"{PARTS[path]}:{line} imports {name}: {why}")
    assert found == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names along a circle of a graph, none where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as e:
        return list(e.args[1])
    return []


def test_packages_import_each_other_in_no_circle() -> None:
    """Imports inside functions and for type checking count: they say as much about who knows whom."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        here = package_of(module_of(path))
        graph.setdefault(here, set()).update(package_of(name) for name, _ in ours(path))
    graph = {here: there for here, there in graph.items() if here in BELOW}
    assert circle({here: there - {here, ""} for here, there in graph.items()}) == []
    assert circle(BELOW) == []


def test_files_import_each_other_in_no_circle() -> None:
    graph = {module_of(path): {name for name, _ in ours(path) if name in MODULES} for path in FILES}
    assert circle({here: there - {here} for here, there in graph.items()}) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("renascent.core.space", "renascent.nets"),
        ("renascent.nets.cells.nats", "renascent.tasks"),
        ("renascent.nets.cells.nats", "renascent.costs.counts"),
        ("renascent.strategies.gdas", "renascent.nets"),
        ("renascent.strategies.gdas", "renascent.costs"),
        ("renascent.loops.fit", "renascent.tasks"),
        ("renascent.loops.share", "renascent.strategies.gdas"),
        ("renascent.results.record", "renascent.experiment.result"),
        ("renascent.reports.page", "renascent.experiment.result"),
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
        ("renascent.strategies.gdas", "renascent.strategies._bilevel"),
        ("renascent.loops.trials", "renascent.strategies.trials.protocol"),
        ("renascent.cli.entry", "renascent"),
        ("renascent.reports.page", "renascent.results.record"),
    ],
)
def test_the_rule_allows(importer: str, imported: str) -> None:
    assert refused(importer, imported) is None


def test_no_strategy_imports_another() -> None:
    found = []
    for path in (ROOT / "strategies").glob("*.py"):
        for name, line in ours(path):
            other = name.removeprefix("renascent.strategies")
            if other != name and path.name != "__init__.py" and not other.startswith("._"):
                found.append(f"{PARTS[path]}:{line} imports {name}")
    assert found == []


def ground(module: str) -> bool:
    return any(f"{module}.".startswith(f"renascent.{name}.") for name in GROUND)


@pytest.mark.parametrize("path", [path for path in FILES if ground(module_of(path))], ids=str)
def test_the_ground_needs_numpy_and_nothing_else(path: Path) -> None:
    found = [
        f"{PARTS[path]}:{line} imports {name}"
        for name, line in imports(parsed(path))
        if name.split(".")[0] not in LIGHT or (name in MODULES and not ground(name) and name != "renascent.bench")
    ]
    assert found == []


def test_importing_the_ground_loads_no_torch() -> None:
    names = ", ".join(["renascent.bench.importers.sources", *(module for module in MODULES if ground(module))])
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
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

READS_PICKLES = "bench/importers/_plain.py"
"""The one file that opens pickles, of others and without running them: its own test holds it to that."""


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

"""What a module says of its classes, functions and values, read from its source without importing it.

Docstrings are there under `python -OO`, too, and the settings of a strategy can be shown before torch is loaded.
"""

import ast
import dataclasses
import functools
import importlib
import re
import sys
import textwrap
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

OURS = __name__.partition(".")[0]
FIELDS = f"{OURS}.core.fields"
"""What annotations of settings mean: imported, where other modules are read."""

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign | ast.alias


def place_of(kind: type) -> str:
    """Return where a class is: "module:Name".

    >>> from pathlib import PurePath
    >>> place_of(PurePath)
    'pathlib:PurePath'
    """
    return f"{kind.__module__}:{kind.__qualname__}"


def docstring(place: str) -> str:
    """Return the docstring of "module" or "module:name"; nothing where there is none, or no source.

    >>> docstring("renascent.core.source:place_of").partition(": ")[0]
    'Return where a class is'
    """
    module, _, name = place.partition(":")
    node: Any = _definitions(module).get(name) if name else _tree(module)
    return (ast.get_docstring(node) or "") if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module) else ""


def section(text: str, title: str) -> str:
    """Return what stands below `title:` in a docstring, up to the next line that is not indented.

    >>> section("A box.\\n\\nArgs:\\n    width: in pixels.\\n\\nReferences:\\n    A paper.", "References")
    'A paper.'
    """
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    return textwrap.dedent(found[1]).strip() if found else ""


def arguments(text: str, title: str = "Args") -> dict[str, str]:
    """Return what a docstring says of each name below `Args:`, or another title.

    >>> arguments("Args:\\n    width: in\\n        pixels.\\n    on: lit.")
    {'width': 'in pixels.', 'on': 'lit.'}
    """
    entries = re.findall(r"^(\w+): (.*(?:\n[ \t]+.*)*)", section(text, title), re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def references(place: str) -> list[str]:
    """Return what a class or function names below `References:`, one paragraph each."""
    paragraphs = section(docstring(place), "References").split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]


@functools.cache
def static(place: str) -> Any:
    """Return a class or a value of a module, as the module's source has it.

    A class becomes a dataclass of the same fields, defaults and summary; `realised` makes the real thing of its
    objects. What other packages define is imported.
    """
    module, _, name = place.partition(":")
    node = _definitions(module).get(name)
    if isinstance(node, ast.ClassDef):
        return _outline(place, node)
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return vars(sys.modules[module])[name] if module in sys.modules else _value(module, node.value)
    if isinstance(node, ast.alias):
        origin, _, name = node.name.rpartition(".")
        if origin.partition(".")[0] == OURS and origin != FIELDS:
            return static(f"{origin}:{name}")
        return getattr(importlib.import_module(origin), name) if origin else importlib.import_module(name)
    raise AttributeError(f"{module} defines no value of the name {name}")


def realised(thing: Any) -> Any:
    """Return what an object of a class by `static` stands for, whose module is imported now; others as they are."""
    place = getattr(type(thing), "stands_for", None)
    if place is None:
        return thing
    module, _, name = place.partition(":")
    kind = getattr(importlib.import_module(module), name)
    return kind(**{f.name: realised(getattr(thing, f.name)) for f in dataclasses.fields(thing)})


def _outline(place: str, node: ast.ClassDef) -> type:
    """Return a dataclass with the fields of a class and those it inherits."""
    module, text = place.partition(":")[0], ast.get_docstring(node) or ""
    meanings: dict[str, str] = {}
    rows: dict[str, tuple[str, Any, Any]] = {}
    for name in [ast.unparse(base).partition("[")[0] for base in node.bases]:
        if name in _definitions(module) and dataclasses.is_dataclass(base := static(f"{module}:{name}")):
            meanings |= arguments(base.__doc__ or "")
            rows |= {f.name: (f.name, f.type, f) for f in dataclasses.fields(base)}
    for row in node.body if node.decorator_list else ():
        if isinstance(row, ast.AnnAssign) and "Var[" not in ast.unparse(row.annotation):
            name = ast.unparse(row.target)
            value = _value(module, row.value) if row.value else dataclasses.MISSING
            kept = value if isinstance(value, dataclasses.Field) else dataclasses.field(default=value)
            rows[name] = (name, _value(module, row.annotation), kept)
    meanings |= arguments(text)
    told = "".join(f"\n    {name}: {meaning}" for name, meaning in meanings.items())
    members = {"__doc__": f"{text.partition(chr(10))[0]}\n\nArgs:{told}", "stands_for": place}
    return dataclasses.make_dataclass(node.name, rows.values(), namespace=members, frozen=True, kw_only=True)


def _value(module: str, node: ast.expr) -> Any:
    """Evaluate an expression of a module, of whose names only those in it are looked up."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & _definitions(module).keys()
    return eval(compile(ast.Expression(node), module, "eval"), {name: static(f"{module}:{name}") for name in names})


@functools.cache
def _tree(module: str) -> ast.Module | None:
    """Return a module's source, parsed; nothing where there is none."""
    origin, places = getattr(sys.modules.get(module), "__file__", None), None
    # by one name after the other: finding the whole would import the packages in between
    for name in () if origin else module.split("."):
        spec = PathFinder.find_spec(name, places)
        origin, places = (spec.origin, spec.submodule_search_locations or []) if spec else (None, [])
    return ast.parse(Path(origin).read_text(encoding="utf-8")) if origin and origin.endswith(".py") else None


@functools.cache
def _definitions(module: str) -> Mapping[str, Definition]:
    """Return what a module's top level defines or imports, by name; an import with the whole name of what it brings."""
    found: dict[str, Definition] = {}
    tree = _tree(module)
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=False)
                found |= {ast.unparse(one): ast.Assign([one], value) for one, value in pairs}
            elif isinstance(target, ast.Name):
                found[target.id] = node
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: ast.alias(f"{node.module}.{a.name}") for a in node.names}
    return found

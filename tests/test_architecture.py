"""The order of the rooms: imports go down only, and never in a circle, lazy imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "lavis"

# Lowest first. A file may import from its own room and from rooms to the left of it.
ORDER = (
    *("common", "settings", "losses", "processors", "synthetic", "importing", "images", "tables", "towers", "trackers"),
    *("hub", "models", "datasets"),
    *("embedding", "trainers", "runners", "evaluation", "salmubench", "audits", "attacks", "report", "deletion"),
    *("tasks", "sweeps", "api", "cli"),
)
PURE = {"common", "losses"}  # these import nothing of ours but common and themselves
MAX_ROOM, MAX_FILE, MAX_FUNCTION = 2600, 300, 40
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imports(source: str) -> Iterator[str]:
    """Modules of ours that a source imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def room(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


GRAPH = {
    name: sorted({m for m in imports(path.read_text("utf-8")) if m in MODULES and m not in (name, "lavis")})
    for name, path in MODULES.items()
}


def circle(graph: dict[str, list[str]]) -> list[str]:
    """The modules of one circle in import order; empty where there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        found = next((ring for target in graph.get(module, ()) if (ring := walk(target, [*path, module]))), [])
        done.add(module)
        return found

    return next((ring for module in graph if (ring := walk(module, []))), [])


def test_every_room_has_its_place() -> None:
    assert {room(name) for name in MODULES if room(name)} == set(ORDER)


def test_imports_go_down_only() -> None:
    upward = [
        f"{name} imports {target}"
        for name, targets in GRAPH.items()
        if room(name)
        for target in targets
        if ORDER.index(room(target)) > ORDER.index(room(name))
    ]
    assert upward == []


def test_the_lowest_rooms_import_common_alone() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, targets in GRAPH.items()
        if room(name) in PURE
        for target in targets
        if room(target) not in {"common", room(name)}
    ]
    assert wrong == []


def test_no_circles() -> None:
    assert circle(GRAPH) == []


def test_sizes() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    rooms = {place: sum(n for name, n in lines.items() if room(name) == place) for place in ORDER}
    assert {place: n for place, n in rooms.items() if n > MAX_ROOM} == {}
    assert {name: n for name, n in lines.items() if n > MAX_FILE} == {}


def test_functions_are_short() -> None:
    long = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, FUNCTIONS) and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION:
                long[f"{name}.{node.name}"] = length
    assert long == {}


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c"]),
        ({"a": ["a"]}, ["a"]),
    ],
)
def test_the_search_for_circles_itself(graph: dict[str, list[str]], found: list[str]) -> None:
    assert circle(graph) == found


def test_lazy_imports_count() -> None:
    assert list(imports("def f():\n    from lavis.common import files\n    import lavis.tasks.base")) == [
        "lavis.common.files",
        "lavis.tasks.base",
    ]

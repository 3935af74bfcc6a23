"""The house's habits, measured: sizes, forbidden constructs, import directions, and configurations that compose."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "lavis").rglob("*.py"))
ENTRY_SCRIPTS = [ROOT / name for name in ("train.py", "unlearn.py", "evaluate.py")]
COMMANDS = [*ENTRY_SCRIPTS, *sorted((ROOT / "bash").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]
SHIPPED_SUFFIXES = {".py", ".sh", ".yaml", ".yml", ".toml", ".cff", ".md", ".json"}
SHIPPED_ROOMS = ("lavis", "configs", "bash", "benchmarks", "docs", "tests", ".ci")
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.yaml") if p.parent != ROOT / "configs" / "sweep")
METHOD_DEFAULTS = sorted((ROOT / "lavis" / "configs" / "methods").glob("*.yaml"))

MEDIAN_FUNCTION, MAX_ENTRY = 12, 30
NAMES = re.compile(r"(^|_)(name|method|arch|task|backbone|model_type|dataset|job)$")
HOME = re.compile(r"(?<![\w.])/(home|Users|root|mnt|data\d)/\w+")
PARTIAL = {"startswith", "endswith", "find", "count"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DECLARATIONS = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.If, ast.Try, *FUNCTIONS)


COUNTED = (
    r"(image|picture|pair|row|line|member|step|second|side|shard|device|process|job|seed|host|caption|split|file)\b"
)
UNITS = r"(images|pictures|pairs|rows|captions|pixels|bytes|numbers|batches|seconds|ms|[KMGT]i?B|[GT]FLOP|files|jobs)"
LINKS = "of|in|on|for|to|from|with|by|at|as|or|and|is"
WORDS = {  # what to look for: what to write instead
    r"\banew\b|\b(made|run|written) again\b": "a verb with re-, such as rebuilt, recomputed, rewritten",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\b(is|are|was|were|be|been) told\b": "logged or reported; the message says",
    r"\btold apart\b|\btells? (it|them) apart\b": "distinguished",
    r"\bsaid so\b": "logged; the message says",
    r"\basked about\b": "evaluated",
    r"\bbeside (?!s\b)": "next to, with, compared with",
    r"\bfaults?\b": "bug, failure or error",
    r"\bleft aside\b|\bpassed over\b": "ignored, skipped",
    r"\bside files?\b": "metadata files",
    r"\bbears? (one|the same|no|a) \w+": "has",
    r"\bbreaks? off\b": "is truncated",
    r"\b(Outcome|Progress)\b": "RunResult, TrainingState",
    r"(?<![\"'])\bpictures\b(?![\"'])|\b(the|each|every|this|which|one|same|whole|real) picture\b": "image",
    rf"\b{UNITS} an? {COUNTED}|\b(an?|one|two|three|\d+) (?!({LINKS})\b)[\w-]+ an? {COUNTED}": "per",
    r"\bis no (JSON|plain|parquet|folder|list|path|string|image)\b": "is not",
    r"\b(what|which) [\w ]{1,20} holds\b": "contains",
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def function_lengths(module: ast.Module) -> dict[str, int]:
    """Lines of every function, signature and docstring included."""
    found = (node for node in ast.walk(module) if isinstance(node, FUNCTIONS))
    return {f"{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1 for node in found}


def identifier(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_name_part(node: ast.expr) -> bool:
    """Letters that could name a model or method; not a path character, a file's suffix or a metric's ("_cosine")."""
    return is_text(node) and re.match(r"[A-Za-z]\w", ast.literal_eval(node)) is not None


def substring_matches(module: ast.Module) -> Iterator[int]:
    """Lines where a name is matched by a part of it: "clip" in model_name, method.startswith("vlul")."""
    for node in ast.walk(module):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn) and is_name_part(node.left):
            if NAMES.search(identifier(node.comparators[0])):
                yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = node.func.attr in PARTIAL and NAMES.search(identifier(node.func.value))
            if named and any(is_name_part(arg) for arg in node.args[:1]):
                yield node.lineno


def forbidden(module: ast.Module) -> Iterator[str]:
    """Star imports, print, os.system and unpickling of arbitrary objects."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"line {node.lineno}: import *"
        if isinstance(node, ast.Call) and identifier(node.func) in {"print", "system", "set_detect_anomaly"}:
            yield f"line {node.lineno}: {identifier(node.func)}()"
        if isinstance(node, ast.keyword) and node.arg == "weights_only":
            if not (isinstance(node.value, ast.Constant) and node.value.value is True):
                yield f"line {node.value.lineno}: weights_only other than True"


def imported_tests(module: ast.Module) -> Iterator[str]:
    """Test modules that are imported, at any depth, also in source code inside strings."""
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^\s*(?:from|import) (tests\.\S*\btest_\w+)", node.value, re.MULTILINE)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
            names = [prefix + alias.name for alias in node.names]
            yield from (name for name in names if any(part.startswith("test_") for part in name.split(".")))


def shipped_files() -> list[Path]:
    rooms = [p for room in SHIPPED_ROOMS for p in (ROOT / room).rglob("*")]
    return [p for p in [*rooms, *ROOT.glob("*")] if p.is_file() and p.suffix in SHIPPED_SUFFIXES]


def offences(paths: list[Path], check: Callable[[Path], Any]) -> dict[str, Any]:
    """What `check` finds wrong in each file."""
    found = {label(path): check(path) for path in paths}
    return {name: result for name, result in found.items() if result}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def loose_statements(path: Path) -> list[int]:
    """Lines at module level that do more than declare."""
    statements = [n for n in tree(path).body if not isinstance(n, DECLARATIONS)]
    return [n.lineno for n in statements if not (isinstance(n, ast.Expr) and is_text(n.value))]


def test_median_function_is_short() -> None:
    lengths = [n for path in LIBRARY for n in function_lengths(tree(path)).values()]
    assert statistics.median(lengths) <= MEDIAN_FUNCTION


def test_entry_scripts_only_parse_build_run_report() -> None:
    assert {path.name: lines(path) for path in ENTRY_SCRIPTS if lines(path) > MAX_ENTRY} == {}


def test_no_forbidden_construct() -> None:
    assert offences(LIBRARY, lambda path: list(forbidden(tree(path)))) == {}


def test_names_are_matched_exactly() -> None:
    assert offences([*LIBRARY, *COMMANDS], lambda path: list(substring_matches(tree(path)))) == {}


def test_no_module_level_work() -> None:
    """Except for the look at what else is called `lavis`, without which a reader finds errors of mixed-up files."""
    found = offences(LIBRARY, loose_statements)
    assert {name: len(lines) for name, lines in found.items()} == {"lavis/__init__.py": 1}


def test_no_path_of_one_machine() -> None:
    hits = [label(p) for p in shipped_files() if p != Path(__file__) and HOME.search(p.read_text(encoding="utf-8"))]
    assert hits == []


def test_no_test_module_imports_another() -> None:
    """Code that tests share is in modules without tests, or in fixtures."""
    others = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
    assert offences(others, lambda path: list(imported_tests(tree(path)))) == {}


def odd_words(text: str) -> list[str]:
    """What WORDS finds in a text, each with its line and what to write instead."""
    numbered = enumerate(text.splitlines(), start=1)
    hits = (
        (n, hit[0], better) for n, line in numbered for word, better in WORDS.items() for hit in re.finditer(word, line)
    )
    return [f"line {n}: '{found}'; better: {better}" for n, found, better in hits]


def test_plain_words() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.*"), ROOT / "data" / "README.md"]
    paths = [path for path in dict.fromkeys([*shipped_files(), *pages]) if path != Path(__file__).resolve()]
    assert len(paths) > 400
    assert offences(paths, lambda path: odd_words(path.read_text(encoding="utf-8"))) == {}


def test_no_unfinished_marks() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [label(p) for p in shipped_files() if p.suffix == ".py" and marks.search(p.read_text("utf-8"))] == []


@pytest.mark.parametrize("path", CONFIGS, ids=label)
def test_configuration_composes(path: Path) -> None:
    from lavis.settings.config import load_config

    config = load_config(path)
    assert config.job_name
    for job, keys in config.to_dict()["run"]["jobs"].items():
        composed = load_config(path, job=[job]).to_dict()["run"]
        plain = {key: value for key, value in (keys or {}).items() if not isinstance(value, dict)}
        assert {key: composed[key] for key in plain} == plain


@pytest.mark.parametrize("path", METHOD_DEFAULTS, ids=label)
def test_method_defaults_belong_to_a_method(path: Path) -> None:
    from lavis.common.registry import registry
    from lavis.settings.config import load_config

    assert path.stem in registry.names("trainer")
    load_config(ROOT / "configs" / "clip" / "retrieval_salmu_tiny.yaml", job=[path.stem])


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("'clip' in model_name", True),
        ("run.method.startswith('vlul')", True),
        ("'clip' in names", False),
        ("method == 'vlul'", False),
        ("model_type.endswith('.json')", False),
        ("'/' in name", False),
    ],
)
def test_substring_check_itself(source: str, bad: bool) -> None:
    assert bool(list(substring_matches(ast.parse(source)))) is bad


@pytest.mark.parametrize("source", ["from os import *", "print(1)", "load(f, weights_only=False)", "os.system('ls')"])
def test_construct_check_itself(source: str) -> None:
    assert len(list(forbidden(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from tests.room.test_one import a, b", 2),
        ("def f():\n    import tests.test_one", 1),
        ("from tests.room import test_one", 1),
        ("SCRIPT = 'import os\\nfrom tests.room.test_one import a'", 1),
        ("from tests.small import write_world", 0),
    ],
)
def test_import_check_itself(source: str, count: int) -> None:
    assert len(list(imported_tests(ast.parse(source)))) == count


@pytest.mark.parametrize(
    "line",
    [
        "the index is made anew",
        "the user is told",
        "a file a side",
        "3.4 TFLOP a step",
        "pictures in a folder",
        "mended",
    ],
)
def test_word_check_itself(line: str) -> None:
    assert len(odd_words(f"plain\n{line}")) == 1 and odd_words(f"plain\n{line}")[0].startswith("line 2: ")
    assert odd_words("the data set draws a seed; one row per image; a fixed bug; images next to captions") == []

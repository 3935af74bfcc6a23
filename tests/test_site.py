"""The documentation is true: every command line parses, every YAML block composes, every page is on the site."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import lavis
from lavis.cli.main import main as multidelete
from lavis.common import cli
from lavis.settings.config import load_config
from lavis.sweeps.cli import main as sweep
from lavis.sweeps.schema import load_sweep
from tests.processes import ROOT
from tests.project import pyproject


def module_at(path: Path) -> ModuleType:
    """A script as a module, under a name that nothing else imports."""
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


SITE = module_at(ROOT / "docs" / "site" / "build.py")
MKDOCS = yaml.safe_load((ROOT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"<!-- file: \S+ -->\n```\w+\n.*?```", re.DOTALL)
INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:multidelete|python) [^`]+)`")
HEADS = ("multidelete", "python", "bash")
PLACEHOLDER = re.compile(r"[…<]|\b[A-Z]{3,}\b|register")
OTHER_TOOLS = {"source", "conda", "pip", "ruff", "pyrefly", ".venv/bin/ruff", "pre-commit", "pytest"}
MODULES_OF_OTHERS = {"pytest"}
SCRIPTS = {"train.py": cli.parser, "evaluate.py": cli.parser, "unlearn.py": cli.unlearn_parser}
README_EXAMPLES = {"margin"}


class Parsed(Exception):
    """Raised in place of running a command, once its command line has been parsed."""


def blocks(page: Path, kinds: set[str]) -> Iterator[str]:
    """The code blocks of a page, without the files of README's examples, which tests/test_readme.py runs."""
    for _, kind, text in FENCE.findall(EXAMPLE.sub("", page.read_text(encoding="utf-8"))):
        if kind in kinds:
            yield text


def command_lines() -> Iterator[tuple[str, str]]:
    """(page, command line) of every fenced or indented block, and of whole commands within a sentence."""
    for page in SITE.sources():
        text = page.read_text(encoding="utf-8")
        without = FENCE.sub("", text)
        lines = [line.strip() for block in blocks(page, {"bash", ""}) for line in block.splitlines()]
        lines += [line for line in INDENTED.findall(without) if plain(line)[:1] and plain(line)[0] in HEADS]
        lines += [line for line in INLINE.findall(without) if whole(line)]
        for line in lines:
            if page.suffix == ".md" and plain(line):
                yield page.relative_to(ROOT).as_posix(), line


def plain(line: str) -> list[str]:
    """The words of a command line, without its comment and its variables; none if it is not one."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    return words if words and (words[0] in HEADS or words[0] in OTHER_TOOLS) else []


def whole(line: str) -> bool:
    """Whether this is a complete command: not the name of one, and without a place to fill in."""
    words = line.split()
    complete = len(words) > 2 and not words[-1].startswith("--") and not PLACEHOLDER.search(line)
    return complete and (words[0] == "multidelete" or "--" in line or ".yaml" in line)


def target(words: list[str]) -> Callable[[], Any] | None:
    """What runs the command in this process; None for the tools of others."""
    if words[0] == "multidelete":
        return lambda: multidelete(words[1:])
    if words[0] in OTHER_TOOLS or words[:2] == ["python", "-m"] and words[2] in MODULES_OF_OTHERS:
        return None
    if words[0] == "bash":
        assert all((ROOT / word).is_file() for word in words[1:] if "/" in word), words
        return None
    if "unlearn.py" in words:
        words = ["python", *words[words.index("unlearn.py") :]]
    if words[1] in SCRIPTS:
        return lambda: SCRIPTS[words[1]](*[""] * (words[1] != "unlearn.py")).parse_args(words[2:])
    if words[1] == "bash/run.py":
        return lambda: sweep(words[2:])
    if words[1] != "-m":
        assert (ROOT / words[1]).is_file(), words
        return (lambda: module_at(ROOT / words[1]).main()) if words[2:] else None
    assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), words
    return (lambda: importlib.import_module(words[2]).main()) if words[3:] else None


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], argparse.Namespace | None]:
    """Parses a command line with the parser that would run it."""
    real = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any, **named: Any) -> None:
        raise Parsed(real(self, *args, **named))

    def run(line: str) -> argparse.Namespace | None:
        words = plain(line)
        command = target(words)
        if command is None:
            return None
        monkeypatch.setattr(sys, "argv", words[2:] if words[1:2] == ["-m"] else words[1:])
        with pytest.raises(Parsed) as stopped:
            command()
        return stopped.value.args[0]

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    return run


LINES = sorted(set(command_lines()))


def test_there_are_command_lines() -> None:
    assert len(LINES) > 60 and {page for page, _ in LINES} >= {"README.md", "docs/start.md", "docs/faq.md"}


@pytest.mark.parametrize(("page", "line"), LINES)
def test_command_line_parses_and_its_configuration_composes(page: str, line: str, parse) -> None:
    if plain(line) == ["multidelete", "--version"]:
        assert multidelete(["--version"]) == 0
        return
    args = parse(line)
    if getattr(args, "sweep", None):
        load_sweep(args.sweep)
    path = getattr(args, "cfg_path", None)
    method = getattr(args, "unlearn_method", None)
    if not path or not path.startswith("configs/"):
        return
    if method not in README_EXAMPLES and "modality_gap" not in line:  # the tests of the README run those
        load_config(path, args.options, job=[method] if method else [])


YAML = [(page.relative_to(ROOT).as_posix(), text) for page in SITE.sources() for text in blocks(page, {"yaml"})]


@pytest.mark.parametrize(("page", "text"), YAML)
def test_yaml_block_composes(page: str, text: str, tmp_path: Path) -> None:
    """A block is a part of an experiment file or of a sweep file; the rest comes from SALMU-mini's."""
    content, path = yaml.safe_load(text), tmp_path / "block.yaml"
    experiment = set(content) <= {"model", "datasets", "run"}
    base = "configs/clip/retrieval_salmu_mini.yaml" if experiment else "configs/sweep/salmu_mini.yaml"
    whole = yaml.safe_load((ROOT / base).read_text(encoding="utf-8"))
    merged = {key: {**whole.get(key, {}), **content[key]} for key in content} if experiment else content
    path.write_text(yaml.safe_dump({**whole, **merged}), encoding="utf-8")
    assert load_config(path) if experiment else load_sweep(path)


def nav(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from nav(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_navigation() -> None:
    pages = [page.relative_to(ROOT).as_posix() for page in SITE.sources()]
    assert sorted(nav(MKDOCS["nav"])) == pages


def test_the_api_page_has_every_public_name() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`lavis\.(\w+)`", text)) == set(lavis.__all__)
    shown = set(re.findall(r"^::: lavis\.(\w+)$", text, re.MULTILINE))
    assert shown == {name for name in lavis.__all__ if not name.endswith("_zoo")}


def test_one_version() -> None:
    project = pyproject()
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "lavis.__version__"}
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == lavis.__version__
    releases = re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert releases[0] == lavis.__version__

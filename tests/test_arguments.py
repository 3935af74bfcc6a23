"""Every number that any command line takes has bounds: what makes no sense ends in one line and exit code 2."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lavis.cli.main import COMMANDS
from tests.processes import ROOT

SENSELESS = ("-1", "nan", "inf", "1e20", "100000000000000000000", "many", "")
MAIN = {  # module -> words that lead to each of its parsers
    "lavis.cli.main": [[command] for command in COMMANDS],
    "lavis.datasets.salmu": [["import"]],
    "lavis.datasets.salmu_mini": [[]],
    "lavis.datasets.scenes_mini": [[]],
    "unlearn": [[]],
}


class Parsed(BaseException):
    """Stops a command where it has a parser."""


def modules() -> list[str]:
    """The modules of the project that make a parser, by their names."""
    files = [path for folder in ("lavis", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")]
    found = [path for path in [*files, *ROOT.glob("*.py")] if "Parser(" in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found if path != Path(__file__)]


def parsers(monkeypatch: pytest.MonkeyPatch) -> dict[str, argparse.ArgumentParser]:
    """Every parser of the project, as its command makes it, by its program's name."""
    made: dict[str, argparse.ArgumentParser] = {}

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        made[parser.prog] = parser
        raise Parsed

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        patched.setattr(argparse.ArgumentParser, "print_usage", lambda *_: None)
        for name in [*modules(), *(name for name in MAIN if name not in modules())]:
            for words in MAIN.get(name, [[]]):
                patched.setattr(sys, "argv", [name, *words])
                _start(importlib.import_module(name), words)
    return made


def _start(module: object, words: list[str]) -> None:
    main: Callable | None = getattr(module, "main", None)
    if main is None:
        return
    try:
        main(words) if main.__code__.co_argcount else main()
    except Parsed:
        pass


def numbers(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.type not in (None, str, Path)]


def test_no_number_is_without_bounds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        (prog, action.dest): (parser, action)
        for prog, parser in parsers(monkeypatch).items()
        for action in numbers(parser)
    }
    assert len(found) >= 45, sorted(found)
    for (prog, dest), (parser, action) in found.items():
        assert action.type not in (int, float), f"{prog}: {dest} has no bounds; lavis/common/arguments.py has types"
        for text in SENSELESS:
            with pytest.raises(SystemExit) as end:
                parser.parse_args([f"{action.option_strings[0]}={text}"])
            said = capsys.readouterr().err.splitlines()[-1]
            assert end.value.code == 2 and action.option_strings[0] in said and "expected" in said, (prog, dest, text)
        assert math.isfinite(action.type("1")), (prog, dest)


@pytest.mark.parametrize(
    ("flag", "zero"), [("--gallery", True), ("--jobs", False), ("--df_size", False), ("--seed", True)]
)
def test_zero_is_a_number_where_it_means_something(flag: str, zero: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    actions = [a for parser in parsers(monkeypatch).values() for a in numbers(parser) if flag in a.option_strings]
    assert actions
    for action in actions:
        if zero:
            assert action.type("0") == 0
        else:
            with pytest.raises(argparse.ArgumentTypeError, match="from 1 to"):
                action.type("0")

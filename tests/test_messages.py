"""What messages say can be done: their options exist, paths of another encoding are refused, long values are cut."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import evaluate
import train
import unlearn
from lavis.cli.main import COMMANDS
from lavis.cli.main import main as multidelete
from lavis.common.cli import run_main
from lavis.common.printable import brief
from lavis.datasets import forget, salmu, salmu_mini, scenes_mini
from lavis.sweeps import cli, original, report
from tests.processes import ROOT

Main = Callable[[Sequence[str] | None], int | None]
OPTION = re.compile(r"(?<![\w(-])--[a-z][\w-]*")
MAINS: dict[str, tuple[Main, list[str]]] = {
    "train.py": (train.main, []),
    "unlearn.py": (unlearn.main, []),
    "evaluate.py": (evaluate.main, []),
    "run.py": (cli.main, []),
    "ori.sh": (original.main, []),
    "retrain.sh": (original.main, []),
    "lavis.sweeps.report": (report.main, []),
    "lavis.datasets.salmu": (salmu.main, ["import"]),
    "lavis.datasets.salmu_mini": (salmu_mini.main, []),
    "lavis.datasets.scenes_mini": (scenes_mini.main, []),
    "lavis.datasets.forget": (forget.main, []),
    **{f"multidelete {name}": (multidelete, [name]) for name in COMMANDS},
}
# Whose messages a room's or a module's are, where only some commands reach it; others may name only what all have.
ROOMS = {
    "drawn": ["lavis.datasets.salmu_mini", "lavis.datasets.scenes_mini"],
    "scenes_mini": ["lavis.datasets.scenes_mini"],
    **dict.fromkeys(("salmu_mini", "layout"), ["lavis.datasets.salmu_mini"]),
    "importing": ["lavis.datasets.salmu"],
    "sweeps": ["run.py"],
    "cli": ["multidelete unlearn"],
    "api": ["multidelete evaluate"],
    "records": ["multidelete record or multidelete verify"],
    "report": ["multidelete report"],
    "deletion": ["multidelete purge"],
    "signing": ["multidelete verify"],
    "seal": ["multidelete record"],
}
COMMON = ["train.py", "unlearn.py", "evaluate.py", "multidelete unlearn", "multidelete evaluate", "multidelete audit"]
OTHERS = {"--nproc_per_node", "--create-dirs"}  # of torch.distributed.run, of curl


@cache
def options_of(command: str) -> frozenset[str]:
    """The options that a command's own help lists."""
    main, words = MAINS[command]
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sys, "stdout", type("Stream", (), {"write": lambda _, text: lines.append(text)})())
        main([*words, "--help"])
    return frozenset(OPTION.findall("".join(lines)))


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text in a module that is more than one word, with {} for what an f-string inserts; no docstrings, no help.

    A help text is its own parser's, and the command line of a docstring is an example.
    """
    for node in ast.iter_child_nodes(tree):
        called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if called in ("add_argument", "setting", "Parser") or isinstance(getattr(node, "value", None), ast.Constant):
            if not isinstance(node, ast.Assign | ast.Return):
                continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            yield from texts(node)


def advised(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(option, the commands that must have it) for every option that a module's texts advise."""
    room = path.relative_to(ROOT / "lavis").parts[0]
    for text in texts(ast.parse(path.read_text())):
        for match in OPTION.finditer(text) if " " in text else ():
            before = text[: match.start()]
            named = max(MAINS, key=lambda command: (before.rfind(command), len(command)))
            yield match[0], [named] if named in before else ROOMS.get(path.stem, ROOMS.get(room, COMMON))


def test_every_option_that_a_message_advises_exists() -> None:
    seen, wrong = 0, []
    for path in sorted((ROOT / "lavis").rglob("*.py")):
        for option, commands in advised(path):
            seen += 1
            known = {names: frozenset().union(*map(options_of, names.split(" or "))) for names in commands}
            lacking = [names for names, options in known.items() if option not in options | OTHERS]
            wrong += [f"{path.relative_to(ROOT)}: {option} is no option of {', '.join(lacking)}"] if lacking else []
    assert not wrong and seen > 30, (seen, wrong)


@pytest.mark.parametrize(
    ("command", "option"), [(command, option) for command in MAINS for option in sorted(options_of(command))]
)
def test_what_is_not_utf8_is_refused_by_every_option(command: str, option: str) -> None:
    main, words = MAINS[command]
    if option != "--help":
        message = refusal(main, [*words, option, "q\udcff"])
        assert (
            f"{option}: 'q\\udcff' is not UTF-8 (character 2 is U+DCFF, the byte 0xFF of another encoding)" in message
        )
        assert f"{option}: '{option}=q\\udcff' is not UTF-8" in refusal(main, [*words, f"{option}=q\udcff"])


def refusal(main: Main, words: Sequence[str]) -> str:
    """The one message with which a command refuses these words."""
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        stream = type("Stream", (), {"write": lambda _, text: written.append(text), "flush": lambda _: None})()
        patch.setattr(sys, "stderr", stream)
        patch.setattr(sys, "argv", ["command", *words])
        run_main(main)
    text = "".join(written)
    assert caught.value.code == 2 and "Traceback" not in text, text
    return text


LONG = "y" * 5000
FLOODS: dict[str, tuple[Main, list[str]]] = {
    "a key": (train.main, ["--cfg-path", "{config}", "--options", f"run.{LONG}=1"]),
    "a value": (train.main, ["--cfg-path", "{config}", "--options", f"run.max_epoch={LONG}"]),
    "spaces": (train.main, ["--cfg-path", "{config}", "--options", f"run.lr_sched={'y ' * 2500}"]),
    "a path": (train.main, ["--cfg-path", LONG]),
    "a command": (multidelete, [LONG]),
    "a choice": (multidelete, ["export", "x", "--to", LONG, "--out", "y"]),
    "a flag": (multidelete, ["evaluate", "x", f"--{LONG}"]),
    "a condition": (multidelete, ["unlearn", "--model", "x", "--data", "t.csv", "--forget", LONG, "--out", "y"]),
    "columns": (multidelete, ["unlearn", "--model", "x", "--data", "t.csv", "--columns", LONG, "--out", "y"]),
    "a table": (multidelete, ["unlearn", "--model", "x", "--data", f"{LONG}.csv", "--forget", "a=b", "--out", "y"]),
    "a run": (multidelete, ["audit", f"a/{LONG}"]),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_long_value_is_cut(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main, words = FLOODS[kind]
    config = str(ROOT / "configs" / "clip" / "retrieval_salmu_mini.yaml")
    text = refusal(main, [word.replace("{config}", config) for word in words])
    message = text[text.index("error: ") :]
    assert len(message) < 1500 and re.search(r"y ?…[^\n]{30} \([45],\d{3} characters\)", message), message


def test_what_is_cut_and_what_is_not() -> None:
    cut = f"it's 'a b{'y' * 76}…{'y' * 29}' (5,003 characters) here, the runs' end"
    assert brief(f"it's 'a b{LONG}' here, the runs' end") == cut
    ordinary = f"/{'a' * 100}/{'b' * 100}/c.csv: closest: 'x'; valid: {', '.join(map(str, range(200)))}; it's the run's"
    assert brief(ordinary) == ordinary and brief(brief(f"is {LONG}")) == brief(f"is {LONG}")
    whole = brief(f"begins {'word ' * 5000}ends")
    assert whole.startswith("begins word") and whole.endswith("word ends") and len(whole) < 4000

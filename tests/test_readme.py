"""The README is true: its commands compose, its links exist, its table matches the registry, its examples run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lavis.cli.main import COMMANDS, evaluate_parser, unlearn_parser
from lavis.common.registry import registry
from lavis.settings.config import load_config
from tests.small import write_world

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENTRY_SCRIPTS = ("train.py", "unlearn.py", "evaluate.py")
EXAMPLE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
DOCUMENTS = [
    *ROOT.glob("*.md"),
    ROOT / "data" / "README.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").glob("*.md"),
]
LINK = re.compile(r"\]\((?!https?://|#)([^)\s]+)\)")
BLOCK = re.compile(r"^( *)```bash\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "output", "lavis_cache", "__pycache__", ".*_cache", "*.egg-info")
LAUNCHER = "python -m torch.distributed.run --master_port 29517 --nproc_per_node=1"
SEED_COMMAND = (
    "{launcher} unlearn.py --unlearn_method {method} --backbone clip --task salmu_retrieval --df_size 30468 "
    "--cfg-path configs/clip/retrieval_salmu.yaml"
)


def commands() -> list[str]:
    blocks = [match.group(2) for match in BLOCK.finditer(README)]
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def examples() -> dict[str, str]:
    return dict(EXAMPLE.findall(README))


def flag(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def option_words(words: list[str]) -> list[str]:
    """The options of a command, without the metrics that only the examples register."""
    given = words[words.index("--options") + 1 :] if "--options" in words else []
    metrics = re.findall(r'register_metric\("(\w+)"\)', "".join(examples().values()))
    return [re.sub(rf",({'|'.join(metrics)})\b", "", word) for word in given]


def entry_commands() -> list[str]:
    return [line for line in commands() if any(name in shlex.split(line) for name in ENTRY_SCRIPTS)]


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table_names(title: str) -> dict[str, list[str]]:
    """The code words in the second column of a section's tables, by the first column."""
    rows = [line.split("|")[1:-1] for line in section(title).splitlines() if line.startswith("| ")]
    return {row[0].strip().strip("`"): re.findall(r"`([\w./-]+)`", row[1]) for row in rows}


def test_there_are_commands_and_an_example() -> None:
    assert len(entry_commands()) >= 7
    assert {Path(name).suffix for name in examples()} == {".py", ".yaml"} and len(examples()) == 5


@pytest.mark.parametrize("method", ["vlul", "erase", "delete"])
def test_published_commands_are_there_verbatim(method: str) -> None:
    assert SEED_COMMAND.format(launcher=LAUNCHER, method=method) in commands()


@pytest.mark.parametrize("line", entry_commands())
def test_entry_commands_compose(line: str) -> None:
    words = shlex.split(line)
    method = flag(words, "--unlearn_method") if "--unlearn_method" in words else None
    added = [Path(name).stem for name in examples() if Path(name).parent == Path("lavis/evaluation")]
    options = [word for word in option_words(words) if not any(name in word for name in added)]
    config = load_config(ROOT / flag(words, "--cfg-path"), options, job=[method] if method else [])
    if method:
        assert method in registry.names("trainer") or f"lavis/trainers/{method}.py" in examples()
        assert flag(words, "--backbone") == config.backbone
        assert flag(words, "--task") == config.job_name
        assert int(flag(words, "--df_size")) > 0


def test_files_named_in_commands_exist() -> None:
    words = [word for line in commands() for word in shlex.split(line, comments=True)]
    files = {w for w in words if re.fullmatch(r"[\w./-]+\.(py|sh|yaml|yml)", w)}
    missing = {name for name in files if not (ROOT / name).is_file()}
    assert missing <= set(examples())
    modules = [words[i + 1] for i, word in enumerate(words) if word == "-m" and words[i + 1].startswith("lavis.")]
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in modules)


@pytest.mark.parametrize("document", sorted(str(path.relative_to(ROOT)) for path in DOCUMENTS))
def test_local_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    targets = [link.split("#")[0] for link in LINK.findall(path.read_text(encoding="utf-8"))]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_table_of_what_is_here() -> None:
    kinds = {"methods": "trainer", "backbones": "model", "data sets": "builder", "tasks": "task"}
    here = table_names("What is here")
    for row, kind in kinds.items():
        names = set(registry.names(kind))
        if kind == "model":  # the name of --backbone
            names = {registry.get_model_class(name).family for name in names}
        assert here[row] and set(here[row]) <= names, row


def test_map_names_every_room_and_files_that_exist() -> None:
    table = table_names("Map of the code")
    rooms = {path.parent.name for path in (ROOT / "lavis").glob("*/__init__.py")}
    assert rooms <= set(table)
    paths = [name for names in table.values() for name in names if name.startswith("lavis/")]
    assert len(paths) >= 8 and [name for name in paths if not (ROOT / name).exists()] == []
    assert "class Saver" in (ROOT / "lavis/runners/saving.py").read_text(encoding="utf-8")


def test_the_opening_is_run_by_the_tests_of_the_examples() -> None:
    opening = README.split("\n## ")[0]
    page = (ROOT / "examples" / "own_data.md").read_text(encoding="utf-8").splitlines()
    lines = [
        line for block in re.findall(r"```(?:bash|python)\n(.*?)```", opening, re.DOTALL) for line in block.split("\n")
    ]
    assert len([line for line in lines if line.startswith("multidelete ")]) == 4
    install = {"bash bash/setup.sh", "source .venv/bin/activate"}
    assert [line for line in lines if line not in page and line not in install] == []


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("multidelete ")])
def test_multidelete_commands_parse(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    parsers = {"unlearn": unlearn_parser, "evaluate": evaluate_parser}
    assert name in COMMANDS
    if name in parsers:
        parsers[name]().parse_args(words)
    if name == "show-config":
        assert COMMANDS[name].run(words) == 0


def test_test_command_is_what_the_script_runs() -> None:
    assert "bash bash/test.sh" in commands()
    script = (ROOT / "bash" / "test.sh").read_text(encoding="utf-8")
    assert 'python -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"' in script


def test_citation_file_names_the_papers_of_the_readme() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    papers = [entry["value"] for paper in cited["references"] for entry in paper["identifiers"]]
    assert papers == ["arXiv:2311.12047", "arXiv:2410.23330", "arXiv:2503.23751", "arXiv:2603.26316"]
    assert all(f"note      = {{{paper}}}" in README for paper in papers)
    for paper in cited["references"]:
        assert all(author["family-names"] in README for author in paper["authors"])


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the files of the worked example written into it."""
    folder = tmp_path_factory.mktemp("readme") / "project"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    for name, text in examples().items():
        assert not (folder / name).exists(), f"{name} of the example is already part of the project"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run_in(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    environment = {**variables, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words[1:]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_worked_examples_pass_their_own_tests(copy: Path) -> None:
    lines = [line for line in commands() if line.endswith(("test_margin.py", "test_modality_gap.py"))]
    words = [word for line in lines for word in shlex.split(line)[3:]]
    done = run_in(copy, ["python", "-m", "pytest", *words])
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(words) == 2 and "4 passed" in done.stdout


def test_worked_example_is_clean(copy: Path) -> None:
    files = [name for name in examples() if name.endswith(".py")]
    done = run_in(copy, ["python", "-m", "ruff", "check", *files])
    assert done.returncode == 0, done.stdout + done.stderr


def test_worked_example_unlearns(copy: Path, tmp_path: Path) -> None:
    """The README's own command line, on a world small enough for a test."""
    world = write_world(tmp_path)
    words = shlex.split(next(line for line in commands() if "--unlearn_method margin" in line))
    for name, value in {"--task": "salmu_retrieval", "--df_size": "16", "--cfg-path": str(world.config)}.items():
        words[words.index(name) + 1] = value
    metrics = "run.metrics=[retrieval,cosine,modality_gap]"
    done = run_in(copy, [*words, f"run.resume_ckpt_path={random_weights(world)}", metrics])
    assert done.returncode == 0, done.stderr
    log = (world.folder("margin") / "log.txt").read_text(encoding="utf-8")
    assert '"train_forget"' in log and '"train_retain"' in log
    check_metric_example(copy, world.folder("margin"), done.stdout)


def check_metric_example(copy: Path, folder: Path, table: str) -> None:
    """The example metric is in results.json, in the table at the end, in the report and in its CSV."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["metrics"]
    assert 0 < found["df_modality_gap"] < 2 and f"forget gap {found['df_modality_gap']:.3f}" in table
    code = (
        "import sys; from pathlib import Path; from lavis.report.page import Report, write_report; "
        "from lavis.report.rows import row_from_folder; "
        "write_report(Report([row_from_folder(Path(sys.argv[1]))]), Path(sys.argv[2]))"
    )
    done = run_in(copy, ["python", "-c", code, str(folder), str(folder / "report")])
    assert done.returncode == 0, done.stderr
    for name in ("index.html", "results.md"):
        text = (folder / "report" / name).read_text(encoding="utf-8")
        assert "forget gap" in text and f"{found['df_modality_gap']:.3f}" in text, name
    assert "df_modality_gap" in (folder / "report" / "results.csv").read_text(encoding="utf-8").splitlines()[0]


def random_weights(world) -> Path:
    config = load_config(world.config)
    model = registry.get_model_class("clip").from_config(config.model)
    path = world.path / "start.pt"
    torch.save(model.checkpoint_state(), path)
    return path

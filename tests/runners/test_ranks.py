"""Processes that would compute different things stop before the first step, with one message that names the rank."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import ROOT, rank_variables, start
from tests.small import SmallWorld, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SmallWorld:
    return write_world(tmp_path_factory.mktemp("ranks"), run_keys={"max_epoch": 1, "evaluate_after": False})


def edit_rows(folder: Path, change) -> None:
    path = folder / "annotations" / "train.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def together(commands: list[list[str]], env: list[dict[str, str]]) -> tuple[list[int], str]:
    running = [start(words, env=own) for words, own in zip(commands, env, strict=True)]
    texts = [process.communicate(timeout=120)[1] for process in running]
    return [process.returncode for process in running], "".join(texts)


def run_apart(world: SmallWorld, folder: Path, content: dict, script: str = "train.py"):
    """Exit codes and errors of two ranks of which the second has the configuration `content`."""
    own = folder / "own.yaml"
    own.write_text(yaml.safe_dump(content))
    words = [sys.executable, str(ROOT / script), "--cfg-path"]
    tail = ["--options", f"run.output_dir={folder / 'out'}"]
    return together([[*words, str(path), *tail] for path in (world.config, own)], rank_variables(2))


def one_message(error: str) -> str:
    assert error.count("error: ") == 1 and "Traceback" not in error, error
    return error[error.index("error: ") :]


KINDS = {
    "captions": (lambda rows: rows[3].update(caption="edited"), "rank 1 differs from rank 0 in rows to train on"),
    "row counts": (lambda rows: rows.pop(), "rank 1 differs from rank 0 in number of rows of dr (39, not 40)"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_edited_rows_on_one_rank(tmp_path, kind, monkeypatch):
    """Both ranks have one configuration; the files it names lie in their working folders and differ."""
    change, words = KINDS[kind]
    commands, folders = [], [tmp_path / "host0", tmp_path / "host1"]
    for folder in folders:
        host = write_world(folder, run_keys={"max_epoch": 1, "evaluate_after": False})
        text = host.config.read_text().replace(str(folder), ".")
        host.config.write_text(text)
        commands.append([*host.command("train.py")[:2], "--cfg-path", "config.yaml", "--options", "run.output_dir=o"])
    edit_rows(folders[1], change)
    running = []
    for folder, words_of, env in zip(folders, commands, rank_variables(2), strict=True):
        monkeypatch.chdir(folder)
        running.append(start(words_of, env=env))
    error = "".join(process.communicate(timeout=120)[1] for process in running)
    assert [process.returncode for process in running] == [2, 2], error
    assert words in one_message(error)


def test_another_setting_on_one_rank(world, tmp_path):
    content = yaml.safe_load(world.config.read_text())
    content["run"]["init_lr"] = 0.5
    codes, error = run_apart(world, tmp_path, content)
    assert codes == [2, 2], error
    assert "rank 1 has run.init_lr 0.5, rank 0 has 0.001" in one_message(error)
    assert not list((tmp_path / "out").rglob("checkpoint_*"))


def test_settings_that_change_nothing_may_differ(world, tmp_path):
    content = yaml.safe_load(world.config.read_text())
    content["run"] |= {"log_freq": 7, "keep_last": 3}
    codes, error = run_apart(world, tmp_path, content)
    assert codes == [0, 0], error


def test_other_versions_on_one_rank(monkeypatch):
    from lavis.common import distributed
    from lavis.common.errors import ConfigError
    from lavis.runners import ranks
    from lavis.settings.config import load_config

    config = load_config(ROOT / "configs/clip/retrieval_salmu_mini.yaml").to_dict()
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    old = {**ranks.versions(), "version of torch": "1.0"}
    monkeypatch.setattr(distributed, "gather_objects", lambda own: [own, (own[0], old)])
    with pytest.raises(ConfigError, match=r"rank 1 differs from rank 0 in version of torch \(1\.0, not"):
        ranks.agree_on_settings(config)

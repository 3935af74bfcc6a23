"""evaluate.py on several checkpoints: one row each, failures in one line, the others still evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import evaluate
from lavis.common.errors import ConfigError
from lavis.common.results import read_results
from lavis.tasks.comparison import distinct_labels
from lavis.tasks.entry import evaluate as entry
from tests.processes import run
from tests.tasks.checkpoints import collapse, copy_of


def options_of(paths, out) -> list[str]:
    return [f"run.checkpoints=[{','.join(map(str, paths))}]", f"run.output_dir={out}"]


def test_labels_are_distinct():
    paths = ["a/x/checkpoint_best.pth", "b/x/checkpoint_best.pth", "c/other.pth", "/k/open_clip_model.safetensors"]
    assert list(distinct_labels([*paths, paths[0]]).values()) == [
        "a-x-checkpoint_best",
        "b-x-checkpoint_best",
        "other",
        "k",
    ]


def test_each_has_a_row_and_failures_have_one_line(trained_world, tmp_path, capsys, heard):
    world, out = trained_world, tmp_path / "out"
    good = copy_of(world, tmp_path / "good.pth", lambda state: None)
    wide = copy_of(world, tmp_path / "wide.pth", lambda state: state.update({"visual.proj": torch.ones(32, 99)}))
    dead = copy_of(world, tmp_path / "dead.pth", collapse)
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:5000])
    last = copy_of(world, tmp_path / "b" / "good.pth", lambda state: None)
    paths = [good, tmp_path / "cut.pth", tmp_path / "none.pth", wide, dead, last]
    code = evaluate.main(["--cfg-path", str(world.config), "--options", *options_of(paths, out)])
    printed = capsys.readouterr()
    assert code == 2
    for path, words in (
        ("cut.pth", "damaged"),
        ("none.pth", "does not exist"),
        ("wide.pth", "does not fit the model"),
        ("dead.pth", "not finite or zero"),
    ):
        (line,) = [line for line in heard.messages if words in line and f"{tmp_path / path}" in line]
        assert "\n" not in line
    rows = {line.split()[0]: line for line in printed.out.splitlines()[1:7]}
    names = [f"{tmp_path.name}-good", "cut", "none", "wide", "dead", "b-good"]
    assert list(rows) == names
    assert rows["b-good"].split()[1:] == rows[names[0]].split()[1:] and "failed" in rows["cut"]
    assert "broken" in rows["dead"]
    folder = out / "evaluate" / "clip" / "salmu_retrieval"
    assert sorted(p.name for p in folder.iterdir()) == sorted([names[0], "b-good", "dead", *_begun(folder)])
    assert read_results(folder / "b-good" / "results.json")["checkpoint"] == str(last)
    assert read_results(folder / "dead" / "results.json")["metrics"]["df_cosine"] in (None, 0.0)


def _begun(folder: Path) -> list[str]:
    """Folders of checkpoints that did not load: no results in them."""
    return [p.name for p in folder.iterdir() if not (p / "results.json").exists()]


@pytest.mark.slow
def test_two_processes_give_the_same_numbers(trained_world, tmp_path):
    paths = [copy_of(trained_world, tmp_path / name, lambda state: None) for name in ("one.pth", "two.pth")]
    found = {}
    for processes in (1, 2):
        options = options_of([paths[0], tmp_path / "none.pth", paths[1]], tmp_path / str(processes))
        done = run(trained_world.command("evaluate.py", options=tuple(options)), processes)
        assert done.returncode != 0 and "none.pth was not evaluated" in done.stderr
        folder = tmp_path / str(processes) / "evaluate" / "clip" / "salmu_retrieval"
        found[processes] = [read_results(folder / path.stem / "results.json")["metrics"] for path in paths]
    assert found[1] == found[2]


def test_sound_checkpoints_exit_with_0(trained_world, tmp_path, capsys):
    good = copy_of(trained_world, tmp_path / "good.pth", lambda state: None)
    words = ["--cfg-path", str(trained_world.config), "--options", *options_of([good], tmp_path)]
    assert evaluate.main(words) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "good"


def test_other_errors_are_raised(trained_world, tmp_path):
    with pytest.raises(ConfigError, match="not in both"):
        entry(str(trained_world.config), ["run.checkpoints=[a.pth]", "run.checkpoint=b.pth"])
    with pytest.raises(ConfigError, match="unknown key 'run.chekpoints'"):
        entry(str(trained_world.config), ["run.chekpoints=[a.pth]"])

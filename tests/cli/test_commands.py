"""`multidelete`: the day of someone with her own model and table, as commands; one message for wrong words."""

from __future__ import annotations

import json
import sys

import pytest

import evaluate
import lavis
from lavis.api import benchmarks
from lavis.cli.arguments import forget_of
from lavis.cli.main import COMMANDS, main
from lavis.common.errors import ConfigError
from tests.hub.folders import PLAIN, open_clip_folder
from tests.processes import ROOT, run
from tests.tables.people import people_rows, write_csv, write_people

QUICK = ["run.num_workers=0", "run.device=cpu", "run.init_lr=1e-3"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = write_people(tmp_path_factory.mktemp("cli"))
    open_clip_folder(folder / "mine", PLAIN)
    return folder


def data(world):
    columns = "image=path,caption=text,person=who"
    return ["--data", str(world / "people.csv"), "--images", str(world / "photos"), "--columns", columns]


@pytest.fixture(scope="module")
def finished(world):
    words = ["unlearn", "--model", f"local-dir:{world / 'mine'}", *data(world), "--forget", "person=p3,p5"]
    words += ["--method", "erase_hold", "--out", str(world / "run"), "--fractions", "test=0.2"]
    assert main([*words, "--options", "run.max_epoch=1", *QUICK]) == 0
    return world / "run"


def test_unlearn_needs_no_yaml_and_writes_the_one_it_used(finished, world):
    content = json.loads((finished / "results.json").read_text())
    assert content["df_size"] == 10 and content["counts"]["df"] == 10 and content["counts"]["test"] == 10
    words = ["--unlearn_method", "erase_hold", "--backbone", "clip", "--task", "pairs_retrieval"]
    again = [sys.executable, str(ROOT / "unlearn.py"), "--cfg-path", str(finished / "config.yaml"), *words]
    done = run([*again, "--options", "run.max_epoch=1", *QUICK])
    assert done.returncode == 0, done.stderr
    assert json.loads((finished / "results.json").read_text())["metrics"] == content["metrics"]


def test_evaluate_prints_a_table(finished, world, capsys):
    assert main(["evaluate", str(finished), "--metrics", "retrieval", "--options", *QUICK]) == 0
    assert "df" in capsys.readouterr().out


def test_benchmarks_are_one_table(finished, world, tmp_path, capsys):
    models = [str(finished), f"local-dir:{world / 'mine'}"]
    names = f"{world / 'people.csv'},coco_tiny"
    words = ["evaluate", *models, *data(world), "--benchmarks", names, "--out", str(tmp_path / "out")]
    assert main([*words, "--options", "run.num_workers=0", "run.device=cpu"]) == 0
    shown = capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "benchmarks.json").read_text())["rows"]
    assert list(rows) == models and all("coco_tiny" in " ".join(row) for row in rows.values())
    assert str(tmp_path / "out" / "benchmarks.csv") in shown
    assert main(["evaluate", str(finished), "--benchmarks", "coco", "--out", str(tmp_path / "none")]) == 2
    assert "was not measured on coco" in capsys.readouterr().out


def table_of_people(world, **constant):
    """people.csv with more columns, the same in every row."""
    rows = [{**row, **constant} for row in people_rows()]
    return write_csv(world / f"people-{'-'.join(constant) or 'plain'}.csv", rows)


@pytest.mark.parametrize(("columns", "split"), [({}, "train"), ({"split": "photos"}, "photos")])
def test_a_benchmark_table_without_a_test_split_is_measured_on_all_rows(
    finished, world, tmp_path, columns, split, capsys
):
    path = table_of_people(world, **columns)
    words = ["evaluate", str(finished), f"local-dir:{world / 'mine'}", *data(world), "--benchmarks", str(path)]
    assert main([*words, "--out", str(tmp_path), "--options", "run.num_workers=0", "run.device=cpu"]) == 0
    for row in json.loads((tmp_path / "benchmarks.json").read_text())["rows"].values():
        assert list(row) == [f"{path} {split} {name}" for name in ("txt_r1", "img_r1")]
    (results, *_) = (tmp_path / "evaluate").rglob("results.json")
    assert json.loads(results.read_text())["counts"] == {split: 40}
    assert f"{split} txt_r1" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "benchmarks", "evaluate.py", "several"])
def test_an_empty_table_says_so_and_ends_with_2(finished, world, tmp_path, capsys, monkeypatch, command):
    """zero_shot needs a folder of classes, which nobody names."""
    out = ["--out", str(tmp_path)]
    quiet = ["--options", "run.num_workers=0", "run.device=cpu"]
    if command == "evaluate":
        code = main(["evaluate", str(finished), *data(world), "--metrics", "zero_shot", *out, *quiet])
    elif command == "benchmarks":
        monkeypatch.setattr(benchmarks, "RETRIEVAL", ("zero_shot",))
        words = ["evaluate", str(finished), *data(world), "--benchmarks", str(world / "people.csv")]
        code = main([*words, *out, *quiet])
    else:
        checkpoint = finished / "checkpoint_best.pth"
        named = f"run.checkpoints=[{checkpoint}]" if command == "several" else f"run.checkpoint={checkpoint}"
        options = [*quiet, named, "run.metrics=[zero_shot]", f"run.output_dir={tmp_path}"]
        code = evaluate.main(["--cfg-path", str(finished / "config.yaml"), *options])
    assert code == 2 and "nothing was measured" in capsys.readouterr().out


def test_export_gives_the_model_back(finished, tmp_path, capsys):
    assert main(["export", str(finished), "--to", "open_clip", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "open_clip_model.safetensors").is_file() and "written" in capsys.readouterr().out
    assert "person" not in (tmp_path / "out" / "README.md").read_text().replace("persons", "")


@pytest.mark.parametrize("kind", ["models", "datasets", "methods", "metrics", "trackers"])
def test_zoos(kind, capsys):
    assert main(["zoo", kind]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_show_config_says_where_values_come_from(finished, capsys):
    words = ["--cfg-path", str(finished / "config.yaml"), "--options", "run.seed=7", "--job", "erase_hold"]
    assert main(["show-config", *words]) == 0
    lines = {line.partition(":")[0]: line.rpartition("# ")[2] for line in capsys.readouterr().out.splitlines()}
    assert lines["run.seed"] == "--options" and lines["run.beta1"] == "default"
    assert lines["run.init_lr"].endswith("config.yaml") and "pairs/defaults" in lines["datasets.pairs.image_cache"]


def test_forget_conditions_and_files(tmp_path):
    assert forget_of(["person=a,b", "place=x"]) == {"where": {"person": ["a", "b"], "place": ["x"]}}
    (tmp_path / "t.csv").write_text("x")
    (tmp_path / "l.txt").write_text("x")
    assert forget_of([f"{tmp_path / 't.csv'}:path"]) == {"table": str(tmp_path / "t.csv"), "on": "path"}
    assert forget_of([str(tmp_path / "l.txt")]) == {"list": str(tmp_path / "l.txt")} and forget_of(None) is None
    with pytest.raises(ConfigError, match="is no file; conditions are written COLUMN=VALUE"):
        forget_of(["nowhere"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and "usage:" in capsys.readouterr().out


def test_the_overview_and_wrong_words(capsys):
    assert main([]) == 0 and "unlearn" in capsys.readouterr().out
    assert main(["--version"]) == 0 and "multidelete 0" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="unknown command 'unlern'; closest: 'unlearn'"):
        main(["unlern"])
    done = run([sys.executable, "-m", "lavis.cli.main", "unlern"])
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_tilde_is_the_home_folder_everywhere(world, tmp_path, monkeypatch):
    """In the values of flags, options and YAML, and from Python; nowhere does a folder named ~ appear."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    home.symlink_to(world)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    columns = "image=path,caption=text,person=who"
    words = ["unlearn", "--model=local-dir:~/mine", "--data", "~/people.csv", "--images=~/photos"]
    words += ["--columns", columns]
    words += [
        "--forget",
        "person=p3",
        "--method",
        "ft",
        "--out=~/tilde",
        "--options",
        "run.output_dir=~/caches",
        *QUICK,
    ]
    done = run([sys.executable, "-m", "lavis.cli.main", *words, "run.max_epoch=1", "run.evaluate_after=false"])
    assert done.returncode == 0, done.stderr
    assert (world / "tilde" / "checkpoint_best.pth").is_file()
    lavis.export("~/tilde", "~/exported")
    lavis.load_model("clip", "~/exported")
    assert lavis.evaluate("~/tilde", metrics=["cosine"], output_dir="~/numbers", num_workers=0, device="cpu")
    assert list(here.iterdir()) == [] and not (world / "~").exists()

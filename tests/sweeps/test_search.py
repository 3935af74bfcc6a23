"""The search: which metrics it may use, how it chooses, what it writes; and that its jobs open no holdout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from lavis.common.errors import ConfigError, MissingFile
from lavis.sweeps import cli
from lavis.sweeps.plan import ROOT, expand, settings
from lavis.sweeps.schema import SweepConfig, sweep_from_dict
from lavis.sweeps.search import (
    SEARCH_OPTIONS,
    Candidate,
    Rule,
    choose,
    closed,
    distance,
    read_rule,
    recall_left,
    visible,
)
from lavis.sweeps.search_report import markdown, why_none
from tests.processes import run
from tests.small import SmallWorld

TINY = "configs/clip/retrieval_salmu_tiny.yaml"
PLACE = "clip/salmu_tiny_retrieval"
AIM = {"df_cosine": 0.25, "df_txt_r1": 2.0, "df_img_r1": 4.0, "dr_txt_r1": 90.0, "dr_img_r1": 92.0, "mia_auc": 1.0}
WATCHED = """
import os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
def watch(event, args):
    if event == "open" and isinstance(args[0], str) and "holdout_" in args[0]:
        raise AssertionError("opened a holdout file: " + args[0])
sys.addaudithook(watch)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def sweep(folder: Path, **more: Any) -> SweepConfig:
    base = {"cfg_path": TINY, "methods": ["vlul"], "grid": {"vlul": {"init_lr": [1, 2]}}}
    base |= {"options": [f"run.output_dir={folder}"], "search": {"out": str(folder / "found")}}
    return sweep_from_dict(base | more, "s.yaml")


def candidate(method: str, name: str, kept: float, gap: float, left: float = 5.0) -> Candidate:
    return Candidate(method, name, [f"run.init_lr={name}"], AIM, kept, left, gap, [])


def test_the_nearest_of_those_that_keep_enough_is_chosen() -> None:
    found = [candidate("a", "1", 96, 0.3), candidate("a", "2", 95, 0.2), candidate("a", "3", 94.9, 0.0)]
    found += [candidate("a", "4", 99, 0.0, left=10.1), candidate("a", "5", 99, 0.0, left=math.nan)]
    found += [candidate("b", "1", 40, 0.1), candidate("b", "2", 50, 0.5), candidate("b", "3", math.nan, 0.0)]
    found += [candidate("c", "1", 99, math.nan), candidate("d", "1", 99, 0.1, left=-5.0)]
    choose(found, Rule(dr_kept=95))
    assert [(c.method, c.point) for c in found if c.chosen] == [("a", "2"), ("d", "1")]


def test_only_a_setting_that_forgot_is_printed_as_yaml(tmp_path: Path) -> None:
    found = [candidate("a", "1", 99, 0.1), candidate("b", "1", 96.7, 0.4, left=82.3)]
    found += [candidate("b", "2", 13.0, 0.4, left=4.0), candidate("b", "3", 20.0, 0.4, left=9.0)]
    choose(found, Rule())
    page = markdown(sweep(tmp_path), Rule(), {}, found, [], "found.json")
    chosen = page.partition("## Chosen")[2]
    assert yaml.safe_load(chosen.split("```")[1]) == {"jobs": {"a": {"init_lr": 1}}}
    assert chosen.rstrip().endswith("No good setting for b: see above what was tried, and try other values.")
    assert (
        "3 settings tried, none is good. Of those that keep enough of Dr, init_lr 1 forgets most: 82.3 % of Df is "
        "left. Of those that forgot, init_lr 3 keeps most: 20.0 % of Dr." in page
    )
    page = markdown(sweep(tmp_path), Rule(), {}, found[1:], [], "found.json")
    assert "```" not in page and "jobs:" not in page


@pytest.mark.parametrize(
    ("kept", "left", "gap", "why"),
    [
        (
            60,
            30,
            0.1,
            "None keeps enough of Dr; init_lr 1 keeps most: 60.0 %. None forgot; init_lr 1 forgets most: 30.0 %",
        ),
        (99, math.nan, 0.1, "The target's recall on Df is as high as compromised's"),
        (99, 5, math.nan, "None has finite numbers."),
    ],
)
def test_why_no_setting_is_good(kept: float, left: float, gap: float, why: str) -> None:
    told = why_none([candidate("a", "1", kept, gap, left)], Rule())
    assert told.startswith("1 setting tried, none is good.") and why in told


def test_recall_left_by_hand() -> None:
    """Means of both directions: compromised 43, the target 3, the candidate 13: a quarter of 40 is left."""
    start = AIM | {"df_txt_r1": 42.0, "df_img_r1": 44.0}
    assert recall_left(AIM | {"df_txt_r1": 12.0, "df_img_r1": 14.0}, start, AIM) == pytest.approx(25.0)
    assert recall_left(AIM, start, AIM) == 0.0
    assert math.isnan(recall_left(AIM, AIM, AIM))


def test_a_point_whose_results_are_out_of_date_is_marked(tmp_path: Path) -> None:
    old = Candidate("a", "2", ["run.init_lr=2"], AIM, 96, 5.0, 0.2, [], doubt="its results are of other settings")
    page = markdown(sweep(tmp_path), Rule(), {}, [old], [], "found.json")
    assert "| init_lr 2 (out of date) |" in page


def test_distance_by_hand() -> None:
    metrics = AIM | {"df_cosine": -0.15, "df_txt_r1": 12.0, "df_img_r1": 14.0, "mia_auc": 0.8}
    assert distance(metrics, AIM) == pytest.approx((0.4 + 0.1 + 0.2) / 3)
    assert distance(AIM, AIM) == 0.0


def test_only_df_and_dr_are_visible() -> None:
    given = {"df_cosine": 1, "dr_txt_r1": 2, "mia_auc": None, "test_txt_r1": 3, "holdout_identity_cosine": 4}
    seen = visible({"metrics": given | {"salmubench_inter_id_sim": 5}})
    assert set(seen) == {"df_cosine", "dr_txt_r1", "mia_auc"}
    assert math.isnan(seen["mia_auc"])


def test_the_jobs_of_a_search_have_their_holdouts_closed(tmp_path: Path) -> None:
    given = sweep(tmp_path)
    start = tmp_path / "original" / PLACE / "checkpoint_best.pth"
    with pytest.raises(MissingFile, match="bash bash/ori.sh"):
        closed(given, settings(given)[0])
    start.parent.mkdir(parents=True)
    start.write_text("weights")
    for cell in expand(closed(given, settings(given)[0])):
        given_run = cell.job.config["run"]
        assert (given_run["read_holdouts"], given_run["test_splits"]) == (False, [])
        assert given_run["metrics"] == ["cosine", "retrieval", "membership"]
        assert given_run["resume_ckpt_path"] == start.as_posix()
        assert cell.job.folder.as_posix().startswith(f"{tmp_path}/search/unlearn-vlul/{PLACE}/60/init_lr-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search": {"dr_keep": 3}}, "unknown key 'search.dr_keep'; closest: 'dr_kept'"),
        ({"search": {"dr_kept": 101}}, "search.dr_kept must be at least 0 and at most 100, found 101"),
        ({"search": {"target": "compromised"}}, "search.target is 'compromised'; closest: 'retrained'"),
        ({"methods": ["vlul", "erase"]}, "'grid' has nothing to choose from for erase"),
    ],
)
def test_bad_searches(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_rule(sweep(tmp_path, **change))


def test_a_search_is_for_one_setting(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    content = {"cfg_path": TINY, "methods": ["vlul"], "df_sizes": [8, 9], "grid": {"vlul": {"init_lr": [1]}}}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="a search is for one backbone"):
        cli.main([str(path), "--search", "--dry-run"])


def write_results(folder: Path, **metrics: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint_best.pth").write_text("weights")
    results = {"finished": True, "metrics": AIM | metrics, "seed": 42, "df_size": 60, "df_seed": 42, "commit": "abc"}
    (folder / "results.json").write_text(json.dumps(results | {"seconds": {"train": 1.0}, "command": ["python", "x"]}))


def test_holdout_numbers_of_the_references_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of three candidates finished; the pages do not depend on the references' holdout metrics."""
    path = tmp_path / "s.yaml"
    grid = {"vlul": {"init_lr": ["1e-4", "2e-4", "3e-4"]}}
    given = sweep(tmp_path, grid=grid)
    content = {"cfg_path": TINY, "methods": ["vlul"], "grid": grid, "options": given.options, "search": given.search}
    path.write_text(yaml.safe_dump(content))
    pages = []
    for holdout in (0.9, -0.9):
        write_results(tmp_path / "original" / PLACE, df_cosine=0.9, df_txt_r1=62.0, holdout_identity_cosine=holdout)
        write_results(tmp_path / "retrained" / PLACE / "60", holdout_identity_cosine=holdout)
        place = tmp_path / "search" / "unlearn-vlul" / PLACE / "60"
        write_results(place / "init_lr-1e-4", df_cosine=0.5, holdout_identity_cosine=holdout)
        write_results(place / "init_lr-2e-4", df_cosine=0.3, dr_txt_r1=None)
        assert cli.main([str(path), "--search", "--report-only"]) == 0
        pages.append((tmp_path / "found.md").read_text())
    assert pages[0] == pages[1]
    assert (
        "| **init_lr 1e-4** | **0.500** | **1.000** | **3.0** | **91.0** | **0.0** | **100.0** | **0.083** | **1** |"
        in pages[0]
    )
    assert "| init_lr 2e-4 | 0.300 | 1.000 | 3.0 | nan | 0.0 | nan | 0.017 | 1 |" in pages[0]
    assert "3e-4" not in pages[0]
    data = json.loads((tmp_path / "found.json").read_text())
    assert [c["chosen"] for c in data["candidates"]] == [True, False]
    assert data["candidates"][1]["metrics"]["dr_txt_r1"] is None
    assert "holdout" not in json.dumps(data["references"])
    assert "init_lr: 0.0001" in capsys.readouterr().out


@pytest.mark.parametrize("read", [False, True])
def test_a_job_of_a_search_opens_no_holdout_file(tmp_path: Path, trained_world: SmallWorld, read: bool) -> None:
    """unlearn.py in a process that dies when a holdout file is opened; with the search's options it lives."""
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    own = [f"run.output_dir={tmp_path}", f"run.resume_ckpt_path={start}", "run.max_epoch=1"]
    options = [option for option in SEARCH_OPTIONS if not (read and "read_holdouts" in option)]
    command = trained_world.unlearn("vlul", options=(*own, *options))
    done = run([command[0], "-c", WATCHED, *command[1:]])
    assert (done.returncode == 0) is not read, done.stderr[-2000:]
    assert ("opened a holdout file" in done.stderr) is read
    assert (next(tmp_path.rglob("results.json"), None) is None) is read

"""Rows of a sweep's report for MultiDelete's miniatures."""

from __future__ import annotations

import json

import pytest

from benchmarks.multidelete_mini import main, rows_of
from lavis.common.errors import DataError


def row(task, metrics, **facts):
    shared = {"backbone": "blip", "df_size": 40, "seed": 42, "commit": "c0ffee", "seconds": {"train": 1.5}}
    return {"name": "vlul", "task": task, "metrics": metrics, "command": ["python", "unlearn.py"], **shared, **facts}


def scores(score):
    return {f"test_{score}": 60.0, f"df_{score}": 70.0, f"dr_{score}": 80.0, "mia_auc": 0.5}


def test_rows_take_their_task_s_score_and_chance(tmp_path, capsys):
    tasks = {"vqa_mini": ("acc", 35.4), "ve_mini": ("acc", 33.3), "coco_mini_retrieval": ("r_mean", 2.7)}
    rows = [row(task, scores(score)) for task, (score, _) in tasks.items()]
    rows.append(row("nlvr_mini", {}, broken="not finite"))
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}))
    assert main([str(tmp_path / "results.json"), "--out", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert [(r["task"], r["score"], r["chance"]) for r in found] == [(t, *facts) for t, facts in tasks.items()]
    assert "| blip | vqa_mini | acc | 35.4 | 60.0 / 70.0 / 80.0 · 0.50 |" in capsys.readouterr().out
    assert (found[0]["test"], found[0]["df"], found[0]["dr"], found[0]["mia_auc"]) == (60.0, 70.0, 80.0, 0.5)
    assert (found[0]["command"], found[0]["seconds"], found[0]["commit"]) == ("python unlearn.py", 1.5, "c0ffee")


def test_other_tasks_are_refused():
    with pytest.raises(DataError, match="'salmu_mini' is not one of MultiDelete's miniatures"):
        rows_of({"rows": [row("salmu_mini", scores("acc"))]})

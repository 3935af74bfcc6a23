"""Draft decoding in a run: it is logged, it is in results.json, and no cache mixes the two kinds of pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TRAIN, EVAL = (f"datasets.salmu.vis_processor.{stage}.draft=true" for stage in ("train", "eval"))
DRAFTED = "large JPEGs are decoded at a fraction of their size"


@pytest.mark.parametrize(
    ("options", "named"),
    [((TRAIN,), "train.draft:"), ((EVAL,), "eval.draft:"), ((TRAIN, EVAL), "train.draft and eval.draft:")],
)
def test_a_run_says_that_it_decodes_drafts(unlearn, heard, options, named):
    folder = unlearn("erase", "run.max_epoch=1", *options)
    assert heard.text.count(DRAFTED) == 1 and f"vis_processor.{named} {DRAFTED}" in heard.text
    stages = json.loads((folder / "results.json").read_text("utf-8"))["config"]["datasets"]["salmu"]["vis_processor"]
    assert [stages[stage].get("draft", False) for stage in ("train", "eval")] == [TRAIN in options, EVAL in options]


def test_without_it_nothing_is_said(unlearn, heard):
    unlearn("erase", "run.max_epoch=1", "run.evaluate_after=false")
    assert DRAFTED not in heard.text


def test_embeddings_of_drafts_have_their_own_files(unlearn, tmp_path):
    cache = tmp_path / "features"

    def files(*options: str) -> set[Path]:
        unlearn("erase", "run.max_epoch=3", f"run.feature_cache={cache}", "run.resume=false", *options)
        return {path for path in cache.rglob("*") if path.is_file() and path.suffix != ".key"}

    plain = files()
    assert plain and files() == plain
    assert len(files(TRAIN, EVAL) - plain) >= 2  # the teacher's and evaluation's

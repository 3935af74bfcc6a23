"""The benchmark script at a small size, and the claims of its committed result."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmark_recall", BENCHMARKS / "recall.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_both_ways_find_the_same_recall(script):
    full, blocked = script.measure("full", 150, 16), script.measure("blocked", 150, 16)
    assert full["recall"] == blocked["recall"] and 0 < full["recall"]["txt_r1"] < 100
    assert set(full["phases"]) == {"product", "sort_rows", "sort_columns"}


def test_the_committed_result_keeps_its_promise():
    """At 30,468 pairs of dimension 512: at most 1 GiB beyond the features, no slower than the sort, equal recall."""
    result = json.loads((BENCHMARKS / "results" / "recall.json").read_text())
    assert (result["n"], result["dim"]) == (30468, 512) and result["recall_equal"]
    assert result["blocked"]["mib_beyond_features"] <= 1024
    assert result["blocked"]["seconds"] <= result["full"]["phases"]["sort_rows"]
    assert result["ratio"]["full_time_over_blocked"] >= 2.5 and result["ratio"]["blocked_memory_over_full"] <= 0.25

"""Ranks of partitioned features equal those of one process with all features."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import ConfigError
from lavis.evaluation.partitions import cosines_from_partition, partition_plan, ranks_from_partition
from lavis.settings.config import load_config
from lavis.tasks.retrieval import RetrievalTask
from tests.evaluation.partition_cases import expected, features
from tests.processes import rank_variables, run

SCRIPT = """
import numpy as np, torch, torch.distributed as dist
from lavis.common import distributed
from lavis.evaluation.partitions import cosines_from_partition, ranks_from_partition, partition_plan
from tests.evaluation.partition_cases import CASES, expected, features
dist.init_process_group("gloo")
for case in CASES:
    image, text, txt2img, group, block = features(*case)
    plan = partition_plan(txt2img, group, len(image), block=block)
    own = image[plan.image_rows], text[plan.text_rows]
    sent, broadcast = [], dist.broadcast
    dist.broadcast = lambda rows, src: (sent.append(len(rows)), broadcast(rows, src=src))
    ranks = ranks_from_partition(*own, plan)
    dist.broadcast = broadcast
    assert max(sent, default=0) <= block + 63 and len(own[0]) <= len(image) // dist.get_world_size() + block
    for ours, theirs in zip(ranks, expected(image, text, txt2img, group, block)):
        assert np.array_equal(ours, theirs), case
    cosines = (image[txt2img].double() * text.double()).sum(dim=1)
    assert torch.equal(cosines_from_partition(*own, plan).nan_to_num(7), cosines.nan_to_num(7)), case
print("equal", flush=True)
distributed.shutdown()
"""


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_several_processes_rank_as_one(tmp_path: Path, processes: int) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(SCRIPT)
    alone = rank_variables(1)[0] if processes == 1 else None  # also a process group of one
    done = run([sys.executable, str(script)], processes, env=alone)
    assert done.returncode == 0 and done.stdout.count("equal") == processes, done.stderr


@settings(max_examples=40, deadline=None)
@given(n_img=st.integers(1, 90), n_txt=st.integers(1, 90), seed=st.integers(0, 999), block=st.sampled_from([1, 7, 64]))
def test_one_process_with_a_plan_ranks_as_without(n_img, n_txt, seed, block):
    image, text, txt2img, group, _ = features(n_img, n_txt, seed, block)
    plan = partition_plan(txt2img, group, n_img, block=block)
    own = image[plan.image_rows], text[plan.text_rows]
    for ours, theirs in zip(
        ranks_from_partition(*own, plan), expected(image, text, txt2img, group, block), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    cosines = (image[txt2img].double() * text.double()).sum(dim=1)
    torch.testing.assert_close(cosines_from_partition(*own, plan), cosines, rtol=0, atol=0, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(n_img=st.integers(0, 500), n_txt=st.integers(0, 500), block=st.sampled_from([1, 7, 64]), world=st.integers(1, 9))
def test_partitions_cover_all_rows_once_and_tiles_have_owners(n_img, n_txt, block, world):
    txt2img = np.zeros(n_txt if n_img else 0, dtype=np.int64)
    plans = [partition_plan(txt2img, None, n_img, block=block, shard=(rank, world)) for rank in range(world)]
    for kind, n in (("images", n_img), ("texts", len(txt2img))):
        parts = [getattr(plan, kind) for plan in plans]
        assert [i for part in parts for i in part] == list(range(n))
        assert all(part.start % block == 0 for part in parts if len(part))
        assert max(map(len, parts)) <= n // world + block
    for tile in range(-(-len(txt2img) // block)):
        assert tile * block in plans[plans[0].owner(tile)].texts


def test_features_of_another_shape_are_refused():
    plan = partition_plan(np.zeros(4, dtype=np.int64), None, 3)
    with pytest.raises(ValueError, match=r"holds \(3, 4\) images and texts, got \(2, 4\)"):
        ranks_from_partition(torch.zeros(2, 5), torch.zeros(4, 5), plan)


def test_metrics_that_need_whole_features_are_refused(trained_world):
    options = ["run.shard_features=true", "run.metrics=[retrieval,salmubench]"]
    with pytest.raises(ConfigError, match="cannot measure .*retfail"):
        RetrievalTask(load_config(trained_world.config, options))
    RetrievalTask(load_config(trained_world.config, options[:1]))


def test_partitioned_evaluation_gives_the_same_numbers(trained_world, tmp_path):
    checkpoint = f"run.checkpoint={trained_world.output / 'original/clip/salmu_retrieval/checkpoint_best.pth'}"
    found = []
    for name, processes, sharded in (("whole", 1, False), ("one", 1, True), ("two", 2, True)):
        out = tmp_path / name
        options = (checkpoint, f"run.output_dir={out}", f"run.shard_features={sharded}", "run.eval_max_pairs=11")
        done = run(trained_world.command("evaluate.py", options=options), processes)
        assert done.returncode == 0, done.stderr
        assert ("features are partitioned" in done.stderr) == sharded
        content = json.loads(next(out.rglob("results.json")).read_text())
        found.append((content["metrics"], content["counts"]))
        assert bool(list(out.rglob("*.safetensors"))) != sharded
    assert found[0] == found[1] == found[2] and "mia_auc" in found[0][0]

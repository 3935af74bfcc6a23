"""run.metrics=[..., salmubench] through evaluate.py, on a drawn SALMU-tiny and an untrained model."""

from __future__ import annotations

import json
import math

import pytest

from lavis.common.errors import ConfigError, DataError
from lavis.common.registry import registry
from lavis.common.results import read_results
from lavis.tasks.entry import evaluate
from tests.tiny import CONFIG, draw_tiny, save_untrained


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    keys = [
        *draw_tiny(root),
        f"run.output_dir={root / 'output'}",
        "run.device=cpu",
        f"run.checkpoint={root / 'model.pth'}",
    ]
    save_untrained(keys, root / "model.pth")
    return keys, root


def test_results_contain_the_benchmark_and_are_repeatable(options):
    keys, root = options
    folder = root / "output" / "evaluate" / "clip" / "salmu_tiny_retrieval" / "model"
    found = []
    for _ in range(2):
        evaluate(CONFIG, [*keys, "run.metrics=[cosine,salmubench]"])
        found.append(read_results(folder / "results.json")["metrics"])
    assert found[0] == found[1]
    mrr = found[0]["salmubench_retfail_mrr"]
    assert math.isfinite(mrr)
    assert found[0]["salmubench_inter_id_sim"] == pytest.approx(found[0]["holdout_identity_cosine"], abs=2e-6)
    (public,) = folder.glob("evaluation_*.json")
    assert json.loads(public.read_text())["efficacy"]["1.1_RetFail"]["MRR"] == mrr
    evaluate(CONFIG, [*keys, "run.metrics=[cosine]"])
    assert not [k for k in read_results(folder / "results.json")["metrics"] if k.split("_")[0] == "salmubench"]


def test_a_second_evaluation_reads_its_embeddings_from_the_cache(options, monkeypatch, tmp_path, heard):
    keys, root = options
    keys = [*keys, f"run.feature_cache={tmp_path / 'cache'}", "run.metrics=[retrieval,cosine,salmubench,int8]"]
    counted: list[str] = []
    model_class = registry.get_model_class("clip")
    for name in ("encode_image", "encode_text"):
        plain = getattr(model_class, name)

        def counting(self, rows, plain=plain):
            counted.extend([plain.__name__] * len(rows))
            return plain(self, rows)

        monkeypatch.setattr(model_class, name, counting)
    folder = root / "output" / "evaluate" / "clip" / "salmu_tiny_retrieval" / "model"
    evaluate(CONFIG, keys)
    first, number = read_results(folder / "results.json")["metrics"], counted.count("encode_image")
    assert {f"salmubench_int8_{name}" for name in ("retfail_mrr", "assoc_str", "gen_know")} <= set(first)
    assert 0 < abs(first["salmubench_int8_assoc_str"] - first["salmubench_assoc_str"]) < 0.05
    plain_images, int8_images = 60 + 40 + 20 + 120 + 300, 60 + 80  # df, holdouts, test, dr; int8: forget, classes
    assert number <= plain_images + int8_images + 18 + 30  # retain_joint and fragile_set are partly in dr
    counted.clear()
    evaluate(CONFIG, keys)
    assert counted == [] and read_results(folder / "results.json")["metrics"] == first
    for path in (tmp_path / "cache").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    evaluate(CONFIG, keys)
    assert counted.count("encode_image") == number and "is damaged" in heard.text
    assert read_results(folder / "results.json")["metrics"] == first


@pytest.mark.parametrize(
    "bad,words",
    [
        ("run.salmubench.acs_features=dot", "acs_features is 'dot'; .*cosine, product"),
        ("run.salmubench.idzsc_prompt=a", "idzsc_prompt is 'a'"),
        ("run.salmubench.retfail_own_caption=dropp", "closest: 'drop'"),
        ("run.salmubench.distractors=0", "distractors must be at least 1"),
        ("run.salmubench.acs=cosine", "unknown key 'run.salmubench.acs'"),
    ],
)
def test_wrong_choices_are_refused_before_anything_is_read(options, bad, words):
    with pytest.raises(ConfigError, match=words):
        evaluate(CONFIG, [*options[0], bad])


def test_choices_change_only_their_metrics(options):
    keys, root = options
    folder = root / "output" / "evaluate" / "clip" / "salmu_tiny_retrieval" / "model"
    found = []
    choices = ["acs_features=product", "idzsc_prompt=photo", "retfail_own_caption=keep", "distractors=20", "seed=7"]
    for own in ([], [f"run.salmubench.{choice}" for choice in choices]):
        evaluate(CONFIG, [*keys, "run.metrics=[salmubench]", *own])
        found.append(read_results(folder / "results.json")["metrics"])
    changed = {name for name in found[0] if found[0][name] != found[1][name]}
    assert {"salmubench_acs", "salmubench_retfail_mrr"} <= changed
    same = ("x_mrr", "assoc_str", "gen_know", "core_assoc", "inter_id_sim", "frag_sim")
    assert not changed & {f"salmubench_{name}" for name in same}


def test_data_without_identities_is_refused(trained_world, tmp_path):
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    with pytest.raises(DataError, match="identity_id"):
        evaluate(
            str(trained_world.config),
            [f"run.checkpoint={start}", "run.metrics=[salmubench]", f"run.output_dir={tmp_path}"],
        )

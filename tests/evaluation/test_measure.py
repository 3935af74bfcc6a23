from __future__ import annotations

import math

import pytest
import torch

from lavis.common.errors import ConfigError
from lavis.embedding.embed import SplitFeatures, embed_entries
from lavis.evaluation.inputs import rows_problem
from lavis.evaluation.membership import mia_auc
from lavis.evaluation.retrieval import retrieval_metrics
from lavis.settings.schema import RunConfig
from tests.evaluation.world import FakeModel, metrics_of, splits


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    data = splits(tmp_path_factory.mktemp("images"))
    return {name: embed_entries(FakeModel(), dataset, 4, "cpu") for name, dataset in data.items()}


def test_names_and_values(features):
    metrics = metrics_of(features, RunConfig())
    recalls = {f"{modality}_r{k}" for modality in ("txt", "img") for k in (1, 5, 10, "_mean")} | {
        "r_mean",
        "agg_metrics",
    }
    expected = {f"{s}_{r}" for s in ("df", "dr", "test") for r in recalls} | {f"{s}_cosine" for s in features}
    assert set(metrics) == expected | {"mia_auc"}
    df, dr = features["df"], features["dr"]
    scores = df.image @ df.text.T
    by_hand = retrieval_metrics(scores, scores.T, df.txt2img, [[i] for i in range(9)])
    assert {k: metrics[f"df_{k}"] for k in by_hand} == {k: round(v, 6) for k, v in by_hand.items()}
    auc = mia_auc(torch.sigmoid(df.paired_cosines), torch.sigmoid(dr.paired_cosines))
    assert metrics["mia_auc"] == round(auc, 6)
    assert metrics["holdout_identity_cosine"] == round(features["holdout_identity"].paired_cosines.mean().item(), 6)


def test_other_splits_are_ranked_if_the_configuration_names_them(features):
    metrics = metrics_of(features, RunConfig(metrics=["retrieval"], valid_splits=["holdout_identity"]))
    assert "holdout_identity_txt_r1" in metrics and "df_cosine" not in metrics and "mia_auc" not in metrics


def test_equal_captions_count_as_one_text_on_demand(features):
    merged = metrics_of(features, RunConfig())
    plain = metrics_of(features, RunConfig(merge_equal_captions=False))
    assert merged["test_img_r_mean"] > plain["test_img_r_mean"]


def test_membership_needs_both_sets(features):
    assert "mia_auc" not in metrics_of({"df": features["df"]}, RunConfig())


def test_a_broken_model_scores_nothing(features):
    df = features["df"]
    broken = SplitFeatures(df.image * float("nan"), df.text, df.txt2img, df.text_group)
    metrics = metrics_of({"df": broken, "dr": features["dr"]}, RunConfig())
    assert {"df_txt_r1", "dr_img_r10", "df_cosine", "dr_cosine", "mia_auc"} <= metrics.keys()
    assert all(map(math.isnan, metrics.values()))


@pytest.mark.parametrize(
    ("rows", "truths", "words"),
    [
        ([(1, 0.7), (0, 0.3), (1, 0.7), (0, 0.3)], "abab", "all 4 rows the same answer"),
        ([(1, 0.7), (0, math.nan)], "ab", "not finite"),
        ([(math.inf, 0.7), (0, 0.3)], "ab", "not finite"),
        ([(1, 0.7), (0, 0.3), (1, 0.8), (0, 0.3)], "abab", ""),
        ([(1, 1.0), (1, 1.0), (1, 1.0)], "aba", ""),
        ([(0, 0.3), (0, 0.3)], "aa", ""),
        ([(0, 0.3), (1, 0.7)], "ab", ""),
    ],
)
def test_answers_that_do_not_depend_on_the_question(rows, truths, words):
    problem = rows_problem(torch.tensor(rows, dtype=torch.float64), list(truths))
    assert (words in problem) if words else problem == ""


def test_errors(features):
    with pytest.raises(ConfigError, match="run.metrics names 'recall'"):
        metrics_of(features, RunConfig(metrics=["recall"]))

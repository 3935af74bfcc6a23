"""The whole benchmark on a drawn SALMU-tiny with a model of random projections."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from lavis.common.errors import DataError
from lavis.datasets.salmu_mini import SalmuTinyBuilder
from lavis.salmubench.gen_know import ImageNetAccuracy, open_imagenet
from lavis.salmubench.layout import public_layout
from lavis.settings.config import load_config
from tests.images.imagenet_files import write_folders
from tests.salmubench.rows import Projection, benchmark_of, cosine, salmubench_metrics
from tests.tiny import CONFIG, draw_tiny

TEN = "retfail_r1 retfail_mrr assoc_str acs idzsc core_assoc gen_know inter_id_sim intra_id_sim vis_id_int frag_sim"
OURS = (
    "x_mrr x_mrr_whole x_mrr_partial x_mrr_low x_mrr_high x_mrr_holdout_identity x_mrr_holdout_association pool_mrr "
    "pool_mrr_holdout_identity pool_mrr_holdout_association acs_holdout_identity acs_holdout_association linear_probe "
    "linear_probe_chance"
)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    config = load_config(CONFIG, draw_tiny(tmp_path_factory.mktemp("drawn")))
    return SalmuTinyBuilder(config.dataset, config.run)


@pytest.fixture(scope="module")
def metrics(builder):
    return salmubench_metrics(Projection(), builder)


def test_every_metric_is_there(metrics):
    wanted = {f"salmubench_{name}" for name in TEN.split()}
    wanted |= {f"salmubench_{name}" for name in ("value_auc", "value_auc_whole", "value_auc_partial")}
    wanted |= {f"salmubench_{name}" for name in ("retfail_mrr_others_whole", "gen_know_shape", "retfail_mrr_low")}
    wanted |= {f"salmubench_{name}" for name in OURS.split()}
    assert wanted <= set(metrics) and all(math.isfinite(value) for value in metrics.values())
    assert metrics["salmubench_assoc_str_low"] <= metrics["salmubench_assoc_str"]
    assert public_layout(metrics)["utility"]["2.1_GenKnow"] == {"ImageNet1k_Accuracy": -1}


def test_a_second_evaluation_agrees_to_the_last_digit(builder, metrics):
    torch.rand(3)
    assert salmubench_metrics(Projection(), builder) == metrics


def test_ranks_among_all_captions_of_people_by_loops(builder, metrics):
    source = benchmark_of(Projection(), builder)
    parts = {split: source.part(split) for split in ("forget", "holdout_identity", "holdout_association")}
    pairs = [pair for part in parts.values() for pair in zip(part.captions, part.entries, strict=True)]
    owners = {caption: entry.extra["identity_id"] for caption, entry in pairs}
    for key, texts in source.json("unseen_personas.json")["captions"].items():
        owners |= dict.fromkeys(texts, f"unseen {key}")
    rows = dict(zip(owners, source.texts(list(owners), "all").tolist(), strict=True))
    for split, part in parts.items():
        expected = {"x_mrr": 0.0, "pool_mrr": 0.0}
        for image, caption in zip(part.image.tolist(), part.captions, strict=True):
            score = cosine(image, rows[caption])
            above = [text for text in owners if text != caption and cosine(image, rows[text]) >= score - 1e-9]
            expected["pool_mrr"] += 1 / (1 + len(above)) / len(part.captions)
            strange = [text for text in above if owners[text] != owners[caption]]
            expected["x_mrr"] += 1 / (1 + len(strange)) / len(part.captions)
        tail = "" if split == "forget" else f"_{split}"
        for name, value in expected.items():
            assert metrics[f"salmubench_{name}{tail}"] == pytest.approx(value, abs=1e-6)


def test_holdouts_that_may_not_be_read_are_not_measured(builder):
    run = dataclasses.replace(builder.run, read_holdouts=False)
    closed = SalmuTinyBuilder(builder.config, run)
    found = salmubench_metrics(Projection(), closed)
    assert {"salmubench_assoc_str", "salmubench_x_mrr"} <= set(found)
    assert not [name for name in found for part in ("holdout", "whole", "partial", "_id_sim", "idzsc") if part in name]


def test_values_by_loops(builder, metrics):
    source = benchmark_of(Projection(), builder)
    for split, name in (("forget", "assoc_str"), ("fragile_set", "frag_sim"), ("retain_joint", "vis_id_int")):
        part = source.part(split)
        assert [entry.captions[0] for entry in part.entries] == part.captions
        cosines = [cosine(a, b) for a, b in zip(part.image.tolist(), part.text.tolist(), strict=True)]
        assert metrics[f"salmubench_{name}"] == pytest.approx(sum(cosines) / len(cosines), abs=1e-6)
    assert (len(source.whole), len(source.partial), len(source.splits["retain_joint"])) != (0, 0, 0)


@pytest.mark.parametrize("spoil", [torch.ones_like, lambda rows: rows * float("nan")])
@pytest.mark.parametrize("encoder", ["break_image", "break_text"])
def test_a_broken_model_gets_no_values(builder, spoil, encoder):
    model = Projection()
    setattr(model, encoder, spoil)
    metrics = salmubench_metrics(model, builder)
    assert {f"salmubench_{name}" for name in TEN.split()} <= set(metrics)
    probe = {name for name in metrics if name.startswith("salmubench_linear_probe")}  # it sees no captions
    affected = set(metrics) - (probe if encoder == "break_text" else set())
    assert all(math.isnan(metrics[name]) for name in affected) and probe


def test_imagenet_by_loops(builder, tmp_path):
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    write_folders(tmp_path, [0, 1, 1, 340, 999])
    run = dataclasses.replace(builder.run, imagenet=str(tmp_path), batch_size_eval=512)
    source = benchmark_of(Projection(), builder, run)
    imagenet, model = source.context.shared(open_imagenet), Projection()
    classes = []
    for name in IMAGENET_CLASSNAMES:
        rows = model.encode_text(model.tokenize([form(name) for form in OPENAI_IMAGENET_TEMPLATES])).double()
        classes.append((rows / rows.norm(dim=1, keepdim=True)).mean(dim=0).tolist())
    images = [model.encode_image(imagenet.pixels([number]))[0].tolist() for number in range(5)]
    scores = [[cosine(image, row) for row in classes] for image in images]
    right = sum(max(own) == own[label] for own, label in zip(scores, imagenet.labels, strict=True))
    assert ImageNetAccuracy()(source.context) == {"salmubench_imagenet": right / 5}
    imagenet.labels = [own.index(max(own)) for own in scores]
    assert ImageNetAccuracy()(source.context) == {"salmubench_imagenet": 1.0}
    source.bank.model.break_image = torch.ones_like
    broken = benchmark_of(source.bank.model, builder, run)
    with pytest.raises(DataError, match="collapsed"):
        ImageNetAccuracy()(broken.context)


def test_what_is_missing_is_left_out(builder, caplog):
    lacking = SalmuTinyBuilder(builder.config, builder.run)
    lacking._files = {split: files for split, files in lacking._files.items() if split != "holdout_identity"}
    (builder.image_root.parent / "metadata" / "unseen_personas.json").rename(builder.image_root / "unseen.json")
    try:
        metrics = salmubench_metrics(Projection(), lacking)
    finally:
        (builder.image_root / "unseen.json").rename(builder.image_root.parent / "metadata" / "unseen_personas.json")
    assert "salmubench_inter_id_sim" not in metrics and "salmubench_x_mrr_holdout_identity" not in metrics
    assert 0 <= metrics["salmubench_value_auc"] <= 1  # Faker's values in place of unseen personas'
    assert "salmubench_intra_id_sim" in metrics and "inter_id_sim: not measured" in caplog.text


def test_metadata_files_that_do_not_fit_are_named(builder, tmp_path, caplog):
    metadata = builder.image_root.parent / "metadata"
    people = json.loads((metadata / "identities_metadata.json").read_text())
    original = (metadata / "identities_metadata.json").read_bytes()
    first = next(iter(people))
    try:
        (metadata / "identities_metadata.json").write_text(json.dumps({"other": {"name": "Ann"}}))
        metrics = salmubench_metrics(Projection(), builder)
        assert "does not match the rows: it lacks" in caplog.text
        assert not {"salmubench_idzsc", "salmubench_core_assoc"} & set(metrics) and "salmubench_x_mrr" in metrics
        (metadata / "identities_metadata.json").write_text(json.dumps(people | {first: {"name": ""}}))
        with pytest.raises(DataError, match="1 identities lack a 'name'"):
            salmubench_metrics(Projection(), builder)
    finally:
        (metadata / "identities_metadata.json").write_bytes(original)


def test_an_empty_split_is_named(builder, caplog):
    empty = SalmuTinyBuilder(builder.config, builder.run)
    empty._entries = {"holdout_association": []}
    metrics = salmubench_metrics(Projection(), empty)
    assert "split 'holdout_association' is missing or empty" in caplog.text
    assert "salmubench_intra_id_sim" not in metrics and "salmubench_inter_id_sim" in metrics


def test_other_data_sets_are_refused(builder):
    other = SalmuTinyBuilder(builder.config, builder.run)
    other._entries = {"train": [], "val": [], "test": []}
    with pytest.raises(DataError, match="no image is in a folder 'forget'"):
        benchmark_of(Projection(), other)

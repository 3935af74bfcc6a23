"""Import and evaluation of the published form: shards, metadata files, weights in a hub folder, documented command."""

from __future__ import annotations

import builtins
import json
import math

import pytest
import torch

import evaluate
from lavis.common.registry import registry
from lavis.common.results import read_results
from lavis.datasets.salmu import main as import_salmu
from lavis.salmubench.fictitious_values import FakerValues
from lavis.salmubench.value_auc import ValueAuc
from lavis.settings.config import load_config
from tests.salmubench.published import PAIRS, PARTIAL, WHOLE, write_published
from tests.salmubench.rows import Projection, benchmark_of, salmubench_metrics

CONFIG = "configs/clip/retrieval_salmu.yaml"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Options that name the imported data; a tiny architecture stands for ViT-B-16."""
    root = tmp_path_factory.mktemp("published")
    shards = write_published(root / "hub")
    out, lists = root / "salmu", root / "Df"
    assert import_salmu(["import", "--parquet", str(shards), "--out", str(out), "--df-out", str(lists)]) == 0
    data, stage = "datasets.salmu", "{name: clip_image_eval, image_size: 64}"
    found = [f"{data}.build_info.images.storage={out / 'images'}", f"{data}.vis_processor.eval={stage}"]
    for split in ("train", "val", "test", "holdout_identity", "holdout_association"):
        found.append(f"{data}.build_info.annotations.{split}.storage=[{out / 'annotations' / split}.json]")
    found += [f"{data}.forget_list={lists / 'image-{seed}.txt'}", "run.device=cpu", "run.num_workers=0"]
    return [*found, "model.model_type=clip_tiny.json", f"run.output_dir={root / 'output'}", "run.feature_cache=null"]


@pytest.fixture(scope="module")
def source(keys):
    config = load_config(CONFIG, keys)
    builder = registry.get_builder_class("salmu")(config.dataset, config.run)
    return benchmark_of(Projection(), builder)


def test_splits_identities_and_values(source):
    assert {split: len(source.splits[split]) for split in PAIRS} == PAIRS
    owners = {entry.extra["identity_id"] for entry in source.splits["forget"]}
    assert len(owners) == WHOLE + PARTIAL
    held = {entry.extra["identity_id"] for entry in source.splits["holdout_association"]}
    assert len(held) == PARTIAL and held < owners
    assert len(source.whole) + len(source.partial) == PAIRS["forget"] and source.whole and source.partial
    assert {entry.extra["identity_id"] for entry in source.splits["forget_identity"]} == owners - held
    assert all(entry.extra["value"] for entry in source.splits["forget"])
    assert source.splits["retain_joint"] and source.splits["retain_disjoint"] and source.splits["fragile_set"]


def test_every_metric_but_imagenet_is_measured_also_for_whole_and_partial(source, caplog):
    found = salmubench_metrics(Projection(), source.builder)
    ten = set("retfail_r1 retfail_mrr assoc_str acs idzsc core_assoc".split())
    ten |= set("inter_id_sim intra_id_sim vis_id_int frag_sim".split())
    apart = {f"{name}_{kind}" for name in ("x_mrr", "assoc_str", "value_auc") for kind in ("whole", "partial")}
    wanted = ten | apart | {"value_auc_low", "acs_holdout_identity", "linear_probe", "pool_mrr_holdout_association"}
    assert {f"salmubench_{name}" for name in wanted} <= set(found)
    assert all(math.isfinite(value) for value in found.values())
    assert "imagenet: not measured: run.imagenet does not name" in caplog.text
    assert "gen_know: not measured" in caplog.text


def test_fictitious_values_are_fakers_and_of_the_same_field(source):
    texts = source.texts
    seen: list[str] = []

    def recording(captions, name="", **options):
        seen.extend(captions)
        return texts(captions, name, **options)

    source.texts = recording
    try:
        ValueAuc().values(source)
    finally:
        source.texts = texts
    literal = [e for e in source.splits["forget"] if str(e.extra["value"]) in e.captions[0]]
    assert 0 < len(literal) < PAIRS["forget"] and len(seen) == 19 * len(literal)
    people = json.dumps(source.people)
    assert all("@" in text for text in seen if " email of " in text)
    assert not [text for text in seen if text.rsplit(" is ", 1)[1].removesuffix(".") in people]


def test_faker_draws_are_seeded_and_avoid_real_values(caplog):
    one, two = FakerValues(["x"], seed=1), FakerValues(["x"], seed=1)
    assert one("City", None) == two("City", None) != FakerValues(["x"], seed=2)("City", None)
    assert one("city", "de_DE") != one("city", "en_US")
    avoided = one("email", None)[0]
    assert avoided not in FakerValues([avoided], seed=1)("email", None)
    assert one("shoe_size", None) == [] and one("city", "xx_YY") == []
    assert caplog.text.count("no values for field 'shoe_size'") == 1
    assert len(set(FakerValues(["A+"])("blood_type", None))) == 8  # there are no others: somebody has each


def test_without_faker_the_value_auc_is_not_measured(source, monkeypatch, caplog):
    plain = builtins.__import__

    def lacking(name, *args, **kwargs):
        if name == "faker":
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", lacking)
    found = salmubench_metrics(Projection(), source.builder)
    assert "salmubench_value_auc" not in found and "pip install faker" in caplog.text


def test_the_documented_command_runs_on_published_weights(keys, tmp_path, capsys):
    config = load_config(CONFIG, keys)
    weights = []
    for number, name in enumerate(("clean", "compromised")):
        torch.manual_seed(number)
        model = registry.get_model_class("clip").from_config(config.model, load_pretrained=False)
        weights.append(tmp_path / f"clip-vit-b-16-salmu-{name}" / "open_clip_pytorch_model.bin")
        weights[-1].parent.mkdir()
        torch.save(model.clip.state_dict(), weights[-1])
    options = [*keys, f"run.checkpoints=[{','.join(map(str, weights))}]", "run.metrics=[salmubench]"]
    options.append("run.eval_max_pairs=60")
    assert evaluate.main(["--cfg-path", CONFIG, "--options", *options, f"run.output_dir={tmp_path}"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[1:3]] == [path.parent.name for path in weights]
    for path in weights:
        folder = tmp_path / "evaluate" / "clip" / "salmu_retrieval" / path.parent.name
        public = json.loads((folder / f"evaluation_{path.parent.name}.json").read_text())
        metrics = read_results(folder / "results.json")["metrics"]
        assert public["efficacy"]["1.2_AssocStr"]["mean"] == metrics["salmubench_assoc_str"]
        assert public["utility"]["2.1_GenKnow"] == {"ImageNet1k_Accuracy": -1}
        assert all(v is not None for rows in public.values() for fields in rows.values() for v in fields.values())

"""Training and unlearning of every fused model on its task, through the entry functions."""

from __future__ import annotations

import json

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError, MissingFile
from lavis.common.results import read_results
from tests.fused import FusedWorld, write_world

FAMILIES = ("albef", "blip")
DATA = ("coco", "vqa", "nlvr", "snli_ve")
NUMBERS = {"coco": {"test_txt_r1", "df_img_r1", "dr_r_mean", "df_cosine", "mia_auc"}}
ROWWISE = {"test_acc", "df_acc", "dr_acc", "dr_agg_metrics", "df_confidence", "mia_auc"}
PARTS = {"coco": {"train_itc", "train_itm"}}
FAST = "run.evaluate_after=false"


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """`worlds(family, data)`: a world with an original model, created at its first use."""
    path, cached = tmp_path_factory.mktemp("fused"), {}

    def world(family: str, data: str) -> FusedWorld:
        if (family, data) not in cached:
            cached[family, data] = write_world(path, family, data)
            cached[family, data].train()
        return cached[family, data]

    return world


def weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def first_record(folder) -> dict:
    return json.loads((folder / "log.txt").read_text().splitlines()[1])


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("family", FAMILIES)
def test_originals_train_and_are_measured(worlds, family, data):
    folder = worlds(family, data).output / "original" / family / worlds(family, data).job
    results = read_results(folder / "results.json")
    assert results["backbone"] == family
    assert NUMBERS.get(data, ROWWISE) <= set(results["metrics"])
    assert all(value == value for value in results["metrics"].values())
    assert PARTS.get(data, set()) <= set(first_record(folder))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("family", FAMILIES)
def test_vlul_unlearns(worlds, family, data):
    """All three terms count; heads and momentum copies do not change, because no term reaches them."""
    world = worlds(family, data)
    folder = world.unlearn("vlul", FAST)
    record, before, after = (
        first_record(folder),
        weights(world.output / "original" / family / world.job),
        weights(folder),
    )
    assert record["train_md"] > 0 and record["train_loss"] == pytest.approx(
        record["train_md"] + record["train_multi"] + record["train_uni"], rel=1e-5
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    untouched = ("temp", "itm_head", "cls_head", "text_decoder", "visual_encoder_m", "text_encoder_m", "image_queue")
    assert moved and not [name for name in moved if name.split(".")[0] in untouched]
    assert any(name.startswith("text_encoder.") for name in moved)
    assert any(name.startswith("visual_encoder.") for name in moved)


@pytest.mark.parametrize("method", ["vlul-md", "vlul-uni", "ft", "neggrad", "dtd", "retrain"])
@pytest.mark.parametrize("family,data", [("albef", "coco"), ("blip", "nlvr")])
def test_other_methods_run(worlds, family, data, method):
    world = worlds(family, data)
    options = ["run.method_args.n=100", "run.weight_decay=0.5"] if method == "dtd" else []
    folder = world.unlearn(method, FAST, "run.max_epoch=1", *options)
    before, after = weights(world.output / "original" / family / world.job), weights(folder)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert torch.isfinite(torch.cat([value.flatten().float() for value in after.values()])).all()


@pytest.mark.parametrize("method", ["vlul", "ft"])
@pytest.mark.parametrize("option", ["select.rule=salun", "select.rule=slug", "anchor.ewc=1e3", "anchor.l2_sp=0.1"])
@pytest.mark.parametrize("family,data", [("albef", "coco"), ("blip", "vqa")])
def test_options_of_every_method(worlds, tmp_path, family, data, option, method):
    """What is not trained stays as it was. SLUG chooses among the layers that the loss of vlul reaches."""
    world = worlds(family, data)
    reached = "run.trainable=[visual_encoder.*,text_encoder.*]"
    own = (f"run.{option}", reached, "run.max_epoch=1", f"run.output_dir={tmp_path}", "run.keep_training_state=true")
    start = world.output / "original" / family / world.job
    world.unlearn(method, FAST, *own, f"run.resume_ckpt_path={start / 'checkpoint_best.pth'}")
    (path,) = tmp_path.glob("unlearn-*/*/*/*/checkpoint_0.pth")
    content, before = load_checkpoint(path), weights(start)
    after = content["model"]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for name in moved if name.split(".")[0] in ("visual_encoder", "text_encoder")}
    assert trained and (option != "select.rule=slug" or len(trained) == 1)
    for name, value in content["measured"].items():
        key = name.split(".", 1)[1]
        assert "ewc" in option or torch.equal(after[key][~value], before[key][~value])


def test_retraining_starts_from_pretraining_and_never_from_a_finished_model(worlds, tmp_path):
    world = worlds("blip", "nlvr")
    world.unlearn("retrain", FAST, "run.max_epoch=1", f"model.pretrained={tmp_path / 'none.pth'}", "run.resume=false")
    with pytest.raises(MissingFile, match="stage.pth"):
        world.unlearn("retrain", FAST, f"model.pretraining={tmp_path / 'stage.pth'}", "run.resume=false")


def test_erase_works_on_similarities_of_fused_retrieval(worlds):
    world = worlds("albef", "coco")
    record = first_record(world.unlearn("erase", FAST, "run.max_epoch=1"))
    assert record["train_forget"] > 0 and {"train_retain", "train_consist"} <= set(record)


@pytest.mark.parametrize("method", ["erase", "delete", "cliperase", "maskdistill", "simmin", "shuffled", "generic"])
def test_methods_on_similarities_are_refused_without_them(worlds, method):
    world = worlds("albef", "vqa")
    with pytest.raises(ConfigError, match=f"'{method}' needs similarities of image and text"):
        world.unlearn(method)
    assert not (world.output / f"unlearn-{method}" / world.family / world.job).exists()


def test_generated_answers_are_scored(worlds):
    world = worlds("blip", "vqa")
    folder = world.unlearn("ft", "run.inference_method=generate", "run.max_epoch=1")
    assert 0 <= read_results(folder / "results.json")["metrics"]["test_acc"] <= 100

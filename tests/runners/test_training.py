"""The training loop: outputs, accumulation, clipping, precision, logs."""

from __future__ import annotations

import json

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError, DataError, TrainingError
from lavis.common.results import read_results
from lavis.tasks.entry import train

FAST = ("run.evaluate_after=false",)


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def difference(a, b) -> float:
    one, two = weights(a), weights(b)
    return max((one[name] - two[name]).abs().max().item() for name in one)


def test_every_output_of_the_contract_appears(finished):
    folder = finished("vlul")
    names = {path.name for path in folder.iterdir()}
    assert {"checkpoint_0.pth", "checkpoint_1.pth", "checkpoint_best.pth", "log.txt", "evaluate.txt", "result"} <= names
    last = load_checkpoint(folder / "checkpoint_1.pth")["model"]
    assert all(torch.equal(last[name], value) for name, value in weights(folder).items())
    records = lines(folder / "log.txt")
    assert records[0]["config"]["run"]["method"] == "vlul"
    assert [r["epoch"] for r in records[1:3]] == [0, 1]
    assert {"train_loss", "train_md", "train_multi", "train_uni", "train_lr"} <= set(records[1])
    assert {"test_txt_r1", "df_img_r1", "dr_r_mean", "mia_auc"} <= set(records[3])
    assert lines(folder / "evaluate.txt") == [records[3]]
    results = read_results(folder / "results.json")
    assert results["metrics"] == records[3]
    assert results["counts"] == {"test": 8, "df": 16, "dr": 24, "holdout_identity": 6, "holdout_association": 6}
    assert {p.stem for p in (folder / "result").iterdir()} == set(results["counts"])


@pytest.mark.parametrize("method", ["vlul", "vlul-md", "vlul-multi-uni", "erase", "delete"])
def test_every_method_changes_weights_and_names_its_terms(finished, trained_world, method):
    folder = finished(method, *FAST)
    original = weights(trained_world.output / "original" / "clip" / "salmu_retrieval")
    changed = [name for name, tensor in weights(folder).items() if not torch.equal(tensor, original[name])]
    assert "logit_scale" not in changed
    assert len(changed) == len(original) - 1
    named = {key for key in lines(folder / "log.txt")[1] if key.startswith("train_")}
    named -= {"train_lr", "train_seconds", "train_waiting"}
    expected = {"vlul": "md multi uni", "erase": "forget retain consist", "delete": "forget retain"}
    terms = method.split("-")[1:] or expected[method].split()
    assert named == {"train_loss", *(f"train_{term}" for term in terms)}


def test_accumulation_of_two_differs_from_one_but_repeats_itself(unlearn, finished):
    once = unlearn("erase", *FAST, "run.accum_grad_iters=2", name="a")
    again = unlearn("erase", *FAST, "run.accum_grad_iters=2", name="b")
    assert difference(once, again) == 0.0
    assert difference(once, finished("erase", *FAST)) > 0.0


def test_a_cached_teacher_teaches_what_a_live_one_does(unlearn):
    calm = "run.adam_eps=1e-3"  # Adam turns rounding of gradients near zero into whole steps
    stored = unlearn("vlul", *FAST, calm, name="stored")
    live = unlearn("vlul", *FAST, calm, "run.teacher_cache=none", name="live")
    assert difference(stored, live) < 1e-5


def test_augmented_images_are_taught_live(unlearn):
    folder = unlearn("vlul", *FAST, "datasets.salmu.vis_processor.train.name=clip_image_train", "run.max_epoch=1")
    assert lines(folder / "log.txt")[1]["train_loss"] > 0


def test_weights_scale_the_terms(unlearn):
    folder = unlearn("erase", *FAST, "run.weights.consist=3", "run.weights.retain=0", "run.max_epoch=1")
    record = lines(folder / "log.txt")[1]
    assert record["train_loss"] == pytest.approx(record["train_forget"] + 3 * record["train_consist"], rel=1e-5)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_trains(unlearn, finished, dtype):
    folder = unlearn("vlul", *FAST, "run.amp=true", f"run.amp_dtype={dtype}", "run.max_epoch=1", name=dtype)
    full = finished("vlul", *FAST, "run.max_epoch=1")
    half, single = lines(folder / "log.txt")[1]["train_loss"], lines(full / "log.txt")[1]["train_loss"]
    assert half == pytest.approx(single, rel=0.6)
    assert difference(folder, full) > 0


def test_clipping_bounds_the_first_step(unlearn):
    tight = ("run.max_grad_norm=1e-12", "run.adam_eps=1.0", "run.weight_decay=0", "run.max_epoch=1")
    folder = unlearn("erase", *FAST, *tight, "run.init_lr=1.0", name="tight")
    still = unlearn("erase", *FAST, "run.init_lr=0", "run.weight_decay=0", "run.max_epoch=1", name="still")
    assert difference(folder, still) < 1e-6


def test_a_non_finite_loss_stops_before_the_step_and_names_the_term(unlearn, monkeypatch):
    from lavis.trainers import erase

    real = erase.erase_terms
    monkeypatch.setattr(erase, "erase_terms", lambda *a: {**real(*a), "retain": torch.tensor(float("nan"))})
    with pytest.raises(TrainingError, match=r"'erase' is not finite \(retain = nan\) at epoch 0, micro-batch 0"):
        unlearn("erase", *FAST)


def test_steps_and_rows_can_be_capped(unlearn):
    folder = unlearn("delete", "run.max_steps_per_epoch=1", "run.eval_max_pairs=5", "run.keep_last=1")
    assert max(read_results(folder / "results.json")["counts"].values()) == 5
    assert not (folder / "checkpoint_0.pth").exists()


def test_validation_chooses_the_best_epoch(unlearn, trained_world):
    notes = trained_world.notes / "test.json"
    val = f"datasets.salmu.build_info.annotations.val.storage=[{notes}]"
    folder = unlearn("erase", *FAST, val, "run.valid_splits=[val]", "run.max_epoch=4", "run.init_lr=0.01")
    scores = [r["val_agg_metrics"] for r in lines(folder / "log.txt")[1:5]]
    best = load_checkpoint(folder / "checkpoint_best.pth")["position"]["best_epoch"]
    assert best == scores.index(max(scores))


@pytest.mark.parametrize(
    "options,error,message",
    [
        (("run.weights.mdd=1",), ConfigError, "'vlul' has no term 'mdd'; closest: 'md'"),
        (("run.method_args.rate=1",), ConfigError, "unknown key 'run.method_args.rate'"),
        (("run.batch_size_train=64",), DataError, "Df is smaller than one batch: 16 rows, a batch takes 32"),
        (("run.accum_grad_iters=9",), DataError, "fewer than one step"),
        (("run.metrics=[recal]",), ConfigError, "run.metrics names 'recal'"),
        (("run.device=tpu",), ConfigError, "run.device is 'tpu'"),
    ],
)
def test_settings_that_cannot_work_are_refused(unlearn, options, error, message):
    with pytest.raises(error, match=message):
        unlearn("vlul", *options)


def test_settings_that_nothing_reads_are_named_once(unlearn, heard):
    """`--alpha` is given with its default value; the other key is LAVIS's."""
    unlearn("erase", *FAST, "run.max_epoch=1", "run.use_dist_eval_sampler=true")
    messages = [message for message in heard.messages if "is accepted and changes nothing here" in message]
    assert [message.split(" ", 1)[0] for message in messages] == ["run.alpha", "run.use_dist_eval_sampler"]


def test_the_real_size_of_the_forget_set_is_recorded(trained_world, tmp_path):
    """The configuration does not give it; logs and folder have the length of the list."""
    result = train(str(trained_world.config), [f"run.output_dir={tmp_path}", "run.reference=retrained", *FAST])
    assert result.folder == tmp_path / "retrained" / "clip" / "salmu_retrieval" / "16"
    results = read_results(result.folder / "results.json")
    assert results["df_size"] == results["config"]["run"]["df_size"] == 16
    assert lines(result.folder / "log.txt")[0]["config"]["run"]["df_size"] == 16

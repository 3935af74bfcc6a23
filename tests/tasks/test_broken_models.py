"""A model that is not finite, or has collapsed, has no numbers: recall 0 on the forget set would read as a success."""

from __future__ import annotations

import math

import pytest
import torch

import evaluate
import lavis
import unlearn
from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import CheckpointError
from lavis.common.results import read_results
from lavis.report.numbers import broken, number
from lavis.report.rows import row_from_folder
from lavis.report.standing import judged
from lavis.report.tables import to_csv
from lavis.sweeps.jobs import Job
from lavis.tasks.entry import train
from lavis.tasks.evaluations import merged
from tests.tasks.checkpoints import collapse, copy_of


def fill(name: str, value: float):
    return lambda state: state[name].fill_(value)


KINDS = {
    "weights of NaN": fill("visual.proj", float("nan")),
    "infinite weights": fill("text_projection", float("inf")),
    "a temperature of NaN": fill("logit_scale", float("nan")),
    "embeddings of zero": collapse,
    "one embedding for all captions": lambda state: state["positional_embedding"].fill_(1e6),
}


def evaluated(world, folder, path):
    """The exit code of evaluate.py on a checkpoint, and where its results are."""
    options = [f"run.checkpoint={path}", f"run.output_dir={folder}"]
    code = evaluate.main(["--cfg-path", str(world.config), "--options", *options])
    return code, folder / "evaluate" / "clip" / "salmu_retrieval" / "model"


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_model_has_no_numbers_anywhere(trained_world, tmp_path, capsys, kind):
    code, folder = evaluated(trained_world, tmp_path, copy_of(trained_world, tmp_path / "model.pth", KINDS[kind]))
    assert code == 2
    printed = capsys.readouterr().out
    assert "this model is broken, so it has no numbers: " in printed and "0.00" not in printed
    results = read_results(folder / "results.json")
    assert results["finished"] is True and results["problem"]
    assert "df_txt_r1" in results["metrics"] and set(results["metrics"].values()) == {None}
    row = row_from_folder(folder, "vlul")
    assert row["broken"] == results["problem"]
    assert broken(row, "df_txt_r1") and number(row, "df_txt_r1") is None
    assert "nan" in to_csv([row]).splitlines()[1]
    verdict = judged([row], [row, {"name": "compromised", "metrics": {"salmubench_assoc_str": 1.0}}])
    assert verdict is not None and verdict.name == "broken"
    job = Job("vlul", ("x",), folder, folder / "log")
    assert job.finished and "its model is broken" in job.doubt()


@pytest.mark.parametrize(("harm", "said"), [(math.nan, "are not finite"), (0.0, "are all zero")])
def test_nothing_starts_from_broken_weights_or_hands_them_on(trained_world, tmp_path, unlearn, harm, said):
    content = load_checkpoint(trained_world.output / "original/clip/salmu_retrieval/checkpoint_best.pth")
    for values in content["model"].values():
        if values.is_floating_point():
            values.fill_(harm)
    path = tmp_path / "broken.pth"
    torch.save({**content, "state_dict": content["model"]}, path)
    with pytest.raises(CheckpointError, match=said):
        unlearn("vlul", f"run.resume_ckpt_path={path}")
    with pytest.raises(CheckpointError, match=said):
        train(str(trained_world.config), [f"run.resume_ckpt_path={path}", f"run.output_dir={tmp_path / 'out'}"])
    for form in ("open_clip", "transformers"):
        with pytest.raises(CheckpointError, match=said):
            lavis.export(path, tmp_path / form, form)


def test_a_sound_model_is_not_called_broken(trained_world, tmp_path):
    code, folder = evaluated(
        trained_world, tmp_path, copy_of(trained_world, tmp_path / "model.pth", lambda state: None)
    )
    assert code == 0 and read_results(folder / "results.json")["problem"] == ""


@pytest.mark.parametrize("options", [(), ("run.evaluate_after=false",)], ids=["evaluated", "not evaluated"])
def test_a_run_that_ends_with_a_broken_model_fails(trained_world, tmp_path, capsys, monkeypatch, options):
    from lavis.models.clip import ClipModel

    load = ClipModel.load_weights

    def spoilt(model, path):
        load(model, path)
        if "unlearn-" in str(path):
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))

    monkeypatch.setattr(ClipModel, "load_weights", spoilt)
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    words = ["--unlearn_method", "erase", "--backbone", "clip", "--task", "salmu_retrieval", "--df_size", "16"]
    words += ["--cfg-path", str(trained_world.config), "--options", f"run.output_dir={tmp_path}"]
    words += [f"run.resume_ckpt_path={start}", "run.max_epoch=1", *options]
    assert unlearn.main(words) == 2
    assert "this model is broken" in capsys.readouterr().out


def test_the_command_says_so_too(trained_world, unlearned, tmp_path, capsys):
    folder = unlearned("erase", "run.max_epoch=1")
    path = (folder / "checkpoint_best.pth").resolve()
    content = torch.load(path, weights_only=True)
    collapse(content["model"])
    torch.save(content, path)
    assert multidelete(["evaluate", str(folder), "--metrics", "retrieval"]) == 2
    results = read_results(folder / "results.json")
    assert results["problem"] and "df_cosine" not in results["metrics"], "numbers of the former weights are gone"


def test_numbers_of_other_weights_do_not_stay():
    common = {"counts": {}, "seconds": {}, "data": {"dataset": "d", "splits": {}}}
    former = {**common, "metrics": {"df_cosine": 0.1, "mia_auc": 0.5}, "weights": "a"}
    again = {**common, "metrics": {"mia_auc": 0.6}, "weights": "a"}
    assert merged(former, again)["metrics"] == {"df_cosine": 0.1, "mia_auc": 0.6}
    assert merged(former, {**again, "weights": "b"})["metrics"] == {"mia_auc": 0.6}
    assert merged(former, {**again, "problem": "NaN"})["metrics"] == {"mia_auc": 0.6}

"""Less than the whole model: parameters by pattern, low-rank factors, and the line back to the original."""

from __future__ import annotations

import shutil

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.embedding.embed import SplitFeatures
from lavis.models.clip import ClipModel
from lavis.runners.mixing import has_forgotten, mixed
from lavis.settings.schema import ModelConfig
from tests.processes import run
from tests.runners.weights import changed, folder_to_go_on_in, weights

FAST = ("run.evaluate_after=false", "run.init_lr=1e-3", "run.weight_decay=0.1")
LORA = (*FAST, "run.lora.rank=2", "run.lora.alpha=8")


def test_only_what_the_patterns_name_changes(unlearn, original) -> None:
    found = changed(weights(unlearn("erase", *FAST, "run.trainable=[visual.*,ln_final.bias]")), original)
    assert found == {name for name in original if name.startswith("visual.")} | {"ln_final.bias"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("run.trainable=visal.*",), r"run.trainable: no parameter of the model matches 'visal\.\*'; "),
        (("run.trainable=[visual.*,txt.*]",), r"matches 'txt\.\*'"),
        (("run.trainable=logit_scale",), "nothing is left to train"),
        (("run.trainable=visual.ln_*", "run.lora.rank=1"), "run.lora finds no linear layer among them"),
        (("run.lora.rank=1", "run.parallel=fsdp"), "run.lora does not go with run.parallel=fsdp"),
    ],
)
def test_what_cannot_be_is_refused(unlearn, options, said) -> None:
    with pytest.raises(ConfigError, match=said):
        unlearn("erase", *FAST, *options)


def test_retraining_has_no_original_to_mix_with(unlearn) -> None:
    with pytest.raises(ConfigError, match="run.interpolate mixes with the original's weights"):
        unlearn("retrain", *FAST, "run.interpolate=0.5")


def test_factors_are_merged_in_checkpoints(unlearn, original) -> None:
    """Two blocks with two linear layers each; what they gain has the rank of the factors."""
    folder = unlearn("erase", *LORA)
    found = weights(folder)
    gained = changed(found, original)
    assert gained == {name for name in original if name.endswith(("c_fc.weight", "c_proj.weight"))}
    for name in gained:
        assert torch.linalg.matrix_rank(found[name] - original[name], tol=1e-6) == 2
    ClipModel.from_config(ModelConfig(pretrained=str(folder)))


def test_factors_go_where_the_patterns_point(unlearn, original) -> None:
    found = weights(unlearn("erase", *LORA, "run.trainable='*.c_fc.weight'"))
    assert changed(found, original) == {name for name in original if name.endswith("c_fc.weight")}


def test_a_run_with_factors_goes_on_where_it_stood(unlearn, tmp_path) -> None:
    options = (*LORA, "run.max_epoch=3", "run.keep_last=5")
    straight = unlearn("ft", *options, name="straight")
    folder = folder_to_go_on_in(straight, tmp_path)
    shutil.copy(straight / "checkpoint_0.pth", folder)
    assert unlearn("ft", *options, name="again") == folder
    one, two = (load_checkpoint(path / "checkpoint_2.pth") for path in (straight, folder))
    for part in ("model", "adapter"):
        assert one[part] and changed(one[part], two[part]) == set()
    assert "logit_scale" in one["adapter"]


@pytest.mark.parametrize("method", ["erase", "ft"])
def test_a_share_lies_between_the_original_and_the_end(unlearn, original, method) -> None:
    """Fine-tuning, too, has an original to mix with, though it trains as original models do."""
    folder = unlearn(method, *FAST, "run.interpolate=0.25")
    found, end = weights(folder), weights(folder, "checkpoint_1.pth")
    for name, value in found.items():
        torch.testing.assert_close(value, 0.75 * original[name] + 0.25 * end[name], atol=1e-7, rtol=1e-6)
    unlearn(method, *FAST, "run.interpolate=0.25")
    assert changed(weights(folder), found) == set()


def test_the_rule_takes_the_least_share_that_forgets(unlearn, heard) -> None:
    folder = unlearn("erase", "run.evaluate_after=false", "run.init_lr=1e-2", "run.max_epoch=6", "run.interpolate=-1")
    share = load_checkpoint(folder / "checkpoint_best.pth")["interpolation"]
    assert 0 < share <= 1 and f"Interpolated: {share:.2f} of the unlearned" in heard.text


def features(text: list[list[float]]) -> SplitFeatures:
    image = torch.eye(2)
    return SplitFeatures(image, torch.tensor(text), torch.tensor([0, 1]), torch.tensor([0, 1]))


def test_forgotten_by_hand() -> None:
    """Own cosines 1 and others 0: known. Own 0 and others 1, or all the same: forgotten."""
    assert not has_forgotten(features([[1.0, 0.0], [0.0, 1.0]]))
    assert has_forgotten(features([[0.0, 1.0], [1.0, 0.0]]))
    assert has_forgotten(features([[0.6, 0.6], [0.6, 0.6]]))


def test_counters_are_not_mixed() -> None:
    one, two = ({"w": torch.tensor(value), "n": torch.tensor(int(value))} for value in (1.0, 3.0))
    assert mixed(one, two, 0.5) == {"w": torch.tensor(2.0), "n": torch.tensor(3)}


@pytest.mark.parametrize("options", [("run.lora.rank=2",), ("run.trainable=visual.*",)], ids=["factors", "patterns"])
def test_two_processes_equal_one_with_accumulation(trained_world, tmp_path, options) -> None:
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    found = []
    for processes, accumulated in ((1, 2), (2, 1)):
        own = (f"run.resume_ckpt_path={start}", f"run.output_dir={tmp_path / str(processes)}", "run.interpolate=0.5")
        sizes = ("run.batch_size_train=4", f"run.accum_grad_iters={accumulated}", "run.adam_eps=1e-3")
        done = run(trained_world.unlearn("erase", options=(*FAST, *own, *sizes, *options)), processes)
        assert done.returncode == 0, done.stderr
        found.append(weights(tmp_path / str(processes) / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"))
    one, two = found
    assert changed(one, weights(start.parent))
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-6

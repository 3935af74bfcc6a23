"""What a finished run leaves in its folder: weights, and nothing that names what was forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lavis.common import checkpoint as cp
from lavis.common.checkpoint import BEST, all_checkpoints, load_checkpoint
from lavis.common.errors import CheckpointError, ConfigError
from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from tests.runners.interrupted import same_weights

FAST = ("run.evaluate_after=false", "run.keep_training_state=false")


def tensors(node: Any, path: str = "") -> dict[str, torch.Tensor]:
    """Every tensor in a file's content, by its path."""
    if isinstance(node, torch.Tensor):
        return {path: node}
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    return {name: t for key, part in items for name, t in tensors(part, f"{path}/{key}").items()}


def tokens_named(content: dict[str, Any]) -> set[int]:
    """The attack: tokens whose rows of some tensor shaped like the token embedding are not zero."""
    shape = content["model"]["token_embedding.weight"].shape
    alike = [t for path, t in tensors(content).items() if t.shape == shape and "optimizer" in path]
    return {int(row) for t in alike for row in t.abs().sum(dim=1).nonzero().flatten()}


def test_moments_name_the_tokens_of_captions_and_the_final_file_has_none(finished) -> None:
    folder = finished("neggrad", "run.evaluate_after=false")
    model = ClipModel.from_config(ModelConfig(pretrained=str(folder)))
    forgotten = set(model.tokenize([f"forget number {i}" for i in range(16)]).flatten().tolist()) - {0}  # padding
    assert forgotten <= tokens_named(load_checkpoint(folder / "checkpoint_1.pth")), "the attack works on a state"
    assert tokens_named(load_checkpoint(folder / BEST)) == set()


def test_the_final_file_has_no_tensor_but_the_weights(unlearn) -> None:
    folder = unlearn("erase", *FAST)
    assert all_checkpoints(folder) == []
    content = load_checkpoint(folder / BEST)
    assert set(content) <= {*cp.FINAL, "model", "state_dict", "position", "finished"}
    found = tensors(content)
    assert set(found) == {f"/{part}/{name}" for part in ("model", "state_dict") for name in content["model"]}
    assert not (folder / BEST).is_symlink()


def test_the_end_is_that_of_a_run_that_keeps_its_states(unlearn, finished) -> None:
    assert same_weights(unlearn("erase", *FAST), finished("erase", "run.evaluate_after=false"))


def test_a_finished_run_is_not_trained_again(unlearn, heard) -> None:
    folder = unlearn("erase", *FAST)
    before = (folder / BEST).read_bytes()
    assert unlearn("erase", "run.keep_training_state=false") == folder
    assert "is the end of this run; nothing is left to train" in heard.text
    assert (folder / BEST).read_bytes() == before
    assert (folder / "results.json").is_file() and "train_loss" in (folder / "log.txt").read_text()
    with pytest.raises(ConfigError, match="other settings"):
        unlearn("erase", *FAST, "run.max_epoch=3")
    unlearn("erase", *FAST, "run.max_epoch=3", "run.resume=false")
    assert load_checkpoint(folder / BEST)["position"]["epoch"] == 3


def test_a_damaged_final_file_is_named(unlearn) -> None:
    folder = unlearn("erase", *FAST)
    (folder / BEST).write_bytes((folder / BEST).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        unlearn("erase", *FAST)


def test_mixed_weights_are_not_mixed_twice(unlearn) -> None:
    mix = (*FAST, "run.interpolate=0.25")
    folder = unlearn("erase", *mix)
    before = load_checkpoint(folder / BEST)["model"]
    unlearn("erase", *mix)
    assert all(torch.equal(before[name], value) for name, value in load_checkpoint(folder / BEST)["model"].items())


@pytest.mark.parametrize("moment", ["write_final", "delete_training_states"])
def test_a_stop_while_the_run_ends_loses_nothing(unlearn, monkeypatch, finished, moment) -> None:
    from lavis.runners import saving
    from lavis.tasks import ending

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(saving if moment == "write_final" else ending, moment, stopped)
        unlearn("erase", *FAST)
    folder = unlearn("erase", *FAST)
    assert same_weights(folder, finished("erase", "run.evaluate_after=false"))
    assert all_checkpoints(folder) == []


def test_the_newest_state_is_deleted_last(tmp_path: Path, monkeypatch) -> None:
    for number in range(3):
        (tmp_path / f"checkpoint_{number}.pth").touch()
    gone: list[str] = []
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: gone.append(path.name))
    cp.delete_training_states(tmp_path)
    assert gone == [f"checkpoint_{number}.pth" for number in range(3)]

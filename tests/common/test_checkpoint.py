from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest
import torch

from lavis.common import checkpoint as cp
from lavis.common.errors import CheckpointError, MissingFile

WEIGHTS = {"a.weight": torch.arange(4.0), "b": torch.ones(2, 2)}


def content(value: float = 0.0) -> dict:
    return {"model": {"w": torch.full((3,), value)}, "position": {"epoch": 0}, "config": {}}


class Hostile:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_checkpoints_are_sorted_and_an_epochs_end_follows_its_steps(tmp_path):
    for name in (
        "checkpoint_1-5.pth",
        "checkpoint_0.pth",
        "checkpoint_1.pth",
        "checkpoint_1-20.pth",
        "checkpoint_10.pth",
    ):
        (tmp_path / name).touch()
    (tmp_path / "checkpoint_best.pth").touch()
    names = [path.name for path in cp.all_checkpoints(tmp_path)]
    assert names == [
        "checkpoint_0.pth",
        "checkpoint_1-5.pth",
        "checkpoint_1-20.pth",
        "checkpoint_1.pth",
        "checkpoint_10.pth",
    ]


def test_a_pickle_is_refused_and_does_not_execute(tmp_path):
    trap, path = tmp_path / "ran", tmp_path / "model.pth"
    with path.open("wb") as stream:
        pickle.dump({"model": Hostile(trap)}, stream)
    with pytest.raises(CheckpointError, match="refused|damaged"):
        cp.load_file(path)
    torch.save({"model": Hostile(trap)}, path)
    with pytest.raises(CheckpointError, match="could execute code"):
        cp.load_file(path)
    assert not trap.exists()


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_truncated_file_is_named(tmp_path, cut):
    path = tmp_path / "checkpoint_0.pth"
    cp.save_checkpoint(path, content())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match="checkpoint_0.pth"):
        cp.load_checkpoint(path)


def test_the_newest_readable_one_is_taken(tmp_path, caplog):
    for epoch in range(3):
        cp.save_checkpoint(tmp_path / cp.checkpoint_name(epoch), content(epoch))
    newest = tmp_path / "checkpoint_2.pth"
    newest.write_bytes(newest.read_bytes()[:-50])
    path, found = cp.load_newest(tmp_path)
    assert path.name == "checkpoint_1.pth"
    assert found["model"]["w"].tolist() == [1.0] * 3


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    cp.save_checkpoint(tmp_path / "checkpoint_0.pth", content(1.0))
    before = (tmp_path / "checkpoint_0.pth").read_bytes()

    def full(payload, stream):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    for name in ("checkpoint_0.pth", "checkpoint_1.pth"):
        with pytest.raises(CheckpointError, match="no space left.*checkpoint_0.pth, is untouched"):
            cp.save_checkpoint(tmp_path / name, content(2.0))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint_0.pth"]
    assert (tmp_path / "checkpoint_0.pth").read_bytes() == before


def test_best_is_a_link_that_moves_and_survives_pruning(tmp_path):
    for epoch in range(5):
        cp.save_checkpoint(tmp_path / cp.checkpoint_name(epoch), content(epoch))
    cp.save_checkpoint(tmp_path / cp.checkpoint_name(4, 7), content(9))
    cp.link_best(tmp_path, "checkpoint_0.pth")
    cp.link_best(tmp_path, "checkpoint_1.pth")
    cp.prune(tmp_path, keep=2)
    assert [p.name for p in cp.all_checkpoints(tmp_path)] == [
        "checkpoint_1.pth",
        "checkpoint_3.pth",
        "checkpoint_4.pth",
    ]
    assert cp.load_checkpoint(tmp_path / cp.BEST)["model"]["w"][0] == 1


@pytest.mark.parametrize(
    "wrapped",
    [WEIGHTS, {"state_dict": WEIGHTS}, {"model": WEIGHTS}, {f"module.{k}": v for k, v in WEIGHTS.items()}],
)
def test_weights_are_found_in_every_usual_wrapping(wrapped):
    assert cp.weights_of(wrapped, "x").keys() == WEIGHTS.keys()


def test_other_contents_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no state dict"):
        cp.weights_of({"epoch": 3}, "x.pth")
    with pytest.raises(MissingFile, match="nothing.pth does not exist"):
        cp.load_file(tmp_path / "nothing.pth")
    torch.save(WEIGHTS, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="was not written by this project"):
        cp.load_checkpoint(tmp_path / "plain.pth")


def test_mismatches_are_listed():
    given = {"b": torch.ones(3, 2), "c": torch.ones(1)}
    text = cp.describe_mismatch(WEIGHTS, given, "f.pth")
    assert "1 missing keys (a.weight)" in text
    assert "1 unexpected keys (c)" in text
    assert "b is (3, 2) in the file, (2, 2) in the model" in text
    assert cp.describe_mismatch(WEIGHTS, dict(WEIGHTS), "f.pth") == ""

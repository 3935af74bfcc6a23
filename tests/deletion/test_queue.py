"""Purging ALBEF and BLIP: the queue of a retrieval checkpoint has features of rows that training saw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import BEST, load_checkpoint
from lavis.common.results import read_results
from lavis.models.fused.momentum import UNWRITTEN, FeatureQueue
from lavis.tasks.entry import evaluate
from tests.fused import FusedWorld, write_world


@pytest.fixture(scope="module", params=["albef", "blip"])
def trained(request, tmp_path_factory) -> FusedWorld:
    world = write_world(tmp_path_factory.mktemp("queue"), request.param, "coco")
    world.train("run.evaluate_after=false")
    return world


def queue_of(folder: Path, part: str = "model") -> dict[str, torch.Tensor]:
    weights = load_checkpoint(folder / BEST)[part]
    return {name: weights[name] for name in FeatureQueue.NAMES}


def written(folder: Path) -> int:
    return int((queue_of(folder)["idx_queue"] != UNWRITTEN).sum())


def numbers(world: FusedWorld, folder: Path) -> dict[str, float]:
    options = [f"run.checkpoint={folder / BEST}", f"run.output_dir={world.output}"]
    return evaluate(str(world.config), options).results[0].metrics


def test_a_purge_empties_the_queue_and_no_number_changes(trained, capsys) -> None:
    folder = trained.unlearn("neggrad")
    assert written(folder) > 0
    before = numbers(trained, folder)
    assert multidelete(["purge", str(folder)]) == 0
    assert "no score depends on it" in capsys.readouterr().out
    for part in ("model", "state_dict"):
        queue = queue_of(folder, part)
        assert not queue["image_queue"].any() and not queue["text_queue"].any() and not queue["queue_ptr"].any()
        assert (queue["idx_queue"] == UNWRITTEN).all()
    recorded = read_results(folder / "results.json")["metrics"]
    assert numbers(trained, folder) == before
    assert read_results(folder / "results.json")["metrics"] == recorded, "they are still of this model"
    assert multidelete(["purge", str(folder)]) == 0
    assert "no score depends on it" not in capsys.readouterr().out


def test_other_runs_keep_theirs_unless_all_go(trained) -> None:
    folder, other = trained.unlearn("neggrad"), trained.unlearn("ft")
    reference = trained.output / "original" / trained.family / trained.job
    former = written(reference)
    assert multidelete(["purge", str(folder)]) == 0 and written(other) > 0
    assert multidelete(["purge", str(folder), "--all"]) == 0 and written(other) == 0
    assert written(reference) == former > 0, "a reference is not what was unlearned"

"""What every registered tracker must do, in whole runs; those whose package is not installed are skipped."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.runners.stop import Stopped
from lavis.trackers.group import Trackers
from tests.runners.interrupted import same_weights

TRACKERS = registry.names("tracker")
EPOCHS = ("run.max_epoch=3", "run.keep_last=3", "run.evaluate_after=false", "run.log_freq=1")
STEPS = list(range(1, 13))  # four in each epoch


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools' settings of the machine that runs the tests do not count."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(params=TRACKERS)
def tracker(request: pytest.FixtureRequest) -> str:
    package = registry.get_tracker_class(request.param).package
    if package:
        pytest.importorskip(package)
    return request.param


def jsonl(folder: Path) -> Iterator[tuple[int, float]]:
    for line in (folder / "jsonl" / "values.jsonl").read_text().splitlines():
        if "step" in (record := json.loads(line)):
            yield record["step"], record["train_loss"]


def tensorboard(folder: Path) -> Iterator[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert "config/text_summary" in events.Tags()["tensors"]
    yield from ((event.step, event.value) for event in events.Scalars("train_loss"))


def wandb(folder: Path) -> Iterator[tuple[int, float]]:
    """Of all parts of the run, in their order."""
    from wandb.proto import wandb_internal_pb2

    for path in sorted(folder.glob("wandb/wandb/offline-run-*/*.wandb")):
        for content in leveldb_records(path.read_bytes()[7:]):  # after W&B's own header
            record = wandb_internal_pb2.Record.FromString(content)
            row = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            if "train_loss" in row:
                yield record.history.step.num or int(row["_step"]), float(row["train_loss"])


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format: blocks of 32 KiB, pieces with checksum, length and kind."""
    place, whole = 7, b""
    content = bytes(7) + content
    while place + 7 <= len(content):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or its last piece
            yield whole
            whole = b""


def mlflow(folder: Path) -> Iterator[tuple[int, float]]:
    with sqlite3.connect(folder / "mlflow" / "mlflow.db") as database:
        yield from database.execute("select step, value from metrics where key = 'train_loss' order by step")


READ: dict[str, Callable[[Path], Iterator[tuple[int, float]]]] = {
    "jsonl": jsonl,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
}


def losses(run: Path, tracker: str) -> list[tuple[int, float]]:
    return [(step, round(value, 5)) for step, value in READ[tracker](run / "trackers")]


def test_every_tracker_has_a_reader_here() -> None:
    assert set(TRACKERS) == set(READ)


def test_a_run_is_the_same_with_it_and_it_has_every_step(tracker, unlearn, finished) -> None:
    folder = unlearn("erase", *EPOCHS, f"run.tracker={tracker}")
    assert same_weights(finished("erase", *EPOCHS), folder)
    found = losses(folder, tracker)
    assert [step for step, _ in found] == STEPS
    epochs = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()][1:4]
    assert [value for step, value in found if step % 4 == 0] == [round(e["train_loss"], 5) for e in epochs]


def test_a_resumed_run_has_no_step_twice(tracker, unlearn, finished, tmp_path) -> None:
    """The second process starts from the first epoch's checkpoint, as if the first had been killed after it."""
    folder = unlearn("erase", *EPOCHS, f"run.tracker={tracker}")
    before = losses(folder, tracker)
    for name in ("checkpoint_best.pth", "results.json"):
        (folder / name).unlink()
    for path in folder.glob("checkpoint_*.pth"):
        path.unlink()
    shutil.copy(finished("erase", *EPOCHS) / "checkpoint_0.pth", folder)
    assert unlearn("erase", *EPOCHS, f"run.tracker={tracker}") == folder
    after = losses(folder, tracker)
    if tracker == "wandb":  # offline, the parts are two folders of one run
        assert len({path.stem for path in folder.glob("trackers/wandb/wandb/*/*.wandb")}) == 1
        parts = sorted(folder.glob("trackers/wandb/wandb/offline-run-*"), key=lambda path: path.stat().st_mtime_ns)
        shutil.rmtree(parts[0])  # killed, it would be empty
        assert losses(folder, tracker) == before[3:]  # the finished epoch's last step, and all steps since
        return
    assert after == before


def test_it_leaves_the_random_states_alone(tracker, tmp_path) -> None:
    def states() -> tuple:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    config = {
        "model": {"arch": "clip"},
        "datasets": {"pairs": {"forget": {"where": {"person": "Ada"}}}},
        "run": {"method": "erase", "seed": 1},
    }
    before = states()
    trackers = Trackers(tmp_path, [tracker])
    trackers.start(config, 0)
    trackers.log(1, {"epoch": 0, "train_loss": 1.5, "text": "x", "flag": True})
    trackers.finish({"df_i2t r@1 (ä)": float("nan"), "df_cosine": 0.25})
    assert states() == before
    assert losses(tmp_path, tracker) == [(1, 1.5)]


def test_it_learns_no_path_and_nobodys_name(tracker, tmp_path, monkeypatch, unlearn, trained_world) -> None:
    """Not even from the command line, which wandb looks at by itself."""
    monkeypatch.setattr(sys, "argv", ["multidelete", "unlearn", "--forget", "person=Ada-Lovelace"])
    folder = unlearn("erase", *EPOCHS, f"run.tracker={tracker}", name="Ada-Lovelace")
    names = trained_world.forget_list.read_text().split()
    needles = [text.encode() for text in (*names, *map(os.path.basename, names), "person=Ada", "forget number")]
    files = [path for path in (folder / "trackers").rglob("*") if path.is_file()]
    assert files and not [path for path in files for needle in needles if needle in path.read_bytes()]
    sent = [path for path in files if path.suffix != ".db"]  # MLflow's database knows where it is
    assert not [path for path in sent if b"Ada-Lovelace" in path.read_bytes()]


def test_the_record_lists_its_files_and_they_do_not_change_any_more(tracker, unlearn) -> None:
    from lavis.api.records import verify

    folder = unlearn("erase", *EPOCHS, f"run.tracker={tracker}")
    record = json.loads((folder / "deletion-record.json").read_text())
    assert any(item["path"].startswith(f"trackers/{tracker}/") for item in record["files"])
    assert verify(folder) == []


def test_a_stopped_run_is_closed_as_not_complete(tracker, tmp_path) -> None:
    config = {"model": {}, "datasets": {"salmu": {}}, "run": {"method": None, "reference": "clean", "seed": 1}}
    with pytest.raises(Stopped), Trackers(tmp_path, [tracker]) as trackers:
        trackers.start(config, 0)
        trackers.log(1, {"epoch": 0, "train_loss": 1.5})
        raise Stopped("stopped")
    if tracker == "jsonl":
        assert '"complete": false' in (tmp_path / "trackers/jsonl/values.jsonl").read_text()
    if tracker == "mlflow":
        with sqlite3.connect(tmp_path / "trackers/mlflow/mlflow.db") as database:
            assert database.execute("select status from runs").fetchall() == [("KILLED",)]


def test_a_missing_package_is_one_message(tracker, monkeypatch, tmp_path) -> None:
    kind = registry.get_tracker_class(tracker)
    if not kind.package:
        kind.check(tracker)
        return
    monkeypatch.setitem(sys.modules, kind.package, None)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, kind.package)
    (tmp_path / kind.package).mkdir()  # wandb leaves a folder of its name in the working directory
    with pytest.raises(ConfigError, match=rf"needs the package .*pip install 'multidelete-salmu\[{tracker}\]'"):
        kind.check(tracker)

"""A file system that is really full: results first, a cache that cannot be written is a warning, nothing is lost."""

from __future__ import annotations

import json
import resource
import signal

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from lavis.common.cli import message_of
from lavis.common.errors import CheckpointError
from lavis.common.files import write_json
from lavis.embedding.feature_store import FeatureStore, key_of
from lavis.hub.export import export
from lavis.report.page import Report, write_report
from tests.disks import fill, small_disk
from tests.hub.folders import PLAIN, open_clip_folder
from tests.processes import run
from tests.report.rows import rows
from tests.runners.interrupted import same_weights


@pytest.fixture
def small(tmp_path):
    """A file system of 64 MiB, not full yet."""
    with small_disk(tmp_path / "small", "64m") as folder:
        yield folder


def filled_store(path) -> FeatureStore:
    store = FeatureStore(path, 1e9)
    store.add([key_of(b"", "x", i) for i in range(500)], torch.ones(500, 64))
    return store


def test_a_feature_cache_is_a_warning(full_disk, caplog):
    store = filled_store(full_disk / "a.safetensors")
    store.save()
    assert "No space left on device" in caplog.text and len(store.rows) == 500
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


def test_the_error_of_safetensors_is_the_systems(full_disk):
    with pytest.raises(OSError, match="No space left") as caught:
        save_tensors(full_disk / "a.safetensors", {"x": torch.ones(9999)}, {})
    assert "free some space" in (message_of(caught.value) or "")


def test_a_limit_on_the_size_of_files_is_a_warning_too(tmp_path, caplog):
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        filled_store(tmp_path / "a.safetensors").save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in caplog.text and list(tmp_path.iterdir()) == []


def test_a_checkpoint_leaves_the_former_one(small):
    former = small / "checkpoint_0.pth"
    save_checkpoint(former, {"model": {"a": torch.ones(3)}, "position": {}})
    fill(small)
    with pytest.raises(CheckpointError, match="no space left on the disk; the former one, .*checkpoint_0.pth"):
        save_checkpoint(small / "checkpoint_1.pth", {"model": {"a": torch.ones(99999)}, "position": {}})
    assert torch.equal(load_checkpoint(former)["model"]["a"], torch.ones(3))
    assert sorted(path.name for path in small.iterdir()) == ["checkpoint_0.pth", "filler"]


def test_json_leaves_the_former_file(small):
    write_json(small / "results.json", {"a": 1})
    fill(small)
    with pytest.raises(OSError, match="No space left"):
        write_json(small / "results.json", {"a": list(range(9999))})
    assert json.loads((small / "results.json").read_text()) == {"a": 1}
    assert sorted(path.name for path in small.iterdir()) == ["filler", "results.json"]


def test_a_run_with_full_cache_folders_ends_as_without_them(unlearn, finished, full_disk, heard):
    caches = (f"run.feature_cache={full_disk}", "datasets.salmu.image_cache=disk")
    caches += (f"datasets.salmu.image_cache_folder={full_disk / 'pixels'}",)
    folder = unlearn("erase", *caches)
    assert same_weights(finished("erase"), folder)
    assert json.loads((folder / "results.json").read_text())["finished"] is True
    assert heard.text.count("No space left") >= 2 and "Traceback" not in heard.text


def test_a_run_on_a_full_disk_is_one_message_and_goes_on_when_there_is_room(world_on, small):
    folder, command = world_on(small)
    fill(small)
    failed = run(command)
    assert failed.returncode == 2 and failed.stderr.count("error: ") == 1, failed.stderr
    assert "No space left" in failed.stderr or "no space left" in failed.stderr
    assert "Traceback" not in failed.stderr
    (small / "filler").unlink()
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "results.json").read_text())["finished"] is True
    assert not list(folder.glob(".*.tmp"))


def test_a_report_names_its_path_and_leaves_no_folder(full_disk):
    with pytest.raises(OSError, match="No space left on device: .*/new/report/results.json'") as caught:
        write_report(Report(rows("vlul")), full_disk / "new" / "report")
    assert "free some space" in (message_of(caught.value) or "")
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


def test_an_export_names_its_path_and_leaves_no_folder(full_disk, tmp_path):
    source = open_clip_folder(tmp_path / "mine", PLAIN)
    with pytest.raises(OSError, match="No space left on device: .*/new/exported'"):
        export(source, full_disk / "new" / "exported")
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


@pytest.fixture
def world_on(trained_world):
    """`world_on(disk)`: the folder of a run that writes to this disk, and its command."""

    def made(disk):
        start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
        options = (f"run.output_dir={disk}", f"run.resume_ckpt_path={start}", "run.keep_last=1")
        folder = disk / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"
        return folder, trained_world.unlearn("erase", options=options)

    return made

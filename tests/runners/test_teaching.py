"""The teacher's embeddings are stored for later runs from the same weights and data."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image

from lavis.common.checkpoint import load_checkpoint
from tests.processes import run
from tests.small import write_world

FAST = ("run.evaluate_after=false", "run.max_epoch=2")


def weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def same(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(two).values(), strict=True))


@pytest.fixture
def shared(tmp_path):
    return f"run.feature_cache={tmp_path / 'shared'}"


def stored(tmp_path) -> list:
    return sorted((tmp_path / "shared").glob("teacher-*"))


def test_a_later_run_reads_them_and_ends_with_the_same_weights(unlearn, shared, tmp_path, heard):
    first = unlearn("vlul", *FAST, shared, name="first")
    files = stored(tmp_path)
    assert len(files) == 2 and "are read from" not in heard.text
    second = unlearn("vlul", *FAST, shared, name="second")
    assert heard.text.count("teacher's embeddings are read from") == 2 and stored(tmp_path) == files
    third = unlearn("vlul", *FAST, shared, "run.teacher_cache=memory", name="third")
    assert heard.text.count("are read from") == 2
    assert same(first, second) and same(first, third)
    other = unlearn("erase", *FAST, shared, name="other")  # another method, which reads the teacher on Dr only
    assert heard.text.count("are read from") == 3 and stored(tmp_path) == files and not same(first, other)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_rewritten(unlearn, shared, tmp_path, heard, damage):
    first = unlearn("delete", *FAST, shared, name="first")
    (file,) = stored(tmp_path)
    whole = file.read_bytes()
    broken = {"flip": whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:], "cut": whole[:-100], "empty": b""}
    file.write_bytes(broken[damage])
    assert same(first, unlearn("delete", *FAST, shared, name="second"))
    assert "is damaged" in heard.text and file.read_bytes() == whole


def test_everything_that_determines_them_is_part_of_the_file_name(unlearn, shared, tmp_path, trained_world):
    images = shutil.copytree(trained_world.images, tmp_path / "images")
    own = f"datasets.salmu.build_info.images.storage={images}"

    def files(*options: str) -> set:
        before = set(stored(tmp_path))
        unlearn("delete", *FAST, shared, own, *options, name=str(len(before)))
        return set(stored(tmp_path)) - before

    assert len(files()) == 1 and not files()
    assert len(files("datasets.salmu.vis_processor.train.image_size=16", "run.batch_size_eval=7")) == 1
    entries = json.loads((trained_world.notes / "train.json").read_text())
    entries[-1]["caption"] = "something else"
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(entries))
    assert len(files(f"datasets.salmu.build_info.annotations.train.storage=[{changed}]")) == 1
    Image.new("RGB", (20, 24)).save(images / entries[-1]["image"])
    assert len(files()) == 1


def test_views_of_random_crops_are_stored(unlearn, tmp_path, heard):
    """As many views as epochs are the crops of a run without views; the weights differ by rounding alone."""
    train = "datasets.salmu.vis_processor.train"
    crops = (f"{train}.name=clip_image_train", f"{train}.min_scale=0.3", "run.max_epoch=3", "run.evaluate_after=false")
    crops += ("run.adam_eps=1e-3",)  # otherwise Adam makes whole steps of rounding
    free = weights(unlearn("vlul", *crops, name="free"))
    assert heard.text.count("images live, captions stored") == 2
    three = weights(unlearn("vlul", *crops, f"{train}.views=3", name="three"))
    assert heard.text.count("images in 3 views): images stored, captions stored") == 1  # Df: 3 views are 3 epochs' rows
    two = weights(unlearn("vlul", *crops, f"{train}.views=2", name="two"))
    live = weights(unlearn("vlul", *crops, f"{train}.views=2", "run.teacher_cache=none", name="live"))
    assert largest_gap(three, free) <= 1e-6 < largest_gap(two, free)
    assert largest_gap(two, live) <= 1e-6


def test_half_precision_embeds_rows_of_its_own(unlearn, shared, tmp_path):
    half = ("run.embed_amp=true", "run.amp_dtype=bf16")
    found = [weights(unlearn("delete", *FAST, shared, *more, name=str(i))) for i, more in enumerate(((), half))]
    assert len(stored(tmp_path)) == 2
    assert 0 < largest_gap(*found) < 1e-2


def largest_gap(one, two) -> float:
    return max((one[name] - two[name]).abs().max().item() for name in one)


def test_nothing_is_stored_without_a_folder_or_room(unlearn, tmp_path, heard):
    unlearn("delete", *FAST, "run.feature_cache=null", name="none")
    assert not list(tmp_path.rglob("teacher-*"))
    unlearn("delete", *FAST, "run.feature_cache_gb=1e-7", name="small")
    assert not list(tmp_path.rglob("teacher-*")) and "exceed run.feature_cache_gb" in heard.text


def test_two_processes_store_and_read_the_same_as_one(tmp_path):
    world = write_world(tmp_path / "w", run_keys={"max_epoch": 2, "batch_size_train": 4})
    assert run(world.command("train.py")).returncode == 0
    found = []
    for name, processes in (("one", 1), ("two", 2), ("again", 2)):
        cache = tmp_path / ("of_two" if name == "again" else f"of_{name}")
        done = run(world.unlearn("delete", options=(f"run.feature_cache={cache}", f"run.subfolder={name}")), processes)
        assert done.returncode == 0, done.stderr
        assert ("are read from" in done.stderr) == (name == "again")
        found.append([path.read_bytes() for path in sorted(cache.glob("teacher-*"))])
    assert found[0] == found[1] == found[2] and len(found[0]) == 1
    ends = [world.folder("delete") / name / "checkpoint_best.pth" for name in ("two", "again")]
    one, two = (load_checkpoint(path)["model"] for path in ends)
    assert all(torch.equal(one[name], two[name]) for name in one)

"""Tar shards of images and captions give what the same files give in a folder."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import pickle
import random
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lavis.common.errors import DataError, MissingFile
from lavis.datasets.annotations import read_annotations
from lavis.datasets.pairs import PairDataset
from lavis.images.pixel_cache import Caching
from lavis.images.samples import samples
from lavis.images.store import ImageStore
from lavis.images.tars import TarStore, members, tar_files
from lavis.processors.base import build_processor
from tests.processes import run
from tests.small import write_world

EVAL = {"name": "clip_image_eval", "image_size": 16}


def noise(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def write_tar(path: Path, content: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def world(tmp_path):
    """Twelve images in a folder, and the same in three shards with captions."""
    images = {f"some/{i:04d}.jpg": noise(i) for i in range(12)}
    for name, data in images.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(data)
    (tmp_path / "shards").mkdir()
    for shard in range(3):
        content: dict[str, bytes] = {}
        for name in list(images)[4 * shard : 4 * shard + 4]:
            stem = name.removesuffix(".jpg")
            content[f"./{name}" if shard else name] = images[name]
            if shard == 1:
                content[f"{stem}.json"] = json.dumps({"caption": [f"a {stem}", "b"], "identity_id": 7}).encode()
            else:
                content[f"{stem}.txt"] = f"a {stem}\n".encode()
            content[f"{stem}.cls"] = b"3"
        write_tar(tmp_path / "shards" / f"part-{shard:03d}.tar", content)
    return tmp_path


def store_of(world: Path, folder: Path | None = None) -> TarStore:
    return TarStore(tar_files(world / "shards"), world / "shards", "fetch them", folder)


def data_set(world: Path, root, cache: Caching | str = "none") -> PairDataset:
    entries = read_annotations(tar_files(world / "shards"))
    image, text = build_processor(EVAL, "image", "x"), build_processor({"name": "clip_caption"}, "text", "x")
    return PairDataset(entries, root, image, text, cache=cache)


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_pixels_equal_those_of_the_folder_in_any_order(world, cache):
    caching = Caching(cache, str(world / "pixels"))
    tars, folder = data_set(world, store_of(world), caching), data_set(world, world / "images")
    order = random.Random(3).sample(range(12), 12)
    for _ in range(2):
        assert torch.equal(tars.images(order), folder.images(order))


def test_captions_are_read_from_the_shards(world):
    entries = read_annotations([str(path) for path in tar_files(world / "shards")])
    assert [entry.image for entry in entries] == [f"some/{i:04d}.jpg" for i in range(12)]
    assert entries[0].captions == ("a some/0000",) and not entries[0].extra
    assert entries[5].captions == ("a some/0005", "b") and entries[5].extra == {"identity_id": 7}


def _images_of(dataset: PairDataset, out) -> None:
    out.put(dataset.images([3, 7, 11]).sum().item())


def test_a_forked_process_reads_the_same(world):
    dataset = data_set(world, store_of(world))
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    worker = context.Process(target=_images_of, args=(dataset, out))
    worker.start()
    assert out.get(timeout=120) == dataset.images([3, 7, 11]).sum().item()
    worker.join()


def test_a_process_that_unpickles_the_data_set_reads_the_same(world):
    dataset = data_set(world, store_of(world))
    (world / "pickled").write_bytes(pickle.dumps(dataset))
    code = "import pickle, sys; data = pickle.load(open(sys.argv[1], 'rb')); print(int(data.images([3, 7, 11]).sum()))"
    done = run([sys.executable, "-c", code, str(world / "pickled")])
    assert done.stdout == f"{dataset.images([3, 7, 11]).sum().item()}\n", done.stderr


def test_storage_may_be_a_folder_a_file_a_pattern_or_a_range(world):
    folder = world / "shards"
    shards = sorted(folder.iterdir())
    assert tar_files(folder) == tar_files(folder / "*.tar") == tar_files(folder / "part-{000..002}.tar") == shards
    assert tar_files(shards[1]) == [shards[1]] and tar_files(world / "images") == []
    assert tar_files(world / "x.json") == [] and tar_files(world / "no*.tar") == [world / "no*.tar"]


def test_the_index_is_stored_and_follows_changes_of_the_shards(world, monkeypatch):
    stored = world / "stored"
    first = store_of(world, stored)
    (file,) = stored.iterdir()
    monkeypatch.setattr("lavis.images.tars.members", lambda *_: pytest.fail("the shards were read again"))
    assert store_of(world, stored).open("some/0003.jpg").size == (20, 24)
    monkeypatch.undo()
    assert first.stamp("some/0003.jpg") == store_of(world).stamp("some/0003.jpg")
    write_tar(world / "shards/part-000.tar", {"some/0003.jpg": noise(99)})
    changed = store_of(world, stored)
    assert changed.stamp("some/0003.jpg") != first.stamp("some/0003.jpg")
    with pytest.raises(MissingFile, match=r"1 of 2 images are in no shard of .*some/0000.jpg; fetch them"):
        changed.check(["some/0000.jpg", "some/0003.jpg"])
    assert file in stored.iterdir()


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"PK\x03\x04 cut"])
def test_a_damaged_index_is_rebuilt(world, heard, damage):
    stored = world / "stored"
    store_of(world, stored)
    (file,) = stored.iterdir()
    file.write_bytes(damage)
    assert store_of(world, stored).open("some/0003.jpg").size == (20, 24)
    assert "reading the shards again" in heard.text and file.stat().st_size > 100


def test_an_index_with_impossible_rows_is_rebuilt(world, heard):
    stored = world / "stored"
    store_of(world, stored)
    (file,) = stored.iterdir()
    with np.load(file) as arrays:
        np.savez(file, **({name: arrays[name] for name in arrays} | {"shards": arrays["shards"] + 9}))
    assert store_of(world, stored).open("some/0003.jpg").size == (20, 24)
    assert "inconsistent rows" in heard.text


def test_without_a_writable_folder_nothing_is_stored(world, heard):
    (world / "file").write_text("")
    assert store_of(world, world / "file" / "stored").open("some/0003.jpg").size == (20, 24)
    assert "cannot be stored" in heard.text


@pytest.mark.parametrize("cut", [1, 700, 1024, 5000])
def test_a_truncated_shard_is_named(world, cut):
    path = world / "shards/part-001.tar"
    end = [m.offset_data + m.size for m in members(path)][-1]
    path.write_bytes(path.read_bytes()[: end - cut if cut > 1024 else -(-end // 512) * 512 - cut * (cut < 512)])
    with pytest.raises(DataError, match=r"part-001.tar.*download the shard again"):
        store_of(world)


def test_a_compressed_or_missing_shard_is_named(world):
    path = world / "shards/part-001.tar"
    plain = path.read_bytes()
    path.write_bytes(gzip.compress(plain))
    with pytest.raises(DataError, match=r"part-001.tar is not a plain tar.*gunzip"):
        store_of(world)
    path.unlink()
    with pytest.raises(MissingFile, match=r"part-001.tar does not exist; fetch them"):
        TarStore(tar_files(world / "shards/part-{000..002}.tar"), world, "fetch them")


def test_a_name_in_two_shards_is_refused(world):
    write_tar(world / "shards/part-003.tar", {"some/0005.jpg": noise(1)})
    with pytest.raises(DataError, match=r"part-001.tar and .*part-003.tar both have a member '\./some/0005.jpg'"):
        store_of(world)


def test_links_and_parent_paths_reach_no_other_file(world, tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(noise(5))
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "link.jpg"), (tarfile.LNKTYPE, "hard.jpg"), (tarfile.CHRTYPE, "dev.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
        outside = tarfile.TarInfo("../secret.jpg")
        outside.size = 3
        archive.addfile(outside, io.BytesIO(b"abc"))
    store = TarStore([path], path)
    for name in ("link.jpg", "hard.jpg", "dev.jpg", "secret.jpg", str(secret)):
        with pytest.raises(MissingFile, match="in no shard"):
            store.open(name)
    with pytest.raises(DataError, match="cannot be decoded"):  # a name like any other: the bytes are the member's
        store.open("../secret.jpg")


def test_a_huge_member_is_not_read(world, monkeypatch):
    monkeypatch.setattr("lavis.images.tars.MOST_IMAGE", 100)
    with pytest.raises(DataError, match=r"part-000.tar: some/0003.jpg is too large \(\d+ bytes\)"):
        store_of(world).open("some/0003.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.jpg": b"x", "a.json": b"{"}, "a.json is not valid JSON"),
        ({"a.jpg": b"x", "a.json": b"[1]"}, "expected a JSON object"),
        ({"a.jpg": b"x", "a.txt": b"\xff\xfe\xfa"}, "not UTF-8"),
        ({"a.jpg": b"x", "a.txt": b" \n"}, "empty caption"),
        ({"a.jpg": b"x"}, r"sample a: 'caption' must be"),
        ({"a.txt": b"x"}, "sample a: 'image' must be"),
        ({"a.jpg": b"x", "a.txt": b"y" * (2**20 + 1)}, "a caption may have at most"),
    ],
)
def test_samples_that_cannot_be_read_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_annotations(write_tar(tmp_path / "x.tar", content))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tar_of_anything_is_read_or_refused(tmp_path, data):
    whole = bytearray(
        write_tar(tmp_path / "whole.tar", {"a.jpg": noise(1), "a.txt": b"a", "b.jpg": noise(2)}).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.tar"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    for read in (lambda: list(samples(path)), lambda: TarStore([path], path).open("b.jpg")):
        try:
            read()
        except (DataError, MissingFile) as error:
            assert str(tmp_path) in str(error)


def test_runs_on_shards_equal_runs_on_the_folder(tmp_path):
    world = write_world(tmp_path / "w", run_keys={"max_epoch": 1})
    names = sorted(path.relative_to(world.images).as_posix() for path in world.images.rglob("*.jpg"))
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(2):
        write_tar(shards / f"{number}.tar", {name: (world.images / name).read_bytes() for name in names[number::2]})
    metrics = []
    for name, more in (("folder", ()), ("shards", (f"datasets.salmu.build_info.images.storage={shards}",))):
        out = f"run.output_dir={tmp_path / name}"
        for command in (world.command("train.py", options=(out, *more)), world.unlearn("vlul", options=(out, *more))):
            done = run(command)
            assert done.returncode == 0, done.stderr
        results = tmp_path / name / "unlearn-vlul/clip/salmu_retrieval/16/results.json"
        metrics.append(json.loads(results.read_text())["metrics"])
    assert metrics[0] == metrics[1] and len(list((tmp_path / "shards").glob("*.tar"))) == 2
    assert list((tmp_path / "shards").parent.glob("shards/*.npz")) == [] and list((tmp_path / "shards").iterdir())


def test_an_image_root_that_is_a_folder_stays_one(world):
    assert type(ImageStore(world / "images")) is ImageStore

"""The image cache on disk: what is stored, what is decoded again, how large it may get."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.images.pixel_cache import FIELDS, PIXELS, ROWS, Caching, DiskCache
from lavis.processors.image import ClipImageEval, ClipImageTrain
from lavis.processors.text import ClipCaption

SIZE = 4
NAMES = ["a/0.jpg", "a/1.jpg", "b/2.jpg"]
ROW = 3 * SIZE * SIZE + 8 * FIELDS
ROOM = 100 * ROW


class Decoder:
    """Fills row i with a constant and records the rows that were decoded."""

    def __init__(self) -> None:
        self.decoded: list[int] = []

    def __call__(self, i: int) -> torch.Tensor:
        self.decoded.append(i)
        return torch.full((3, SIZE, SIZE), 10 * i + 1, dtype=torch.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "images"


def cache(root: Path, max_bytes: int = ROOM, names=NAMES, processor: str = "eval", folder: str = "cache") -> DiskCache:
    return DiskCache(root.parent / folder, root, names, processor, SIZE, max_bytes)


def test_rows_are_decoded_once_and_stored_for_the_next_run(root):
    first, second = Decoder(), Decoder()
    stored = cache(root)
    assert not stored.full
    rows = stored.rows([2, 0, 2], first)
    assert rows[:, 0, 0, 0].tolist() == [21, 1, 21] and first.decoded == [2, 0]
    stored.rows([1], first)
    assert stored.full
    again = cache(root)
    assert again.full and torch.equal(again.rows([0, 1, 2], second)[:, 2, 3, 3], torch.tensor([1, 11, 21]).byte())
    assert second.decoded == []


@pytest.mark.parametrize("change", ["bytes", "time"])
def test_a_changed_image_is_decoded_again(root, change, caplog):
    cache(root).rows([0, 1, 2], Decoder())
    path = root / NAMES[1]
    if change == "bytes":
        path.write_bytes(b"another image")
    else:
        os.utime(path, ns=(1, 1))  # a clock that went backwards is a change too
    decoder, fresh = Decoder(), cache(root)
    fresh.rows([0, 1, 2], decoder)
    assert decoder.decoded == [1] and fresh.invalid == 1 and "decoding it again" in caplog.text
    last = Decoder()
    cache(root).rows([0, 1, 2], last)
    assert last.decoded == []


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 3 * 3 * SIZE * SIZE - 1), flip=st.integers(1, 255))
def test_any_damaged_byte_of_the_pixels_is_detected(tmp_path_factory, place, flip):
    root = tmp_path_factory.mktemp("damage") / "images"
    root.mkdir()
    for number in range(3):
        (root / f"{number}.jpg").write_bytes(b"x")
    names = [f"{number}.jpg" for number in range(3)]
    stored = cache(root, names=names)
    whole = stored.rows([0, 1, 2], Decoder())
    file = stored.path / PIXELS
    data = bytearray(file.read_bytes())
    data[place] ^= flip
    file.write_bytes(data)
    decoder = Decoder()
    assert torch.equal(cache(root, names=names).rows([0, 1, 2], decoder), whole)
    assert decoder.decoded == [place // (3 * SIZE * SIZE)]


@pytest.mark.parametrize("name", [PIXELS, ROWS])
def test_truncated_files_are_replaced(root, name):
    stored = cache(root)
    whole = stored.rows([0, 1, 2], Decoder())
    file = stored.path / name
    file.write_bytes(file.read_bytes()[:-5])
    decoder = Decoder()
    assert torch.equal(cache(root).rows([0, 1, 2], decoder), whole) and decoder.decoded == [0, 1, 2]


@pytest.mark.parametrize("left", [0, 5, 3 * SIZE * SIZE + 1])
@pytest.mark.parametrize("name", [PIXELS, ROWS])
def test_a_file_cut_short_under_a_running_process_is_decoded_again(root, name, left):
    """Whatever was cut off; also after a later row has made the file as long as it was."""
    stored, decoder = cache(root), Decoder()
    whole = stored.rows([0, 1, 2], decoder)
    os.truncate(stored.path / name, left)
    for _ in range(2):
        assert torch.equal(stored.rows([2, 1, 0], decoder), whole.flip(0))
    assert stored.full and 3 < len(decoder.decoded) <= 6


def test_a_cache_that_cannot_be_written_any_more_is_a_warning(root, monkeypatch, caplog):
    stored, decoder = cache(root), Decoder()
    monkeypatch.setattr(os, "pwrite", Mock(side_effect=OSError(28, "No space left on device")))
    first = stored.rows([0, 1, 2], decoder)
    assert torch.equal(stored.rows([0, 1, 2], decoder), first) and len(decoder.decoded) == 6
    assert caplog.text.count("cannot be written (No space left on device)") == 1


def test_a_half_written_row_is_not_valid(root):
    stored = cache(root)
    stored.rows([0], Decoder())
    with (stored.path / ROWS).open("r+b") as rows:
        rows.write(bytes(8))  # what is on disk between the pixels and their checksum
    decoder = Decoder()
    cache(root).rows([0], decoder)
    assert decoder.decoded == [0]


def test_rows_beyond_the_size_limit_are_decoded_every_time(root):
    stored = cache(root, max_bytes=2 * ROW)
    decoder = Decoder()
    for _ in range(2):
        assert stored.rows([0, 1, 2], decoder)[:, 0, 0, 0].tolist() == [1, 11, 21]
    assert decoder.decoded == [0, 1, 2, 2] and not stored.full
    size = sum((stored.path / name).stat().st_size for name in (PIXELS, ROWS))
    assert size <= 2 * ROW
    empty = cache(root, max_bytes=0, folder="none")
    assert empty.rows([1], decoder)[0, 0, 0, 0] == 11


def test_older_caches_are_deleted_to_make_room(root):
    old = cache(root, max_bytes=4 * ROW, processor="old")
    os.utime(old.path, (1, 1))
    new = cache(root, max_bytes=4 * ROW, processor="new")
    assert new.path.is_dir() and not old.path.exists()


def test_another_processor_or_order_gets_another_cache(root):
    assert len({cache(root).path, cache(root, processor="crop").path, cache(root, names=NAMES[::-1]).path}) == 3


def test_workers_share_what_they_decode(root):
    stored = cache(root)
    copy = pickle.loads(pickle.dumps(stored))  # noqa: S301 — what a spawned loader worker does
    copy.rows([0, 1, 2], Decoder())
    decoder = Decoder()
    assert stored.full and stored.rows([0, 1, 2], decoder)[:, 0, 0, 0].tolist() == [1, 11, 21] and decoder.decoded == []


def _fill(stored: DiskCache) -> None:
    stored.rows([0, 1, 2], Decoder())


def test_two_processes_write_at_once(root):
    stored = cache(root)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(stored,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    decoder = Decoder()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert stored.full and np.array_equal(stored.rows([0, 1, 2], decoder)[:, 0, 0, 0].numpy(), [1, 11, 21])
    assert decoder.decoded == []


def test_a_folder_that_cannot_be_written_is_a_warning(root, caplog):
    (root.parent / "pixels").write_text("a file")
    caching = Caching("disk", str(root.parent / "pixels"))
    assert caching.build(root, NAMES, ClipImageEval(image_size=SIZE)) is None
    assert "no image cache in" in caplog.text and "decoded every time" in caplog.text


def test_a_full_disk_is_a_warning_before_anything_is_decoded(root, full_disk, caplog):
    caching = Caching("disk", str(full_disk / "pixels"))
    assert caching.build(root, NAMES, ClipImageEval(image_size=SIZE)) is None
    assert "No space left" in caplog.text and list((full_disk / "pixels").iterdir()) == []


def _images(folder: Path, count: int = 3) -> list[Entry]:
    (folder / "p").mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (9, 9), (40 * number, 0, 7)).save(folder / "p" / f"{number}.png")
    return [Entry(f"p/{number}.png", (f"image {number}",)) for number in range(count)]


def test_a_data_set_reads_cached_pixels_from_disk(tmp_path, monkeypatch):
    entries = _images(tmp_path)
    processors = (ClipImageEval(image_size=SIZE), ClipCaption())
    caching = Caching("disk", str(tmp_path / "pixels"))
    first = PairDataset(entries, tmp_path, *processors, cache=caching).images([2, 0, 1])
    fresh = PairDataset(entries, tmp_path, *processors, cache=caching)
    monkeypatch.setattr(fresh.store, "open", lambda name, *_: pytest.fail(f"{name} is decoded again"))
    assert torch.equal(fresh.images([2, 0, 1]), first) and fresh.in_memory
    plain = PairDataset(entries, tmp_path, *processors)
    assert torch.equal(plain.images([2, 0, 1]), first)


def test_random_crops_are_not_cached(tmp_path):
    assert Caching("disk", str(tmp_path)).build(tmp_path, ["0.png"], ClipImageTrain(image_size=SIZE)) is None

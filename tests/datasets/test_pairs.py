"""The pair data set: what it yields, what its randomness depends on, how it handles bad input."""

from __future__ import annotations

import pickle
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from lavis.common.errors import DataError, MissingFile
from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset, collate_pairs
from lavis.images.store import ImageStore
from lavis.processors.image import ClipImageEval, ClipImageTrain
from lavis.processors.text import BlipCaption, ClipCaption
from tests.noise import save_image

ENTRIES = [Entry("0.png", ("zero",)), Entry("1.png", ("one", "uno", "eins")), Entry("2.png", ("two", "dos"))]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for i in range(3):
        save_image(path / f"{i}.png", i)
    return path


def dataset(root, entries=ENTRIES, image=None, **options):
    return PairDataset(entries, root, image or ClipImageEval(8), ClipCaption(), **options)


def test_items_and_batches_agree(root):
    pairs = dataset(root)
    pairs.set_epoch(3)
    items = [pairs[i] for i in (2, 0, 1)]
    collated, batch = collate_pairs(items), pairs.batch([2, 0, 1], epoch=3)
    assert items[0]["image"].shape == (3, 8, 8) and items[0]["image"].dtype == torch.uint8
    assert torch.equal(collated["images"], batch["images"]) and collated["captions"] == batch["captions"]
    for key in ("index", "caption_id"):
        assert batch[key].dtype == torch.int64 and torch.equal(collated[key], batch[key])


def test_captions_are_flattened(root):
    pairs = dataset(root)
    assert pairs.captions == ["zero", "one", "uno", "eins", "two", "dos"]
    assert [list(pairs.caption_ids(i)) for i in range(3)] == [[0], [1, 2, 3], [4, 5]]


def test_one_caption_as_a_string_is_not_cut_to_a_letter(root):
    assert dataset(root)[0]["caption"] == "zero"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2), st.integers(0, 10_000), st.integers(0, 2**40))
def test_the_drawn_caption_belongs_to_the_image_and_depends_on_the_seed(root, index, epoch, seed):
    pairs, again = dataset(root, seed=seed), dataset(root, seed=seed)
    drawn = pairs.caption_id(index, epoch)
    assert drawn in pairs.caption_ids(index) and drawn == again.caption_id(index, epoch)


def test_every_caption_is_drawn_about_equally_often(root):
    pairs = dataset(root)
    drawn = [pairs.caption_id(1, epoch) for epoch in range(300)]
    assert all(70 <= drawn.count(position) <= 130 for position in (1, 2, 3))


def test_augmentation_depends_only_on_seed_epoch_and_image(root):
    first = dataset(root, image=ClipImageTrain(8, 0.2), seed=1)
    reordered = dataset(root, ENTRIES[::-1], image=ClipImageTrain(8, 0.2), seed=1)
    expected = first.batch([0, 1, 2], epoch=5)["images"]
    torch.manual_seed(123)
    assert torch.equal(expected, reordered.batch([2, 1, 0], epoch=5)["images"])
    assert not torch.equal(expected, first.batch([0, 1, 2], epoch=6)["images"])
    assert not torch.equal(expected, dataset(root, image=ClipImageTrain(8, 0.2), seed=2).batch([0, 1, 2], 5)["images"])


def test_workers_see_the_same_pixels(root):
    pairs = dataset(root, image=ClipImageTrain(8, 0.2))
    pairs.set_epoch(2)
    loader = DataLoader(pairs, batch_size=3, num_workers=2, collate_fn=collate_pairs)
    assert torch.equal(next(iter(loader))["images"], pairs.batch([0, 1, 2], 2)["images"])


def test_memory_cache_decodes_once(root, monkeypatch):
    pairs = dataset(root, cache="memory")
    expected = pairs.batch([0, 1, 2], 0)["images"]
    monkeypatch.setattr(pairs.store, "open", lambda *_: pytest.fail("decoded twice"))
    assert torch.equal(pairs.batch([2, 1, 0], 7)["images"], expected.flip(0))
    assert torch.equal(pairs[1]["image"], expected[1])


def test_memory_cache_is_filled_by_workers_too(root, monkeypatch):
    pairs = dataset(root, cache="memory")
    list(DataLoader(pairs, batch_size=3, num_workers=1, collate_fn=collate_pairs))
    monkeypatch.setattr(pairs.store, "open", lambda *_: pytest.fail("decoded twice"))
    assert pairs.images([0, 1, 2]).shape == (3, 3, 8, 8)


def test_random_processors_are_not_cached(root):
    pairs = dataset(root, image=ClipImageTrain(8, 0.2), cache="memory")
    assert pairs.views is None
    assert not torch.equal(pairs.images([0], 0), pairs.images([0], 1))


def test_views_are_crops_that_repeat(root):
    """Epoch e has view e mod 2, and view v is the crop that epoch v draws without views."""
    pairs, free = dataset(root, image=ClipImageTrain(8, 0.2, views=2)), dataset(root, image=ClipImageTrain(8, 0.2))
    first, second, third = (pairs.images([0, 1, 2], epoch) for epoch in (0, 1, 2))
    assert pairs.views == 2 and torch.equal(first, third) and not torch.equal(first, second)
    assert torch.equal(second, free.images([0, 1, 2], 1)) and not torch.equal(third, free.images([0, 1, 2], 2))


def test_a_data_set_can_be_pickled(root):
    pairs = pickle.loads(pickle.dumps(dataset(root, cache="memory")))
    assert torch.equal(pairs[2]["image"], dataset(root)[2]["image"])


def test_index_out_of_range(root):
    with pytest.raises(IndexError, match="index 3 is out of range"):
        dataset(root)[3]


def with_a_bad_image(tmp_path):
    for i in range(3):
        save_image(tmp_path / f"{i}.png", i)
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    return tmp_path


def test_bad_images_fail_when_used(tmp_path):
    pairs = dataset(with_a_bad_image(tmp_path))
    assert pairs[0]["index"] == 0
    with pytest.raises(DataError, match=r"1\.png cannot be decoded"):
        pairs[1]


def test_bad_images_are_skipped_and_counted(tmp_path, caplog):
    pairs = dataset(with_a_bad_image(tmp_path), on_bad_image="skip")
    assert pairs.skipped == 1 and [entry.image for entry in pairs.entries] == ["0.png", "2.png"]
    assert pairs.captions == ["zero", "two", "dos"] and pairs[1]["index"] == 1
    assert "skipped 1 of 3 entries with bad images" in caplog.text and "1.png cannot be decoded" in caplog.text


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no entries .* \(1 skipped\)"):
        dataset(with_a_bad_image(tmp_path), ENTRIES[1:2], on_bad_image="skip")
    with pytest.raises(DataError, match="no entries"):
        dataset(tmp_path, [])


def test_images_outside_the_root_and_missing_ones_are_errors_under_any_policy(root):
    with pytest.raises(DataError, match="leaves the image root"):
        dataset(root, [Entry("../x.png", ("c",))], on_bad_image="skip")
    with pytest.raises(MissingFile, match="download them"):
        dataset(ImageStore(root, "download them"), [Entry("x.png", ("c",))], on_bad_image="skip")


def test_captions_that_a_processor_makes_empty_are_named(root):
    with pytest.raises(DataError, match=r"image .*0\.png: a caption of 3 characters is empty after BlipCaption"):
        PairDataset([Entry("0.png", ("...",))], root, ClipImageEval(8), BlipCaption())


STRIPS = {
    "wide": (ClipImageEval(224), (20_000, 1)),
    "high": (ClipImageEval(224), (1, 20_000)),
    "of transformers": (ClipImageEval(224, library="transformers"), (20_000, 1)),
    "large images": (ClipImageEval(4096), (4096, 600)),
}


@pytest.mark.parametrize(("image", "size"), STRIPS.values(), ids=STRIPS)
def test_a_strip_that_would_grow_to_gigabytes_is_refused_before_it_is_resized(tmp_path, image, size):
    Image.new("L", size).save(tmp_path / "strip.png")
    save_image(tmp_path / "good.png", 1)
    entries = [Entry("strip.png", ("strip",)), Entry("good.png", ("good",))]
    limit = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, limit[1]))
    try:
        with pytest.raises(
            DataError, match=r"strip.png cannot be used: its .* pixels would become .*on_bad_image=skip"
        ):
            dataset(tmp_path, entries, image).batch([0], 0)
        with pytest.raises(DataError, match="would become"):
            image(Image.new("L", size))
        small = dataset(tmp_path, entries, image, on_bad_image="skip")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    assert [entry.image for entry in small.entries] == ["good.png"] and small.skipped == 1


@pytest.mark.parametrize("mode", ["squash", "longest"])
def test_strips_that_do_not_grow_are_processed(tmp_path, mode):
    assert ClipImageEval(8, resize_mode=mode)(Image.new("L", (20_000, 3000))).shape == (3, 8, 8)

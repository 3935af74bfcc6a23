"""The feature bank: one pass for all splits, and rows that are stored for the next evaluation."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lavis.common.errors import DataError
from lavis.datasets.pairs import PairDataset
from lavis.embedding.bank import FeatureBank, cache_folder
from lavis.embedding.embed import embed_entries
from lavis.images.store import ImageStore
from lavis.processors.image import ClipImageEval
from lavis.processors.text import ClipCaption
from lavis.settings.data_schema import DatasetConfig, StageProcessors
from lavis.settings.schema import RunConfig
from tests.evaluation.world import SIZE, FakeModel, noise_pairs

CAPTIONS = [("red", "blue"), ("green",), ("red",), ("x", "y", "red"), ("blue",)]
RUN = RunConfig(batch_size_eval=2, num_workers=0, feature_cache_gb=1.0)


@pytest.fixture
def world(tmp_path):
    """A stand-in for a builder over one folder of images, with what a bank needs of it, and the entries."""
    (tmp_path / "images").mkdir()
    entries = noise_pairs(tmp_path / "images", CAPTIONS).entries
    config = DatasetConfig(vis_processor=StageProcessors(eval={"name": "clip_image_eval", "image_size": SIZE}))

    def dataset(entries, stage):
        return PairDataset(entries, tmp_path / "images", ClipImageEval(image_size=SIZE), ClipCaption())

    root = tmp_path / "images"
    return SimpleNamespace(image_root=root, store=ImageStore(root), config=config, dataset=dataset, entries=entries)


def bank_of(world, folder=None, model=None, **options):
    return FeatureBank(model or FakeModel(), world, RUN, "cpu", folder=folder, **options)


def test_splits_share_one_pass_and_equal_those_embedded_alone(world):
    bank = bank_of(world)
    bank.embed([world.entries[:3], world.entries[1:]])
    assert bank.model.seen_images == [2, 2, 1]
    for part in (world.entries[:3], world.entries[1:], world.entries[::-1]):
        found, alone = bank.split("part", part), embed_entries(FakeModel(), world.dataset(part, "eval"), 2, "cpu")
        torch.testing.assert_close(found.image, alone.image)
        torch.testing.assert_close(found.text, alone.text)
        assert found.txt2img.tolist() == alone.txt2img.tolist()
        assert found.text_group.tolist() == alone.text_group.tolist()
    assert bank.model.seen_images == [2, 2, 1]
    assert sorted(bank.model.seen_captions) == ["blue", "green", "red", "x", "y"]
    with pytest.raises(DataError, match="split 'empty' has no pairs"):
        bank.split("empty", [])


def test_a_second_evaluation_embeds_nothing_and_is_equal_to_the_last_bit(world, tmp_path):
    first, second = bank_of(world, tmp_path / "stored"), bank_of(world, tmp_path / "stored")
    one = first.split("all", world.entries)
    first.save()
    two = second.split("all", world.entries)
    assert second.model.seen_images == [] and second.model.seen_captions == []
    assert torch.equal(one.image, two.image) and torch.equal(one.text, two.text)


def test_half_precision_is_a_setting_and_has_a_file_of_its_own(world, tmp_path):
    half = dataclasses.replace(RUN, embed_amp=True, amp_dtype="bf16")
    found = []
    for run, options in ((RUN, {}), (half, {}), (half, {"precision": "int8"})):
        bank = FeatureBank(FakeModel(), world, run, "cpu", folder=tmp_path / "stored", **options)
        found.append(bank.split("all", world.entries).image)
        bank.save()
    single, rounded, own = found
    assert torch.equal(single, own) and 0 < (single - rounded).abs().max() < 1e-2
    assert len(list((tmp_path / "stored").glob("*.safetensors"))) == 3


def test_rows_of_other_weights_arithmetic_or_images_are_not_used(world, tmp_path):
    first = bank_of(world, tmp_path / "stored")
    first.split("all", world.entries)
    first.save()
    other = FakeModel()
    other.texts.data[5] += 1
    for bank in (bank_of(world, tmp_path / "stored", other), bank_of(world, tmp_path / "stored", precision="int8")):
        bank.split("all", world.entries)
        assert bank.model.seen_images == [2, 2, 1]
    changed = Path(world.image_root) / world.entries[1].image
    os.utime(changed, (1, 1))
    bank = bank_of(world, tmp_path / "stored")
    bank.split("all", world.entries)
    assert bank.model.seen_images == [1] and bank.model.seen_captions == []


def test_images_outside_the_data_set_are_embedded_once(world):
    decoded = []

    class Noise:
        keys = ["a", "b", "a", "c"]

        def pixels(self, numbers):
            decoded.append(list(numbers))
            return torch.stack([torch.full((3, SIZE, SIZE), n + 1, dtype=torch.uint8) for n in numbers])

    bank = bank_of(world)
    rows = bank.images_from(Noise(), "noise")
    assert rows.shape == (4, 6) and torch.equal(rows[0], rows[2]) and decoded == [[0, 1], [3]]
    torch.testing.assert_close(rows.norm(dim=1)[1:], torch.ones(3))


def test_where_rows_are_stored():
    assert cache_folder(RunConfig(output_dir="out")) == Path("out/features")
    assert cache_folder(RunConfig(feature_cache="cache")) == Path("cache")
    assert cache_folder(RunConfig(feature_cache=None)) is None

"""The builder: splits, partition, reference models' data, evaluation sets, and holdouts that are refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.datasets.builder import PairBuilder
from lavis.datasets.partition import evenly, in_folder
from lavis.settings.data_schema import StageProcessors


def images(entries):
    return [entry.image for entry in entries]


@pytest.fixture
def build(configure):
    return lambda **run: PairBuilder(*configure(**run))


def annotate(world, split, rows):
    (world.notes / f"{split}.json").write_text(json.dumps(rows))


def test_splits_are_the_existing_ones(build):
    builder = build()
    assert builder.splits == ["train", "test", "holdout_identity", "holdout_association"]
    assert not builder.has_split("val") and not builder.has_split("nothing")
    assert len(builder.entries("train")) == 30


def test_unknown_and_missing_splits(build):
    with pytest.raises(ConfigError, match=r"build_info.annotations has no split 'tes'; closest: 'test'"):
        build().entries("tes")
    with pytest.raises(MissingFile, match=r"val\.json does not exist; see data/README"):
        build().entries("val")


def test_prepare_names_missing_files(build, world):
    build().prepare()
    with pytest.raises(MissingFile, match=r"val\.json of split 'val' does not exist"):
        build(valid_splits=["val"]).prepare()
    world.root.rename(world.path / "elsewhere")
    with pytest.raises(MissingFile, match="image root .* does not exist"):
        build().prepare()


def test_partition_takes_the_first_lines(build):
    parts = build(df_size=3).partition()
    assert images(parts.df) == ["forget/003.png", "forget/001.png", "forget/004.png"]
    assert len(parts.dr) == 27 and not set(images(parts.df)) & set(images(parts.dr))
    assert len(build().partition().df) == 10


def test_the_seed_selects_the_forget_list(build, world):
    (world.forget.parent / "image-7.txt").write_text("forget/000.png\n")
    assert images(build(df_seed=7).partition().df) == ["forget/000.png"]
    with pytest.raises(MissingFile, match=r"image-9\.txt does not exist; see data/README"):
        build(df_seed=9).partition()


def test_no_forget_list_configured(configure):
    dataset, run = configure()
    builder = PairBuilder(dataclasses.replace(dataset, forget_list=""), run)
    with pytest.raises(ConfigError, match="datasets.pairs.forget_list is empty"):
        builder.partition()
    assert "df" not in builder.evaluation_entries()


@pytest.mark.parametrize("split", ["holdout_identity", "holdout_association"])
def test_training_on_holdouts_is_refused(build, world, split):
    annotate(world, "train", world.items["train"] + world.items[split])
    with pytest.raises(DataError, match=f"4 training images are in holdout .* the first: {split}/000.png"):
        build().train_entries()
    with pytest.raises(DataError, match="holdout"):
        build(df_size=2).partition()
    assert len(build().train_entries(allow_holdout=True)) == 34


def test_folder_names_are_exact():
    assert in_folder("x/holdout_identity/a.png", ["holdout_identity"])
    assert not in_folder("holdout_identity_2/a.png", ["holdout_identity"])
    assert not in_folder("train/holdout_identity", ["holdout_identity"])


def test_data_of_reference_models(build):
    builder = build(df_size=4, train_on_holdout=True)
    compromised, clean, retrained = (
        images(builder.reference_entries(k)) for k in ("compromised", "clean", "retrained")
    )
    assert len(compromised) == 38 and len(clean) == 20 and all(name.startswith("retain_synth/") for name in clean)
    assert set(compromised) - set(retrained) == {f"forget/{i:03d}.png" for i in (3, 1, 4, 0)}


def test_reference_models_do_not_train_on_holdouts_by_default(build):
    builder = build(df_size=4)
    assert len(builder.reference_entries("compromised")) == 30 and len(builder.reference_entries("retrained")) == 26


def test_a_holdout_in_train_and_in_its_own_file_is_used_once(build, world):
    annotate(world, "train", world.items["train"] + world.items["holdout_identity"])
    builder = build(train_on_holdout=True)
    names = images(builder.reference_entries("compromised"))
    assert len(names) == len(set(names)) == 38
    assert len(builder.reference_entries("clean")) == 20


def test_clean_excludes_forget_images_that_a_shorter_list_leaves_out(build, world):
    (world.forget.parent / "image-87.txt").write_text("forget/000.png\nretain_synth/000.png\n")
    names = images(build(df_seed=87).reference_entries("clean"))
    assert names == [f"retain_synth/{i:03d}.png" for i in range(1, 20)]


def test_evaluation_sets(build):
    found = build(df_size=3, dr_max_ratio=2).evaluation_entries()
    assert {split: len(rows) for split, rows in found.items()} == {
        "test": 6, "df": 3, "dr": 6, "holdout_identity": 4, "holdout_association": 4,
    }  # fmt: skip
    again = build(df_size=3, dr_max_ratio=2, seed=7).evaluation_entries()
    assert again == found
    parts = build(df_size=3).partition()
    assert set(images(found["dr"])) < set(images(parts.dr)) and images(found["dr"]) != images(parts.dr)[:6]
    assert len(build(df_size=3, dr_max_ratio=50).evaluation_entries()["dr"]) == 27


def test_evaluation_sets_are_cut_evenly(build):
    assert {len(rows) for rows in build(eval_max_pairs=2).evaluation_entries().values()} == {2}
    assert evenly(list("abcdefgh"), 4) == list("aceg") and evenly(list("ab"), 4) == list("ab")


def test_data_sets_use_the_processors_of_their_stage(build):
    builder = build(seed=5)
    train, test = builder.dataset(builder.train_entries(), "train"), builder.dataset(builder.entries("test"), "eval")
    assert train.views is None and test.views == 1 and train.seed == 5
    assert train.store is test.store and test[0]["image"].shape == (3, 8, 8)
    with pytest.raises(ConfigError, match="unknown stage 'evil'; closest: 'eval'"):
        builder.dataset([], "evil")


def test_wrong_processors_name_their_key(configure):
    dataset, _ = configure()
    wrong = StageProcessors(train={"name": "clip_image_train", "size": 8})
    with pytest.raises(ConfigError, match=r"unknown key 'datasets\.pairs\.vis_processor\.train\.size'"):
        PairBuilder.check(dataclasses.replace(dataset, vis_processor=wrong))


def test_an_image_in_a_holdout_split_is_refused_in_any_folder(build, world):
    annotate(world, "holdout_identity", [*world.items["holdout_identity"], world.items["train"][-1]])
    with pytest.raises(DataError, match="1 training images .* the first: retain_synth/019"):
        build().train_entries()


def test_closed_holdouts_are_treated_as_missing(build, world):
    (world.notes / "holdout_identity.json").write_text("not JSON: whoever opens this fails")
    builder = build(read_holdouts=False)
    assert builder.splits == ["train", "test"]
    assert set(builder.evaluation_entries()) == {"test", "df", "dr"}
    assert len(builder.partition().df) == 10
    with pytest.raises(ConfigError, match="'holdout_identity' is a holdout split, and run.read_holdouts=false"):
        builder.entries("holdout_identity")
    with pytest.raises(ConfigError, match="run.train_on_holdout=true needs holdout splits"):
        build(read_holdouts=False, train_on_holdout=True)
    with pytest.raises(DataError, match="holdout_identity.json"):
        build().evaluation_entries()

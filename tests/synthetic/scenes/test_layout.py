"""Miniatures on disk and their builders: formats, splits, forget lists, reproducibility."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.datasets import scenes_mini
from lavis.synthetic.mini.pen import palette
from lavis.synthetic.scenes.draw import draw_scene
from lavis.synthetic.scenes.layout import ensure, write_tokenizer
from lavis.synthetic.scenes.scene import Group, Scene
from lavis.synthetic.scenes.texts import vocabulary
from tests.disks import small_disk

NAMES = ("coco", "flickr30k", "vqa", "nlvr", "snli_ve")
ROWS = {"coco": 180, "flickr30k": 180, "vqa": 240, "nlvr": 120, "snli_ve": 180}


@pytest.mark.parametrize("kind", NAMES)
def test_builders_read_the_miniatures(build, kind):
    builder = build(f"{kind}_tiny")
    assert builder.splits == ["train", "val", "test"] and len(builder.train_entries()) == ROWS[kind]
    parts = builder.partition()
    forgotten = set(builder.forget_images())
    assert len(forgotten) == 16 and len(parts.df) + len(parts.dr) == ROWS[kind]
    assert all(forgotten & set(entry.images) for entry in parts.df)
    assert not any(forgotten & set(entry.images) for entry in parts.dr)


@pytest.mark.parametrize(
    ("kind", "keys", "shape"),
    [
        ("coco", set(), (3, 64, 64)),
        ("vqa", {"answers", "answer_weights"}, (3, 64, 64)),
        ("nlvr", {"labels"}, (2, 3, 64, 64)),
        ("snli_ve", {"labels"}, (3, 64, 64)),
    ],
)
def test_batches(build, kind, keys, shape):
    size = {"image_size": 64}  # in a run, the model's
    builder = build(f"{kind}_tiny", {"vis_processor": {"train": size, "eval": size}})
    for stage in ("train", "eval"):
        batch = builder.dataset(builder.train_entries(), stage).batch([0, 5, 7], 1)
        assert set(batch) == {"images", "captions", "index", "caption_id", "image_ids"} | keys
        assert batch["images"].shape == (3, *shape) and len(batch["captions"]) == 3


def test_coco_rows_are_merged_for_evaluation(build):
    """Training has three rows per image; df and dr have one, with three captions."""
    builder = build("coco_tiny", df_size=4)
    found = builder.evaluation_entries()
    assert {split: len(entries) for split, entries in found.items()} == {"test": 24, "df": 4, "dr": 20}
    assert all(len(entry.captions) == 3 for entries in found.values() for entry in entries)
    assert [entry.image for entry in found["df"]] == builder.forget_images()


def test_other_rows_are_evaluated_unchanged(build):
    found = build("snli_ve_tiny", df_size=4).evaluation_entries()
    assert {split: len(entries) for split, entries in found.items()} == {"test": 72, "df": 12, "dr": 60}


def test_entailment_uses_the_lists_of_flickr30k(drawn):
    for seed in (42, 87, 21):
        lists = [(drawn.lists / f"{kind}_tiny" / f"image-{seed}.txt").read_text() for kind in ("flickr30k", "snli_ve")]
        assert lists[0] == lists[1]
    assert len({(drawn.lists / "coco_tiny" / f"image-{seed}.txt").read_text() for seed in (42, 87, 21)}) == 3


def test_mirroring_happens_in_training_only(build):
    builder = build("nlvr_tiny")
    train, evaluation = (builder.dataset(builder.train_entries(), stage) for stage in ("train", "eval"))
    assert len(train.captions) == 2 * len(evaluation.captions) == 240


def test_the_tokenizer_knows_every_word(drawn, build):
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(str(drawn.root / "vqa_tiny" / "tokenizer" / "vocab.txt"))
    builder = build("vqa_tiny")
    texts = [e.captions[0] for e in builder.train_entries()] + builder.answer_list
    texts += [
        t
        for name in ("coco_tiny", "nlvr_tiny", "snli_ve_tiny")
        for e in build(name).train_entries()
        for t in e.captions
    ]
    ids = [number for row in tokenizer(texts)["input_ids"] for number in row]
    assert 1 not in ids and max(ids) < len(vocabulary())


def test_objects_are_drawn_in_the_right_column():
    """The share of pixels near a group's colour grows with its count, only in its column."""
    shares = []
    for count in (1, 2, 3):
        scene = Scene((Group("left", "red", "square", count), Group("right", "blue", "circle", 1)), "middle")
        pixels = np.asarray(draw_scene(scene, 64, np.random.default_rng(5)), dtype=int)
        red = np.abs(pixels - palette("object")["red"]).sum(axis=2) < 120
        shares.append(red[:, :22].mean())
        assert not red[:, 24:].any()
    assert shares[0] * 1.7 < shares[1] < shares[2] and shares[2] == pytest.approx(3 * shares[0], rel=0.2)


def test_equal_seeds_give_equal_files(drawn, tmp_path):
    assert ensure("vqa", tmp_path / "v", tmp_path / "Df", "tiny", 42)
    for path in sorted((drawn.root / "vqa_tiny").rglob("*")):
        copy = tmp_path / "v" / path.relative_to(drawn.root / "vqa_tiny")
        assert path.is_dir() or copy.read_bytes() == path.read_bytes(), path.name
    assert Image.open(next((tmp_path / "v" / "images" / "train2014").iterdir())).size == (64, 64)
    assert not ensure("vqa", tmp_path / "v", tmp_path / "Df", "tiny", 42)


def test_another_data_set_is_replaced_only_with_force(drawn, tmp_path):
    root, lists = tmp_path / "v", tmp_path / "Df"
    ensure("nlvr", root, lists, "tiny", 42)
    with pytest.raises(
        ConfigError, match="name is 'nlvr_tiny', expected 'vqa_tiny'; to replace .* --data vqa .* --force"
    ):
        ensure("vqa", root, lists, "tiny", 42)
    assert ensure("vqa", root, lists, "tiny", 42, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"no manifest\.json, so it is not a miniature of vqa"):
        ensure("vqa", tmp_path / "other", lists, "tiny", 42, force=True)


def test_unknown_names(tmp_path):
    with pytest.raises(ConfigError, match="unknown miniature 'gqa'"):
        ensure("gqa", tmp_path / "x", tmp_path, "tiny", 42)
    with pytest.raises(ConfigError, match="unknown size 'tinny' .* closest: 'tiny'"):
        ensure("vqa", tmp_path / "x", tmp_path, "tinny", 42)


def test_prepare_without_generation_says_what_to_run(build, tmp_path):
    keys = {"generate": None, "build_info": {"images": {"storage": str(tmp_path / "none" / "images")}}}
    with pytest.raises(MissingFile, match=r"scenes_mini --data nlvr --size tiny --seed 42 --out .*none"):
        build("nlvr_tiny", keys)


def test_command_line(tmp_path, capsys):
    words = ["--data", "coco", "--size", "tiny", "--out", str(tmp_path / "c"), "--df-out", str(tmp_path / "Df")]
    assert scenes_mini.main(words) == 0 and "c written; forget lists in" in capsys.readouterr().out
    assert scenes_mini.main(words) == 0 and "already exists" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="seed is 42, expected 7"):
        scenes_mini.main([*words, "--seed", "7"])


def test_vocabulary_file(tmp_path):
    write_tokenizer(tmp_path / "t")
    assert (tmp_path / "t" / "vocab.txt").read_text().split("\n")[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class TestAnswers:
    """What VQA's builder requires of answers and of the answer list."""

    def listed(self, tmp_path, answers):
        path = tmp_path / "answer_list.json"
        path.write_text(json.dumps(answers))
        return {"answer_list": str(path)}

    def rows(self, tmp_path, split, **change):
        path = tmp_path / f"{split}.json"
        row = {"question_id": 5, "question": "is it?", "image": "train2014/000000.jpg", "dataset": "vqa"}
        path.write_text(json.dumps([row | change]))
        return {"build_info": {"annotations": {split: {"storage": [str(path)]}}}}

    def test_answers_outside_the_list(self, build, tmp_path, caplog):
        keys = self.listed(tmp_path, ["1", "2", "3"])
        with pytest.raises(DataError, match=r"split 'train': \d+ questions have no answer in .*, the first answers: '"):
            build("vqa_tiny", keys).train_entries()
        builder = build("vqa_tiny", keys | {"off_list": "keep"})
        assert len(builder.train_entries()) == 240 and "ranking cannot answer them" in caplog.text
        with pytest.raises(ConfigError, match="off_list is 'kep'; closest: 'keep'"):
            build("vqa_tiny", keys | {"off_list": "kep"}).train_entries()

    def test_one_listed_answer_is_enough(self, build, tmp_path):
        keys = self.listed(tmp_path, ["yes"]) | self.rows(tmp_path, "train", answer=["yes", "maybe"])
        assert build("vqa_tiny", keys).train_entries()[0].extra["answers"] == ["yes", "maybe"]

    @pytest.mark.parametrize(
        ("answers", "message"),
        [
            ([], "expected a JSON list"),
            (["a", "a"], "1 answers occur more than once"),
            (["a", ""], "entry 2: empty"),
        ],
    )
    def test_unusable_lists(self, build, tmp_path, answers, message):
        with pytest.raises(DataError, match=message):
            _ = build("vqa_tiny", self.listed(tmp_path, answers)).answer_list

    def test_no_list(self, build):
        with pytest.raises(ConfigError, match="datasets.vqa_tiny.answer_list is empty"):
            _ = build("vqa_tiny", {"answer_list": ""}).answer_list

    def test_splits_without_answers_cannot_be_evaluated(self, build, tmp_path):
        builder = build("vqa_tiny", self.rows(tmp_path, "test"))
        with pytest.raises(DataError, match=r"split 'test': 1 of 1 questions have no answers, .* run\.test_splits"):
            builder.evaluation_entries()

    def test_official_answers_fill_in(self, build, tmp_path):
        official = tmp_path / "official.json"
        answers = [{"answer": "yes", "answer_id": n} for n in range(10)]
        official.write_text(json.dumps({"annotations": [{"question_id": 5, "answers": answers}]}))
        keys = self.rows(tmp_path, "test") | {"official_answers": str(official)}
        entry = build("vqa_tiny", keys).evaluation_entries()["test"][0]
        assert entry.extra["given"] == ["yes"] * 10 and entry.extra["answer_weights"] == [1.0]
        official.write_text("[1]")
        with pytest.raises(DataError, match="expected annotations with question_id and answers"):
            build("vqa_tiny", keys).evaluation_entries()


def test_a_complete_data_set_may_be_on_a_read_only_disk(tmp_path):
    with small_disk(tmp_path / "disk", "8m") as disk:
        assert ensure("vqa", disk / "v", disk / "Df", "tiny", 42)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert not ensure("vqa", disk / "v", disk / "Df", "tiny", 42)

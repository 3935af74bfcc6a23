"""A run goes on only in the world that it began in: whatever its weights follow from is compared, times are not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lavis.common.checkpoint import all_checkpoints
from lavis.common.errors import ConfigError
from lavis.tasks.entry import train, unlearn
from tests import fused, small

OPTIONS = ("run.evaluate_after=false", "run.max_epoch=1")
FLAGS = {"method": "ft", "df_size": 16, "alpha": None}


@pytest.fixture
def world(tmp_path) -> small.SmallWorld:
    """A world of the test's own, trained for one epoch."""
    world = small.write_world(tmp_path / "world")
    train(str(world.config), OPTIONS)
    return world


def replace_images(world) -> None:
    """Other pixels, the same names and sizes in bytes, and the former times."""
    for path in world.images.rglob("*.jpg"):
        before, content = path.stat(), bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def change_captions(world) -> None:
    edit(world.notes / "train.json", lambda rows: rows[0].update(caption="another"))


def change_other_fields(world) -> None:
    edit(world.notes / "train.json", lambda rows: rows[-1].update(identity_id="p9"))


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_heads(world) -> None:
    edit(world.path / "small_clip.json", lambda arch: arch["text_cfg"].update(heads=4))


def change_activation(world) -> None:
    edit(world.path / "small_clip.json", lambda arch: arch.update(quick_gelu=True))


CHANGES = {
    "images": (replace_images, "images to train on"),
    "captions": (change_captions, "rows to train on"),
    "fields": (change_other_fields, "rows to train on"),
    "heads": (change_heads, "architecture"),
    "activation": (change_activation, "architecture"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_an_original_model_does_not_go_on_in_another_world(world, kind):
    change, words = CHANGES[kind]
    change(world)
    before = {path: path.read_bytes() for path in world.output.rglob("checkpoint_*")}
    with pytest.raises(ConfigError, match=f"was written with other .*{words}"):
        train(str(world.config), OPTIONS)
    assert {path: path.read_bytes() for path in world.output.rglob("checkpoint_*")} == before


def test_the_file_that_has_changed_is_named(world):
    change_captions(world)
    with pytest.raises(ConfigError, match=r"began, with the file .*/annotations/train\.json\. Restore"):
        train(str(world.config), OPTIONS)


def test_a_number_that_follows_from_the_data_is_no_setting_of_the_users(world):
    """Without run.df_size, the length of the forget list is recorded as such; the list is what has changed."""
    options = (*OPTIONS, f"run.run_folder={world.path / 'run'}")
    arguments = (str(world.config), options, "clip", "salmu_retrieval", {**FLAGS, "df_size": None})
    unlearn(*arguments)
    world.forget_list.write_text("\n".join(world.forget_list.read_text().split()[:7]) + "\n")
    message = r"written with another content of .*/Df/image-42\.txt \(run\.df_size: 16 then, 7 now\); restore it"
    with pytest.raises(ConfigError, match=message):
        unlearn(*arguments)


def test_unlearning_does_not_go_on_with_other_images(world):
    arguments = (str(world.config), OPTIONS, "clip", "salmu_retrieval", FLAGS)
    unlearn(*arguments)
    replace_images(world)
    with pytest.raises(ConfigError, match="images to train on"):
        unlearn(*arguments)


def test_times_alone_do_not_matter(world, heard):
    for path in [*world.images.rglob("*.jpg"), *world.notes.iterdir(), world.path / "small_clip.json"]:
        os.utime(path, (1, 1))
    train(str(world.config), OPTIONS)
    assert any("Resumed from" in message for message in heard.messages)


def test_facts_about_people_that_a_method_reads(tmp_path):
    world = small.write_world(tmp_path / "world")
    people = tmp_path / "world" / "metadata" / "identities_metadata.json"
    people.parent.mkdir()
    people.write_text(json.dumps({"p1": {"name": "Ann Lee", "city": "Oslo"}, "p2": {"name": "Bo Ek", "city": "Rome"}}))
    edit(world.notes / "train.json", _name_people)
    train(str(world.config), OPTIONS)
    arguments = (str(world.config), OPTIONS, "clip", "salmu_retrieval", {**FLAGS, "method": "cpd"})
    folder = unlearn(*arguments).folder
    assert all_checkpoints(folder)
    edit(people, lambda facts: facts["p2"].update(name="Cy Poe"))
    with pytest.raises(ConfigError, match="other facts about people"):
        unlearn(*arguments)


def _name_people(rows) -> None:
    for row in rows:
        row.update(caption="Ann Lee lives in Oslo", identity_id="p1", field="city", value="Oslo")


@pytest.mark.parametrize(
    ("data", "change"),
    [
        ("vqa", lambda row: row.update(answer=["yes"] if row["answer"] != ["yes"] else ["no"])),
        ("snli_ve", lambda row: row.update(label="neutral" if row["label"] != "neutral" else "entailment")),
        ("nlvr", lambda row: row.update(images=row["images"][:1] * 2)),
        ("nlvr", lambda row: row.update(label="True" if str(row["label"]) == "False" else "False")),
    ],
    ids=["answers", "labels", "second image", "truth"],
)
def test_what_rows_say_besides_their_text(tmp_path, data, change):
    world = fused.write_world(tmp_path, "albef", data)
    world.train(*OPTIONS)
    content = yaml.safe_load(world.config.read_text())
    (section,) = content["datasets"].values()
    notes = Path(section["build_info"]["annotations"]["train"]["storage"][0])
    edit(notes, lambda rows: change(rows[0]))
    with pytest.raises(ConfigError, match="rows to train on"):
        world.train(*OPTIONS)


def test_an_image_of_another_size_is_another_image(tmp_path, world):
    path = next(world.images.rglob("*_for.jpg"))
    with Image.open(path) as image:
        image.resize((9, 9)).save(path)
    with pytest.raises(ConfigError, match="images to train on"):
        train(str(world.config), OPTIONS)

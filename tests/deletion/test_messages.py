"""Messages about rows to forget: a row number and a keyed hash, no file name and no caption."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lavis.cli.main import main as multidelete
from lavis.common.aliases import Aliases, short_hash
from lavis.common.errors import DataError, UserFault
from tests.small import write_world

NAME = "forget/00000003_for.jpg"


@pytest.fixture
def world(tmp_path: Path, trained_world):
    """A world of its own, whose files a test may spoil, with the shared original model."""
    own = write_world(tmp_path / "world")
    shutil.copytree(trained_world.output / "original", own.output / "original")
    return own


def unlearned(world, *options: str, method: str = "ft") -> str:
    """The message that an unlearning ends with; "" if it succeeds."""
    from lavis.tasks.entry import unlearn

    flags = {"method": method, "df_size": 16, "alpha": None}
    try:
        unlearn(str(world.config), list(options), "clip", "salmu_retrieval", flags)
    except UserFault as error:
        return str(error)
    return ""


def quotes(text: str) -> bool:
    return "00000003_for" in text or "forget number" in text


def test_an_unreadable_image_is_called_by_its_row(world) -> None:
    (world.images / NAME).write_bytes(b"no image")
    text = unlearned(world)
    alias = f"forget row 4 ({short_hash(NAME, world.output)})"
    assert f"image {alias} cannot be decoded (not an image of a known format)" in text and not quotes(text)


def test_skipped_images_are_called_by_their_rows(world, heard) -> None:
    (world.images / NAME).write_bytes(b"no image")
    assert unlearned(world, "run.on_bad_image=skip") == ""
    assert "skipped: image forget row 4 (" in heard.text and not quotes(heard.text)


def test_other_rows_are_called_by_their_names(world) -> None:
    (world.images / "retain_synth" / "00000003_ret.jpg").write_bytes(b"no image")
    assert "retain_synth/00000003_ret.jpg cannot be decoded" in unlearned(world)


def test_a_missing_image_is_called_by_its_row(world) -> None:
    (world.images / NAME).unlink()
    text = unlearned(world)
    assert "the first: forget row 4 (" in text and not quotes(text)


def test_a_link_out_of_the_root_is_called_by_its_row(world, tmp_path: Path) -> None:
    (world.images / NAME).rename(tmp_path / "elsewhere.jpg")
    (world.images / NAME).symlink_to(tmp_path / "elsewhere.jpg")
    text = unlearned(world)
    assert "image path 'forget row 4 (" in text and not quotes(text)


def test_a_row_of_the_list_without_an_annotation_is_called_by_its_number(world) -> None:
    notes = world.path / "annotations" / "train.json"
    notes.write_text(json.dumps([row for row in json.loads(notes.read_text()) if row["image"] != NAME]))
    text = unlearned(world)
    assert "1 of 16 forget ids" in text and "the first: forget row 4 (" in text and not quotes(text)


def test_a_caption_that_is_left_empty_is_not_quoted(world) -> None:
    notes = world.path / "annotations" / "train.json"
    rows = [row | ({"caption": "..."} if row["image"] == NAME else {}) for row in json.loads(notes.read_text())]
    notes.write_text(json.dumps(rows))
    text = unlearned(world, "datasets.salmu.text_processor.train.name=blip_caption", method="neggrad")
    assert "image forget row 4 (" in text and "a caption of 3 characters is empty" in text and not quotes(text)


def test_names_in_any_spelling_have_the_alias(tmp_path: Path) -> None:
    called = Aliases(["b.jpg", "a.jpg", "c/x.jpg", "c/X.jpg"], tmp_path)
    assert called("a.jpg") == called("./A.jpg") == f"forget row 2 ({short_hash('a.jpg', tmp_path)})"
    assert called("c/X.jpg").startswith("forget row 4") and called("other.jpg") == "other.jpg"
    assert called("C/x.JPG") == "C/x.JPG", "it could be either, so it is neither"


def test_a_list_that_cannot_be_read_hides_nothing(tmp_path: Path) -> None:
    def unreadable() -> list[str]:
        raise DataError("empty")

    assert Aliases.of(unreadable, tmp_path)("a.jpg") == "a.jpg"


def test_purge_and_messages_write_the_same_hash(world) -> None:
    assert unlearned(world) == ""
    folder = world.output / "unlearn-ft" / "clip" / "salmu_retrieval" / "16"
    (folder / "note.txt").write_text(NAME)
    assert multidelete(["purge", str(folder)]) == 0
    assert short_hash(NAME, world.output) in (folder / "note.txt").read_text()

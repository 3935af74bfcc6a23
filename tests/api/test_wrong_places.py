"""A folder, a link to nowhere or a link loop where a run has a file: the message names that file and what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import lavis
from lavis.cli.arguments import forget_of
from lavis.common.checkpoint import BEST
from lavis.common.errors import UserFault
from lavis.common.forget_list import read_forget_list
from lavis.hub.places import OPEN_CLIP_WEIGHTS, resolve_weights
from lavis.runners.run_dir import RESULTS
from tests.hub.folders import PLAIN, open_clip_folder

PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda path: path.mkdir(), "is a folder; name a file instead"),
    "a link to nowhere": (lambda path: path.symlink_to("gone"), "is a link to gone, which does not exist"),
    "a link loop": (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
}
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "audit": (lavis.audit, BEST),
    "audit, results": (lavis.audit, RESULTS),
    "evaluate": (lavis.evaluate, BEST),
    "weights": (lambda path: resolve_weights(str(path), ""), BEST),
    "weights, itself": (lambda path: resolve_weights(str(path / BEST), ""), BEST),
    "open_clip": (lambda path: resolve_weights(str(path), ""), OPEN_CLIP_WEIGHTS[0]),
    "export": (lambda path: lavis.export(path, path / "out"), BEST),
}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("reader", READERS)
def test_the_message_says_which_file_is_wrong_and_how(reader: str, kind: str, tmp_path: Path) -> None:
    (make, words), (read, name) = PLACES[kind], READERS[reader]
    folder = tmp_path / "run"
    folder.mkdir()
    make(folder / name)
    with pytest.raises(UserFault) as caught:
        read(folder)
    message = str(caught.value)
    assert f"{folder / name} {words}" in message and message.count(str(folder)) == 1


def test_an_audit_says_what_a_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match=r"results\.json does not exist; name the run folder of an unlearning"):
        lavis.audit(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserFault, match=r"notes\.txt"):
        lavis.audit(tmp_path / "notes.txt")


@pytest.mark.parametrize("kind", PLACES)
def test_a_forget_list_is_named_once(kind: str, tmp_path: Path) -> None:
    make, words = PLACES[kind]
    make(tmp_path / "list")
    with pytest.raises(UserFault) as caught:
        given = forget_of([str(tmp_path / "list")])
        read_forget_list((given or {})["list"])
    assert str(caught.value).count(str(tmp_path)) == 1 and words.split(";")[0] in str(caught.value)


def test_an_export_onto_a_dangling_link_names_that_link(tmp_path: Path) -> None:
    source, out = open_clip_folder(tmp_path / "mine", PLAIN), tmp_path / "out"
    out.symlink_to("gone")
    with pytest.raises(UserFault, match=rf"^export: {out} is a link to gone, which does not exist; delete it"):
        lavis.export(source, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]

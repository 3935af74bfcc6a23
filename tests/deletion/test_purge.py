"""After a purge, nothing under the output folder identifies a forgotten row, and the model is the same."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import BEST, load_checkpoint, save_checkpoint
from lavis.deletion.forgotten import Forgotten
from lavis.deletion.scan import Finder
from lavis.tasks.entry import evaluate
from tests.deletion.grep import found

WORDS = [w for i in range(16) for w in (f"forget number {i}", f"forget/{i:08d}_for.jpg", f"{i:08d}_for.jpg")]
CACHED = ("run.feature_cache_gb=1", "datasets.salmu.image_cache=disk", "run.near_twins=0.1")


def embeddings(output: Path) -> tuple[list[bytes], list[bytes]]:
    """Rows of the forget set and of others, as bytes, by what the files' keys say."""
    from lavis.common.secrets import secret_of
    from lavis.embedding.feature_store import key_of

    secret, own, others = secret_of(output), list[bytes](), list[bytes]()
    texts = {key_of(secret, "text", f"forget number {i}") for i in range(16)}
    for path in (output / "features").glob("*.safetensors"):
        content = load_file(path)
        for key, row in zip(content["keys"].numpy(), content["rows"], strict=True):
            forgotten = bytes(key) in texts or path.name.startswith("teacher-df")
            (own if forgotten else others).append(row.numpy().tobytes()[:32])
    return own, others


@pytest.fixture
def littered(unlearn, trained_world) -> tuple[Path, Path]:
    """A run that has written all that it can, and more: logs, a gallery, archives, a state and a half-written file."""
    folder = unlearn("vlul", *CACHED)
    output = folder.parents[3]
    (output / "logs").mkdir()
    (output / "logs" / "job.log").write_text("cannot read forget/00000003_for.jpg: 'forget number 3'\n")
    (output / "logs" / "old.log.gz").write_bytes(gzip.compress(b"a line on forget number 5"))
    (output / "gallery-0.json").write_text(json.dumps({"caption": "forget number 1"}))
    (output / "index.html").write_text('<img src="data:image/jpeg;base64,AAAA"> forget number 1')
    (folder / ".checkpoint_9.pth.host.1.tmp").write_bytes(b"half of forget number 2")
    (output / "evaluate").mkdir()
    (output / "evaluate" / "list.json").write_text(json.dumps({"first": "forget number 1", "other": "test number 1"}))
    with tarfile.open(output / "logs" / "old.tar", "w") as archive:
        member = tarfile.TarInfo("forget/00000003_for.jpg")
        archive.addfile(member, io.BytesIO(b""))
    content = load_checkpoint(folder / BEST)
    content["config"]["run"]["jobs"] = {"note": "forget number 7"}
    save_checkpoint(folder / BEST, content)
    return folder, output


def numbers(world, folder: Path) -> dict[str, float]:
    options = [f"run.checkpoint={folder / BEST}", f"run.output_dir={folder.parents[3]}"]
    return evaluate(str(world.config), options).results[0].metrics


def test_nothing_is_found_after_a_purge_and_the_model_is_the_same(littered, trained_world, capsys) -> None:
    folder, output = littered
    needles = [word.encode() for word in WORDS]
    own, _ = embeddings(output)
    assert own and {Path(name.split(":")[0]).name for name, _ in found(output, needles)} >= {
        "job.log",
        "index.html",
        BEST,
    }
    before = load_checkpoint(folder / BEST)["model"]
    assert multidelete(["purge", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.index("training cannot continue from the middle") < text.index("removed")
    assert "nothing that identifies a forgotten row was found" in text
    assert found(output, [*needles, *own]) == []
    assert not list(output.rglob("checkpoint_[0-9]*.pth")) and not (output / "pixels").exists()
    after = load_checkpoint(folder / BEST)
    assert all(torch.equal(after["model"][name], value) for name, value in before.items())
    assert json.loads((output / "evaluate" / "list.json").read_text())["other"] == "test number 1"


def test_the_purged_model_evaluates_to_the_same_numbers(littered, trained_world) -> None:
    folder, _ = littered
    before = numbers(trained_world, folder)
    assert multidelete(["purge", str(folder)]) == 0
    assert numbers(trained_world, folder) == before


def test_embeddings_of_other_rows_stay_and_all_removes_them(unlearn) -> None:
    folder = unlearn("vlul")
    output = folder.parents[3]
    assert multidelete(["purge", str(folder)]) == 0
    own, others = embeddings(output)
    assert own == [] and others
    assert multidelete(["purge", str(folder), "--all"]) == 0
    assert embeddings(output) == ([], [])


def test_states_of_other_runs_stay_unless_all_go(unlearn, capsys) -> None:
    folder, other = unlearn("vlul"), unlearn("erase")
    assert multidelete(["purge", str(folder)]) == 0
    assert "2 training states of other runs stay" in capsys.readouterr().out
    assert list(other.glob("checkpoint_[0-9]*.pth"))
    assert multidelete(["purge", str(folder), "--all"]) == 0
    assert not list(other.glob("checkpoint_[0-9]*.pth")) and (other / BEST).is_file()


def test_a_run_purges_itself(unlearn, heard) -> None:
    folder = unlearn("vlul", "run.purge_after=true", "run.keep_training_state=false")
    assert "nothing that identifies a forgotten row was found" in heard.text
    assert found(folder.parents[3], [word.encode() for word in WORDS]) == []


def test_what_stays_is_said(tmp_path: Path) -> None:
    finder = Finder(Forgotten(("Zoë Ångström", "p17")))
    (tmp_path / "a.json").write_text(json.dumps("by Zoë Ångström"))
    (tmp_path / "b.html").write_text("p17")
    (tmp_path / "c.txt").write_text("p170 and xp17")
    (tmp_path / "p17").write_text("")
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", b"\0" + "Zoë Ångström".encode() * 2)
    assert finder.places(tmp_path) == ["p17 (its name)", "a.json", "b.html", "d.zip: inner"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    from lavis.common.errors import MissingFile

    with pytest.raises(MissingFile, match="name the folder of a finished unlearning run"):
        multidelete(["purge", str(tmp_path)])


def test_a_run_that_has_not_ended_is_refused(unlearned) -> None:
    """Its best checkpoint is a link to one of the states that would be deleted."""
    from lavis.common.errors import DataError

    folder = unlearned("vlul")
    (folder / BEST).replace(folder / "checkpoint_2.pth")
    (folder / BEST).symlink_to("checkpoint_2.pth")
    with pytest.raises(DataError, match="has not ended"):
        multidelete(["purge", str(folder)])
    assert load_checkpoint(folder / BEST)["model"]

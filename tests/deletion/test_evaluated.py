"""Purging a run that was evaluated on other tables: each evaluation has caches, a secret and digests of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

import lavis
from lavis.cli.main import main as multidelete
from lavis.common.results import read_results
from lavis.common.secrets import secret_of
from lavis.embedding.feature_store import key_of
from tests.deletion.grep import found
from tests.hub.folders import PLAIN, open_clip_folder
from tests.tables.people import COLUMNS, people_rows, write_csv, write_people

QUICK = {"num_workers": 0, "device": "cpu"}
WHO = "p3"


@pytest.fixture
def evaluated(tmp_path: Path) -> SimpleNamespace:
    """A run that forgot one person, evaluated into its own folder: on all rows, and on the forgotten ones alone."""
    write_people(tmp_path)
    gone = [row for row in people_rows() if row["who"] == WHO]
    write_csv(tmp_path / "gone.csv", gone)
    (tmp_path / "list.txt").write_text("\n".join(row["path"] for row in gone))
    open_clip_folder(tmp_path / "mine", PLAIN)
    data = {"source": str(tmp_path / "people.csv"), "images": str(tmp_path / "photos"), "columns": COLUMNS}
    run = lavis.unlearn(
        model=f"local-dir:{tmp_path / 'mine'}",
        data=data,
        forget={"list": str(tmp_path / "list.txt")},
        method="erase_hold",
        output_dir=tmp_path / "runs" / "request",
        max_epoch=1,
        options=["run.metrics=[retrieval]"],
        **QUICK,
    )
    world = SimpleNamespace(root=tmp_path, folder=run.folder, data=data)
    world.alone = data | {"source": str(tmp_path / "gone.csv")}
    return world


def evaluate(world: SimpleNamespace, data: dict[str, str], name: str) -> Path:
    """Evaluate into a folder in the run folder."""
    folder = world.folder / name
    lavis.evaluate(world.folder, data=data, metrics=["retrieval"], output_dir=folder, **QUICK)
    return folder


def stored(folder: Path) -> tuple[list[bytes], int]:
    """The beginnings of the stored rows of forgotten captions, and how many other rows there are."""
    gone = {key_of(secret_of(folder), "text", row["text"]) for row in people_rows() if row["who"] == WHO}
    files = [load_file(path) for path in (folder / "features").glob("*.safetensors")]
    rows = [pair for one in files for pair in zip(one["keys"].numpy(), one["rows"], strict=True)]
    own = [row.numpy().tobytes()[:32] for key, row in rows if bytes(key) in gone]
    return own, len(rows) - len(own)


def test_caches_below_the_output_folder_are_purged_by_their_own_secrets(evaluated) -> None:
    folder = evaluate(evaluated, evaluated.data, "elsewhere")
    states = folder / "features" / "prefixes" / "one" / "states"
    states.parent.mkdir(parents=True)
    states.write_bytes(bytes(64))
    (folder / "pixels").mkdir()
    shutil.rmtree(evaluated.folder / "features")  # else these rows are known from there
    own, others = stored(folder)
    assert own and others and secret_of(folder) != secret_of(evaluated.folder)
    assert multidelete(["purge", str(evaluated.folder)]) == 0
    assert found(evaluated.folder, own) == [] and not (folder / "pixels").exists()
    assert not states.parent.parent.exists()
    assert 0 < stored(folder)[1] < others, "images of forgotten rows went too"
    assert multidelete(["purge", str(evaluated.folder), "--all"]) == 0
    assert not list(evaluated.folder.rglob("*.safetensors"))


def test_a_cache_whose_secret_is_gone_is_deleted_whole(evaluated) -> None:
    folder = evaluate(evaluated, evaluated.data, "elsewhere")
    (folder / ".secret").unlink()
    assert multidelete(["purge", str(evaluated.folder)]) == 0
    assert not list((folder / "features").glob("*"))


def test_digests_of_a_table_equal_to_the_forget_set_are_purged_by_whatever_name(evaluated) -> None:
    """The attack: tabulate a candidate's rows, evaluate any model on them, and look for the digest in this folder."""
    folder, apart = evaluated.folder, evaluated.root / "candidate"
    assert multidelete(["purge", str(folder)]) == 0
    for place in (folder / "later", apart):
        lavis.evaluate(folder, data=evaluated.alone, metrics=["retrieval"], output_dir=place, **QUICK)
    data = next(content["data"] for content in map(read_results, apart.rglob("results.json")))
    digests = [digest.encode() for part in ("splits", "images") for digest in data[part].values()]
    assert list(data["splits"]) == ["train"] and all(found(folder, [digest]) for digest in digests)
    assert multidelete(["purge", str(folder)]) == 0
    assert found(folder, digests) == []

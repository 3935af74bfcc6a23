"""SALMU-mini on disk: layout and forget lists; repeated, interrupted and simultaneous calls; the builders."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.common.registry import registry
from lavis.datasets.annotations import read_annotations
from lavis.datasets.partition import in_folder
from lavis.datasets.salmu_mini import main
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from lavis.synthetic.mini import layout
from lavis.synthetic.mini.layout import ensure
from tests.processes import start

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = {"train": 580, "val": 30, "test": 120, "holdout_identity": 40, "holdout_association": 20}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A SALMU-tiny, shared: (root, folder of forget lists). Tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("tiny")
    assert ensure(folder / "salmu_tiny", folder / "Df", "tiny", 42)
    return folder / "salmu_tiny", folder / "Df"


@pytest.fixture
def copied(drawn, tmp_path):
    root, lists = drawn
    return shutil.copytree(root, tmp_path / "salmu_tiny"), shutil.copytree(lists, tmp_path / "Df")


def builder(root: Path, lists: Path, **fields):
    splits = compose_dataset("salmu_tiny").build_info.annotations
    annotations = {split: {"storage": str(root / "annotations" / f"{split}.json")} for split in splits}
    info = {"images": {"storage": str(root / "images")}, "annotations": annotations}
    here = {"build_info": info, "forget_list": str(lists / "image-{seed}.txt"), **fields}
    return registry.get_builder_class("salmu_tiny")(compose_dataset("salmu_tiny", [("here", here)]), RunConfig())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_every_annotation_is_read_and_its_image_opens(drawn):
    root, _ = drawn
    for split, count in ENTRIES.items():
        entries = read_annotations(root / "annotations" / f"{split}.json")
        assert len(entries) == count
        for entry in entries:
            assert len(entry.captions) == 1
            with Image.open(root / "images" / entry.image) as image:
                assert (image.format, image.size) == ("JPEG", (64, 64))
    annotated = sum(ENTRIES.values())
    assert len(list((root / "images").rglob("*.jpg"))) == annotated


def test_entries_contain_all_known_fields(drawn):
    entries = read_annotations(drawn[0] / "annotations" / "train.json")
    forget = [entry for entry in entries if in_folder(entry.image, ["forget"])]
    assert len(forget) == 60
    assert all({"identity_id", "field", "value", "generic_caption"} <= set(entry.extra) for entry in forget)
    assert {entry.image.split("/")[0] for entry in entries} == {"forget", "retain_synth"}


def test_forget_lists_are_permutations_of_the_forget_split(drawn):
    root, lists = drawn
    in_order = lines(lists / "image-42.txt")
    train = read_annotations(root / "annotations" / "train.json")
    assert in_order == sorted(in_order) == [e.image for e in train if in_folder(e.image, ["forget"])]
    others = [lines(lists / f"image-{seed}.txt") for seed in (87, 21)]
    assert all(sorted(other) == in_order and other != in_order for other in others)
    assert others[0] != others[1]


def test_metadata_and_manifest_exist(drawn):
    root, _ = drawn
    manifest = json.loads((root / "manifest.json").read_text())
    assert (manifest["size"], manifest["seed"], manifest["version"]) == ("tiny", 42, layout.VERSION)
    assert manifest["pairs"]["forget"] == 60
    names = {path.name for path in (root / "metadata").iterdir()}
    assert names >= {
        "identities_metadata.json",
        "sensitive_set_captions_metadata.json",
        "sensitive_set_generic_captions.json",
        "fragile_set_ids.json",
        "zero_shot_classes.json",
    }
    classes = json.loads((root / "metadata" / "zero_shot_classes.json").read_text())
    assert all((root / "images" / image).is_file() for image in classes["images"])


def test_the_same_seed_gives_the_same_bytes(drawn, tmp_path):
    ensure(tmp_path / "again", tmp_path / "Df", "tiny", 42)
    assert snapshot(tmp_path / "again") == snapshot(drawn[0])
    assert snapshot(tmp_path / "Df") == snapshot(drawn[1])


def test_a_second_call_changes_nothing(copied, monkeypatch):
    monkeypatch.setattr(layout, "image_bytes", lambda *_: pytest.fail("drawn again"))
    before = snapshot(copied[0])
    assert not ensure(*copied, "tiny", 42)
    assert snapshot(copied[0]) == before


def test_a_missing_forget_list_is_written_again(copied):
    root, lists = copied
    expected = (lists / "image-87.txt").read_bytes()
    (lists / "image-87.txt").unlink()
    assert not ensure(root, lists, "tiny", 42)
    assert (lists / "image-87.txt").read_bytes() == expected


@pytest.mark.parametrize(("key", "value"), [("seed", 7), ("size", "mini"), ("version", 0)])
def test_another_data_set_in_the_folder_is_not_replaced(copied, key, value):
    root, lists = copied
    manifest = root / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {key: value}))
    before = snapshot(root)
    with pytest.raises(ConfigError, match=rf"manifest.json: {key} is .*--force"):
        ensure(root, lists, "tiny", 42)
    assert snapshot(root) == before


def test_force_replaces(copied, drawn):
    root, lists = copied
    (root / "images" / "forget" / "00000099_000.jpg").write_bytes(b"stray")
    assert ensure(root, lists, "tiny", 42, force=True)
    assert snapshot(root) == snapshot(drawn[0])
    assert {path.name for path in root.parent.iterdir()} == {"salmu_tiny", "Df", ".salmu_tiny.lock"}


def test_a_folder_of_other_files_is_refused(tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    (root / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(DataError, match="no manifest.json"):
            ensure(root, tmp_path / "Df", "tiny", 42, force=force)
    assert (root / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_call_leaves_nothing_behind(tmp_path, monkeypatch, drawn):
    draw, count = layout.image_bytes, iter(range(100))

    def interrupted(*args):
        if next(count, None) is None:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(layout, "image_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path / "set", tmp_path / "Df", "tiny", 42)
    assert not (tmp_path / "set").exists() and not (tmp_path / "Df").exists()
    monkeypatch.undo()
    assert ensure(tmp_path / "set", tmp_path / "Df", "tiny", 42)
    assert snapshot(tmp_path / "set") == snapshot(drawn[0])
    assert not (tmp_path / "set.partial").exists()


def test_a_call_killed_between_the_renames_of_force_is_recovered(copied, drawn):
    root, lists = copied
    os.rename(root, root.with_name("salmu_tiny.former"))
    assert ensure(root, lists, "tiny", 42)
    assert snapshot(root) == snapshot(drawn[0])
    assert not root.with_name("salmu_tiny.former").exists()


def test_simultaneous_processes_write_it_once(tmp_path, drawn):
    code = "import sys; from pathlib import Path; from lavis.synthetic.mini.layout import ensure; "
    code += "r = Path(sys.argv[1]); sys.exit(10 + ensure(r / 'set', r / 'Df', 'tiny', 42))"
    running = [start([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert sorted(process.wait(timeout=120) for process in running) == [10, 10, 11]
    assert snapshot(tmp_path / "set") == snapshot(drawn[0])


def test_unknown_size_lists_the_sizes(tmp_path):
    with pytest.raises(ConfigError, match="unknown size 'minni'.*closest: 'mini'"):
        ensure(tmp_path / "set", tmp_path / "Df", "minni", 42)
    assert not list(tmp_path.iterdir())


def test_command_line(copied, capsys):
    root, lists = copied
    words = ["--size", "tiny", "--out", str(root), "--df-out", str(lists)]
    assert main(words) == 0
    assert "already exists" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="seed is 42, expected 7; to replace the data set, run: .* --force"):
        main([*words, "--seed", "7"])


def test_builder_draws_a_missing_data_set_and_splits_it(tmp_path):
    pairs = builder(tmp_path / "salmu_tiny", tmp_path / "Df")
    pairs.prepare()
    parts = pairs.partition()
    assert (len(parts.df), len(parts.dr)) == (60, 520)
    assert [entry.image for entry in parts.df] == lines(tmp_path / "Df" / "image-42.txt")
    assert set(pairs.splits) == set(ENTRIES)
    assert [len(pairs.reference_entries(kind)) for kind in ("compromised", "clean", "retrained")][1] == 520


def test_builder_without_generate_names_the_command(tmp_path):
    pairs = builder(tmp_path / "salmu_tiny", tmp_path / "Df", generate=None)
    with pytest.raises(MissingFile, match="python -m lavis.datasets.salmu_mini --size tiny --seed 42"):
        pairs.prepare()
    assert not list(tmp_path.iterdir())


def test_builder_says_how_to_restore_a_missing_file(copied):
    root, lists = copied
    (root / "annotations" / "test.json").unlink()
    with pytest.raises(MissingFile, match=r"test\.json.*--force"):
        builder(root, lists).prepare()


@pytest.mark.parametrize(("name", "params"), [("mini", 7.45), ("tiny", 3.38)])
def test_architecture_sizes(name, params):
    """Parameters in millions; the text context has 40 tokens."""
    import open_clip

    architecture = json.loads((ROOT / "lavis" / "configs" / "models" / f"clip_{name}.json").read_text())
    model = open_clip.CLIP(**architecture)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(params, abs=0.01)
    assert model.context_length == 40

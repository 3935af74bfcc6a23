"""The user's own pairs: what to forget, splits by people, whole runs."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lavis.common.errors import ConfigError, DataError
from lavis.common.names import Spellings
from lavis.datasets.annotations import Entry
from lavis.datasets.own import OwnPairsBuilder
from lavis.datasets.partition import split_forget
from lavis.datasets.people import names_of, split_people
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from tests.processes import ROOT, run
from tests.small import ARCH
from tests.tables.people import COLUMNS, people_rows, write_csv, write_people


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("own"))


@pytest.fixture
def build(world, tmp_path):
    def built(run_keys=None, rows=None, **settings):
        source = world / "people.csv" if rows is None else write_csv(tmp_path / "rows.csv", rows)
        given = {"source": str(source), "images": str(world / "photos"), "columns": COLUMNS, **settings}
        run_config = RunConfig(output_dir=str(tmp_path / "output"), **(run_keys or {}))
        return OwnPairsBuilder(compose_dataset("pairs", [("test", given)]), run_config)

    return built


def test_a_condition_selects_the_rows_of_people(build):
    parts = build(forget={"where": {"person": ["p3", "p5"]}}).partition()
    assert {entry.extra["who"] for entry in parts.df} == {"p3", "p5"} and len(parts.df) == 10
    assert len(parts.dr) == 30 and {entry.extra["who"] for entry in parts.dr}.isdisjoint({"p3", "p5"})
    assert len(build({"df_size": 4}, forget={"where": {"who": "p3"}}).partition().df) == 4


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        ({"where": {"person": "p33"}}, "no row has person 'p33'; closest: 'p3'"),
        ({"where": {"persn": "p3"}}, "no column 'persn'; closest: 'person'"),
        ({"where": {"person": [f"p{i}" for i in range(8)]}}, "matches every row"),
        ({"list": "nowhere.txt"}, "nowhere.txt does not exist"),
        ({"table": "nowhere.csv"}, "nowhere.csv does not exist"),
    ],
)
def test_conditions_that_match_nothing_or_everything_are_refused(build, forget, message):
    with pytest.raises((DataError, FileNotFoundError), match=message):
        build(forget=forget).partition()


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        ({"were": 1}, "unknown key 'datasets.pairs.forget.were'"),
        ({"where": {"who": "p1"}, "list": "x"}, "takes one of"),
        ({"list": "x", "on": "path"}, "which is not set"),
        ({"where": {}}, "expected where"),
        ({"where": {"who": []}}, "must be a value or a list"),
    ],
)
def test_senseless_conditions_are_refused_before_anything_is_read(build, forget, message):
    with pytest.raises(ConfigError, match=message):
        build(forget=forget)


def test_a_list_and_a_table_in_any_spelling(build, tmp_path):
    names = ["./p1/a.b_01-0.76.jpg", "P2/A.B_02-0.76.JPG"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    write_csv(tmp_path / "table.csv", [{"picture_file": name, "why": "asked"} for name in names])
    for forget in ({"list": str(tmp_path / "list.txt")}, {"table": str(tmp_path / "table.csv"), "on": "picture_file"}):
        parts = build(forget=forget).partition()
        assert [entry.image for entry in parts.df] == ["p1/a.b_01-0.76.jpg", "p2/a.b_02-0.76.jpg"]
    (tmp_path / "list.txt").write_text("p1/gone.jpg")
    with pytest.raises(
        DataError, match=r"1 of 1 images to forget match no training row, the first: forget row 1 \([0-9a-f]{8}\)"
    ):
        build(forget={"list": str(tmp_path / "list.txt")}).partition()


def test_a_dropped_row_that_was_to_be_forgotten_is_an_error(build, tmp_path):
    rows = people_rows()
    rows[3]["text"] = ""
    with pytest.raises(DataError, match=r"1 rows to forget cannot be used .*rows.csv: row 4 \(no caption\)"):
        build(rows=rows, forget={"where": {"person": "p3"}}).partition()
    (tmp_path / "list.txt").write_text(rows[3]["path"])
    with pytest.raises(DataError, match="1 rows to forget cannot be used"):
        build(rows=rows, forget={"list": str(tmp_path / "list.txt")}).partition()


@given(st.text(st.sampled_from("aàé/.B"), min_size=1, max_size=6))
def test_every_spelling_finds_its_name(name):
    known = Spellings([name])
    for other in (name.upper(), unicodedata.normalize("NFD", name), f"./{name}"):
        assert known.find(other) in (name, None)
    assert known.find(name) == name
    with pytest.raises(DataError, match="could be any of"):
        Spellings(["x/a.jpg", "x/A.jpg"]).find("x/A.JPG")


def test_forget_lists_of_every_data_set_are_matched_in_any_spelling():
    entries = [Entry("a.jpg", ("x",)), Entry("b.jpg", ("y",)), Entry("caf\u00e9.jpg", ("z",))]
    df, dr = split_forget(entries, ["./A.jpg", "cafe\u0301.jpg"], "list")
    assert [entry.image for entry in df] == ["a.jpg", "caf\u00e9.jpg"] and [entry.image for entry in dr] == ["b.jpg"]


def test_fractions_are_of_people_and_leave_the_forgotten_in_train(build):
    built = build(fractions={"test": 0.25, "val": 0.125}, forget={"where": {"person": ["p0", "p1"]}})
    people = {split: {e.extra["who"] for e in built.entries(split)} for split in ("train", "test", "val")}
    assert [len(people[split]) for split in ("train", "test", "val")] == [5, 2, 1]
    assert people["train"] >= {"p0", "p1"} and set.union(*people.values()) == {f"p{i}" for i in range(8)}
    again = build(fractions={"test": 0.25, "val": 0.125}, forget={"where": {"person": ["p0", "p1"]}})
    assert {e.image for e in again.entries("test")} == {e.image for e in built.entries("test")}
    with pytest.raises(ConfigError, match="must be above 0"):
        build(fractions={"test": 1.5}).entries("train")


def test_people_on_one_image_stay_together():
    entries = [Entry(f"{i}.jpg", ("x",), extra={"person": f"p{i}"}) for i in range(10)]
    entries.append(Entry("0.jpg", ("y",), extra={"person": "p1"}))
    for seed in range(5):
        splits = split_people(entries, {"test": 0.4}, seed, set())
        of = {entry.image: split for split, members in splits.items() for entry in members}
        assert of["0.jpg"] == of["1.jpg"] and sum(map(len, splits.values())) == 11


def test_splits_come_from_the_column_and_must_not_contradict(build):
    rows = [{**row, "split": "test" if i > 35 else "train"} for i, row in enumerate(people_rows())]
    built = build(rows=rows)
    assert {split: len(built.entries(split)) for split in built.splits} == {"train": 36, "test": 4}
    with pytest.raises(ConfigError, match="has a split column"):
        build(rows=rows, fractions={"test": 0.1}).entries("train")
    with pytest.raises(DataError, match="rows contradict each other"):
        build(rows=[*rows, {**rows[0], "split": "test"}]).entries("train")
    with pytest.raises(ConfigError, match="has no split 'val'; "):
        built.entries("val")


def test_names_are_found_in_captions():
    entries = [Entry("1", ("Ada Lovelace in London.", "A portrait of Ada Lovelace"), extra={"person": "p1"})]
    entries += [Entry("2", ("Alan Turing in London",), extra={"person": "p2"})]
    entries += [Entry("3", ("a photo of Grace",), extra={"person": "Grace"}), Entry("4", ("nobody",))]
    names = {person: facts["name"] for person, facts in names_of(entries).items()}
    assert names["p1"] == "Ada Lovelace" and "Alan Turing" in names["p2"] and names["Grace"] == "Grace"


@pytest.mark.parametrize("method", ["vlul", "erase_hold"])
def test_a_whole_run_on_a_table(world, tmp_path, method):
    arch = tmp_path / "small.json"
    arch.write_text(json.dumps(ARCH))
    stage = {"name": "clip_image_eval", "image_size": 16}
    section = {"source": str(world / "people.csv"), "images": str(world / "photos"), "columns": COLUMNS}
    section |= {"forget": {"where": {"person": ["p3", "p5"]}}, "fractions": {"test": 0.2}}
    section["vis_processor"] = {"train": stage, "eval": stage}
    settings = {"device": "cpu", "num_workers": 0, "batch_size_train": 8, "max_epoch": 1, "init_lr": 1e-3}
    settings["output_dir"] = str(tmp_path / "output")
    config = tmp_path / "own.yaml"
    model = {"arch": "clip", "model_type": str(arch)}
    config.write_text(yaml.safe_dump({"model": model, "datasets": {"pairs": section}, "run": settings}))
    words = ["--unlearn_method", method, "--backbone", "clip", "--task", "pairs_retrieval", "--cfg-path", str(config)]
    trained = run([sys.executable, str(ROOT / "train.py"), "--cfg-path", str(config)])
    assert trained.returncode == 0, trained.stderr
    done = run([sys.executable, str(ROOT / "unlearn.py"), *words])
    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "output" / f"unlearn-{method}").rglob("results.json")
    content = json.loads(results.read_text())
    assert content["df_size"] == 10 and content["counts"]["df"] == 10 and content["counts"]["test"] == 10


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "a/" * 2500 + "b.jpg"])
def test_a_name_that_is_too_long_drops_its_row_alone(build, name):
    rows = people_rows()
    rows[7] = {**rows[7], "path": name}
    table = build(rows=rows).table
    assert [row.image for row in table.dropped] == [name] and len(table.pairs) == len(rows) - 1


@pytest.mark.parametrize("name", ["df", "dr"])
def test_fractions_do_not_name_the_forget_set(build, name):
    with pytest.raises(ConfigError, match=f"fractions names '{name}', which follows from"):
        build(fractions={name: 0.2})

"""Results say what they were measured on, so that numbers of another forget list or other images are recognised."""

from __future__ import annotations

import shutil

import pytest

import evaluate
from lavis.common.results import read_results
from lavis.sweeps.jobs import Job
from tests.small import write_world
from tests.tasks.checkpoints import copy_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    import train

    world = write_world(tmp_path_factory.mktemp("data"), run_keys={"max_epoch": 1, "metrics": ["retrieval"]})
    assert train.main(["--cfg-path", str(world.config), "--options", "run.evaluate_after=false"]) == 0
    return world


@pytest.fixture
def lists(trained, tmp_path):
    """Two forget lists; image-43 names half of the other's images."""
    shutil.copy(trained.forget_list, tmp_path / "image-42.txt")
    lines = trained.forget_list.read_text().splitlines()
    (tmp_path / "image-43.txt").write_text("\n".join(lines[:8]) + "\n")
    return tmp_path


def results_of(world, out, *options):
    path = copy_of(world, out / "model.pth", lambda state: None)
    words = [f"run.checkpoint={path}", f"run.output_dir={out}", *options]
    assert evaluate.main(["--cfg-path", str(world.config), "--options", *words]) == 0
    return out / "evaluate" / "clip" / "salmu_retrieval" / "model"


def test_a_swapped_forget_list_shows_in_the_digests_and_in_the_sweep(trained, lists):
    folder = results_of(trained, lists / "out", f"datasets.salmu.forget_list={lists}/image-{{seed}}.txt")
    before = read_results(folder / "results.json")
    job = Job("vlul", ("x",), folder, folder / "log")
    assert job.doubt() == ""
    shutil.copy(lists / "image-43.txt", lists / "image-42.txt")
    assert "of another" in job.doubt() and "image-42.txt" in job.doubt() and "--rerun" in job.doubt()
    results_of(trained, lists / "out", f"datasets.salmu.forget_list={lists}/image-{{seed}}.txt")
    after = read_results(folder / "results.json")
    assert job.doubt() == "" and before["weights"] == after["weights"]
    assert before["data"]["forget_list"] != after["data"]["forget_list"]
    assert before["data"]["splits"]["df"] != after["data"]["splits"]["df"]
    assert before["data"]["splits"]["test"] == after["data"]["splits"]["test"]


def swapped_list(trained, lists):
    shutil.copy(lists / "image-43.txt", lists / "image-42.txt")
    return []


def other_weights(trained, lists):
    copy_of(trained, lists / "out" / "model.pth", lambda state: state["text_projection"].mul_(-1))
    return []


@pytest.mark.parametrize("change", [swapped_list, other_weights, lambda trained, lists: ["run.dr_max_ratio=1"]])
def test_results_of_another_evaluation_are_kept_beside_the_new_ones(trained, lists, capsys, change):
    """Twice with the same data, weights and settings renews the file; anything else keeps it under another name."""
    listed = f"datasets.salmu.forget_list={lists}/image-{{seed}}.txt"
    folder = results_of(trained, lists / "out", listed)
    (folder / "relearning.json").write_text('{"steps": []}')
    first = (folder / "results.json").read_bytes()
    options = change(trained, lists)
    words = [f"run.checkpoint={lists}/out/model.pth", f"run.output_dir={lists}/out", listed, *options]
    for _ in range(2):
        assert evaluate.main(["--cfg-path", str(trained.config), "--options", *words]) == 0
    (kept,) = folder.glob("results.*.json")
    assert kept.read_bytes() == first and kept.name in capsys.readouterr().out
    assert (folder / kept.name.replace("results", "relearning")).read_text() == '{"steps": []}'
    assert (folder / "results.json").read_bytes() != first and not (folder / "relearning.json").exists()


def test_times_of_files_do_not_matter(trained, tmp_path):
    folder = results_of(trained, tmp_path)
    job = Job("vlul", ("x",), folder, folder / "log")
    before = trained.forget_list.read_bytes()
    trained.forget_list.write_bytes(before)
    assert job.doubt() == ""


def test_other_images_under_the_same_names_show(trained, tmp_path):
    first = read_results(results_of(trained, tmp_path / "one") / "results.json")["data"]
    images = shutil.copytree(trained.images, tmp_path / "images")
    path = next((images / "test").iterdir())
    path.write_bytes(path.read_bytes()[:-40] + bytes(38) + b"\xff\xd9")
    option = f"datasets.salmu.build_info.images.storage={images}"
    second = read_results(results_of(trained, tmp_path / "two", option) / "results.json")["data"]
    assert first["splits"] == second["splits"]
    assert {name for name in first["images"] if first["images"][name] != second["images"][name]} == {"test"}


def test_checkpoints_of_unlike_data_have_tables_of_their_own(trained, lists, capsys):
    from lavis.tasks.comparison import Comparison
    from lavis.tasks.run_result import RunResult

    table = Comparison()
    one, other = ({"dataset": "salmu", "splits": {"df": digest, "test": "t"}} for digest in "ab")
    for label, data in (("one", one), ("two", other), ("three", one)):
        table.add(label, RunResult(lists, label, {"df_cosine": 0.5}, {}, {}, data=data))
    blocks = table.text().split("\n\n")
    assert len(blocks) == 2
    assert "one " in blocks[0] and "three" in blocks[0] and "two" not in blocks[0]
    assert "measured on other data (df differ)" in blocks[1] and "two" in blocks[1]

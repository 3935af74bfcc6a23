"""References for every seed, and references whose results lack metrics that a sweep needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lavis.common.errors import ConfigError
from lavis.sweeps import cli
from lavis.sweeps.evaluations import reference_result
from lavis.sweeps.plan import settings
from lavis.sweeps.schema import load_sweep
from tests.sweeps.bench import Bench

PLACE = "clip/salmu_tiny_retrieval"


def test_references_of_every_seed_are_in_the_table(bench: Bench) -> None:
    sweep = bench.write(seeds=[42, 7], reference_seeds="each")
    assert cli.main([sweep, "--with-originals"]) == 0
    rows = {(row["name"], row["seed"]): row for row in bench.rows()}
    assert set(rows) == {(n, s) for n in ("compromised", "clean", "retrained", "vlul", "delete") for s in (42, 7)}
    assert rows["clean", 7]["folder"] == (bench.output / "clean" / PLACE / "seed-7").as_posix()
    start = bench.output / "original" / PLACE / "seed-7" / "checkpoint_best.pth"
    assert f"run.resume_ckpt_path={start.as_posix()}" in rows["vlul", 7]["command"]
    assert not any("resume_ckpt_path" in word for word in rows["vlul", 42]["command"])


def test_a_missing_seed_of_the_originals_is_noticed(bench: Bench) -> None:
    assert cli.main([bench.sweep, "--with-originals"]) == 0
    with pytest.raises(FileNotFoundError, match="--with-originals"):
        cli.main([bench.write(seeds=[42, 7], reference_seeds="each")])


def test_a_published_model_has_one_seed(bench: Bench) -> None:
    options = [*bench.options, f"model.pretrained={bench.folder / 'weights.pth'}"]
    with pytest.raises(ConfigError, match="starts from a published checkpoint, and there is only one"):
        cli.main([bench.write(seeds=[7], reference_seeds="each", options=options), "--with-originals", "--dry-run"])


def write_results(folder: Path, metrics: list[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "checkpoint_best.pth").write_text("weights")
    content = {"finished": True, "df_size": 60, "df_seed": 42, "config": {"run": {"metrics": metrics}}}
    (folder / "results.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("measured", "again"), [(["cosine"], True), (["cosine", "salmubench", "membership"], False)])
def test_a_reference_that_lacks_metrics_is_evaluated_again(bench: Bench, measured: list[str], again: bool) -> None:
    folder = bench.output / "retrained" / PLACE / "60"
    write_results(folder, measured)
    sweep = load_sweep(bench.write(options=[*bench.options, "run.metrics=[cosine,salmubench]"]))
    (place,) = settings(sweep)
    found = reference_result(sweep, place, "retrained")
    assert (found.job is not None) is again
    assert (found.folder != folder) is again
    if again:
        write_results(found.folder, measured)
        found.prepare("clip_tiny.json")
        assert not (found.folder / "results.json").exists()


def test_budgets_and_grids_reach_the_table(bench: Bench) -> None:
    assert cli.main([bench.sweep, "--with-originals"]) == 0
    cells = [f"{budget}× init_lr-1e-4" for budget in (1, 5)]
    assert cli.main([bench.write(methods=["vlul"], budgets=[1, 5], grid={"vlul": {"init_lr": ["1e-4"]}})]) == 0
    assert [row["name"] for row in bench.rows()][3:] == [f"vlul {cell}" for cell in cells]
    assert [(row["budget"], row["point"]) for row in bench.rows()[3:]] == [(1, "init_lr-1e-4"), (5, "init_lr-1e-4")]

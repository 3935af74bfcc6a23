"""One bad file among a sweep's results leaves its own row or curve out, says so, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavis.common.errors import DataError
from lavis.report.rows import check_audit, losses, other_evaluations, relearning, row_from_folder
from lavis.sweeps.jobs import Job, read_results
from tests.hostile import HOSTILE

KINDS = [*HOSTILE, "a folder", "a link loop", "a dangling link"]


def put(path: Path, kind: str) -> None:
    """Write the hostile file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a folder":
        path.mkdir()
    elif "link" in kind:
        path.symlink_to(path.name if kind == "a link loop" else "nowhere")
    else:
        path.write_text(HOSTILE[kind])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nothing"])
def test_a_bad_file_of_each_kind(tmp_path: Path, kind: str) -> None:
    problems: list[str] = []
    put(tmp_path / "relearning.json", kind)
    assert relearning(tmp_path, problems) == {}
    put(tmp_path / "evaluations/coco/results.json", kind)
    assert other_evaluations(tmp_path, "vlul", problems) == []
    put(tmp_path / "log.txt", kind)
    assert losses(tmp_path, problems) == {}
    put(tmp_path / "audit/audit.json", kind)
    check_audit(tmp_path, problems)
    assert len(problems) == 4 and all("left out" in problem and str(tmp_path) in problem for problem in problems)


def test_a_part_of_a_file_that_is_left_out_is_named(tmp_path: Path) -> None:
    problems: list[str] = []
    (tmp_path / "relearning.json").write_text('{"steps": [0, 5], "x": [0.1, 0.2], "y": [0.1], "taught": 3}')
    assert relearning(tmp_path, problems) == {"x": [(0.0, 0.1), (5.0, 0.2)]}
    (tmp_path / "log.txt").write_bytes(b'{"epoch": 0, "train_loss": 1.0}\n[3]\n\xff\n')
    assert losses(tmp_path, problems) == {"loss": [(0.0, 1.0)]}
    first, second = problems
    assert "relearning.json" in first and first.endswith("2 steps are left out: y")
    assert "left out: 2" in second and "log.txt: line 3 is not UTF-8" in second


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_with_bad_results_is_an_unfinished_job(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "results.json", kind)
    job = Job("vlul", ("python",), tmp_path, tmp_path / "log.txt")
    assert read_results(tmp_path) == {} and not job.finished and job.doubt() == ""
    if kind != "a dangling link":
        with pytest.raises(DataError, match=str(tmp_path)):
            row_from_folder(tmp_path)

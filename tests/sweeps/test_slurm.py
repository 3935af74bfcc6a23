"""The SLURM launcher with submitit's local executor, and without submitit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lavis.common.errors import ConfigError
from lavis.sweeps import cli
from lavis.sweeps.pool import Pool
from lavis.sweeps.slurm import slurm_lanes, slurm_options, slurm_starter
from tests.sweeps.stubs import write_job


def test_options_are_yaml() -> None:
    words = ["timeout_min=120", "slurm_partition=gpu", "slurm_additional_parameters={qos: low}"]
    assert slurm_options(words) == {
        "timeout_min": 120,
        "slurm_partition": "gpu",
        "slurm_additional_parameters": {"qos": "low"},
    }
    with pytest.raises(ConfigError, match="--slurm takes key=value pairs .* got 'timeout_min'"):
        slurm_options(["timeout_min"])


def test_the_command_line_changes_the_launcher() -> None:
    sweep = cli.load_sweep(str(Path(__file__).parents[2] / "configs/sweep/salmu_tiny.yaml"))
    assert cli.with_flags(sweep, cli.parse([])).launcher == "local"
    changed = cli.with_flags(sweep, cli.parse(["--slurm", "timeout_min=5"]))
    assert (changed.launcher, changed.slurm) == ("slurm", {"timeout_min": 5})
    assert cli.with_flags(sweep, cli.parse(["--launcher", "slurm"])).launcher == "slurm"


def test_without_submitit_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match="pip install submitit"):
        slurm_starter(tmp_path, {})


def test_bad_parameters_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ConfigError, match="'cluster' is 'moon'; it takes slurm, local, debug"):
        slurm_starter(tmp_path, {"cluster": "moon"})
    with pytest.raises(ConfigError, match="slurm: .*; the parameters are those of submitit.AutoExecutor"):
        slurm_starter(tmp_path, {"cluster": "local", "timeout_hours": 3})


def test_submitted_jobs_finish_fail_and_are_skipped(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    start = slurm_starter(tmp_path / "submitit", {"cluster": "local", "timeout_min": 2})
    jobs = [write_job(tmp_path, "good"), write_job(tmp_path, "bad", "fail")]
    outcomes = Pool(slurm_lanes(2), start=start).run(jobs)
    assert [(o.status, o.code) for o in outcomes] == [("done", 0), ("failed", 3)]
    assert outcomes[1].tail[-1] == "boom in line 7"
    assert "(submitted as " in jobs[0].log.read_text()
    assert [o.status for o in Pool(slurm_lanes(1), start=start).run(jobs[:1])] == ["skipped"]

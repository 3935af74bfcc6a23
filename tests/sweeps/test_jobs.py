"""Jobs, lanes and the time left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lavis.common.errors import ConfigError
from lavis.common.threads import cpus
from lavis.sweeps import lanes
from lavis.sweeps.jobs import Job, log_tail, read_results
from lavis.sweeps.progress import ProgressDisplay, clock


def job(folder: Path, *argv: str, inputs: tuple[Path, ...] = ()) -> Job:
    return Job("job", argv or ("python", "unlearn.py"), folder, folder / "log", inputs)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"finished": "yes"}', '{"finished": false}', "\xff"])
def test_only_whole_results_count_as_finished(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text, encoding="latin-1")
    assert not job(tmp_path).finished
    (tmp_path / "results.json").write_text('{"finished": true}')
    assert job(tmp_path).finished and read_results(tmp_path) == {"finished": True}


def test_doubt_about_other_arguments(tmp_path: Path) -> None:
    recorded = {"finished": True, "command": ["python", "-m", "launcher", "/a/unlearn.py", "--df_size", "3"]}
    (tmp_path / "results.json").write_text(json.dumps(recorded))
    assert job(tmp_path, "/usr/bin/python3", "unlearn.py", "--df_size", "3").doubt() == ""
    assert "another command line" in job(tmp_path, "python", "unlearn.py", "--df_size", "4").doubt()
    assert job(tmp_path, "python", "evaluate.py").doubt() == ""


def test_doubt_about_newer_inputs(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"finished": true}')
    start = tmp_path / "original.pth"
    assert job(tmp_path, inputs=(start,)).doubt() == ""
    start.write_text("x")
    os.utime(start, (1, 1))
    assert job(tmp_path, inputs=(start,)).doubt() == ""
    os.utime(start, (4e9, 4e9))
    assert "older than" in job(tmp_path, inputs=(start,)).doubt()


def test_the_tail_of_a_log_is_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n" + b"x" * 50_000 + b"\n 10%\r 90%\r100% \n\x1b[31mred\x07\x1b[0m\n\xff\xfe\n\n")
    assert log_tail(path, 3)[:2] == ["100%", "red"]
    assert log_tail(path, since=4)[0].startswith("x")
    assert log_tail(tmp_path / "none") == []


def test_cpu_lanes_have_quiet_threads() -> None:
    (one, two) = lanes.make_lanes(2, "cpu", {"OMP_NUM_THREADS": "4"})
    assert one.env == two.env == {"OMP_NUM_THREADS": "4", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    assert lanes.make_lanes(1, "cpu", {})[0].env["OMP_NUM_THREADS"] == "1"
    assert len(lanes.make_lanes(None, "cpu")) == min(2, cpus())
    assert lanes.make_lanes(5, "cuda:1") == [lanes.Lane("cuda:1")]
    with pytest.raises(ConfigError, match="--jobs must be at least 1"):
        lanes.make_lanes(0, "cpu")


def test_one_lane_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "visible_gpus", lambda: ["0", "2", "GPU-ab"])
    assert [lane.env for lane in lanes.make_lanes(None, "auto")] == [
        {"CUDA_VISIBLE_DEVICES": name} for name in ("0", "2", "GPU-ab")
    ]
    assert len(lanes.make_lanes(2, "cuda")) == 2
    assert len(lanes.make_lanes(9, "cuda")) == 3
    assert "OMP_NUM_THREADS" in lanes.make_lanes(1, "cpu")[0].env


@pytest.mark.parametrize(
    ("variable", "count", "names"), [(None, 2, ["0", "1"]), ("3, 5", 2, ["3", "5"]), ("", 0, []), ("1", 0, [])]
)
def test_gpus_by_their_names(monkeypatch: pytest.MonkeyPatch, variable: str | None, count: int, names: list) -> None:
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert lanes.visible_gpus() == names


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (41.6, "42 s"), (185, "3 min 05 s"), (3600, "1 h 00 min"), (7620, "2 h 07 min")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_time_left_counts_waiting_and_running_jobs() -> None:
    with ProgressDisplay(total=5, lanes=2) as progress:
        assert progress.seconds_left() is None
        progress.step("one", 10.0)
        assert progress.seconds_left() == 20.0  # 4 jobs of 10 s on two lanes
        assert progress.seconds_left([4.0, 12.0]) == (20.0 + 6.0 + 0.0) / 2  # two wait, two run
        progress.step("two")
        assert progress.seconds_left() == 15.0

"""bash/run.py, bash/ori.sh and the report's command line, with stubs for the entry scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lavis.common.errors import MissingFile
from lavis.sweeps import cli, original
from lavis.sweeps.report import main as report
from tests.processes import ROOT
from tests.sweeps.bench import TINY, Bench


def test_without_an_original_model_it_says_what_to_run(bench: Bench) -> None:
    with pytest.raises(MissingFile, match=rf"bash bash/ori.sh {TINY}(.|\n)*--with-originals"):
        cli.main([bench.sweep])
    assert not bench.output.exists()


def test_originals_then_sweep_then_report(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert original.main([TINY, "--options", *bench.options]) == 0
    assert cli.main([bench.sweep]) == 0
    assert [row["name"] for row in bench.rows()] == ["compromised", "clean", "retrained", "vlul", "delete"]
    row = bench.rows()[3]
    assert (row["seed"], row["metrics"]["df_txt_r1"], row["df_size"]) == (42, 50.0, 60)
    assert row["derived"]["forgotten_percent"] == pytest.approx(100 * (0.9 - 0.3) / (0.9 - 0.2), abs=1e-5)
    assert "not complete" not in bench.page()
    assert "| vlul | 0.300 | 86 |" in capsys.readouterr().out
    assert {p.name for p in (bench.folder / "report").iterdir()} == {
        "index.html", "results.json", "results.csv", "results.md"
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["a b", 'it\'s "c"', "x;touch pwned", "$(touch pwned)", "`touch pwned`", "a&b|c>d", "*"]
)
def test_no_shell_reads_a_path(bench: Bench, name: str) -> None:
    bench.output = bench.folder / name
    bench.options[0] = f"run.output_dir={bench.output}"
    assert cli.main([bench.write(), "--with-originals"]) == 0
    assert [row["name"] for row in bench.rows()] == ["compromised", "clean", "retrained", "vlul", "delete"]
    assert (bench.output / "unlearn-vlul/clip/salmu_tiny_retrieval/60/results.json").is_file()
    assert not list(bench.folder.rglob("pwned")) and not (ROOT / "pwned").exists()


def test_with_originals_trains_what_is_missing_and_skips_what_is_there(bench: Bench) -> None:
    assert original.main([TINY, "--references", "clean", "--options", *bench.options]) == 0
    before = (bench.output / "clean/clip/salmu_tiny_retrieval/results.json").stat().st_mtime_ns
    assert cli.main([bench.sweep, "--with-originals"]) == 0
    assert (bench.output / "clean/clip/salmu_tiny_retrieval/results.json").stat().st_mtime_ns == before
    assert len(bench.rows()) == 5


def test_a_failed_job_gives_exit_code_1_and_is_on_the_page(bench: Bench) -> None:
    options = [*bench.options, "run.max_epoch=99"]
    assert cli.main([bench.write(options=options), "--with-originals"]) == 1
    assert [row["name"] for row in bench.rows()] == ["compromised", "clean", "retrained", "vlul"]
    assert "no such luck &lt;b&gt;&amp;" in bench.page()
    assert "no such luck <b>" not in bench.page()


def test_other_forget_set_sizes_get_their_own_references(bench: Bench) -> None:
    sweep = bench.write(df_sizes=[60, 32], seeds=[42, 43])
    assert cli.main([sweep, "--with-originals"]) == 0
    rows = bench.rows()
    assert [row["name"] for row in rows].count("retrained") == 2
    assert [row["df_size"] for row in rows if row["name"] == "compromised"] == [60, 32]
    assert {row["seed"] for row in rows if row["name"] == "vlul"} == {42, 43}
    trained = json.loads((bench.output / "original/clip/salmu_tiny_retrieval/results.json").read_text())
    assert trained["df_size"] == 60


def test_results_of_other_weights_are_recomputed(bench: Bench) -> None:
    sweep = bench.write(df_sizes=[32])
    assert cli.main([sweep, "--with-originals"]) == 0
    made = next((bench.output / "references").rglob("compromised/results.json"), None)
    assert made is None  # trained for the sweep's own size
    sweep = bench.write(df_sizes=[16])
    assert cli.main([sweep]) == 0
    made = next((bench.output / "references").rglob("compromised/results.json"))
    made.write_text('{"finished": true}')
    weights = bench.output / "original/clip/salmu_tiny_retrieval/checkpoint_best.pth"
    cli.main([sweep])
    assert json.loads(made.read_text()) == {"finished": True}
    weights.write_text("weights, others")
    os.utime(weights, (1, 1))  # like a copy that keeps its old time
    cli.main([sweep])
    assert json.loads(made.read_text())["df_size"] == 16
    os.utime(weights, (4e9, 4e9))
    cli.main([sweep])
    assert "older than" in bench.page()


def test_a_published_checkpoint_needs_no_training(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    weights = bench.folder / "published.pth"
    weights.write_text("weights")
    options = [*bench.options, f"model.pretrained={weights}"]
    assert original.main([TINY, "--options", *options]) == 0
    assert "python unlearn.py --unlearn_method vlul --backbone clip" in capsys.readouterr().out
    assert not bench.output.exists()
    checkpoints = {"clean": str(weights)}
    assert cli.main([bench.write(options=options, checkpoints=checkpoints), "--with-originals"]) == 0
    assert [row["name"] for row in bench.rows()] == ["compromised", "clean", "vlul", "delete"]


def test_an_unavailable_reference_is_named_on_the_page(bench: Bench) -> None:
    checkpoints = {"clean": str(bench.folder / "nothing.pth")}
    sweep = bench.write(checkpoints=checkpoints, references=["compromised", "clean"])
    assert cli.main([sweep, "--with-originals"]) == 0
    assert "clean could not be evaluated: checkpoint" in bench.page()


def test_dry_run_lists_commands_and_runs_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([bench.sweep, "--dry-run", "--with-originals", "--options", "run.seed=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all("run.seed=3" in line for line in lines)
    assert original.main([TINY, "--dry-run", "--options", *bench.options]) == 0
    assert not bench.output.exists()
    assert not (bench.folder / "report").exists()


def test_dry_run_lists_only_what_the_call_would_run(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingFile, match="there is no original model yet"):
        cli.main([bench.sweep, "--dry-run"])
    assert cli.main([bench.write(methods=["vlul"]), "--with-originals"]) == 0
    capsys.readouterr()
    assert cli.main([bench.write(df_sizes=[60, 32]), "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert ["evaluate.py" in line.split("--cfg-path")[0] for line in lines] == [True, True, False, False, False]
    assert last == "# finished, not repeated: 1 of 6"
    assert not (bench.output / "references").exists()


def test_a_finished_job_s_line_has_its_verdict_and_the_time_left(bench: Bench, heard: pytest.LogCaptureFixture) -> None:
    assert cli.main([bench.sweep, "--with-originals", "--jobs", "1"]) == 0
    (line,) = [
        one.getMessage() for one in heard.records if "vlul" in one.getMessage() and ": done in" in one.getMessage()
    ]
    assert "it did not forget the 60 pairs" in line or "the 60 pairs to forget" in line
    assert line.endswith("left for all)")


def test_the_report_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingFile, match="no results yet"):
        report(["--sweep", bench.sweep])
    cli.main([bench.sweep, "--with-originals"])
    out = bench.folder / "elsewhere"
    assert report(["--sweep", bench.sweep, "--out", str(out), "--gallery", "0"]) == 0
    assert (out / "index.html").is_file()
    assert cli.main([bench.sweep, "--report-only"]) == 0


def test_damaged_and_missing_results_do_not_stop_the_report(bench: Bench) -> None:
    cli.main([bench.sweep, "--with-originals"])
    (bench.output / "clean/clip/salmu_tiny_retrieval/results.json").write_text('{"schema": 1')
    (bench.output / "retrained/clip/salmu_tiny_retrieval/60/results.json").unlink()
    assert report(["--sweep", bench.sweep]) == 0
    assert "not valid JSON" in bench.page()
    assert f"bash bash/retrain.sh {TINY} --options run.df_size=60" in bench.page()
    assert [row["name"] for row in bench.rows()] == ["compromised", "clean", "vlul", "delete"]
    assert "not valid JSON" in bench.rows()[1]["broken"] and bench.rows()[1]["metrics"] == {}


def test_rows_that_are_out_of_date_are_marked_and_the_exit_code_says_so(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([bench.sweep, "--with-originals"]) == 0
    assert "out of date" not in capsys.readouterr().out + bench.page()
    folder = bench.output / "original/clip/salmu_tiny_retrieval"
    os.utime(folder / "checkpoint_best.pth", (4e9, 4e9))  # what the methods start from
    clean = bench.output / "clean/clip/salmu_tiny_retrieval/results.json"
    listed = {"files": {str(bench.folder / "sweep.yaml"): "another digest"}}
    clean.write_text(json.dumps({**json.loads(clean.read_text()), "data": listed}))

    assert cli.main([bench.sweep, "--dry-run", "--with-originals"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = lines
    assert line.startswith("# finished, not repeated: 5 of 5; out of date, --rerun repeats them: clean")
    assert line.count("its results are of another ") == 1 and line.count("its results are older than ") == 2
    assert cli.main([bench.sweep, "--dry-run", "--with-originals", "--rerun"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split("--unlearn_method ")[-1].split()[0] for line in lines[1:]] == ["vlul", "delete"]
    assert "run.reference=clean" in lines[0] and last == "# finished, not repeated: 2 of 5"
    for again in (lambda: cli.main([bench.sweep]), lambda: report(["--sweep", bench.sweep])):
        assert again() == 1
        shown = capsys.readouterr().out
        for name in ("clean", "vlul", "delete"):
            assert f"| {name} (out of date) |" in shown
        assert "| retrained |" in shown and shown.count("older than") == 2
    assert [bool(row.get("doubt")) for row in bench.rows()] == [False, True, False, True, True]
    assert bench.page().count("out of date</small>") >= 3 and "older than" in bench.page()


def test_every_file_that_is_left_out_is_named_once_on_the_page_and_on_the_screen(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main([bench.sweep, "--with-originals"])
    folder = bench.output / "unlearn-vlul/clip/salmu_tiny_retrieval/60"
    (folder / "log.txt").unlink()
    for name in ("log.txt", "relearning.json"):
        (folder / name).mkdir()
    for name in ("audit/audit.json", "evaluations/coco/results.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes("{ä}".encode("utf-16"))
    capsys.readouterr()
    assert report(["--sweep", bench.sweep]) == 0
    shown = capsys.readouterr().out
    for name in ("log.txt is a folder", "relearning.json is a folder", "audit.json is not", "coco/results.json is not"):
        assert shown.count(name) == 1 and bench.page().count(name) == 1, name


def test_a_gallery_that_cannot_be_built_is_named(bench: Bench) -> None:
    assert cli.main([bench.write(gallery=2), "--with-originals"]) == 0
    assert "no gallery of portraits:" in bench.page()


def test_photographs_of_people_need_a_flag(bench: Bench) -> None:
    """The configuration draws no data set, so that its images may be of anybody."""
    own = bench.write(gallery=2, options=[*bench.options, "datasets.salmu_tiny.generate=null"])
    assert cli.main([own, "--with-originals"]) == 0
    assert "add --show-people" in bench.page() and "data:image/jpeg" not in bench.page()
    assert cli.main([own, "--report-only", "--show-people"]) == 0
    assert "add --show-people" not in bench.page()


def test_a_public_report_shows_nobody_and_names_no_folder(bench: Bench) -> None:
    own = bench.write(gallery=2, options=[*bench.options, "datasets.salmu_tiny.generate=null"])
    former = bench.folder / "report-public" / "gallery-0.json"
    former.parent.mkdir()
    former.write_text("a caption")
    assert cli.main([own, "--with-originals", "--public", "--show-people"]) == 0
    assert report(["--sweep", own, "--public"]) == 0
    assert not (bench.folder / "report").exists()
    names = {"index.html", "results.json", "results.csv", "results.md"}
    assert {path.name for path in former.parent.iterdir()} == names
    for name in names:
        text = (former.parent / name).read_text()
        assert "vlul" in text and str(bench.folder) not in text and "data:image/jpeg" not in text
    assert "show-people" not in (former.parent / "index.html").read_text()


def test_user_errors_end_in_one_message() -> None:
    command = [sys.executable, "bash/run.py", "configs/sweep/nothing.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: sweep file configs/sweep/nothing.yaml does not exist")
    assert "Traceback" not in done.stderr

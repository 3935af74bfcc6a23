"""The benchmarks keep up with the library: plain scripts and the GPU's measurements run on a tiny model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import (
    drawn,
    end_to_end,
    exact_real_schema,
    feeding,
    frozen_prefixes,
    gpu_checks,
    gpu_run,
    gpu_step,
    unlearn_step,
)
from benchmarks.world import save_original, write_world
from tests.processes import ROOT, environment

GPU_PARTS = ("tests", "sizes", "methods", "ways", "nccl", "run")
WAYS = unlearn_step.WAYS[:2]


def test_the_plain_run_trains_and_ends_with_recall(tmp_path: Path) -> None:
    arch = drawn.tiny_model(tmp_path)
    write_world(tmp_path, forget=16, retain=16, test=4, size=32)
    save_original(tmp_path, arch.stem)
    recall = end_to_end.plain(SimpleNamespace(folder=tmp_path, model=arch.stem, device="cpu", rows=16, epochs=1))
    assert recall.keys() == {"test_txt_r1", "df_txt_r1", "dr_txt_r1"}
    assert (tmp_path / "plain-0.pth").is_file()


def test_our_steps_run_in_this_process(tmp_path: Path) -> None:
    arch = drawn.tiny_model(tmp_path)
    write_world(tmp_path, forget=4, retain=4, test=4, size=32)
    save_original(tmp_path, arch.stem)
    words = {"folder": str(tmp_path), "model": arch.stem, "device": "cpu", "rows": 4, "half": 2, "flops": False}
    found = {way: unlearn_step.measure(SimpleNamespace(child=way, method="vlul", steps=1, **words)) for way in WAYS}
    assert found["ours"]["loss"] == pytest.approx(found["plain"]["loss"], abs=1e-5)


def test_stored_layers_are_measured_beside_computed_ones(tmp_path: Path) -> None:
    arch = drawn.tiny_model(tmp_path)
    write_world(tmp_path, forget=4, retain=4, test=4, size=32)
    save_original(tmp_path, arch.stem)
    words = {"folder": str(tmp_path), "model": arch.stem, "case": "vlul, text tower", "rows": 4, "half": 2, "steps": 3}
    runs = {way: [frozen_prefixes.measure(SimpleNamespace(child=way, **words))] for way in frozen_prefixes.WAYS}
    found = frozen_prefixes.summary(runs)
    assert found["loss_difference"] <= 1e-6 and found["trained"] > 0 and found["ratio_cpu"] > 0


@pytest.mark.parametrize("part", ["sizes", "methods"])
def test_steps_are_measured(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "steps.json"
    monkeypatch.setattr(gpu_step, "rates", lambda device: dict.fromkeys(gpu_step.PRECISIONS, 1.0))
    monkeypatch.setattr(sys, "argv", ["gpu_step.py", "--device", "cpu", "--tiny", "--part", part, "--out", str(out)])
    gpu_step.main()
    found = json.loads(out.read_text(encoding="utf-8"))["cases"]
    assert {case.get("error") for case in found} == {None}
    assert all(case["gflop"] > 0 and case["wall_ms"] >= case["host_ms"] > 0 for case in found)


def test_a_failing_measurement_leaves_its_message() -> None:
    args = SimpleNamespace(model=drawn.tiny_model().stem, device="cpu", sizes=[2], seconds=0.01)
    found = gpu_step.Bench(args, {"bf16": 1.0}).tried(gpu_step.Case(2, "bf16", way="graph"))
    assert found == {"error": "NotImplementedError: graphs need a CUDA device"}


def test_copies_of_an_image_differ_in_a_comment_alone(tmp_path: Path) -> None:
    write_world(tmp_path, forget=3, retain=1, test=1, size=32, drawn=2)
    first, other, copied = (path.read_bytes() for path in sorted((tmp_path / "images" / "forget").iterdir()))
    assert other != first and copied != first
    assert copied[:2] + copied[4 + int.from_bytes(copied[4:6], "big") :] == first


def test_the_feed_is_measured(tmp_path: Path) -> None:
    args = SimpleNamespace(folder=tmp_path, rows=96, device="cpu", seconds=0.1, model=str(drawn.tiny_model(tmp_path)))
    write_world(tmp_path, forget=96, retain=96, test=4, size=32, drawn=4)
    save_original(tmp_path, args.model)
    assert gpu_run.feed("clip_image_train", 0, args)["images"] > 0


def test_what_feeds_a_loop_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "feeding.json"
    small = "--repeats 1 --epochs 2 --rows 4 --half 2 --side 32 --pause 0 --steps 2 --halves 2 --sides 480 --images 2"
    monkeypatch.setattr(sys, "argv", ["feeding.py", *small.split(), "--distinct", "2", "--out", str(out)])
    feeding.main()
    found = json.loads(out.read_text(encoding="utf-8"))
    assert all(len(found["workers"][way]["all"]) == 1 for way in ("restarted", "kept"))
    assert found["tokens"]["2 + 2"]["first epoch"]["median"] > 0
    assert {found["drafts"][f"480 px, {name}"]["largest_difference"] for name in feeding.PROCESSORS} == {0}


def test_the_readmes_commands_run_in_the_published_form_and_say_what_they_found(tmp_path: Path) -> None:
    """38 captions to forget: as many names and values are found as were drawn in a form that is recognised."""
    out = tmp_path / "found.json"
    words = ["--share", "800", "--pixels", "64", "--original-epochs", "0", "--epochs", "1", "--out", str(out)]
    assert exact_real_schema.main(words) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    forget, run = found["splits"]["forget"], found["methods"]["cpd_level"]
    lost = forget["first name alone"]["captions"]
    expected = {"forget_captions": 38, "names_found": 38 - lost, "values_asked": 38, "values_found": 38}
    assert lost > 0 and run["counts"].items() >= {**expected, "captions_usable": 38 - lost}.items()
    assert (forget["all"]["names"], forget["all"]["values"]) == (38 - lost, 38)
    assert forget["all"]["names_word_for_word"] == 38 - lost - forget["name in capitals"]["captions"]
    assert f"the name in {38 - lost} of 38" in run["log"] and set(found["splits"]) == set(exact_real_schema.PEOPLE)


def test_values_in_another_form() -> None:
    found = [exact_real_schema.respelled(value) for value in ("+1 201-555-0100", "b.d12@example.org", "Lisbon", "A+")]
    assert found == ["1201 5550 100", "B.D12@EXAMPLE.ORG", "LISBON", "A+"]


def test_one_process_reduces() -> None:
    assert gpu_checks.group(1, "cpu")["works"]


@pytest.mark.slow
def test_the_script_for_a_gpu_runs_without_one(tmp_path: Path) -> None:
    variables = environment(OUT=str(tmp_path), PYTHON=sys.executable)
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), "--device", "cpu", "--tiny"]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {f"gpu_{part}.json" for part in GPU_PARTS}


@pytest.mark.parametrize("folder", ["benchmarks/results", "docs/results"])
def test_published_results_name_no_path_of_a_machine(folder: str) -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("*.json")}
    assert found
    assert [name for name, text in found.items() if re.search(r'"/(?!dev/shm)\w', text)] == []

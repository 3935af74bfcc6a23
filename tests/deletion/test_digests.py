"""Digests of whole splits: who can try candidates on them, and what a purge leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import BEST, load_checkpoint
from lavis.common.files import file_digest
from lavis.common.results import read_results
from lavis.common.secrets import agree
from lavis.images.fingerprint import content_digest
from lavis.report.same_data import differing
from lavis.sweeps.jobs import changed_files
from tests.deletion.grep import found

IMAGES = [f"forget/{i:08d}_for.jpg" for i in range(16)]


@pytest.fixture
def run(unlearn) -> Path:
    return unlearn("vlul", "run.keep_training_state=false")


def telling(folder: Path, world) -> list[str]:
    """What somebody with the table and the right candidate can compute, and what follows from the same rows."""
    data, origin = read_results(folder / "results.json")["data"], load_checkpoint(folder / BEST)["origin"]
    digests = [data["forget_list"], data["files"][str(world.forget_list)]]
    digests += [data[part][name] for part in ("splits", "images") for name in ("df", "dr")]
    return [*digests, origin["rows to train on"], origin["images to train on"]]


def test_a_candidate_is_confirmed_before_a_purge_and_not_after(run: Path, trained_world) -> None:
    output = run.parents[3]
    needles = [digest.encode() for digest in telling(run, trained_world)]
    assert content_digest(IMAGES).encode() in needles, "the attack works on the run as it is"
    assert all(found(output, [needle]) for needle in needles)
    assert multidelete(["purge", str(run)]) == 0
    assert found(output, needles) == []


def test_purged_results_differ_from_none_in_their_data(run: Path, trained_world, unlearn, heard) -> None:
    before = read_results(run / "results.json")["data"]
    assert multidelete(["purge", str(run)]) == 0
    after = read_results(run / "results.json")
    assert differing(before, after["data"]) == differing(after["data"], before) == []
    assert after["data"]["splits"]["test"] == before["splits"]["test"]
    assert changed_files(after) == []
    assert unlearn("vlul", "run.keep_training_state=false") == run
    assert "is the end of this run; nothing is left to train" in heard.text


def test_purged_twice_is_purged_once(run: Path, capsys) -> None:
    assert multidelete(["purge", str(run)]) == 0
    former = (run / "results.json").read_bytes()
    assert multidelete(["purge", str(run)]) == 0
    assert (run / "results.json").read_bytes() == former


def test_a_record_has_no_digest_of_the_list_without_a_key(run: Path, trained_world) -> None:
    content = json.loads((run / "deletion-record.json").read_text())
    plain = file_digest(trained_world.forget_list)[:32]
    assert str(trained_world.forget_list) in content["read"] and plain not in json.dumps(content)
    assert read_results(run / "results.json")["data"]["files"][str(trained_world.forget_list)] == plain


@pytest.mark.parametrize(
    ("one", "other", "same"), [("a", "a", True), ("a", "b", False), ("purged-1", "a", True), ("a", "purged-1", True)]
)
def test_purged_digests_agree_with_any(one: str, other: str, same: bool) -> None:
    assert agree(one, other) is same

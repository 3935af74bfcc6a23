"""The deletion record: what it says, whom it does not name, and what `verify` notices."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import BEST, load_checkpoint, save_checkpoint, weights_digest
from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.deletion import record as writing
from tests.report.reader import Reader

RECORD = "deletion-record.json"
UNSEALED = "the record has neither an HMAC nor a signature: nothing shows who wrote it\n"
QUICK = ("run.metrics=[cosine]", "run.keep_training_state=false")


def content(folder: Path) -> dict:
    return json.loads((folder / RECORD).read_text())


def verified(folder: Path, capsys, *words: str) -> tuple[int, str]:
    capsys.readouterr()
    return multidelete(["verify", str(folder / RECORD), *words]), capsys.readouterr().out


def test_a_run_writes_it_and_it_names_nobody(finished, trained_world) -> None:
    folder = finished("erase", *QUICK)
    found = content(folder)
    text = (folder / RECORD).read_text() + (folder / "deletion-record.html").read_text()
    assert "forget number" not in text and ".jpg" not in text
    assert found["request"]["rows"] == 16 and len(found["request"]["digest"]) == 64
    start = load_checkpoint(trained_world.output / "original/clip/salmu_retrieval" / BEST)["model"]
    assert found["weights"]["original"] == weights_digest(start)
    assert found["weights"]["unlearned"] == weights_digest(load_checkpoint(folder / BEST)["model"])
    assert found["weights"]["changed"] and found["method"] == "erase" and found["settings"]["init_lr"] == 1e-3
    assert set(found["seeds"]) == {"data", "training", "unlearning", "evaluation"}
    assert "df_cosine" in found["metrics"] and "no audit was run" in found["not_tested"][0]
    files = {item["path"]: item["fate"] for item in found["files"]}
    assert "without any training state" in files[BEST] and "results.json" in files
    assert found["caches"][0]["folder"] == "features" and found["caches"][0]["files"] > 0


def test_its_page_is_whole_and_loads_nothing(finished) -> None:
    page = (finished("erase", *QUICK) / "deletion-record.html").read_text()
    read = Reader(page)
    assert read.open == [] and not {"script", "img", "link"} & set(read.tags)
    assert "None was run" in page and "does not say that the law is satisfied" in page
    assert "&lt;" not in page and read.tags.count("table") == 11, "tables are tables, and not shown as text"
    assert not [word for word in ("None</td>", "True</td>", "{&#39;") if word in page]


def test_equal_requests_have_equal_digests_in_one_output_folder_only(unlearn) -> None:
    one, two = (content(unlearn(method, *QUICK))["request"]["digest"] for method in ("erase", "ft"))
    other = content(unlearn("erase", *QUICK, name="elsewhere"))["request"]["digest"]
    assert one == two != other


def test_what_no_longer_matches_is_said_one_by_one(unlearned, capsys) -> None:
    folder = unlearned("erase", *QUICK)
    assert verified(folder, capsys) == (0, f"everything matches the record\n{UNSEALED}")
    (folder / "evaluate.txt").rename(folder.parent / "evaluate.txt")
    (folder / "results.json").write_text("{}")
    weights = load_checkpoint(folder / BEST)
    weights["model"]["logit_scale"] += 1
    save_checkpoint(folder / BEST, weights)
    code, text = verified(folder, capsys)
    lines = text.splitlines()
    assert code == 1 and len(lines) == 5 and lines[-1] == UNSEALED.strip()
    assert "evaluate.txt is no longer there (moved or deleted)" in lines and "results.json has changed" in lines
    assert f"the weights in {BEST} are not those of the record" in lines
    (folder / BEST).unlink()
    assert "their digest was not compared" in verified(folder, capsys)[1]


def test_a_key_seals_it(unlearned, tmp_path: Path, capsys) -> None:
    folder, key = unlearned("erase", *QUICK), tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    assert multidelete(["record", str(folder), "--key", str(key)]) == 0
    assert verified(folder, capsys, "--key", str(key))[0] == 0
    assert "name its key file with --key" in verified(folder, capsys)[1]
    changed = content(folder)
    changed["request"]["rows"] = 15
    (folder / RECORD).write_text(json.dumps(changed))
    assert verified(folder, capsys, "--key", str(key)) == (
        1,
        "the HMAC does not fit the record and this key\n"
        "deletion-record.html does not show this record (changed, or of another version of this project)\n",
    )
    key.write_bytes(b"short")
    with pytest.raises(ConfigError, match="has 5 bytes"):
        multidelete(["record", str(folder), "--key", str(key)])


def test_a_run_seals_its_record_with_run_record_key(unlearn, tmp_path: Path, capsys) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    folder = unlearn("erase", *QUICK, f"run.record_key={key}")
    assert verified(folder, capsys, "--key", str(key))[0] == 0


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_a_signature_is_checked(unlearned, tmp_path: Path, capsys) -> None:
    folder, key = unlearned("erase", *QUICK), tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "signers").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    assert multidelete(["record", str(folder), "--sign-with", str(key)]) == 0
    words = ("--signers", str(tmp_path / "signers"), "--signer")
    assert verified(folder, capsys)[0] == 0
    assert verified(folder, capsys, *words, "ada@example.org")[0] == 0
    assert "does not fit" in verified(folder, capsys, *words, "eve@example.org")[1]
    (folder / RECORD).write_text((folder / RECORD).read_text().replace('"rows": 16', '"rows": 15'))
    assert "the signature does not fit the record" in verified(folder, capsys)[1]


def test_an_audit_is_part_of_it(unlearned) -> None:
    folder = unlearned("erase", *QUICK)
    (folder / "audit").mkdir()
    noise = {"share": 0.1, "attacked": 0.1234, "floor": None, "problem": ""}
    attacks = {"noise": {**noise, "variants": {}}, "lira": {"share": None, "problem": "no shadows"}}
    audit = {"attacks": attacks, "notes": ["fewer than 20 people"], "models": {"unlearned": "?"}}
    (folder / "audit" / "audit.json").write_text(json.dumps(audit))
    assert multidelete(["record", str(folder)]) == 0
    found = content(folder)
    assert found["audit"]["attacks"]["noise"] == noise
    page = (folder / "deletion-record.html").read_text()
    assert "<td>noise (X)</td><td>0.123</td><td>–</td>" in page and "lira (X)" not in page
    assert found["not_tested"][:2] == ["fewer than 20 people", "lira: no shadows"]
    assert "pruning" in found["not_tested"][2] and found["not_tested"][3] == "the audit is of other weights than these"


def test_a_purged_run_matches_the_record_it_then_writes(unlearn, capsys) -> None:
    folder = unlearn("erase", *QUICK, "run.purge_after=true")
    assert verified(folder, capsys) == (0, f"everything matches the record\n{UNSEALED}")


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 1, "kind": "deletion record", "files": [1]}'])
def test_other_files_are_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(DataError, match="is not a deletion record"):
        multidelete(["verify", str(tmp_path)])


def test_a_record_reads_nothing_outside_its_folder(unlearned, capsys) -> None:
    folder = unlearned("erase", *QUICK)
    changed = content(folder)
    changed["files"] = [{"path": "../../secret", "digest": ""}]
    (folder / RECORD).write_text(json.dumps(changed))
    assert "lies outside the folder of the record; it was not read" in verified(folder, capsys)[1]


def test_a_full_disk_costs_the_record_and_not_the_run(unlearn, monkeypatch, heard) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_json", full)
    folder = unlearn("erase", *QUICK)
    assert (folder / "results.json").is_file() and not (folder / RECORD).exists()
    assert "deletion-record.json could not be written" in heard.text


def test_files_that_were_added_and_a_changed_page_are_said(unlearned, tmp_path: Path, capsys) -> None:
    folder = unlearned("erase", *QUICK)
    (folder / "copy.csv").write_text("")
    page = folder / "deletion-record.html"
    page.write_text(page.read_text().replace("16", "15"))
    (tmp_path / "key").write_bytes(bytes(32))
    text = verified(folder, capsys, "--key", str(tmp_path / "key"))[1]
    assert "copy.csv is not in the record" in text and "html does not show this record" in text
    assert "the record has no HMAC" in text
    with pytest.raises(ConfigError, match="go together"):
        verified(folder, capsys, "--signers", "file")
    assert "audits" in [item["folder"] for item in content(folder)["caches"]]


@pytest.mark.parametrize(
    "path", ["features/a.safetensors", "audits/b.json", "audit/parts/c.json", "audit/fresh/d.json"]
)
def test_files_that_a_purge_removes_say_so(path: str) -> None:
    assert writing.fate(Path(path)) == "stays until `multidelete purge`"
    assert writing.fate(Path("audit/audit.json")) == writing.fate(Path("results.json")) == "stays"


def test_a_sealed_record_outlives_a_signature_that_fails(unlearned, tmp_path: Path) -> None:
    folder, key = unlearned("erase", *QUICK), str(tmp_path / "key")
    Path(key).write_bytes(bytes(32))
    assert multidelete(["record", str(folder), "--key", key]) == 0
    (folder / f"{RECORD}.sig").write_text("former")
    before = (folder / RECORD).read_bytes()
    for words in ([], ["--sign-with", key], ["--key", key], ["--key", key, "--sign-with", key]):
        with pytest.raises(ConfigError):
            multidelete(["record", str(folder), *words])
    with pytest.raises(MissingFile):
        multidelete(["record", str(folder), "--key", key, "--sign-with", ""])
    assert (folder / RECORD).read_bytes() == before and (folder / f"{RECORD}.sig").read_text() == "former"


@pytest.mark.parametrize("command", ["purge", "record", "verify", "audit"])
def test_an_empty_path_is_refused(command: str) -> None:
    with pytest.raises(ConfigError, match="a path is empty"):
        multidelete([command, ""])

"""Purging a run on the user's own table, where the configuration itself names whom it is about."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
import yaml

import lavis
import unlearn
from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import BEST, load_checkpoint
from lavis.common.errors import ConfigError, DataError
from lavis.common.registry import registry
from tests.deletion.grep import found
from tests.hub.folders import PLAIN, open_clip_folder
from tests.tables.people import COLUMNS, people_rows, write_csv, write_people

NAMES = {"p3": "Ada Lovelace-Byron", "p5": "Zoë Ångström"}


@pytest.fixture
def run(tmp_path: Path) -> lavis.api.running.Result:
    """Unlearning of two people by name, from a table with images in it, as `multidelete unlearn` starts it."""
    rows = [{**row, "who": NAMES.get(row["who"], row["who"])} for row in people_rows()]
    write_people(tmp_path)
    write_csv(tmp_path / "people.csv", rows)
    open_clip_folder(tmp_path / "mine", PLAIN)
    return lavis.unlearn(
        model=f"local-dir:{tmp_path / 'mine'}",
        data={"source": str(tmp_path / "people.csv"), "images": str(tmp_path / "photos"), "columns": COLUMNS},
        forget={"where": {"person": list(NAMES.values())}},
        method="erase_hold",
        output_dir=tmp_path / "run",
        max_epoch=1,
        num_workers=0,
        device="cpu",
        near_twins=0.1,
        tracker=installed_trackers(),
    )


def installed_trackers() -> list[str]:
    names = []
    for name in registry.names("tracker"):
        with contextlib.suppress(ConfigError):
            registry.get_tracker_class(name).check(name)
            names.append(name)
    return names


def needles() -> list[bytes]:
    forgotten = [row for row in people_rows() if row["who"] in NAMES]
    texts = [text for row in forgotten for text in (row["text"], row["path"], Path(row["path"]).name)]
    escaped = [json.dumps(name)[1:-1] for name in NAMES.values()]
    return [text.encode() for text in (*texts, *NAMES.values(), *escaped)]


def test_trackers_never_had_a_name(run) -> None:
    folders = {path.name for path in (run.folder / "trackers").iterdir() if path.is_dir()}
    assert folders == set(installed_trackers()) >= {"jsonl"}
    assert found(run.folder / "trackers", needles()) == []


def test_names_go_from_configurations_results_and_logs(run, tmp_path: Path, capsys) -> None:
    folder = run.folder
    record = (folder / "deletion-record.json").read_bytes()
    assert not any(needle in record for needle in needles())
    before = {Path(name.split(":")[0]).name for name, _ in found(folder, needles())}
    assert {"config.yaml", "results.json", "log.txt", "checkpoint_best.pth"} <= before
    assert multidelete(["purge", str(folder)]) == 0
    assert found(folder, needles()) == []
    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    assert metrics == pytest.approx(run.metrics)
    words = ["--unlearn_method", "erase_hold", "--backbone", "clip", "--task", "pairs_retrieval"]
    with pytest.raises((ConfigError, DataError)):
        unlearn.main([*words, "--cfg-path", str(folder / "config.yaml"), "--options", "run.num_workers=0"])
    with pytest.raises(DataError, match="can no longer be read"):
        multidelete(["purge", str(folder)])


def test_the_purged_model_has_the_same_numbers_on_the_same_data(run, tmp_path: Path) -> None:
    assert multidelete(["purge", str(run.folder)]) == 0
    data = {"source": str(tmp_path / "people.csv"), "images": str(tmp_path / "photos"), "columns": COLUMNS}
    forget = {"where": {"person": list(NAMES.values())}}
    again = lavis.evaluate(
        run.folder, data=data, forget=forget, output_dir=tmp_path / "out", num_workers=0, device="cpu"
    )
    assert again == pytest.approx(run.metrics, abs=1e-9)


@pytest.mark.parametrize("who", ["p3", 7])
def test_short_values_go_from_forget_where_and_the_rest_is_said(tmp_path: Path, capsys, who: str | int) -> None:
    rows = [{**row, "who": str(who) if row["who"] == "p3" else row["who"]} for row in people_rows()]
    write_people(tmp_path)
    write_csv(tmp_path / "people.csv", rows)
    open_clip_folder(tmp_path / "mine", PLAIN)
    folder = lavis.unlearn(
        model=f"local-dir:{tmp_path / 'mine'}",
        data={"source": str(tmp_path / "people.csv"), "images": str(tmp_path / "photos"), "columns": COLUMNS},
        forget={"where": {"person": [who]}},
        method="erase_hold",
        output_dir=tmp_path / "run",
        max_epoch=1,
        num_workers=0,
        device="cpu",
        options=["run.metrics=[cosine]"],
    ).folder
    assert multidelete(["purge", str(folder)]) == 0
    configs = [yaml.safe_load((folder / "config.yaml").read_text()), load_checkpoint(folder / BEST)["config"]]
    configs.append(json.loads((folder / "results.json").read_text())["config"])
    values = [config["datasets"]["pairs"]["forget"]["where"]["person"] for config in configs]
    assert all(len(one) == 1 and one[0].startswith("purged-") for one in values)
    assert ("Not looked for: 1 values" in capsys.readouterr().out) is (who == 7)
    text = (folder / "log.txt").read_text()
    assert who == 7 or not re.search(r"\bp3\b", text)

"""Trackers in runs: chosen by name, switched off when they fail, mentioned by record and purge."""

from __future__ import annotations

import json

import pytest

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.deletion import purge as purging
from lavis.trackers.base import Tracker
from lavis.trackers.group import Trackers, holders
from tests.runners.interrupted import same_weights

FAST = ("run.max_epoch=2", "run.evaluate_after=false", "run.log_freq=1")
CONFIG = {"model": {}, "datasets": {"salmu": {}}, "run": {"method": "erase", "reference": "", "seed": 1}}


@pytest.fixture
def register(monkeypatch):
    """`register(name, **members)`: a user's own tracker, for one test."""

    def made(name: str, **members) -> None:
        registry.discover()
        monkeypatch.setitem(registry._tables["tracker"], name, type(name, (Tracker,), members))

    return made


def test_an_unknown_name_lists_the_known_ones(unlearn) -> None:
    with pytest.raises(ConfigError, match="run.tracker: unknown tracker 'wanb'; closest: 'wandb'; valid: jsonl, mlf"):
        unlearn("erase", "run.tracker=[jsonl,wanb]")


def test_the_former_key_says_what_to_use(unlearn) -> None:
    with pytest.raises(ConfigError, match="run.tensorboard.*use run.tracker=tensorboard"):
        unlearn("erase", "run.tensorboard=true")


def test_a_missing_package_stops_the_run_before_anything_is_built(unlearn, register, tmp_path) -> None:
    register("own", package="no_such_package")
    with pytest.raises(ConfigError, match="'own' needs the package no_such_package: pip install no_such_package"):
        unlearn("erase", "run.tracker=own")
    assert not (tmp_path / "out").exists()


def test_a_tracker_of_ones_own_gets_everything(unlearn, register) -> None:
    heard: list = []
    register(
        "own",
        start=lambda self, run: heard.append(run),
        log=lambda self, step, values: heard.append((step, values)),
        finish=lambda self, metrics, complete: heard.append((metrics, complete)),
    )
    folder = unlearn("erase", "run.max_epoch=1", "run.log_freq=2", "run.metrics=[cosine]", "run.tracker=[jsonl,own]")
    run, (middle, values), (end, epoch), (metrics, complete) = heard
    assert (run.name, run.done) == ("erase-salmu-seed42", 0) and run.config["run"]["init_lr"] == 1e-3
    assert (middle, end) == (2, 4)
    means = {"epoch", "train_loss", "train_forget", "train_retain", "train_consist", "train_lr"}
    assert set(values) == {*means, "train_grad_norm", "train_steps_per_second"}
    assert set(epoch) == {*means, "train_seconds", "train_waiting"}
    results = json.loads((folder / "results.json").read_text())
    assert complete and metrics == results["metrics"]


@pytest.mark.parametrize("moment", ["start", "log", "finish"])
def test_a_failure_is_one_warning_and_the_others_go_on(moment, unlearn, finished, register, heard) -> None:
    def broken(self, *args):
        raise RuntimeError("no route\nto http://ada:secret@host/x")

    register("broken", **{"log": lambda *_: None, moment: broken})
    folder = unlearn("erase", *FAST, "run.tracker=[broken,jsonl]")
    assert same_weights(finished("erase", *FAST), folder)
    (warning,) = [text for text in heard.messages if "switched off" in text]
    problem = "RuntimeError: no route to http://host/x"
    assert warning == f"tracker broken is switched off ({problem}); the run goes on without it"
    assert (folder / "trackers/jsonl/values.jsonl").read_text().count('"step"') == 8


def test_a_full_disk_switches_it_off(full_disk, heard) -> None:
    trackers = Trackers(full_disk, ["jsonl"])
    trackers.start(CONFIG, 0)
    trackers.log(1, {"train_loss": 1.0})
    assert sum("No space left" in text for text in heard.messages) == 1 and "jsonl" in heard.text


def test_a_torn_line_is_left_out_on_resuming(tmp_path) -> None:
    path = tmp_path / "trackers" / "jsonl" / "values.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"config": {}}\n{"step": 1, "x": 1}\n{"step": 2, "x": 2}\n{"step": 3, "x": 3}\n{"step": 4, "x"')
    trackers = Trackers(tmp_path, ["jsonl"])
    trackers.start(CONFIG, 2)
    trackers.log(3, {"x": 3})
    steps = [json.loads(line).get("step") for line in path.read_text().splitlines()]
    assert steps == [None, 1, 2, 3]


def test_a_run_that_starts_over_deletes_what_there_was(unlearn) -> None:
    folder = unlearn("erase", *FAST, "run.tracker=jsonl")
    assert unlearn("erase", *FAST, "run.resume=false") == folder
    assert not (folder / "trackers").exists()


def test_the_record_and_purge_name_who_else_has_the_numbers(unlearn, register) -> None:
    def start(self, run) -> None:
        self.remember(id="7", holder="Own at example.org: the run's numbers")

    register("own", start=start, log=lambda *_: None)
    folder = unlearn("erase", *FAST, "run.tracker=own")
    assert holders(folder) == ["Own at example.org: the run's numbers"]
    assert holders(folder)[0] in json.loads((folder / "deletion-record.json").read_text())["elsewhere"]
    said: list[str] = []
    from lavis.api.purging import run_data

    builder, output = run_data(folder)
    purging.purge(folder, output, builder, said.append)
    assert "Not reached by a purge: Own at example.org: the run's numbers" in said
    (folder / "trackers" / "own.json").write_text("[")
    assert "cannot be read" in holders(folder)[0]

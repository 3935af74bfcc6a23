"""Which settings a resumed run may change, and which invalidate finished results: all settings, both ways."""

from __future__ import annotations

import copy
import typing
from typing import Any

import pytest

from lavis.common.registry import registry
from lavis.settings.changes import changes, config_changes
from lavis.settings.declaration import NOTHING, RESULTS, WEIGHTS, without_none
from lavis.settings.schema import RunConfig
from lavis.settings.validation import read
from tests.settings.sections import Leaf, leaves, plain

MODELS, BUILDERS, METHODS = (registry.names(kind) for kind in ("model", "builder", "trainer"))
FREE = (  # keys that do not affect weights, and that resuming once refused to change
    "feature_cache_gb relearn.steps relearn.fraction relearn.lr relearn.batch_size relearn.seed imagenet num_beams "
    "alpha salmubench.acs_features salmubench.idzsc_prompt salmubench.retfail_own_caption salmubench.seed "
    "salmubench.distractors num_ans_candidates inference_method k_test device threads output_dir metrics test_splits"
).split()
HELD = (
    "seed init_lr max_epoch batch_size_train accum_grad_iters df_size df_seed weights train_splits valid_splits amp "
    "resume_ckpt_path warmup_lr gather_similarity on_bad_image"
).split()


def config(arch: str = "clip", data: str = "salmu", **run: Any) -> dict[str, Any]:
    model = plain(registry.get_model_class(arch).config_class())
    dataset = plain(registry.get_builder_class(data).config_class())
    return {"run": plain(RunConfig(**run)), "model": {**model, "arch": arch}, "datasets": {data: dataset}}


def another(leaf: Leaf) -> Any:
    """A valid value other than the default."""
    default, about = leaf.item.default, leaf.item.about
    kind = without_none(leaf.item.hint)[0]
    if about.choices:
        return next(choice for choice in about.choices if choice != default)
    if kind is bool:
        return not default
    if kind is int:
        return (about.least or 0) if default is None else default + 1
    if kind is float:
        return 0.25 if default != 0.25 else 0.5
    others: dict[Any, Any] = {list: [100, 200] if int in typing.get_args(kind) else ["other"], dict: {"x": 2.0}}
    return others.get(typing.get_origin(kind), "other")


def changed(former: dict[str, Any], leaf: Leaf, *place: str) -> dict[str, Any]:
    """The configuration with one setting changed; `place` is where its section is."""
    now = copy.deepcopy(former)
    node = now
    for name in (*place, *leaf.path[:-1]):
        node = node.setdefault(name, {})
    node[leaf.path[-1]] = another(leaf)
    read(leaf.section, leaf.given(another(leaf)), leaf.prefix)
    return now


def check(former: dict[str, Any], leaf: Leaf, *place: str) -> None:
    """Resuming refuses a change, and a sweep doubts results, exactly as declared."""
    now = changed(former, leaf, *place)
    key = ".".join([*place, *leaf.path])
    reach = leaf.item.about.reach(now["run"], key)
    assert [change.key for change in changes(former, now, WEIGHTS)] == ([key] if reach == WEIGHTS else []), key
    assert [change.key for change in changes(former, now, RESULTS)] == ([key] if reach >= RESULTS else []), key
    assert bool(config_changes(former, now)) == (reach >= RESULTS), key


@pytest.mark.parametrize("run", [{}, {"valid_splits": ["val"]}, {"train_on_holdout": True}], ids=str)
def test_every_setting_of_a_run(run):
    former = config(**run)
    for leaf in leaves("run", RunConfig):
        if leaf.path[0] not in (*run, "method", "method_args"):
            check(former, leaf, "run")


@pytest.mark.parametrize("arch", MODELS)
def test_every_setting_of_a_model(arch):
    for leaf in leaves("model", registry.get_model_class(arch).config_class):
        if leaf.path != ("arch",):
            check(config(arch), leaf, "model")


@pytest.mark.parametrize("data", BUILDERS)
@pytest.mark.parametrize("run", [{}, {"valid_splits": ["val"]}], ids=str)
def test_every_setting_of_a_data_set(data, run):
    for leaf in leaves(f"datasets.{data}", registry.get_builder_class(data).config_class):
        check(config(data=data, **run), leaf, "datasets", data)


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method(method):
    for leaf in leaves("run.method_args", registry.get_trainer_class(method).params_class):
        check(config(method=method), leaf, "run", "method_args")


@pytest.mark.parametrize(("names", "reach"), [(FREE, (NOTHING, RESULTS)), (HELD, (WEIGHTS,))])
def test_reach_by_name(names, reach):
    found = {".".join(leaf.path): leaf.item.about.reach(config()["run"], leaf.key) for leaf in leaves("run", RunConfig)}
    assert [name for name in names if found[name] not in reach] == []


def test_ignored_settings_affect_nothing():
    every = [leaf for arch in MODELS for leaf in leaves("model", registry.get_model_class(arch).config_class)]
    every += leaves("run", RunConfig)
    assert [leaf.key for leaf in every if leaf.item.about.ignored and leaf.item.about.affects != NOTHING] == []


def test_alpha_matters_to_a_method_that_reads_it(monkeypatch):
    former, now = config(method="vlul"), config(method="vlul", alpha=0.25)
    assert changes(former, now, RESULTS) == []
    monkeypatch.setattr(registry.get_trainer_class("vlul"), "reads", frozenset({"alpha"}))
    assert [change.key for change in changes(former, now, WEIGHTS)] == ["run.alpha"]


def test_annotations_matter_if_trained_or_chosen_on():
    def files(split: str, run: dict[str, Any]) -> list[str]:
        former, now = config(**run), config(**run)
        now["datasets"]["salmu"]["build_info"]["annotations"] = {split: {"storage": ["other.json"]}}
        return [change.key for change in changes(former, now, WEIGHTS)]

    key = "datasets.salmu.build_info.annotations.{}.storage"
    assert files("train", {}) == [key.format("train")] and files("test", {}) == []
    assert files("val", {"valid_splits": ["val"]}) == [key.format("val")] and files("val", {}) == []


def test_values_with_the_same_meaning_are_not_a_change():
    former = config(method="ft")
    now = config(method="ft", weights={"retain": 1.0}, method_args={"share_equal": True})
    assert changes(former, now, NOTHING) == []
    del former["run"]["seed"], former["run"]["relearn"]
    assert changes(former, now, NOTHING) == []
    now["run"]["seed"] = 7
    assert [(change.key, change.then, change.now) for change in changes(former, now, NOTHING)] == [("run.seed", 42, 7)]


def test_undeclared_settings_affect_weights():
    former = config()
    former["run"]["forgotten_key"] = 3
    assert [change.key for change in changes(former, config(), WEIGHTS)] == ["run.forgotten_key"]
    assert [change.key for change in changes(former, config(data="coco_retrieval"), WEIGHTS)][-1] == "datasets"


def test_another_architecture_is_named():
    assert "model.arch" in [change.key for change in changes(config(), config("albef_vqa"), WEIGHTS)]


def test_a_retired_key_of_an_old_configuration_affects_nothing():
    """Checkpoints and results from before `run.tracker` have `run.tensorboard`."""
    now = config()
    former = {**now, "run": {**now["run"], "tensorboard": True}}
    assert changes(former, now, NOTHING) == []

from __future__ import annotations

import dataclasses

import pytest
import yaml

from lavis.common.errors import ConfigError, MissingFile
from lavis.common.registry import registry
from lavis.settings.config import load_config
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.schema import ModelConfig, RunConfig
from tests.settings.sections import leaves

BASE = {"model": {"arch": "clip", "model_type": "ViT-B-16"}, "datasets": {"salmu": {}}, "run": {}}


@pytest.fixture
def write(tmp_path):
    def write_file(**sections):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump({**BASE, **sections}))
        return path

    return write_file


def test_layers_win_in_order(write):
    path = write(run={"max_epoch": 3, "seed": 1, "init_lr": 0.1, "jobs": {"vlul": {"init_lr": 0.2, "seed": 2}}})
    config = load_config(path, ["run.seed=3"], job=["vlul"], df_size=7)
    assert (config.run.max_epoch, config.run.init_lr, config.run.seed, config.run.df_size) == (3, 0.2, 3, 7)
    assert config.run.weight_decay == 0.001
    assert load_config(path).run.init_lr == 0.1


def test_the_users_file_overrides_package_defaults(write):
    config = load_config(write(datasets={"salmu": {"forget_list": "mine-{seed}.txt"}}))
    assert config.dataset.forget_list == "mine-{seed}.txt"
    assert config.dataset.build_info.images.storage == "data/lavis_cache/salmu/images"
    assert config.job_name == "salmu_retrieval"


def test_scientific_notation_is_a_number(write, tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump(BASE).replace("run: {}", "run: {init_lr: 1e-7}"))
    assert load_config(path, ["run.min_lr=1e-9"]).run.init_lr == 1e-7
    assert load_config(path, ["run.min_lr=1e-9"]).run.min_lr == 1e-9


@pytest.mark.parametrize(
    "sections,message",
    [
        ({"run": {"max_epochs": 3}}, r"c.yaml: unknown key 'run.max_epochs'; closest: 'max_epoch'"),
        ({"model": {"arch": "clip", "modeltype": "x"}}, r"'model.modeltype'; closest: 'model_type'"),
        (
            {"datasets": {"salmu": {"build_info": {"image": {}}}}},
            r"'datasets.salmu.build_info.image'; closest: 'images'",
        ),
        ({"datasets": {"salmu": {"build_info": {"annotations": {"train": {"storag": []}}}}}}, r"closest: 'storage'"),
        ({"run": {"world_size": 2}}, r"torch.distributed.run sets it"),
        ({"run": {"max_epoch": "many"}}, r"c.yaml: run.max_epoch must be a whole number, found 'many'"),
        ({"run": {"max_epoch": 0}}, r"run.max_epoch must be at least 1, found 0"),
        ({"run": {"init_lr": -1.0}}, r"run.init_lr must be at least 0 and at most 1000, found -1.0"),
        ({"run": {"on_bad_image": "skipp"}}, r"run.on_bad_image is 'skipp'; closest: 'skip'"),
        ({"run": {"task": "retrival"}}, r"'retrival'; closest: 'retrieval'"),
        ({"run": {"lr_sched": "cosine"}}, r"unknown lr_scheduler 'cosine'"),
        ({"run": {"jobs": {"vlul": {"initlr": 1}}}}, r"'run.jobs.vlul.initlr'"),
        ({"model": {"arch": "clipp"}}, r"unknown model 'clipp'; closest: 'clip'"),
        ({"datasets": {"salmo": {}}}, r"unknown builder 'salmo'; closest: 'salmu'"),
        ({"datasets": {}}, r"must name exactly one data set"),
        ({"models": {}}, r"unknown section 'models'; closest: 'model'"),
        ({"run": 3}, r"section 'run' must be a mapping"),
    ],
)
def test_bad_configurations_are_named(write, sections, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(**sections))


def test_bad_options_and_files(write, tmp_path):
    with pytest.raises(ConfigError, match="--options: unknown key 'run.sed'; closest: 'seed'"):
        load_config(write(), ["run.sed=1"])
    with pytest.raises(ConfigError, match="key=value"):
        load_config(write(), ["run.seed"])
    with pytest.raises(MissingFile, match="nowhere.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("run: [1, 2")
    with pytest.raises(ConfigError, match="broken.yaml is not valid YAML"):
        load_config(broken)


def test_a_configuration_is_typed_and_does_not_change(write):
    config = load_config(write(), ["run.weights={md: 2}", "datasets.salmu.build_info.annotations.test.storage=a.json"])
    assert (type(config.run), type(config.model), type(config.dataset)) == (RunConfig, ModelConfig, DatasetConfig)
    assert config.run.weights == {"md": 2.0} and isinstance(config.run.weights["md"], float)
    assert config.dataset.build_info.annotations["test"].storage == ["a.json"]
    for section, key in ((config, "run"), (config.run, "df_size"), (config.model, "arch"), (config.run.relearn, "lr")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, key, None)


def test_plain_content_includes_settings_that_the_run_determined(write):
    config = load_config(write())
    assert config.to_dict()["run"]["df_size"] is None and config.to_dict(df_size=7)["run"]["df_size"] == 7
    assert config.run.df_size is None
    content = config.to_dict()
    assert yaml.safe_load(yaml.safe_dump(content)) == content
    content["run"]["metrics"].append("other")
    assert "other" not in config.run.metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["run.seed=-1"], "^--options: run.seed must be at least 0 and at most 4294967295, found -1$"),
        (["run.threads=100000000000000000000"], "run.threads must be at least 1 and at most 1024 or null"),
        (["run.weights={md: .nan}"], "run.weights must be a mapping from names to finite numbers"),
        (["run.warmup_lr=-2"], "run.warmup_lr must be at least 0 and at most 1000 or -1 or null, found -2"),
        (["run.output_dir=2024"], "run.output_dir must be text, found 2024; in quotes it is text"),
        (["run.device=cuda:x"], "run.device is 'cuda:x'; closest: 'cuda'"),
        (["run.relearn.steps=[3,2]"], "run.relearn.steps must rise from 0 or more"),
        (["datasets.salmu.build_info=3"], "datasets.salmu.build_info must be a mapping"),
        (["datasets.salmu.image_cache_gb=.nan"], "image_cache_gb must be a finite number, found nan"),
        (["datasets.salmu.vis_processor.eval.image_size=-1"], "vis_processor.eval.image_size must be at least 1"),
        (["datasets.salmu.text_processor.train.name=clip_captio"], "closest: 'clip_caption'"),
        (["run.metrics=[retrieval,recall]"], "run.metrics names 'recall'"),
        (["run.train_on_holdout=true", "run.read_holdouts=false"], "run.train_on_holdout=true needs"),
        (["run.jobs.vlul.seed=-1"], "run.jobs.vlul.seed must be at least 0"),
        (["run.jobs=3"], "run.jobs must be a mapping"),
        (["run.jobs.cpd.method_args.held=0"], "run.jobs.cpd.method_args.held must be at least 1"),
        (["run.method=nothing"], "run.method: unknown trainer 'nothing'"),
        (["run.lr_sched=cosine"], "run.lr_sched: unknown lr_scheduler 'cosine'"),
        (["model.arch=clop"], "^--options: model.arch: unknown model 'clop'; closest: 'clip'"),
    ],
)
def test_bad_values_are_named(write, options, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(), options)


@pytest.mark.parametrize(
    ("method", "argument", "message"),
    [
        ("vlul", "rate=1", "unknown key 'run.method_args.rate'"),
        ("ft", "share_equal='false'", "run.method_args.share_equal must be true or false, found 'false'"),
        ("cpd", "held=abc", "run.method_args.held must be a whole number, found 'abc'"),
        ("cpd", "held=0", "run.method_args.held must be at least 1, found 0"),
        ("cpd", "tower=image", "run.method_args.tower is 'image'; .*valid: text, tokens"),
        ("dtd", "epsilon=.nan", "run.method_args must be .* finite values, found {'epsilon': nan}"),
        ("dtd", "epsilon=-1", "run.method_args.epsilon must be above 0"),
        ("dtd", "delta=1", "run.method_args.delta must be above 0 and below 1 or null"),
    ],
)
def test_arguments_of_methods_are_typed(write, method, argument, message):
    options = [f"run.method_args.{argument}", "run.weight_decay=0.1"]
    with pytest.raises(ConfigError, match=message):
        load_config(write(), options, job=[method])
    assert load_config(write(), ["run.weight_decay=0.1"], job=[method]).run.method_args is not None


def test_settings_of_a_method_that_cannot_work_are_refused(write):
    with pytest.raises(ConfigError, match="'vlul' has no term 'forget'; "):
        load_config(write(run={"weights": {"forget": 1}}), job=["vlul"])
    with pytest.raises(ConfigError, match="dtd: run.weight_decay is 0.0"):
        load_config(write(run={"weight_decay": 0}), job=["dtd"])


def test_the_lowest_layer_that_is_wrong_is_named(write):
    path = write(run={"seed": -1})
    with pytest.raises(ConfigError, match=f"^{path}: run.seed"):
        load_config(path, ["run.seed=1"])
    with pytest.raises(ConfigError, match="^command line: run.df_size must be at least 1 or null, found 0"):
        load_config(write(), df_size=0)


def test_settings_that_nothing_reads_are_reported(write):
    assert load_config(write(), alpha=None).unread() == []
    messages = load_config(write(run={"use_dist_eval_sampler": True, "alpha": 0.7})).unread()
    assert messages == [
        "run.alpha is accepted and changes nothing here: the method has no mixing factor",
        "run.use_dist_eval_sampler is accepted and changes nothing here: evaluation is always divided, and exact for "
        "any number of processes",
    ]
    assert load_config(write(), alpha=0.5).unread() == messages[:1]


NO_SUCH = {"run.task", "run.runner", "run.lr_sched", "run.method", "model.arch"}


def test_any_text_is_accepted_only_for_free_settings(write):
    """For all other keys, a name that does not exist is refused."""
    sections = {"run": RunConfig, "model": ModelConfig, "datasets.salmu": DatasetConfig}
    every = [leaf for prefix, section in sections.items() for leaf in leaves(prefix, section)]
    for leaf in every:
        if leaf.item.hint not in (str, str | None):
            continue
        free = not leaf.item.about.choices and leaf.key not in NO_SUCH
        try:
            load_config(write(), [f"{leaf.key}=no such thing"])
        except ConfigError as error:
            assert not free and "no such thing" in str(error), leaf.key
        else:
            assert free, leaf.key


def test_choices_are_those_that_the_code_knows():
    from lavis.common.precision import KERNELS
    from lavis.salmubench.acs import FEATURES
    from lavis.salmubench.idzsc import PROMPTS
    from lavis.synthetic.mini.variants import SIZES as PORTRAITS
    from lavis.synthetic.scenes.plan import SIZES as SCENES

    sections = (RunConfig, registry.get_builder_class("coco_mini").config_class)
    choices = {leaf.key: set(leaf.item.about.choices) for section in sections for leaf in leaves("", section)}
    assert choices[".attention"] == {"auto", *KERNELS}
    assert choices[".salmubench.acs_features"] == set(FEATURES)
    assert choices[".salmubench.idzsc_prompt"] == set(PROMPTS)
    assert choices[".generate"] == set(PORTRAITS) == set(SCENES)


def test_yaml_builds_no_objects(tmp_path):
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text(f"run: !!python/object/apply:os.system ['touch {tmp_path}/ran']\n")
    with pytest.raises(ConfigError):
        load_config(hostile)
    assert not (tmp_path / "ran").exists()

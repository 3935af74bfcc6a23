from __future__ import annotations

import pytest

from lavis.common.errors import ConfigError
from lavis.common.registry import Registry, registry


def test_everything_the_project_names_is_found():
    assert {"vlul", "vlul-md", "vlul-md-multi", "vlul-multi-uni", "erase", "delete"} <= set(registry.names("trainer"))
    assert registry.get_model_class("clip").__name__ == "ClipModel"
    assert registry.get_task_class("retrieval").__name__ == "RetrievalTask"
    assert registry.get_runner_class("epoch").__name__ == "EpochRunner"
    assert registry.get_lr_scheduler_class("linear_warmup_cosine_lr").__name__ == "linear_warmup_cosine_lr"
    assert {"salmu", "salmu_mini", "salmu_tiny"} <= set(registry.names("builder"))
    assert {"clip_image_train", "clip_image_eval", "clip_caption", "blip_caption"} <= set(registry.names("processor"))


@pytest.mark.parametrize("name", ["vlul_", "my-vlul", "vlul-md-extra", "VLUL", "eras", "", [], {}, None])
def test_names_are_exact_and_a_miss_lists_the_valid_ones(name):
    with pytest.raises(ConfigError, match="valid: .*delete.*erase.*vlul"):
        registry.get_trainer_class(name)


def test_the_closest_name_comes_first():
    with pytest.raises(ConfigError, match="unknown trainer 'erasse'; closest: 'erase'"):
        registry.get_trainer_class("erasse")


def test_a_name_cannot_be_taken_twice():
    own = Registry()
    own.register_trainer("a")(type("First", (), {}))
    with pytest.raises(ConfigError, match="'a' is registered twice"):
        own.register_trainer("a")(type("Second", (), {}))

"""Tiny miniatures, drawn once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from lavis.common.registry import registry
from lavis.settings.config import compose_dataset
from lavis.settings.layers import DEFAULTS
from lavis.settings.schema import RunConfig
from lavis.synthetic.scenes.layout import ensure
from lavis.synthetic.scenes.plan import MAKERS


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Every miniature in the tiny size: `root / <name>` and `lists / <name>`."""
    path = tmp_path_factory.mktemp("scenes")
    for kind in MAKERS:
        ensure(kind, path / f"{kind}_tiny", path / "Df" / f"{kind}_tiny", "tiny", 42)
    return SimpleNamespace(root=path, lists=path / "Df")


@pytest.fixture
def build(drawn):
    """`build(name, dataset keys, **run)`: a prepared builder of a miniature, by its packaged configuration."""

    def make(name, keys=None, **run):
        text = (DEFAULTS / "datasets" / name / "defaults.yaml").read_text(encoding="utf-8")
        text = text.replace("data/lavis_cache", str(drawn.root)).replace("data/Df", str(drawn.lists))
        config = compose_dataset(name, [("defaults", yaml.safe_load(text)), ("keys", keys or {})])
        builder = registry.get_builder_class(name)(config, RunConfig(**run))
        builder.prepare()
        return builder

    return make

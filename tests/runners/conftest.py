"""Fixtures of the tests that start runs."""

from __future__ import annotations

import dataclasses

import pytest

from tests.runners.weights import Weights, weights
from tests.small import SmallWorld


@pytest.fixture(scope="module")
def world(trained_world, tmp_path_factory) -> SmallWorld:
    """The trained world, with each module's own folder for runs."""
    return dataclasses.replace(trained_world, path=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def original(trained_world) -> Weights:
    """The weights that the trained world's runs start from."""
    return weights(trained_world.output / "original" / "clip" / "salmu_retrieval")

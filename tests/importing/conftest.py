"""A tiny published SALMU and the import command on it."""

from __future__ import annotations

import pytest

from tests.importing.salmu_source import Importer


@pytest.fixture
def call(tmp_path):
    return Importer(tmp_path)


@pytest.fixture
def source(call):
    return call.source

"""The builder of the real data, its defaults, and the module's command line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import lavis.importing
from lavis.common.cli import run_main
from lavis.common.errors import DataError, MissingFile
from lavis.common.registry import registry
from lavis.datasets.salmu import SalmuBuilder, main
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig

DEFAULTS = Path(lavis.datasets.__file__).parent.parent / "configs" / "datasets" / "salmu" / "defaults.yaml"


def test_registered_with_its_task_name():
    assert registry.get_builder_class("salmu") is SalmuBuilder
    assert SalmuBuilder.job_names == {"salmu_retrieval": "retrieval"}


def test_defaults_fit_the_schema_and_missing_data_names_the_command(tmp_path, monkeypatch):
    builder = SalmuBuilder(compose_dataset("salmu"), RunConfig())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFile, match=r"salmu import --parquet DIR --out data/lavis_cache/salmu"):
        builder.prepare()
    with pytest.raises(MissingFile, match=r"forget list data/Df/salmu/image-42\.txt does not exist; .*salmu import"):
        builder.forget_images()


@pytest.fixture
def importer(monkeypatch):
    """Replaces the importer's module and records its arguments."""
    calls = SimpleNamespace(argv=None, error=None)

    def run(argv):
        calls.argv = list(argv)
        if calls.error:
            raise calls.error

    module = ModuleType("lavis.importing.salmu")
    module.main = run
    monkeypatch.setitem(sys.modules, "lavis.importing.salmu", module)
    monkeypatch.setattr(lavis.importing, "salmu", module, raising=False)
    return calls


def test_import_passes_its_arguments_on(importer):
    assert main(["import", "--parquet", "in", "--out", "there"]) == 0
    assert importer.argv == ["--parquet", "in", "--out", "there"]


def test_user_errors_are_one_line(importer, capsys, monkeypatch):
    importer.error = DataError("shard broken")
    monkeypatch.setattr(sys, "argv", ["salmu", "import"])
    with pytest.raises(SystemExit):
        run_main(main)
    assert capsys.readouterr().err == "error: shard broken\n"


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["export"])
    assert caught.value.code == 2 and "import" in capsys.readouterr().err

"""The bench on which sweeps run with stubs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavis.sweeps import cli, original, plan
from tests.processes import ROOT
from tests.sweeps.bench import Bench
from tests.sweeps.stubs import write_entry_scripts


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(plan, "ROOT", write_entry_scripts(tmp_path / "scripts"))
    monkeypatch.setattr(original, "prepare_data", lambda config: None)
    monkeypatch.setattr(cli, "prepare_data", lambda config: None)
    return Bench(tmp_path)

"""SALMU-tiny with an original and a clean model, trained once, and audits of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.audit_attacks import superficial
from lavis.audits.audit import Audit
from lavis.audits.material import Material
from lavis.hub.preparing import builder_of
from lavis.settings.config import load_config
from lavis.tasks.checkpoints import load_model
from lavis.tasks.entry import train
from tests.tiny import CONFIG, draw_tiny


@pytest.fixture(scope="session")
def audited(tmp_path_factory):
    """`keys` of SALMU-tiny's configuration, and the checkpoints of the original and the clean model below `output`."""
    root = tmp_path_factory.mktemp("audited")
    keys = [*draw_tiny(root), f"run.output_dir={root / 'output'}", "run.device=cpu", "run.evaluate_after=false"]
    for reference in ("compromised", "clean"):
        train(CONFIG, [*keys, f"run.reference={reference}"])
    place = Path("clip") / "salmu_tiny_retrieval" / "checkpoint_best.pth"
    return SimpleNamespace(
        keys=keys,
        root=root,
        original=root / "output" / "original" / place,
        clean=root / "output" / "clean" / place,
    )


@pytest.fixture(scope="session")
def material_of(audited):
    """`material_of(*options, control=…)`: the material of SALMU-tiny, and the run section."""

    def build(*options: str, control: str = ""):
        config = load_config(CONFIG, [*audited.keys, *options])
        builder, _ = builder_of(config)
        return Material(builder, audited.root / "fresh", control), config

    return build


@pytest.fixture(scope="session")
def models(audited, material_of):
    """The original, the clean model, and the original with a fixed rotation behind its text tower ("unlearned")."""
    config = material_of()[1]
    found = {role: load_model(config.model, getattr(audited, role)) for role in ("original", "clean")}
    return {"unlearned": superficial(found["original"]), **found}


@pytest.fixture
def audit_of(material_of):
    """`audit_of(models, *options, folder=…)`: an audit with fresh people as the control."""

    def build(models, *options: str, folder: Path | None = None, **facts):
        material, config = material_of(*options, **facts)
        return Audit(models, material, config.run, torch.device("cpu"), folder)

    return build

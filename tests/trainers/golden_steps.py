"""Five CPU steps of every method on fixed inputs; `python -m tests.trainers.golden_steps` rewrites the numbers."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from lavis.common.registry import registry
from lavis.common.seed import seed_everything
from lavis.models.clip import ClipModel
from lavis.runners.optim import build_optimizer
from lavis.settings.schema import ModelConfig, RunConfig
from lavis.trainers.base import Batch
from lavis.trainers.teacher import FrozenModel, Teacher, Towers
from tests.small import ARCH

PATH = Path(__file__).resolve().parents[1] / "golden" / "steps.json"
METHODS = ("vlul", "erase", "delete")
STEPS, ROWS = 5, 4


def losses(method: str) -> list[float]:
    """The total loss of each step."""
    seed_everything(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden_clip.json"
        path.write_text(json.dumps(ARCH))
        model = ClipModel.from_config(ModelConfig(model_type=str(path)))
    teacher = Teacher(FrozenModel(model), {"df": Towers(), "dr": Towers()})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    run, cpu = RunConfig(init_lr=1e-3, seed=0), torch.device("cpu")
    trainer = registry.get_trainer_class(method)(method, model, run, cpu)
    trainer.attach_teacher(teacher)
    optimizer = build_optimizer(model, run, cpu)
    return [_step(trainer, model, optimizer, number) for number in range(STEPS)]


def _step(trainer, model, optimizer, number: int) -> float:
    loss, _ = trainer.loss(Batch({name: _inputs(model, name, number) for name in ("df", "dr")}, 0, 0, number))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _inputs(model, name: str, number: int) -> dict:
    draws = torch.Generator().manual_seed(100 * number + len(name) + ord(name[1]))
    images = torch.randint(0, 256, (ROWS, 3, 16, 16), dtype=torch.uint8, generator=draws)
    captions = [f"{name} caption {number} {row}" for row in range(ROWS)]
    return {"images": images, "tokens": model.tokenize(captions), "captions": captions}


if __name__ == "__main__":
    PATH.write_text(json.dumps({method: losses(method) for method in METHODS}, indent=1) + "\n")
    sys.stdout.write(PATH.read_text())

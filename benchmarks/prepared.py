"""What benchmarks of training share: drawn data with an original model, and the project's own runner on them."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.world import save_original, write_world

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "clip" / "retrieval_salmu.yaml"


@contextlib.contextmanager
def drawn_original(rows: int, model: str, **counts: int) -> Iterator[str]:
    """A temporary folder with `rows` forget and as many retain pairs, and an original model with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder), rows, rows, **counts)
        save_original(Path(folder), model)
        yield folder


@dataclass(frozen=True)
class Prepared:
    """A runner before its first step, and the CPU seconds that the stored teacher and the runner took to make."""

    runner: Any
    teacher_seconds: float
    runner_seconds: float


def prepared(
    folder: Path,
    method: str,
    rows: int,
    keys: Sequence[str],
    *,
    change: Callable[[Any], None] = lambda model: None,
    teacher: bool = True,
) -> Prepared:
    """The project's runner of a method on the data in `folder`; `change` gets the model once it is loaded."""
    from lavis.common.registry import registry
    from lavis.runners.epoch import EpochRunner
    from lavis.runners.feed import Feed
    from lavis.runners.teaching import build_teacher
    from lavis.settings.config import load_config
    from lavis.tasks.entry import jobs_of

    config = load_config(str(CONFIG), list(keys), job=jobs_of(method), method=method, df_size=rows)
    task = registry.get_task_class(config.run.task)(config)
    with task.session(str(folder / "original.pth")):
        torch.manual_seed(config.run.seed)
        model = registry.get_model_class("clip").from_config(config.model, load_pretrained=False).to(task.device)
        model.load_weights(folder / "original.pth")
        change(model)
        trainer = registry.get_trainer_class(method)(method, model, config.run, task.device)
        feed = Feed(task.unlearning_sets(trainer), model, config.run, task.device)
        began = time.process_time()
        if teacher:
            trainer.attach_teacher(build_teacher(model, feed, sides=trainer.teacher_sets))
        embedded = time.process_time()
        runner = EpochRunner(trainer, feed, task.folder, config.to_dict())
        return Prepared(runner, embedded - began, time.process_time() - embedded)

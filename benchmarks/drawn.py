"""Batches that are drawn on the device, for measurements of steps alone: no files, no decoding."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import torch
import torch.nn.functional as F

from benchmarks.world import FIRST, LAST
from lavis.synthetic.fictitious import Fiction
from lavis.trainers.base import BaseTrainer, Batch
from lavis.trainers.teacher import FrozenModel, Teacher, Towers

POSITIONS = 32  # of captions, as long as the longest of a SALMU batch
TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 16, "head_width": 8, "patch_size": 112},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


def batch(model: Any, half: int, device: torch.device) -> Batch:
    """`half` pairs of Df and of Dr on the device, the captions about invented people."""
    sets = {name: _rows(model, name, half, device) for name in ("df", "dr")}
    return Batch(sets, seed=42, epoch=0, number=0, device=device)


def complete(trainer: BaseTrainer, batch: Batch, live: bool) -> None:
    """Give the trainer its teacher, with stored rows for this batch unless `live`, and its fictitious captions."""
    if trainer.needs_teacher:
        width = trainer.model.clip.text_projection.shape[-1]
        stored = {name: Towers() if live else _stored(batch.size(name), width, batch.device) for name in batch.sets}
        trainer.attach_teacher(Teacher(FrozenModel(trainer.model) if live else None, stored))
    if trainer.needs_fiction:
        trainer.fiction = _fiction(batch.size("df"))


def tiny_model(folder: Path | None = None) -> Path:
    """The file of an architecture of one layer, which open_clip then knows by the file's stem."""
    path = (folder or Path(tempfile.mkdtemp())) / "benchmark_tiny.json"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    open_clip.add_model_config(path)
    return path


def _rows(model: Any, name: str, n: int, device: torch.device) -> dict[str, Any]:
    side = model.recipe.pixels.image_size
    numbers = torch.arange(n, device=device)
    rows = {"images": torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, device=device)}
    rows |= {"captions": [_person(f"{name} {i}").caption for i in range(n)], "index": numbers, "caption_id": numbers}
    tokens = model.prepare(rows)["tokens"]
    return rows | {"tokens": F.pad(tokens, (0, max(0, POSITIONS - tokens.shape[1]))).to(device)}


def _stored(n: int, width: int, device: torch.device) -> Towers:
    image, text = (F.normalize(torch.randn(n, width, device=device), dim=-1) for _ in range(2))
    return Towers(image, text)


def _person(key: str) -> SimpleNamespace:
    draws = random.Random(key)  # noqa: S311
    name = f"{draws.choice(FIRST)} {draws.choice(LAST)}"
    number = "+44 " + "".join(draws.choices("0123456789", k=10))
    return SimpleNamespace(name=name, number=number, caption=f"The phone number of {name} is {number}.")


@functools.cache
def _fiction(n: int) -> Fiction:
    """Fictitious captions for a batch of Df; every second person has a field that is not forgotten."""
    people, entries = {}, []
    for i in range(n):
        person = _person(f"df {i}")
        people[str(i)] = {"name": person.name, "phone": person.number, **({"email": "kept"} if i % 2 else {})}
        extra = {"identity_id": str(i), "field": "phone", "value": person.number}
        entries.append(SimpleNamespace(captions=(person.caption,), extra=extra))
    return Fiction(entries, people)

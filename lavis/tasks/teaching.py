"""Building the teacher: embeddings that cannot change are computed once, before the first step."""

from __future__ import annotations

from typing import Any

from lavis.common.logger import get_logger
from lavis.common.memory import release_memory
from lavis.evaluation.embed import embed_captions, embed_entries
from lavis.models.base import BaseModel
from lavis.runners.feed import Feed
from lavis.trainers.teacher import FrozenModel, Teacher, Towers


def build_teacher(model: BaseModel, feed: Feed, joint: tuple[str, ...] = ()) -> Teacher:
    """A frozen copy of `model`, or its stored embeddings where that costs no more than the run would.

    A side can be stored when image and text towers alone give all that is wanted of it: `joint` names the sides whose
    joint representation is, which a fused encoder has to compute live. Images are stored when their transforms are
    deterministic, captions always, each side only when the run draws at least as many rows as the side has;
    `run.teacher_cache=none` computes everything live. When all is stored the copy is let go. The log says which.
    """
    frozen = FrozenModel(model)
    kind = model.features
    towers: dict[str, Towers] = {}
    for side, dataset in feed.datasets.items():
        if kind.paired_towers and (kind.joint_of_towers or side not in joint):
            worth = feed.run.teacher_cache == "auto" and feed.rows_drawn() >= len(dataset)
            towers[side] = _stored(frozen, feed, side, dataset) if worth else Towers()
        _say(side, len(dataset), towers.get(side))
    complete = towers.keys() == feed.datasets.keys() and all(map(_complete, towers.values()))
    if not complete:
        return Teacher(frozen, towers)
    del frozen
    release_memory()
    return Teacher(None, towers)


def _complete(part: Towers) -> bool:
    return part.images is not None and part.texts is not None


def _say(side: str, n: int, part: Towers | None) -> None:
    kept = part or Towers()
    words = ["live" if rows is None else "stored" for rows in (kept.images, kept.texts)]
    get_logger().info("Teacher on %s (%d images): images %s, captions %s", side, n, *words)


def _stored(frozen: FrozenModel, feed: Feed, side: str, dataset: Any) -> Towers:
    options = {"name": f"teacher {side}"}
    size, device = feed.run.batch_size_eval, feed.device
    if not dataset.deterministic:
        return Towers(None, embed_captions(frozen.model, dataset.captions, size, device, **options).to(device))
    features = embed_entries(frozen.model, dataset, size, device, num_workers=feed.run.num_workers, **options)
    return Towers(features.image.to(device), features.text.to(device))

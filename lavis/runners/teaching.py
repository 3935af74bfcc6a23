"""Building the teacher: embeddings that cannot change are computed once, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lavis.common import distributed
from lavis.common.checkpoint import weights_digest
from lavis.common.logger import get_logger
from lavis.common.memory import release_memory
from lavis.embedding.bank import cache_folder
from lavis.embedding.embed import embed_captions, embed_images
from lavis.embedding.feature_store import SUFFIX, FeatureStore, key_of
from lavis.models.base import BaseModel
from lavis.runners.feed import Feed
from lavis.trainers.teacher import FrozenModel, Teacher, Towers


def build_teacher(
    model: BaseModel, feed: Feed, joint: tuple[str, ...] = (), sides: tuple[str, ...] = ("df", "dr")
) -> Teacher:
    """A frozen copy of `model`, or its stored embeddings where that costs no more than the run would.

    `sides` are those that the method asks about. A side can be stored when image and text towers alone give all that
    is wanted of it: `joint` names the sides whose joint representation is, which a fused encoder has to compute live.
    Images are stored when their transforms are deterministic, captions always, each side only when the run draws at
    least as many rows as the side has; `run.teacher_cache=none` computes everything live. What is stored is kept in
    `run.feature_cache` as well, for later runs from the same weights and data, unless `run.teacher_cache=memory`. When
    all is stored the copy is let go. The log says which.
    """
    frozen = FrozenModel(model)
    kind = model.features
    towers: dict[str, Towers] = {}
    wanted = {side: dataset for side, dataset in feed.datasets.items() if side in sides}
    for side, dataset in wanted.items():
        if kind.paired_towers and (kind.joint_of_towers or side not in joint):
            worth = feed.run.teacher_cache != "none" and feed.rows_drawn() >= len(dataset)
            towers[side] = _stored(frozen.model, feed, side, dataset) if worth else Towers()
        _say(side, len(dataset), towers.get(side))
    complete = towers.keys() == wanted.keys() and all(map(_complete, towers.values()))
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


def _stored(model: BaseModel, feed: Feed, side: str, dataset: Any) -> Towers:
    size, device, name = feed.run.batch_size_eval, feed.device, f"teacher {side}"
    n = len(dataset) if dataset.deterministic else 0

    def embed() -> torch.Tensor:
        texts = embed_captions(model, dataset.captions, size, device, name=name)
        if not n:
            return texts
        images = embed_images(model, dataset, size, device, num_workers=feed.run.num_workers, name=name)
        return torch.cat([images, texts])

    rows = kept_rows(_store(model, feed, dataset), n + len(dataset.captions), embed).to(device)
    return Towers(rows[:n] if n else None, rows[n:])


def _store(model: BaseModel, feed: Feed, dataset: Any) -> FeatureStore:
    """The file of a side's rows, named after everything that they follow from."""
    run, folder = feed.run, cache_folder(feed.run)
    if folder is None or run.teacher_cache != "auto":
        return FeatureStore()
    images = [(image, *dataset.store.stamp(image)) for entry in dataset.entries for image in entry.images]
    facts = [weights_digest(model.checkpoint_state()), type(model).__name__, model.recipe, model]
    facts += [dataset.image_processor, dataset.captions, images if dataset.deterministic else ""]
    facts += [run.batch_size_eval, feed.device.type, run.attention, torch.__version__]
    return FeatureStore(folder / f"teacher-{key_of(*facts).hex()}{SUFFIX}", 1e9 * run.feature_cache_gb)


def kept_rows(store: FeatureStore, n: int, embed: Callable[[], torch.Tensor]) -> torch.Tensor:
    """The store's n rows (n, D) by their numbers, or what `embed` gives, which is then kept: all of them or none.

    All processes call it; rank 0 reads and writes.
    """
    keys = [key_of("teacher", number) for number in range(n)]
    main = distributed.is_main()
    if main:
        store.load()
    if distributed.broadcast_object(main and len(store.rows) == n and all(key in store.rows for key in keys)):
        get_logger().info("Teacher's embeddings are read from %s", store.path)
        return distributed.gather_chunks({0: store.take(keys)} if main else {})
    rows = embed()
    if main and store.path is not None:
        store.rows = {}
        store.add(keys, rows)
        store.save()
    return rows

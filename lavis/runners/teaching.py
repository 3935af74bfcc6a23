"""Builds the teacher. Embeddings that cannot change are computed once, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lavis.common import distributed
from lavis.common.checkpoint import weights_digest
from lavis.common.logger import get_logger
from lavis.common.memory import release_memory
from lavis.common.precision import embedded_in, embedding
from lavis.embedding.bank import cache_folder, cache_secret
from lavis.embedding.embed import embed_captions, embed_images
from lavis.embedding.feature_store import SUFFIX, FeatureStore, key_of
from lavis.models.base import BaseModel
from lavis.runners.feed import Feed
from lavis.trainers.teacher import FrozenModel, Teacher, Towers


def build_teacher(
    model: BaseModel, feed: Feed, joint: tuple[str, ...] = (), sides: tuple[str, ...] = ("df", "dr")
) -> Teacher:
    """A frozen copy of `model`, or its stored embeddings if computing them costs no more than the run would.

    `sides` are the sets whose teacher features the method reads. A set can be stored if it needs the image and text
    towers alone: for sets named in `joint` the joint representation is needed too, which a fused encoder has to
    compute live. Captions are stored if the run draws at least as many rows as the set has; images too, if it draws as
    many as there are in all views, and those of random crops that are new in every epoch never;
    `run.teacher_cache=none` computes everything live. Stored embeddings also go to `run.feature_cache`, for later runs
    from the same weights and data, unless `run.teacher_cache=memory`. If everything is stored the copy is freed. The
    log says what is stored.
    """
    frozen = FrozenModel(model)
    kind = model.features
    towers: dict[str, Towers] = {}
    datasets = {name: dataset for name, dataset in feed.datasets.items() if name in sides}
    for name, dataset in datasets.items():
        if kind.paired_towers and (kind.joint_of_towers or name not in joint):
            worth = feed.run.teacher_cache != "none" and feed.rows_drawn() >= len(dataset)
            towers[name] = _stored(frozen.model, feed, name, dataset) if worth else Towers()
        stored = towers.get(name, Towers())
        words = ["live" if rows is None else "stored" for rows in (stored.images, stored.texts)]
        views = f" in {stored.views} views" if stored.views > 1 else ""
        get_logger().info("Teacher on %s (%d images%s): images %s, captions %s", name, len(dataset), views, *words)
    if not all(towers.get(name, Towers()).stored for name in datasets):
        return Teacher(frozen, towers)
    del frozen
    release_memory()
    return Teacher(None, towers)


def _stored(model: BaseModel, feed: Feed, subset: str, dataset: Any) -> Towers:
    size, device, name = feed.run.batch_size_eval, feed.device, f"teacher {subset}"
    worth = feed.rows_drawn() >= (dataset.views or 0) * len(dataset)
    views = dataset.views or 0 if worth else 0
    n = views * len(dataset)

    def embed() -> torch.Tensor:
        texts = embed_captions(model, dataset.captions, size, device, name=name)
        workers = feed.run.num_workers
        of_views = (
            embed_images(model, dataset, size, device, num_workers=workers, name=name, epoch=view)
            for view in range(views)
        )
        return torch.cat([*of_views, texts])

    with embedding(feed.run, device):
        rows = stored_rows(_store(model, feed, dataset, views), n + len(dataset.captions), embed).to(device)
    return Towers(rows[:n] if n else None, rows[n:], max(views, 1))


def _store(model: BaseModel, feed: Feed, dataset: Any, views: int) -> FeatureStore:
    """The file of a set's rows, named by a hash of everything that determines them."""
    run, folder = feed.run, cache_folder(feed.run)
    if folder is None or run.teacher_cache != "auto":
        return FeatureStore()
    images = [(image, *dataset.store.stamp(image)) for entry in dataset.entries for image in entry.images]
    facts = [weights_digest(model.checkpoint_state()), type(model).__name__, model.recipe, model]
    facts += [dataset.image_processor, dataset.captions, images if views else ""]
    facts += [] if dataset.image_processor.deterministic else [dataset.seed, views]
    facts += [run.batch_size_eval, feed.device.type, run.attention, torch.__version__]
    facts += [embedded_in(run, feed.device)] if run.embed_amp else []
    return FeatureStore(
        folder / f"teacher-{key_of(cache_secret(folder, run), *facts).hex()}{SUFFIX}", 1e9 * run.feature_cache_gb
    )


def stored_rows(store: FeatureStore, n: int, embed: Callable[[], torch.Tensor]) -> torch.Tensor:
    """The store's rows 0 to n-1, (n, D). If any is missing, all are computed by `embed` and stored.

    All processes must call it; rank 0 reads and writes.
    """
    keys = [key_of(b"", "teacher", number) for number in range(n)]  # a position says nothing
    main = distributed.is_main()
    if main:
        store.load()
    if distributed.broadcast_object(main and len(store.rows) == n and all(key in store.rows for key in keys)):
        get_logger().info("The teacher's embeddings are read from %s", store.path)
        return distributed.gather_chunks({0: store.take(keys)} if main else {})
    rows = embed()
    if main and store.path is not None:
        store.clear()
        store.add(keys, rows)
        store.save()
    return rows

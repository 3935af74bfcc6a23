"""What lies below the first trained layer of a tower is computed once for each image and caption of a run.

With run.trainable, run.lora or a method that trains one tower alone, the lower layers give each input the same states
in every step. They are stored, and every step starts from them: no picture is decoded again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lavis.common import distributed
from lavis.common.checkpoint import weights_digest
from lavis.common.errors import ConfigError, DataError
from lavis.common.files import beyond_limit
from lavis.common.locks import lock
from lavis.common.logger import get_logger
from lavis.common.precision import amp_dtype
from lavis.common.transfer import to_device
from lavis.datasets.pairs import PairDataset
from lavis.embedding.bank import cache_folder, cache_secret
from lavis.embedding.embed import distinct_texts, evaluating, image_chunks, text_chunks
from lavis.embedding.feature_store import key_of
from lavis.embedding.state_file import StateFile
from lavis.models.base import BaseModel
from lavis.runners.feed import Feed, Stored
from lavis.settings.schema import RunConfig
from lavis.trainers.base import BaseTrainer

if TYPE_CHECKING:
    from lavis.towers.prefix import Cut

FOLDER = "prefixes"
IMAGE, TEXT = "image", "text"
NUMBERS = {IMAGE: "index", TEXT: "caption_id"}  # the key of a batch that numbers the rows


@dataclass(frozen=True)
class Lower:
    """The lower part of a tower in the place of a model that embeds."""

    model: BaseModel
    cut: Cut

    def tokenize(self, captions: list[str]) -> torch.Tensor:
        return self.model.tokenize(captions)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.cut.below(images)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.cut.below(tokens)


def store_prefixes(trainer: BaseTrainer, feed: Feed) -> None:
    """Compute and store the states below the first trained layers, as run.frozen_prefixes says; model and feed know.

    Afterwards batches have "image_states" and "text_states" in the place of what was stored. Raises ConfigError where
    the setting is "always" and nothing can be stored.
    """
    run, model = trainer.run, trainer.model
    if run.frozen_prefixes == "never":
        return
    cuts = {} if _never(trainer) else {side: cut for side, cut in model.tower_cuts().items() if side in trainer.sides}
    reasons = [_never(trainer)] if _never(trainer) else []
    for side, cut in list(cuts.items()):
        reason = _obstacle(side, cut, trainer, feed)
        if reason:
            reasons.append(f"the {side} tower's {cut.blocks} are not stored: {reason}")
            del cuts[side]
    if run.frozen_prefixes == "always" and not cuts:
        nothing = "nothing lies below the first trained layer of a tower that can be cut"
        raise ConfigError(f"run.frozen_prefixes is always, but {'; '.join(reasons) or nothing}; set it to auto")
    for reason in reasons if model.tower_cuts() else []:
        get_logger().info("Frozen layers: %s", reason)
    for side, cut in cuts.items():
        for dataset in feed.datasets.values():
            _store(side, cut, trainer, feed, dataset)
    model.cuts = cuts
    feed.needs_pixels = IMAGE in trainer.sides and (IMAGE not in cuts or _teacher_reads_images(trainer))
    if cuts:
        get_logger().info("Frozen layers: %s", _described(trainer, feed, cuts))


def _never(trainer: BaseTrainer) -> str:
    """Why nothing is the same in every step, whatever is trained; or ""."""
    if trainer.makes_model:
        return "this method trains with random layers active"
    if trainer.run.parallel == "fsdp" and distributed.world_size() > 1:
        return "run.parallel=fsdp divides every layer"
    return ""


def _obstacle(side: str, cut: Cut, trainer: BaseTrainer, feed: Feed) -> str:
    """Why the states of a tower cannot be stored or are not worth it; "" if they are."""
    run, datasets = trainer.run, feed.datasets
    if side == IMAGE and not all(dataset.deterministic for dataset in datasets.values()):
        return "images are cropped at random; use clip_image_eval for training"
    if cache_folder(run) is None:
        return "run.feature_cache is null"
    size = sum(_bytes(side, cut, trainer, dataset) for dataset in datasets.values()) / 1e9
    if size > run.feature_cache_gb:
        return f"{size:.1f} GB would be needed, and run.feature_cache_gb is {run.feature_cache_gb:g}"
    if run.frozen_prefixes == "auto" and any(feed.rows_drawn() < len(dataset) for dataset in datasets.values()):
        return "the run draws fewer rows than there are"
    return ""


def _teacher_reads_images(trainer: BaseTrainer) -> bool:
    return trainer.teacher is not None and trainer.teacher.frozen is not None


def _bytes(side: str, cut: Cut, trainer: BaseTrainer, dataset: PairDataset) -> int:
    rows = len(dataset) if side == IMAGE else len(distinct_texts(dataset.captions)[0])
    shape = _shape(side, cut, trainer, dataset)
    return rows * torch.empty(shape, dtype=_kind(trainer.run, trainer.device), device="meta").nbytes


def _kind(run: RunConfig, device: torch.device) -> torch.dtype:
    return (amp_dtype(run, device) if run.amp else None) or torch.float32


def _shape(side: str, cut: Cut, trainer: BaseTrainer, dataset: PairDataset) -> tuple[int, ...]:
    """The shape of one row's states; that of texts is as long as the longest caption."""
    with trainer.computing(), torch.no_grad(), evaluating(trainer.model):
        return tuple(cut.below(_example(side, trainer, dataset)).shape[1:])


def _example(side: str, trainer: BaseTrainer, dataset: PairDataset) -> torch.Tensor:
    """One input of a tower; of texts one with as many tokens as the longest caption."""
    rows = dataset.images([0]) if side == IMAGE else trainer.model.tokenize(_longest(trainer.model, dataset))
    return to_device(rows, trainer.device)


def _longest(model: BaseModel, dataset: PairDataset) -> list[str]:
    """The caption of the most tokens, alone."""
    captions = distinct_texts(dataset.captions)[0]
    counts = model.token_counts(captions)
    return [captions[counts.index(max(counts))]]


def _store(side: str, cut: Cut, trainer: BaseTrainer, feed: Feed, dataset: PairDataset) -> None:
    """Compute a set's states unless they are there, in all processes together, and give the feed the file."""
    run, folder = trainer.run, cache_folder(trainer.run)
    assert folder is not None, "looked at before"
    texts, group = distinct_texts(dataset.captions)
    path = folder / FOLDER / _key(side, cut, trainer, dataset, cache_secret(folder, run))
    n = len(dataset) if side == IMAGE else len(texts)
    with ExitStack() as held:
        distributed.on_main(lambda: held.enter_context(lock(path.parent / f"{path.name}.lock", wait=True)))
        distributed.on_main(lambda: _make_room(path, 1e9 * run.feature_cache_gb))
        rows = StateFile(path, n, _shape(side, cut, trainer, dataset), _kind(run, trainer.device))
        if not distributed.any_rank(rows.complete, trainer.device):
            chunks = _chunks(side, Lower(trainer.model, cut), dataset, texts, run, trainer.device)
            with trainer.computing(), torch.no_grad(), evaluating(trainer.model):
                _fill(rows, chunks, run.batch_size_eval)
        distributed.barrier()
        if not rows.complete:
            raise DataError(f"{path} lacks rows that other processes wrote: run.feature_cache must be on a shared disk")
    feed.stored.setdefault(_name(feed, dataset), {})[side] = Stored(
        rows, NUMBERS[side], None if side == IMAGE else group
    )


def _name(feed: Feed, dataset: PairDataset) -> str:
    return next(name for name, one in feed.datasets.items() if one is dataset)


def _chunks(
    side: str, lower: Any, dataset: PairDataset, texts: list[str], run: RunConfig, device: torch.device
) -> Iterable[tuple[int, torch.Tensor]]:
    if side == IMAGE:
        return image_chunks(lower, dataset, run.batch_size_eval, device, run.num_workers, "frozen layers,")
    return text_chunks(lower, texts, run.batch_size_eval, device, "frozen layers,")


def _fill(rows: StateFile, chunks: Iterable[tuple[int, torch.Tensor]], size: int) -> None:
    for number, states in chunks:
        if states.ndim == 3 and states.shape[1] < rows.shape[0]:  # captions shorter than the longest of all
            states = torch.nn.functional.pad(states, (0, 0, 0, rows.shape[0] - states.shape[1]))
        rows.write(number * size, states)


def _key(side: str, cut: Cut, trainer: BaseTrainer, dataset: PairDataset, secret: bytes) -> str:
    """A name that follows from everything that the states follow from."""
    run, model = trainer.run, trainer.model
    images = [(image, *dataset.store.stamp(image)) for entry in dataset.entries for image in entry.images]
    facts = [side, cut.blocks, weights_digest(model.checkpoint_state()), type(model).__name__, model.recipe]
    facts += [dataset.image_processor, images] if side == IMAGE else [dataset.captions]
    facts += [run.batch_size_eval, trainer.device.type, run.attention, _kind(run, trainer.device), torch.__version__]
    return key_of(secret, *facts).hex()


def _make_room(path: Path, limit: float) -> None:
    """Mark these states as used now. Beyond the limit, those of other runs go, the least recently used first."""
    path.mkdir(parents=True, exist_ok=True)
    os.utime(path)
    for other in beyond_limit((one for one in path.parent.iterdir() if one.is_dir()), limit):
        if other != path:
            shutil.rmtree(other, ignore_errors=True)


def _described(trainer: BaseTrainer, feed: Feed, cuts: dict[str, Cut]) -> str:
    """What is stored, and what share of a step's products is left, by torch's count on one pair.

    A step computes every layer forward and the trained part, which lies above the first trained layer, backward.
    """
    dataset = next(iter(feed.datasets.values()))
    model, examples = trainer.model, {side: _example(side, trainer, dataset) for side in (IMAGE, TEXT)}
    towers = {IMAGE: model.encode_image, TEXT: model.encode_text}
    with trainer.computing(), torch.no_grad(), evaluating(model):
        whole = {side: _products(lambda side=side: towers[side](examples[side])) for side in towers}
        states = {side: cut.below(examples[side]) for side, cut in cuts.items()}
        left = {side: _products(lambda side=side: cuts[side].above(states[side], examples[side])) for side in cuts}
    backward = 2 * sum({**whole, **left}.values())
    share = (sum({**whole, **left}.values()) + backward) / (sum(whole.values()) + backward)
    stored = " and ".join(f"{cut.blocks} of the {side} tower" for side, cut in cuts.items())
    return f"{stored} computed once and stored; {100 * share:.0f} % of the arithmetic of a step is left"


def _products(compute: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()

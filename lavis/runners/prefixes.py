"""What lies below the first trained layer of a tower is computed once for each image and caption of a run.

With run.trainable, run.lora or a method that trains one tower alone, the lower layers give each input the same states
in every step. They are stored, and every step starts from them: no picture is decoded again. A tower that is not
trained at all gives what the teacher has stored already.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
from lavis.runners.feed import Feed, RowsInMemory, Stored
from lavis.towers.prefix import WHOLE, Cut
from lavis.trainers.base import BaseTrainer

FOLDER = "prefixes"
IMAGE, TEXT = "image", "text"


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


class Part:
    """One side of one set: what goes through the lower part of a tower, and the shape of what comes out."""

    def __init__(self, side: str, cut: Cut, trainer: BaseTrainer, subset: str, dataset: PairDataset) -> None:
        self.side, self.cut, self.trainer, self.subset, self.dataset = side, cut, trainer, subset, dataset
        self.run, self.model = trainer.run, trainer.model
        self.kind = (amp_dtype(self.run, trainer.device) if self.run.amp else None) or torch.float32

    @cached_property
    def taught(self) -> Stored | None:
        """The teacher's stored rows, where nothing of the tower is trained: they are what it gives."""
        towers = self.trainer.teacher.towers.get(self.subset) if self.trainer.teacher else None
        if towers is None or self.cut.blocks != WHOLE:
            return None
        rows = towers.images if self.side == IMAGE else towers.texts
        number = "index" if self.side == IMAGE else "caption_id"
        return None if rows is None else Stored(RowsInMemory(rows.cpu()), number, views=self.views)

    @cached_property
    def texts(self) -> tuple[list[str], torch.Tensor]:
        """The distinct captions, and the position among them of each of the set's."""
        return distinct_texts(self.dataset.captions)

    @cached_property
    def example(self) -> torch.Tensor:
        return _example(self.side, self.trainer, self.dataset, self.texts[0])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one row's states; that of texts is as long as the longest caption."""
        with self.trainer.computing(), torch.no_grad(), evaluating(self.model):
            return tuple(self.cut.below(self.example).shape[1:])

    @property
    def views(self) -> int:
        """How many versions there are of each row: those of an image's crops."""
        return (self.dataset.views or 1) if self.side == IMAGE else 1

    @property
    def rows(self) -> int:
        return self.views * (len(self.dataset) if self.side == IMAGE else len(self.texts[0]))

    @property
    def size(self) -> int:
        """In bytes."""
        return self.rows * torch.empty(self.shape, dtype=self.kind, device="meta").nbytes

    def key(self, weights: str, secret: bytes) -> str:
        """A name that follows from everything that the states follow from."""
        store, image = self.dataset.store, self.side == IMAGE
        images = (
            [(name, *store.stamp(name)) for entry in self.dataset.entries for name in entry.images] if image else []
        )
        facts = [self.side, self.cut.blocks, weights, type(self.model).__name__, self.model.recipe]
        facts += [self.dataset.image_processor, images] if image else [self.dataset.captions]
        facts += [self.dataset.seed] if image and not self.dataset.image_processor.deterministic else []
        facts += [self.run.batch_size_eval, self.trainer.device.type, self.run.attention, self.kind, torch.__version__]
        return key_of(secret, *facts).hex()

    def stored(self, path: Path) -> Stored:
        """The states in the folder `path`, computed unless they are there, by all processes together."""
        rows = StateFile(path, self.rows, self.shape, self.kind)
        if not distributed.any_rank(rows.complete, self.trainer.device):
            with self.trainer.computing(), torch.no_grad(), evaluating(self.model):
                self._fill(rows)
        distributed.barrier()
        if not rows.complete:
            raise DataError(f"{path} lacks rows that other processes wrote: run.feature_cache must be on a shared disk")
        if self.side == IMAGE:
            return Stored(rows, "index", views=self.views)
        return Stored(rows, "caption_id", self.texts[1])

    def _fill(self, rows: StateFile) -> None:
        size = self.run.batch_size_eval
        for view in range(self.views):
            first = view * (self.rows // self.views)
            for number, states in self._chunks(view):
                if states.ndim == 3 and states.shape[1] < self.shape[0]:  # captions shorter than the longest of all
                    states = torch.nn.functional.pad(states, (0, 0, 0, self.shape[0] - states.shape[1]))
                rows.write(first + number * size, states)

    def _chunks(self, view: int) -> Iterator[tuple[int, torch.Tensor]]:
        lower, size, device = Lower(self.model, self.cut), self.run.batch_size_eval, self.trainer.device
        if self.side == IMAGE:
            return image_chunks(lower, self.dataset, size, device, self.run.num_workers, "frozen layers,", view)
        return text_chunks(lower, self.texts[0], size, device, "frozen layers,")


def store_prefixes(trainer: BaseTrainer, feed: Feed) -> None:
    """Compute and store the states below the first trained layers, as run.frozen_prefixes says; model and feed know.

    Afterwards batches have "image_states" and "text_states" in the place of what was stored. Raises ConfigError where
    the setting is "always" and nothing can be stored.
    """
    if trainer.run.frozen_prefixes == "never":
        return
    cuts = trainer.model.tower_cuts()
    parts, reasons = _planned(trainer, feed, cuts)
    if trainer.run.frozen_prefixes == "always" and not parts:
        nothing = "nothing lies below the first trained layer of a tower that can be cut"
        raise ConfigError(f"run.frozen_prefixes is always, but {'; '.join(reasons) or nothing}; set it to auto")
    for reason in reasons if cuts else []:
        get_logger().info("Frozen layers: %s", reason)
    if parts:
        _store(parts, trainer, feed)
        trainer.model.cuts = {side: cuts[side] for side in parts}
        get_logger().info("Frozen layers: %s", _described(trainer, feed, parts))
    for dataset in feed.datasets.values():
        dataset.needs_pixels = IMAGE in trainer.sides and (IMAGE not in parts or _teacher_reads_images(trainer))


Parts = dict[str, dict[str, Part]]  # by side and set


def _planned(trainer: BaseTrainer, feed: Feed, cuts: dict[str, Cut]) -> tuple[Parts, list[str]]:
    """What is to be stored, and why other towers that could be cut are not."""
    never = _never(trainer)
    if never:
        return {}, [never]
    parts: Parts = {}
    reasons = []
    for side, cut in cuts.items():
        if side not in trainer.sides:
            continue
        of_sets = {name: Part(side, cut, trainer, name, dataset) for name, dataset in feed.datasets.items()}
        reason = _obstacle(side, of_sets, trainer, feed)
        if reason:
            reasons.append(f"the {side} tower's {cut.blocks} are not stored: {reason}")
        else:
            parts[side] = of_sets
    return parts, reasons


def _never(trainer: BaseTrainer) -> str:
    """Why nothing is the same in every step, whatever is trained; or ""."""
    if trainer.makes_model:
        return "this method trains with random layers active"
    if trainer.run.parallel == "fsdp" and distributed.world_size() > 1:
        return "run.parallel=fsdp divides every layer"
    return ""


def _obstacle(side: str, parts: dict[str, Part], trainer: BaseTrainer, feed: Feed) -> str:
    """Why the states of a tower cannot be stored or are not worth it; "" if they are."""
    run, datasets = trainer.run, feed.datasets.values()
    computed = [part for part in parts.values() if not part.taught]
    if not computed:
        return ""
    if side == IMAGE and not all(dataset.views for dataset in datasets):
        return "images are cropped differently in every epoch; set the processor's views, or use clip_image_eval"
    if cache_folder(run) is None:
        return "run.feature_cache is null"
    size = sum(part.size for part in computed) / 1e9
    if size > run.feature_cache_gb:
        return f"{size:.1f} GB would be needed, and run.feature_cache_gb is {run.feature_cache_gb:g}"
    many = max(part.views * len(part.dataset) for part in computed)
    if run.frozen_prefixes == "auto" and feed.rows_drawn() < many:
        return "the run draws fewer rows than there are"
    return ""


def _teacher_reads_images(trainer: BaseTrainer) -> bool:
    return trainer.teacher is not None and trainer.teacher.frozen is not None


def _store(parts: Parts, trainer: BaseTrainer, feed: Feed) -> None:
    """Give the feed the teacher's rows and files; what is not there is computed, in all processes together."""
    every = [part for of_sets in parts.values() for part in of_sets.values()]
    for part in every:
        if part.taught:
            feed.stored.setdefault(part.subset, {})[part.side] = part.taught
    computed = [part for part in every if not part.taught]
    if computed:
        _compute(computed, trainer, feed)


def _compute(parts: list[Part], trainer: BaseTrainer, feed: Feed) -> None:
    run, folder = trainer.run, cache_folder(trainer.run)
    assert folder is not None, "looked at before"
    weights, secret = weights_digest(trainer.model.checkpoint_state()), cache_secret(folder, run)
    own = [(folder / FOLDER / part.key(weights, secret), part) for part in parts]
    room = 1e9 * run.feature_cache_gb - sum(part.size for part in parts)
    distributed.on_main(lambda: _make_room(folder / FOLDER, {path for path, _ in own}, room))
    for path, part in own:
        with ExitStack() as held:
            held_by = path.with_name(f"{path.name}.lock")
            distributed.on_main(lambda held=held, file=held_by: held.enter_context(lock(file, wait=True)))
            feed.stored.setdefault(part.subset, {})[part.side] = part.stored(path)


def _make_room(folder: Path, own: set[Path], limit: float) -> None:
    """Mark this run's states as used now. Beyond the limit, those of other runs go, the least recently used first."""
    for path in own:
        path.mkdir(parents=True, exist_ok=True)
        os.utime(path)
    for other in beyond_limit((one for one in folder.iterdir() if one.is_dir() and one not in own), limit):
        shutil.rmtree(other, ignore_errors=True)


def _described(trainer: BaseTrainer, feed: Feed, parts: Parts) -> str:
    """What is stored, and what share of a step's products is left, by torch's count on one pair.

    A step computes every layer forward and the trained part, which lies above the first trained layer, backward.
    """
    model, dataset = trainer.model, next(iter(feed.datasets.values()))
    chosen = {side: next(iter(of_sets.values())) for side, of_sets in parts.items()}
    whole, left = {}, {}
    with trainer.computing(), torch.no_grad(), evaluating(model):
        for side, encode in {IMAGE: model.encode_image, TEXT: model.encode_text}.items():
            if side not in chosen:
                example = _example(side, trainer, dataset, distinct_texts(dataset.captions)[0])
                whole[side] = left[side] = _products(encode, example)
                continue
            example, cut = chosen[side].example, chosen[side].cut
            whole[side], left[side] = _products(encode, example), _products(cut.above, cut.below(example), example)
    backward = 2 * sum(left.values())
    share = (sum(left.values()) + backward) / (sum(whole.values()) + backward)
    stored = " and ".join(f"{part.cut.blocks} of the {side} tower" for side, part in chosen.items())
    return f"{stored} computed once and stored; {100 * share:.0f} % of the arithmetic of a step is left"


def _example(side: str, trainer: BaseTrainer, dataset: PairDataset, texts: list[str]) -> torch.Tensor:
    """One input of a tower; of these texts that of the most tokens."""
    if side == IMAGE:
        return to_device(dataset.images([0]), trainer.device)
    counts = trainer.model.token_counts(texts)
    return to_device(trainer.model.tokenize([texts[counts.index(max(counts))]]), trainer.device)


def _products(compute: Callable[..., Any], *inputs: Any) -> int:
    """The operations of its matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        compute(*inputs)
    return counter.get_total_flops()

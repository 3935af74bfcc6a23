"""Embeds splits into partitions: the same rows as `FeatureBank`'s to the last bit, each on the process that ranks it.

Images and captions are cut into the same canonical chunks. In each round every process embeds one chunk and broadcasts
it, and every process stores the rows that belong to its own partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from lavis.common import distributed
from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.datasets.loaders import chunk_count
from lavis.datasets.pairs import PairDataset
from lavis.embedding.bank import FeatureBank
from lavis.embedding.embed import evaluating, image_chunks, pair_maps, text_chunks, unit
from lavis.evaluation.inputs import Soundness
from lavis.evaluation.partitions import PartitionPlan, SplitPartition, partition_plan
from lavis.evaluation.tiles import tile_rows

Chunks = Iterator[tuple[int, torch.Tensor]]


class Shelf:
    """The rows (m, D) that this process needs, numbered `wanted` (m,); filled as chunks arrive."""

    def __init__(self, wanted: Sequence[int] | np.ndarray) -> None:
        numbers = np.asarray(wanted, dtype=np.int64)
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]
        self.rows = torch.empty(0, 0)

    def put(self, start: int, rows: torch.Tensor) -> None:
        """Store the wanted ones of rows (B, D) with the numbers start … start + B − 1."""
        if self.rows.shape[1] != rows.shape[1]:
            self.rows = torch.empty(len(self._order), rows.shape[1])
        first, last = np.searchsorted(self._numbers, (start, start + len(rows)))
        if last > first:
            taken = torch.from_numpy(self._numbers[first:last] - start)
            self.rows[torch.from_numpy(self._order[first:last])] = rows[taken]


def embed_partitions(bank: FeatureBank, splits: Mapping[str, Sequence[Entry]]) -> dict[str, SplitPartition]:
    """This process's partition of every split. Each image and caption is embedded once; the bank stores none.

    All processes must call it together. Raises DataError if a split has no pairs.
    """
    for name, entries in splits.items():
        if not entries:
            raise DataError(f"split '{name}' has no pairs to evaluate; check its annotation file")
    datasets = {name: bank.dataset(entries) for name, entries in splits.items()}
    plans, block = {}, tile_rows(bank.device)
    for name, dataset in datasets.items():
        txt2img, text_group = pair_maps(dataset)
        groups = text_group if bank.run.merge_equal_captions else None
        plans[name] = partition_plan(txt2img, groups, len(dataset), block=block)
    with evaluating(bank.model), torch.no_grad(), bank.computing():
        images = _images(bank, datasets, plans)
        texts = _texts(bank, datasets, plans)
    return {name: SplitPartition(plan, images[name].rows, texts[name].rows) for name, plan in plans.items()}


def _images(
    bank: FeatureBank, datasets: Mapping[str, PairDataset], plans: Mapping[str, PartitionPlan]
) -> dict[str, Shelf]:
    """Shelves of the splits' images, embedded in one pass over the distinct ones."""
    entries = [entry for dataset in datasets.values() for entry in dataset.entries]
    union = bank.dataset(list({entry.image: entry for entry in entries}.values()))
    number = {entry.image: i for i, entry in enumerate(union.entries)}
    shelves = {
        name: Shelf([number[datasets[name].entries[row].image] for row in plan.image_rows])
        for name, plan in plans.items()
    }
    size, workers = bank.run.batch_size_eval, bank.run.num_workers
    chunks = image_chunks(bank.model, union, size, bank.device, workers, "images")
    _deal(chunks, len(union), size, 0, list(shelves.values()))
    return shelves


def _texts(
    bank: FeatureBank, datasets: Mapping[str, PairDataset], plans: Mapping[str, PartitionPlan]
) -> dict[str, Shelf]:
    """Shelves of the splits' captions; a split's chunks consist of captions that no earlier split has."""
    number: dict[str, int] = {}
    fresh: dict[str, list[str]] = {}
    for name, dataset in datasets.items():
        fresh[name] = [caption for caption in dict.fromkeys(dataset.captions) if caption not in number]
        for caption in fresh[name]:
            number[caption] = len(number)
    shelves = {
        name: Shelf([number[datasets[name].captions[row]] for row in plan.text_rows]) for name, plan in plans.items()
    }
    base, size = 0, bank.run.batch_size_eval
    for name, captions in fresh.items():
        chunks = text_chunks(bank.model, captions, size, bank.device, name)
        _deal(chunks, len(captions), size, base, list(shelves.values()))
        base += len(captions)
    return shelves


def _deal(chunks: Chunks, n: int, size: int, base: int, shelves: Sequence[Shelf]) -> None:
    """Broadcast n rows, numbered from `base`, in chunks of `size`; `chunks` yields those of this process."""
    rank, world, total = distributed.rank(), distributed.world_size(), chunk_count(n, size)
    width = 0
    for start in range(0, total, world):
        mine = next(chunks, None)
        own = unit(mine[1]) if mine is not None else torch.empty(0, 0)
        width = width or int(distributed.greatest(torch.tensor([own.shape[1]])))
        for chunk in range(start, min(start + world, total)):
            rows = own if chunk % world == rank else torch.empty(min(size, n - chunk * size), width)
            distributed.broadcast_rows(rows, chunk % world)
            for shelf in shelves:
                shelf.put(base + chunk * size, rows)
    next(chunks, None)  # ends the progress bar


def partitions_problem(partitions: Mapping[str, SplitPartition]) -> str:
    """`embedding_problem` of the whole features; all processes must call it together."""
    for modality in ("image", "text"):
        try:
            _refuse([getattr(part, modality) for part in partitions.values()], f"{modality} embeddings")
        except DataError as error:
            return str(error)
    return ""


def _refuse(parts: Sequence[torch.Tensor], name: str) -> None:
    """Raise the DataError of `unit_rows` on the rows (n, D) of all processes together."""
    found = Soundness()
    for part in parts:
        found.add(part)
    found.bad, found.total = distributed.sum_counts(torch.tensor([found.bad, found.total])).tolist()
    found.extremes = distributed.greatest(torch.tensor(found.extremes)).numpy()
    found.refuse(name)

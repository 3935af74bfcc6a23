"""What a metric may ask for: a model's embeddings or answers on the evaluated splits, each computed once.

`prepare` embeds every image that the chosen metrics need in one pass; texts are embedded when first asked for. All
processes must use a context together, and all receive the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from lavis.common.logger import get_logger
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.pairs import PairDataset
from lavis.embedding.bank import FeatureBank
from lavis.embedding.embed import SplitFeatures
from lavis.evaluation.inputs import embedding_fault
from lavis.evaluation.partition_embed import embed_partitions, partitions_fault
from lavis.evaluation.partitions import SplitPartition
from lavis.settings.schema import RunConfig

T = TypeVar("T")
Splits = dict[str, list[Entry]]
RowScores = Callable[[str, list[Entry]], torch.Tensor]


class Context:
    """A model on a data set.

    Args:
        splits: what is evaluated, by name. folder: where a metric may leave a file of its own (None: nowhere).
        label: what to call the checkpoint in such a file's name.

    `kind` is that of Metric.kinds.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        model: Any,
        builder: PairBuilder,
        run: RunConfig,
        device: torch.device | str,
        splits: Splits,
        *,
        folder: Path | None = None,
        label: str = "",
    ) -> None:
        self.model, self.builder, self.run, self.device = model, builder, run, torch.device(device)
        self.splits, self.folder, self.label = splits, folder, label
        self._shared: dict[Any, Any] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Images, or rows, of every split."""
        raise NotImplementedError

    @property
    def fault(self) -> str:
        """Why the model's outputs are worth nothing (not finite, or all equal); empty for a sound model."""
        raise NotImplementedError

    def own_scores(self, split: str) -> torch.Tensor:
        """How sure the model is of what it was trained on, (n,) float64: paired cosines, or confidences in answers."""
        raise NotImplementedError

    def prepare(self, extra: Sequence[Sequence[Entry]] = ()) -> None:
        """Embed the images of the splits and of `extra` in one pass; for contexts without embeddings nothing."""

    def shared(self, make: Callable[[Context], T]) -> T:
        """What `make` builds from this context, once for all metrics that ask with the same function or class."""
        if make not in self._shared:
            self._shared[make] = make(self)
        return self._shared[make]


class PairContext(Context):
    """Image and text embeddings.

    Args, in addition to Context's:
        cache: folder in which embeddings are stored between evaluations; None stores none. precision: names the
        arithmetic in that file's name.
    """

    kind = "pairs"

    def __init__(self, *given: Any, cache: Path | None = None, precision: str = "fp32", **named: Any) -> None:
        super().__init__(*given, **named)
        self.bank = FeatureBank(self.model, self.builder, self.run, self.device, folder=cache, precision=precision)
        self._features: dict[str, Any] = {}
        self._others: list[PairContext] = []

    def prepare(self, extra: Sequence[Sequence[Entry]] = ()) -> None:
        self.bank.embed([*self.splits.values(), *extra])
        for split in self.splits:
            self.features(split)

    def features(self, split: str) -> SplitFeatures | SplitPartition:
        """A split's embeddings. Raises DataError when it has no pairs."""
        if split not in self._features:
            self._features[split] = self.bank.split(split, self.splits[split])
        return self._features[split]

    def dataset(self, split: str) -> PairDataset:
        """The split with the processors of evaluation."""
        return self.bank.dataset(self.splits[split])

    def own_scores(self, split: str) -> torch.Tensor:
        return self.features(split).paired_cosines

    @property
    def counts(self) -> dict[str, int]:
        return {split: len(self.dataset(split)) for split in self.splits}

    @property
    def fault(self) -> str:
        return embedding_fault({split: self.features(split) for split in self.splits})

    @property
    def ranking_device(self) -> torch.device:
        """Ranks are counted on the GPU where there is one (other accelerators lack the exact integer work)."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def of_model(self, model: Any, precision: str) -> PairContext:
        """The same data seen by another model; `precision` names its arithmetic."""
        other = PairContext(
            model, self.builder, self.run, self.device, self.splits, cache=self.bank.folder, precision=precision
        )
        self._others.append(other)
        return other

    def save(self) -> None:
        """Store the embeddings, those of `of_model` too, for the next evaluation; rank 0 writes."""
        for context in (self, *self._others):
            context.bank.save()


class PartitionedContext(PairContext):
    """run.shard_features: no process holds all features of a split; the numbers are the same."""

    def prepare(self, extra: Sequence[Sequence[Entry]] = ()) -> None:
        get_logger().info("run.shard_features: features stay partitioned over the processes and are not cached")
        self._features = embed_partitions(self.bank, self.splits)

    @property
    def fault(self) -> str:
        return partitions_fault(self._features)


class RowContext(Context):
    """Correctness and confidence of answers that are given row by row.

    Args:
        scores: (n, 2) float64 of a split's entries: correctness in [0, 1], confidence in the row's own answer.
    """

    kind = "rows"

    def __init__(self, *given: Any, scores: RowScores) -> None:
        super().__init__(*given)
        self._scores, self._rows = scores, dict[str, torch.Tensor]()

    def rows(self, split: str) -> torch.Tensor:
        """Correctness and confidence of every row, (n, 2)."""
        if split not in self._rows:
            self._rows[split] = self._scores(split, self.splits[split])
        return self._rows[split]

    def own_scores(self, split: str) -> torch.Tensor:
        return self.rows(split)[:, 1]

    @property
    def counts(self) -> dict[str, int]:
        return {split: len(self.rows(split)) for split in self.splits}

    @property
    def fault(self) -> str:
        sound = all(bool(torch.isfinite(self.rows(split)).all()) for split in self.splits)
        return "" if sound else "the model's answers are not finite numbers"

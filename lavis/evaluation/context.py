"""What metrics work on: a model's embeddings or answers on the evaluated splits, each computed once.

`prepare` embeds all images that the selected metrics need in one pass; captions are embedded at their first use. All
processes must call a context together; all of them get the same values.
"""

from __future__ import annotations

import functools
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
from lavis.evaluation.inputs import embedding_problem, rows_problem, weights_problem
from lavis.evaluation.partition_embed import embed_partitions, partitions_problem
from lavis.evaluation.partitions import SplitPartition
from lavis.settings.schema import RunConfig

T = TypeVar("T")
Splits = dict[str, list[Entry]]
RowScores = Callable[[str, list[Entry]], torch.Tensor]


class Context:
    """A model on a data set; `kind` is one of Metric.kinds.

    Args:
        splits: the evaluated entries by split name.
        folder: where a metric may write files (None: nowhere); `label` is the checkpoint's name in their names.
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
        """Number of images (or rows) per split."""
        raise NotImplementedError

    @functools.cached_property
    def problem(self) -> str:
        """Why the model is broken: weights or outputs that are not finite, or outputs that are all equal; else empty.

        All processes must read it together.
        """
        return weights_problem(self.model) or self.outputs_problem()

    def outputs_problem(self) -> str:
        """Why the outputs on the splits are unusable; empty if they are sound."""
        raise NotImplementedError

    def own_scores(self, split: str) -> torch.Tensor:
        """Score of each pair or row, (n,) float64: the paired cosine, or the confidence in the row's answer."""
        raise NotImplementedError

    def prepare(self, extra: Sequence[Sequence[Entry]] = ()) -> None:
        """Embed the images of the splits and of `extra` in one pass. Does nothing without embeddings."""

    def shared(self, build: Callable[[Context], T]) -> T:
        """The result of `build(self)`, built once for all metrics that pass the same function or class."""
        if build not in self._shared:
            self._shared[build] = build(self)
        return self._shared[build]


class PairContext(Context):
    """Image and text embeddings.

    Args, in addition to Context's:
        cache: folder where embeddings are stored between evaluations (None: not at all).
        precision: name of the model's own arithmetic, part of the stored file's name; None: run.embed_amp decides.
    """

    kind = "pairs"

    def __init__(self, *args: Any, cache: Path | None = None, precision: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bank = FeatureBank(self.model, self.builder, self.run, self.device, folder=cache, precision=precision)
        self._features: dict[str, Any] = {}
        self._others: list[PairContext] = []  # of the same data by other models

    def prepare(self, extra: Sequence[Sequence[Entry]] = ()) -> None:
        self.bank.embed([*self.splits.values(), *extra])
        for split in self.splits:
            self.features(split)

    def features(self, split: str) -> SplitFeatures | SplitPartition:
        """A split's embeddings. Raises DataError if it has no pairs."""
        if split not in self._features:
            self._features[split] = self.bank.split(split, self.splits[split])
        return self._features[split]

    def dataset(self, split: str) -> PairDataset:
        """The split with the evaluation processors."""
        return self.bank.dataset(self.splits[split])

    def own_scores(self, split: str) -> torch.Tensor:
        return self.features(split).paired_cosines

    @property
    def counts(self) -> dict[str, int]:
        return {split: len(self.dataset(split)) for split in self.splits}

    def outputs_problem(self) -> str:
        return embedding_problem({split: self.features(split) for split in self.splits})

    @property
    def ranking_device(self) -> torch.device:
        """The GPU if it is CUDA, else the CPU: other accelerators cannot count ranks exactly in integers."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def of_model(self, model: Any, precision: str) -> PairContext:
        """A context of another model on the same data; `precision` names the model's arithmetic."""
        data = (self.builder, self.run, self.device, self.splits)
        self._others.append(PairContext(model, *data, cache=self.bank.folder, precision=precision))
        return self._others[-1]

    def save(self) -> None:
        """Store the embeddings, including those of `of_model`, for the next evaluation; rank 0 writes."""
        for context in (self, *self._others):
            context.bank.save()


class PartitionedContext(PairContext):
    """run.shard_features: each process holds only a part of a split's features; the metrics' values are the same."""

    def prepare(self, extra: Sequence[Sequence[Entry]] = ()) -> None:
        get_logger().info("run.shard_features: features are partitioned over the processes and not cached")
        self._features = embed_partitions(self.bank, self.splits)

    def outputs_problem(self) -> str:
        return partitions_problem(self._features)


class RowContext(Context):
    """Answers to one row at a time.

    Args:
        scores: computes (n, 2) float64 for a split's entries: correctness in [0, 1], confidence in the true answer.
    """

    kind = "rows"

    def __init__(self, *args: Any, scores: RowScores) -> None:
        super().__init__(*args)
        self._scores, self._rows = scores, dict[str, torch.Tensor]()

    def rows(self, split: str) -> torch.Tensor:
        """Correctness and confidence of each row, (n, 2)."""
        if split not in self._rows:
            self._rows[split] = self._scores(split, self.splits[split])
        return self._rows[split]

    def own_scores(self, split: str) -> torch.Tensor:
        return self.rows(split)[:, 1]

    @property
    def counts(self) -> dict[str, int]:
        return {split: len(self.rows(split)) for split in self.splits}

    def outputs_problem(self) -> str:
        if not self.splits:
            return ""
        truths = [truth_of(entry) for entries in self.splits.values() for entry in entries]
        return rows_problem(torch.cat([self.rows(split) for split in self.splits]), truths)


def truth_of(entry: Entry) -> str:
    """A row's true answer, or its answers, as text."""
    return repr((entry.extra.get("label"), entry.extra.get("answers")))

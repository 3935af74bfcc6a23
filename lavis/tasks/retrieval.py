"""Image–text retrieval: recall on test, df and dr, membership, paired cosines of every split."""

from __future__ import annotations

from typing import Any

import torch

from lavis.common import distributed
from lavis.common.config import Config
from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.datasets.metadata import read_identities
from lavis.datasets.pairs import PairDataset
from lavis.embedding.bank import FeatureBank, cache_folder
from lavis.embedding.embed import SplitFeatures, embed_entries
from lavis.evaluation.partition_embed import embed_partitions, partitions_fault
from lavis.evaluation.reranking import matched_recall
from lavis.evaluation.scores import (
    DECIMALS,
    INT8,
    RETRIEVAL,
    SALMUBENCH,
    check_metrics,
    check_partitions,
    embedding_fault,
    evaluate_splits,
    ranked_splits,
)
from lavis.models.base import BaseModel
from lavis.salmubench.layout import write_public_layout
from lavis.salmubench.material import Source
from lavis.salmubench.relearning import check_relearning, relearning_metrics
from lavis.salmubench.suite import check_choices, int8_metrics, salmubench_metrics
from lavis.synthetic.fictitious import Fiction
from lavis.tasks.base import BaseTask
from lavis.trainers.base import BaseTrainer


@registry.register_task("retrieval")
class RetrievalTask(BaseTask):
    """Retrieval on a data set of image–caption pairs."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        check_metrics(self.run)
        check_choices(self.run)
        check_relearning(self.run.relearn)
        check_partitions(self.run, registry.get_model_class(config.model.arch).features.joint_of_towers)

    def unlearning_sets(self, trainer: BaseTrainer) -> dict[str, Any]:
        """As BaseTask's; a method that needs captions about invented people gets them."""
        if trainer.needs_fiction:
            people = read_identities(self.builder.metadata_root, self.builder.hint)
            trainer.fiction = Fiction(self.builder.partition().df, people, self.run.seed, trainer.params.strict)
        return super().unlearning_sets(trainer)

    def metrics(self, model: BaseModel) -> tuple[dict[str, float], dict[str, int]]:
        """As BaseTask's. Every picture and caption is embedded once, or taken from run.feature_cache."""
        if self.run.shard_features:
            return self._of_partitions(model)
        bank = FeatureBank(model, self.builder, self.run, self.device, folder=cache_folder(self.run))
        source = self._source(bank)
        splits = self.builder.evaluation_entries()
        bank.embed([*splits.values(), *(source.pictures() if source else [])])
        features = {split: bank.split(split, entries) for split, entries in splits.items()}
        counts = {split: len(part.image) for split, part in features.items()}
        metrics = evaluate_splits(features, self.run, self._ranking_device())
        metrics |= self._matched(model, {split: bank.dataset(splits[split]) for split in splits}, features)
        self.fault = embedding_fault(features)
        if source:
            metrics |= self._salmubench(source)
        bank.save()
        return metrics | relearning_metrics(model, self.builder, self.run, self.device, self.folder), counts

    def _of_partitions(self, model: BaseModel) -> tuple[dict[str, float], dict[str, int]]:
        """The same numbers while no process holds all features of a split."""
        get_logger().info("run.shard_features: features stay divided among the processes and are not kept on disk")
        shards = embed_partitions(
            FeatureBank(model, self.builder, self.run, self.device), self.builder.evaluation_entries()
        )
        metrics = evaluate_splits(shards, self.run, self._ranking_device())
        self.fault = partitions_fault(shards)
        return metrics, {split: part.plan.n_img for split, part in shards.items()}

    def validation(self, model: BaseModel) -> dict[str, float]:
        splits = self.run.valid_splits
        features = {split: self._embed(model, split, self.builder.entries(split)) for split in splits}
        stats = evaluate_splits(features, self.run, self._ranking_device())
        datasets = {split: self.builder.dataset(self.builder.entries(split), "eval") for split in splits}
        stats |= self._matched(model, datasets, features)
        stats["agg_metrics"] = sum(stats[f"{split}_agg_metrics"] for split in splits) / len(splits)
        return stats

    def _matched(
        self, model: Any, datasets: dict[str, PairDataset], features: dict[str, SplitFeatures]
    ) -> dict[str, float]:
        """Recall after matching, in place of that by cosine, of a model whose joint representation is not of towers."""
        if model.features.joint_of_towers or RETRIEVAL not in self.run.metrics:
            return {}
        metrics: dict[str, float] = {}
        for split in ranked_splits(self.run) & features.keys():
            found = matched_recall(model, datasets[split], features[split], self.run, self.device)
            metrics |= {f"{split}_{name}": round(value, DECIMALS) for name, value in found.items()}
        return metrics

    def _ranking_device(self) -> torch.device:
        """Ranks are counted on the GPU where there is one (other accelerators lack the exact integer work)."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def _source(self, bank: FeatureBank) -> Source | None:
        """SALMUBench's view of the data, where run.metrics asks for it."""
        if not {SALMUBENCH, INT8} & set(self.run.metrics):
            return None
        return Source(bank.model, self.builder, self.run, self.device, bank)

    def _salmubench(self, source: Source) -> dict[str, float]:
        """What run.metrics asks for of SALMUBench; also writes the public evaluator's file."""
        metrics: dict[str, float] = {}
        if SALMUBENCH in self.run.metrics:
            metrics |= salmubench_metrics(source.bank.model, self.builder, self.run, self.device, source)
            if distributed.is_main():
                write_public_layout(self.folder, self.label, metrics)
        return metrics | (int8_metrics(source) if INT8 in self.run.metrics else {})

    def _embed(self, model: BaseModel, split: str, entries: list[Entry]) -> SplitFeatures:
        dataset = self.builder.dataset(entries, "eval")
        size, workers = self.run.batch_size_eval, self.run.num_workers
        return embed_entries(model, dataset, size, self.device, num_workers=workers, name=split)

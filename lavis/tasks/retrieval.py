"""Image–text retrieval: models with image and text embeddings, on data sets of image–caption pairs."""

from __future__ import annotations

from typing import Any

from lavis.common import distributed
from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.embedding.bank import cache_folder
from lavis.evaluation.context import Context, PairContext, PartitionedContext
from lavis.evaluation.measure import selected
from lavis.models.base import BaseModel
from lavis.salmubench.layout import write_public_layout
from lavis.salmubench.metric import SUITE
from lavis.settings.config import Config
from lavis.synthetic.fictitious import Fiction
from lavis.tasks.base import BaseTask, Splits
from lavis.trainers.base import BaseTrainer


@registry.register_task("retrieval")
class RetrievalTask(BaseTask):
    """Retrieval. The best epoch is chosen by recall on run.valid_splits."""

    kind = "pairs"

    @classmethod
    def check(cls, config: Config) -> None:
        """As BaseTask's; also refuses what the metrics cannot measure, and validation without recall."""
        super().check(config)
        run, features = config.run, registry.get_model_class(config.model.arch).features
        metrics = selected(run.metrics, cls.kind)
        for metric in metrics.values():
            metric.check(run, features)
        if run.valid_splits and "retrieval" not in metrics:
            raise ConfigError("run.valid_splits chooses the best epoch by recall: add retrieval to run.metrics")
        if run.shard_features:
            cls._check_partitions([name for name, metric in metrics.items() if not metric.partitions], features)

    @staticmethod
    def _check_partitions(whole: list[str], features: Any) -> None:
        """Refuse run.shard_features with metrics that need all features in one place. Raises ConfigError."""
        if whole:
            raise ConfigError(
                f"run.shard_features=true cannot measure {', '.join(whole)}: remove them from run.metrics"
            )
        if not features.joint_of_towers:
            raise ConfigError(
                "run.shard_features=true is for models of two towers; this one ranks by matching: set it to false"
            )

    def unlearning_sets(self, trainer: BaseTrainer) -> dict[str, Any]:
        """As BaseTask's; a method that needs captions about fictitious people gets them."""
        if trainer.needs_fiction:
            people = self.builder.people()
            trainer.fiction = Fiction(self.builder.partition().df, people, self.run.seed, trainer.params.strict)
        return super().unlearning_sets(trainer)

    def context(self, model: BaseModel, splits: Splits, validating: bool = False) -> Context:
        given = (model, self.builder, self.run, self.device, splits)
        if validating:
            return PairContext(*given)
        kind = PartitionedContext if self.run.shard_features else PairContext
        return kind(*given, folder=self.folder, label=self.label, cache=cache_folder(self.run))

    def finish(self, context: Context, metrics: dict[str, float]) -> None:
        """Store the embeddings for later evaluations, and write the public evaluator's file."""
        assert isinstance(context, PairContext)
        context.save()
        if SUITE in self.run.metrics and distributed.is_main():
            write_public_layout(self.folder, self.label, metrics)

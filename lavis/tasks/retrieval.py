"""Image–text retrieval by models with image and text embeddings."""

from __future__ import annotations

from typing import Any

from lavis.common import distributed
from lavis.common.errors import ConfigError
from lavis.common.files import dispensable
from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.embedding.bank import cache_folder
from lavis.evaluation.context import Context, PairContext, PartitionedContext
from lavis.evaluation.measure import selected
from lavis.images.fingerprint import content_digest
from lavis.models.base import BaseModel
from lavis.salmubench.layout import write_public_layout
from lavis.salmubench.metric import SUITE
from lavis.settings.config import Config
from lavis.synthetic.fictitious import Fiction
from lavis.synthetic.mentions import Mentions
from lavis.tasks.base import BaseTask, Splits
from lavis.trainers.base import BaseTrainer


@registry.register_task("retrieval")
class RetrievalTask(BaseTask):
    """Retrieval. Recall on run.valid_splits decides which epoch is best."""

    kind = "pairs"
    mentions: Mentions | None = None  # of names and values in forget captions, by methods that replace them

    @classmethod
    def check(cls, config: Config) -> None:
        """Also refuse metrics that the run cannot measure, and validation without recall. Raises ConfigError."""
        super().check(config)
        run, features = config.run, registry.get_model_class(config.model.arch).features
        metrics = selected(run.metrics, cls.kind)
        for metric in metrics.values():
            metric.check(run, features)
        if run.valid_splits and "retrieval" not in metrics:
            raise ConfigError("run.valid_splits chooses the best epoch by recall: add retrieval to run.metrics")
        if run.shard_features:
            whole = ", ".join(name for name, metric in metrics.items() if not metric.partitions)
            if whole:
                raise ConfigError(f"run.shard_features=true cannot measure {whole}: remove them from run.metrics")
            if not features.joint_of_towers:
                raise ConfigError("run.shard_features=true needs a model of two towers; set it to false for this one")

    def unlearning_sets(self, trainer: BaseTrainer) -> dict[str, Any]:
        """Also give captions about fictitious people to a method that needs them."""
        if trainer.needs_fiction:
            people = self.builder.people()
            trainer.sources["facts about people"] = content_digest(people)
            fiction = Fiction(self.builder.partition().df, people, self.run.draw_seed, trainer.params.strict)
            trainer.fiction, self.mentions = fiction, fiction.mentions
            get_logger().info("Forget captions: %s", self.mentions)
        return super().unlearning_sets(trainer)

    def notices(self) -> list[str]:
        """Also in how many forget captions the method found names and values, if not in all."""
        said = f"'{self.run.method}' works with forget captions that contain name and value; it found {self.mentions}"
        return super().notices() + ([said] if self.mentions and not self.mentions.complete else [])

    def context(self, model: BaseModel, splits: Splits, validating: bool = False) -> Context:
        arguments = (model, self.builder, self.run, self.device, splits)
        if validating:
            return PairContext(*arguments)
        context_class = PartitionedContext if self.run.shard_features else PairContext
        return context_class(*arguments, folder=self.folder, label=self.label, cache=cache_folder(self.run))

    def finish(self, context: Context, metrics: dict[str, float]) -> None:
        """Store the embeddings for later evaluations, and write the public evaluator's file."""
        assert isinstance(context, PairContext)
        context.save()
        if SUITE in self.run.metrics and distributed.is_main():
            with dispensable(f"the public evaluator's file in {self.folder}"):
                write_public_layout(self.folder, self.label, metrics)

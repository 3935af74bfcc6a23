"""Tasks build what a configuration names, train or unlearn, evaluate, and write the results."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from lavis.common import distributed
from lavis.common.checkpoint import BEST, refuse_broken, weights_digest
from lavis.common.errors import ConfigError
from lavis.common.logger import get_logger, setup_logging
from lavis.common.registry import registry
from lavis.common.seed import seed_everything
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.pairs import PairDataset
from lavis.evaluation.context import Context
from lavis.evaluation.inputs import weights_problem
from lavis.evaluation.measure import all_metrics, measure, selected, values_of
from lavis.hub.preparing import builder_of
from lavis.hub.recipe import Recipe
from lavis.images.fingerprint import file_digests
from lavis.models.base import BaseModel
from lavis.runners.captions import CaptionLimit
from lavis.runners.epoch import EpochRunner
from lavis.runners.feed import Feed
from lavis.runners.fsdp import gathered, is_sharded
from lavis.runners.mixing import interpolate
from lavis.runners.options import samples
from lavis.runners.ranks import agree_on_evaluation, agree_on_settings, agree_on_training
from lavis.runners.run_dir import RESULTS, folder_lock, run_folder
from lavis.runners.teaching import build_teacher
from lavis.settings.config import Config
from lavis.settings.schema import RunConfig
from lavis.tasks.checkpoints import checkpoint_label, log_start, starting_weights
from lavis.tasks.ending import end_run
from lavis.tasks.evaluations import evaluated_data, evaluation_folder, make_room
from lavis.tasks.look_alikes import look_alikes
from lavis.tasks.run_result import RunResult, write_run_result
from lavis.tasks.seeds import seeds_of
from lavis.trackers.group import Trackers
from lavis.trainers.base import BaseTrainer

ORIGINAL_TRAINER = "original"
Splits = dict[str, list[Entry]]


class BaseTask:
    """One run. Subclasses define how a model is evaluated (`context`).

    The configuration does not change. `session` sets `device`, `recipe` (the model's), `builder` (which prepares images
    accordingly), `df_size` (images to forget: run.df_size or the length of the forget list) and `folder` (for the
    run's files); the runner sets `epochs`; an evaluation sets `label` (the checkpoint's name) and `problem` (why its
    embeddings are unusable, if they are); unlearning sets `start` (the weights it starts from).

    Class attributes: `kind` of its metrics (Metric.kinds); `always`, metrics that are measured even if not listed.
    """

    kind: ClassVar[str] = ""
    always: ClassVar[tuple[str, ...]] = ()
    recipe: Recipe
    builder: PairBuilder

    def __init__(self, config: Config) -> None:
        self.config, self.run = config, config.run
        self.device, self.trackers = torch.device("cpu"), Trackers()
        self.folder, self.data, self.label, self.problem = Path(), dict[str, Any](), "", ""
        self.df_size, self.epochs = config.run.df_size, config.run.max_epoch
        self.start: str | None = None
        self.captions: CaptionLimit | None = None
        self.near_twins, self.kept, self.before = list[str](), list[str](), dict[str, float]()
        self.measured = [*self.always, *config.run.metrics]

    @classmethod
    def check(cls, config: Config) -> None:
        """Raise ConfigError for metrics that are not defined here; default metrics that are not are ignored."""
        for name in config.run.metrics:
            if not selected([name], cls.kind) and name not in RunConfig().metrics:
                valid = ", ".join(sorted(selected([*all_metrics()], cls.kind)))
                raise ConfigError(f"run.metrics: '{name}' is not defined for run.task {config.run.task}; use {valid}")

    def context(self, model: BaseModel, splits: Splits, validating: bool = False) -> Context:
        """The context in which metrics evaluate a model on these splits. If `validating`, nothing is stored."""
        raise NotImplementedError

    def finish(self, context: Context, metrics: dict[str, float]) -> None:
        """Store more after an evaluation, when results.json is written: caches and others' file formats."""

    def unlearning_sets(self, trainer: BaseTrainer) -> dict[str, Any]:
        """The trainer's data sets, "df" and "dr"."""
        parts = self.builder.partition()
        rows = {"df": parts.df, "dr": parts.dr}
        if trainer.starts_from == "initial":
            rows["dr"] = self.builder.reference_entries("retrained")
        return {name: self._training_set(trainer.entries(name, rows[name]), trainer.model) for name in trainer.sets}

    def _training_set(self, entries: Sequence[Entry], model: BaseModel) -> PairDataset:
        return self.builder.dataset(self._captions(model).training(entries), "train")

    def _captions(self, model: BaseModel) -> CaptionLimit:
        """The one limit of the run, so that every long caption is counted once."""
        self.captions = self.captions or CaptionLimit(model, self.run.long_captions)
        return self.captions

    def validation(self, model: BaseModel) -> dict[str, float]:
        """Metrics on run.valid_splits; the best epoch has the highest mean "agg_metrics"."""
        splits = {split: self.builder.entries(split) for split in self.run.valid_splits}
        known = selected(self.measured, self.kind).items()
        metrics = {name: metric for name, metric in known if metric.per_epoch and splits.keys() >= set(metric.splits)}
        stats = values_of(metrics, self.context(model, splits, validating=True))
        scores = [stats.get(f"{split}_agg_metrics", math.nan) for split in splits]
        finite = all(map(math.isfinite, scores))
        return stats | {"agg_metrics": sum(scores) / len(scores) if finite else -math.inf}

    def unlearn(self) -> RunResult:
        """Unlearn run.df_size images with run.method, and evaluate if run.evaluate_after."""
        assert self.run.method is not None, "load_config refuses unlearning without a method"
        trainer_class = registry.get_trainer_class(self.run.method)
        start = starting_weights(self.config) if trainer_class.starts_from == "original" else None
        with self.session(start):
            model = self._model(load_pretrained=False)
            if start:
                log_start(self.config, start)
                model.load_weights(start)
                refuse_broken(model.checkpoint_state(), start)
            else:
                get_logger().info("'%s' trains from scratch; the original model is not read", self.run.method)
                model.load_initial(self.config.model)
            trainer = trainer_class(self.run.method, model, self.run, self.device)
            feed = Feed(self.unlearning_sets(trainer), model, self.run, self.device)
            trainer.samples = samples(self.run, self.builder.partition(), lambda rows: self._training_set(rows, model))
            agree_on_training(trainer, feed)
            if start:
                self.near_twins = look_alikes(model, self.builder, self.run, self.device)
                self.before = self._before(model) if self.run.evaluate_before else {}
            if trainer.needs_teacher:
                trainer.attach_teacher(build_teacher(model, feed, trainer.joint_of_teacher, trainer.teacher_sets))
            return self._train(trainer, feed, start)

    def _before(self, model: BaseModel) -> dict[str, float]:
        """The metrics of the model that unlearning starts from."""
        with torch.random.fork_rng():  # training draws what it would draw without them
            return measure(self.context(model, self._evaluated_splits, validating=True), self.measured)

    def train(self) -> RunResult:
        """Train the reference model run.reference, and evaluate if run.evaluate_after."""
        with self.session(self.run.resume_ckpt_path):
            model = self._model(load_pretrained=not self.run.resume_ckpt_path)
            if self.run.resume_ckpt_path:
                model.load_weights(self.run.resume_ckpt_path)
            refuse_broken(model.checkpoint_state(), self.run.resume_ckpt_path or self.config.model.pretrained)
            rows = self.builder.reference_entries(self.run.reference)
            feed = Feed({"dr": self._training_set(rows, model)}, model, self.run, self.device)
            trainer = registry.get_trainer_class(ORIGINAL_TRAINER)(ORIGINAL_TRAINER, model, self.run, self.device)
            agree_on_training(trainer, feed)
            return self._train(trainer, feed)

    def evaluate(self, label: str = "") -> RunResult:
        """Evaluate run.checkpoint; `label` replaces the checkpoint's name if that is not distinct."""
        if not (path := self.run.checkpoint):
            raise ConfigError("evaluate.py needs a checkpoint: --options run.checkpoint=<file>")
        self.label = label
        with self.session(path, Path(path)):
            model = self._model(load_pretrained=False)
            model.load_weights(path)
            return self._evaluated(model, path, {}, {})

    @contextlib.contextmanager
    def session(self, weights: str | None, checkpoint: Path | None = None) -> Iterator[None]:
        """Set up device, process group, seeds, recipe, data and run folder. A group joined earlier stays joined.

        weights: what the model will load, if not what `model:` names. checkpoint: what is evaluated.
        """
        if self.run.threads:
            torch.set_num_threads(self.run.threads)
        self.device = distributed.resolve_device(self.run.device)
        joined = distributed.initialized()
        distributed.setup(self.device)
        setup_logging(distributed.is_main())
        for message in self.config.unread():
            get_logger().info("%s", message)
        try:
            agree_on_settings(self.config.to_dict())
            self.builder, self.recipe = builder_of(self.config, weights)
            get_logger().info("Recipe: %s", self.recipe)
            seed_everything(self.run.draw_seed)
            distributed.on_main(self.builder.prepare)
            if self.df_size is None and self.builder.forgets:
                self.df_size = len(self.builder.forget_images())
            self.folder = self._folder(checkpoint)
            with contextlib.ExitStack() as locks:
                distributed.on_main(lambda: locks.enter_context(folder_lock(self.folder)))
                yield
        finally:
            if not joined:
                distributed.shutdown()

    def _folder(self, checkpoint: Path | None) -> Path:
        if checkpoint is None:
            return run_folder(self.run, self.config.backbone, self.config.job_name, self.df_size)
        best = checkpoint.parent / BEST
        inside = checkpoint.absolute().is_relative_to(Path(self.run.output_dir).absolute())
        if inside and (checkpoint.parent / RESULTS).is_file() and best.exists() and self.run.eval_max_pairs is None:
            if checkpoint.resolve() == best.resolve():
                return evaluation_folder(checkpoint.parent, self.config.job_name, self._evaluated_data)
        name = self.label or checkpoint_label(checkpoint)
        return Path(self.run.output_dir) / "evaluate" / self.config.backbone / self.config.job_name / name

    @functools.cached_property
    def _evaluated_splits(self) -> Splits:
        """The entries that are evaluated."""
        return self.builder.evaluation_entries()

    @functools.cached_property
    def _evaluated_data(self) -> dict[str, Any]:
        """What is evaluated, in digests; the images are read once."""
        return evaluated_data(self.builder, self._evaluated_splits)

    def _model(self, load_pretrained: bool) -> BaseModel:
        model_class = registry.get_model_class(self.config.model.arch)
        seed_everything(self.run.draw_seed)
        model = model_class.from_config(self.config.model, recipe=self.recipe, load_pretrained=load_pretrained)
        return model.to(self.device)

    def _untrained(self) -> BaseModel:
        return self._model(load_pretrained=False)

    def _train(self, trainer: Any, feed: Feed, start: str | None = None) -> RunResult:
        began, self.start = time.monotonic(), start
        scored = bool(self.run.valid_splits)
        validate = (lambda epoch: self.validation(gathered(trainer.model, self._untrained))) if scored else None
        trainer.files = file_digests(self.builder.data_files)
        runner_class: type[EpochRunner] = registry.get_runner_class(trainer.runner or self.run.runner)
        runner = runner_class(trainer, feed, self.folder, self.config.to_dict(df_size=self.df_size), validate)
        with runner.trackers as self.trackers:
            runner.train()
            self.epochs = runner.epochs
            seconds = {"train": round(time.monotonic() - began, 3)}
            best = self.folder / BEST
            trainer.attach_teacher(None)
            rebuilt = is_sharded(trainer.model) or self.run.lora.rank
            model = self._untrained() if rebuilt else trainer.model
            if self.run.interpolate is not None:
                assert start is not None  # check_parts refuses methods that train from scratch
                interpolate(model, start, self.folder, self.builder, self.run)
            del runner
            model.load_weights(best)
            counts = trainer.fiction.mentions.counts if trainer.fiction else {}
            skipped = sum(part.skipped for part in feed.datasets.values())
            return self._evaluated(model, best, seconds, counts | ({"skipped_images": skipped} if skipped else {}))

    def _evaluated(
        self, model: BaseModel, checkpoint: str | Path, seconds: dict[str, float], counts: dict[str, int]
    ) -> RunResult:
        began = time.monotonic()
        metrics: dict[str, float] = {}
        self.problem, digest = weights_problem(model), weights_digest(model.checkpoint_state())
        context: Context | None = None
        if self.run.evaluate_after or self.run.checkpoint:
            self.label = self.label or checkpoint_label(checkpoint)
            metrics, context = self._measure(model, digest)
            counts = {**context.counts, **counts, **self.builder.counts, **self._captions(model).counted}
            seconds = {**seconds, "evaluate": round(time.monotonic() - began, 3)}
        facts = (self.recipe.overridden, self.data, digest, self.notices(), seeds_of(self.config, self.start))
        origin = (self.before, self.recipe.form)
        result = RunResult(self.folder, str(checkpoint), metrics, counts, seconds, self.problem, *facts, *origin)
        if distributed.is_main():
            write_run_result(result, self.config, {"df_size": self.df_size, "max_epoch": self.epochs})
        if context is not None:
            self.finish(context, metrics)
        self.trackers.finish(metrics)  # before end_run, which records the digests of all files
        if not self.run.checkpoint:
            distributed.on_main(lambda: end_run(self.folder, self.run, self.builder))
        distributed.barrier()
        return result

    def notices(self) -> list[str]:
        """What a user should know about the data, at the end of a run."""
        captions = self.captions.notices() if self.captions else []
        return [*self.kept, *self.builder.notices(), *self.near_twins, *captions]

    def _measure(self, model: BaseModel, weights: str) -> tuple[dict[str, float], Context]:
        """The model's metrics on all evaluated splits, and the context that they were measured in."""
        self.data, splits = self._evaluated_data, self._evaluated_splits
        if distributed.is_main():
            facts, config = {"data": self.data, "weights": weights}, self.config.to_dict(df_size=self.df_size)
            self.kept = make_room(self.folder, config, facts, merging=bool(self.run.checkpoint))
        agree_on_evaluation(model, splits, self.data)
        self._captions(model).long(entry for entries in splits.values() for entry in entries)
        context = self.context(model, splits)
        metrics = measure(context, self.measured)
        self.problem = context.problem
        return metrics, context

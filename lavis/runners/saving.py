"""What a checkpoint holds and how a run goes on from one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lavis.common import distributed
from lavis.common.checkpoint import (
    FORMAT,
    checkpoint_name,
    describe_mismatch,
    link_best,
    load_newest,
    prune,
    save_checkpoint,
)
from lavis.common.errors import CheckpointError, ConfigError
from lavis.common.logger import get_logger
from lavis.common.seed import random_states, restore_random_states
from lavis.models.base import BaseModel
from lavis.runners.fsdp import cut_states, put, whole
from lavis.runners.run_dir import git_commit
from lavis.settings.changes import changes
from lavis.settings.declaration import WEIGHTS


@dataclass
class TrainingState:
    """Where a run stands: the next step to take, the records of finished epochs, the best so far."""

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    best_score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass
class Saver:
    """Reads and writes the checkpoints of one run folder (written by the main process alone)."""

    folder: Path
    model: BaseModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    config: dict[str, Any]
    keep: int
    origin: dict[str, Any] = field(default_factory=dict)  # what the run began with: weights, data, batches a step

    def save(self, progress: TrainingState, meter: dict[str, Any], *, epoch: int, step: int | None = None) -> Path:
        """Write `checkpoint_<epoch>.pth` (or `…-<step>.pth`); all processes wait for it."""
        path = self.folder / checkpoint_name(epoch, step)
        failure = None
        weights = self.model.checkpoint_state()  # on every process: a model may write what waits, a queue say
        main = distributed.is_main()
        weights, states = whole(weights, main), whole(self.optimizer.state_dict(), main)
        if main:
            try:
                save_checkpoint(path, self._payload(weights, states, progress, meter))
                if step is None:
                    best = epoch if progress.best_epoch is None else progress.best_epoch
                    link_best(self.folder, checkpoint_name(best))
                prune(self.folder, self.keep)
            except (CheckpointError, OSError) as error:
                failure = str(error)
        failure = distributed.broadcast_object(failure)
        if failure:
            raise CheckpointError(failure)
        return path

    def _payload(
        self, weights: dict[str, Any], states: dict[str, Any], progress: TrainingState, meter: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "model": weights,
            "state_dict": weights,
            "optimizer": states,
            "scaler": self.scaler.state_dict(),
            "random": random_states(),
            "position": progress.as_dict(),
            "meter": meter,
            "config": self.config,
            "recipe": self.model.recipe.state(),
            "origin": self.origin,
            "commit": git_commit(),
        }

    def resume(self) -> tuple[TrainingState, dict[str, Any]] | None:
        """Go on from the newest readable checkpoint. Raises ConfigError when it was made by another configuration."""
        found = load_newest(self.folder)
        if found is None:
            return None
        path, content = found
        self._check_config(path, content["config"])
        self._check_origin(path, content.get("origin", {}))
        difference = describe_mismatch(self.model.checkpoint_state(), content["model"], path)
        if difference:
            raise CheckpointError(difference)
        own = self.model.checkpoint_state()
        for name, tensor in content["model"].items():
            put(own[name], tensor)
        self.optimizer.load_state_dict(content["optimizer"])
        cut_states(self.optimizer)
        if content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        restore_random_states(content["random"])
        progress = TrainingState(**content["position"])
        self._relink(progress)
        get_logger().info("Resumed from %s: epoch %d, step %d", path, progress.epoch, progress.step)
        return progress, content["meter"]

    def _relink(self, progress: TrainingState) -> None:
        """The link to the best checkpoint, in case a kill came between the checkpoint and its link."""
        best = None if progress.best_epoch is None else checkpoint_name(progress.best_epoch)
        if distributed.is_main() and best is not None and (self.folder / best).is_file():
            link_best(self.folder, best)
        distributed.barrier()

    def _check_origin(self, path: Path, former: dict[str, Any]) -> None:
        for what, digest in self.origin.items():
            if former.get(what, digest) != digest:
                raise ConfigError(
                    f"{path} was written with other {what}; they have changed since this run began. Delete "
                    f"{self.folder}, choose another run.output_dir, or set run.resume=false to start over"
                )

    def _check_config(self, path: Path, former: dict[str, Any]) -> None:
        found = changes(former, self.config, WEIGHTS)
        if found:
            told = "; ".join(f"{change.key}: {change.then!r} then, {change.now!r} now" for change in found[:3])
            raise ConfigError(
                f"{path} was written with other settings ({told}); go on with the former ones, "
                "choose another run.output_dir, delete the folder, or set run.resume=false to start over"
            )

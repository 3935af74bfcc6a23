"""What a checkpoint contains and how a run resumes from it."""

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
    write_final,
)
from lavis.common.errors import CheckpointError, ConfigError, UserFault, first_few
from lavis.common.logger import get_logger
from lavis.common.secrets import agree
from lavis.common.seed import random_states, restore_random_states
from lavis.models.base import BaseModel
from lavis.runners.fsdp import cut_states, put, whole
from lavis.runners.run_dir import git_commit
from lavis.settings.changes import changes
from lavis.settings.declaration import WEIGHTS

# What restoring raises where a checkpoint lacks a key or has something else in its place.
UNUSABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)

FOUND = ("run.df_size",)  # settings that follow from the data where the user names none


@dataclass
class TrainingState:
    """How far a run is: the next step to take, the records of finished epochs, the best epoch so far."""

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    best_score: float | None = None


@dataclass
class Saver:
    """Reads and writes the checkpoints of one run folder; only the main process writes."""

    folder: Path
    model: BaseModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    config: dict[str, Any]
    keep: int
    origin: dict[str, Any] = field(default_factory=dict)  # what the run began with: weights, data, batches per step
    files: dict[str, str] = field(default_factory=dict)  # the data's files -> digest, to name the one that has changed
    measured: dict[str, torch.Tensor] = field(default_factory=dict)  # what run.select and run.anchor found at the start

    def save(self, state: TrainingState, meter: dict[str, Any], *, epoch: int, step: int | None = None) -> Path:
        """Write `checkpoint_<epoch>.pth` (or `…-<step>.pth`); all processes wait for it. Raises CheckpointError."""
        path = self.folder / checkpoint_name(epoch, step)
        failure = None
        main = distributed.is_main()
        weights = whole(self.model.checkpoint_state(), main)  # on every process, so that each flushes a pending queue
        optimizer = whole(self.optimizer.state_dict(), main)
        if main:
            try:
                save_checkpoint(path, self._payload(weights, optimizer, state, meter))
                if step is None:
                    best = epoch if state.best_epoch is None else state.best_epoch
                    link_best(self.folder, checkpoint_name(best))
                prune(self.folder, self.keep)
            except (CheckpointError, OSError) as error:
                failure = str(error)
        failure = distributed.broadcast_object(failure)
        if failure:
            raise CheckpointError(failure)
        return path

    def _payload(
        self, weights: dict[str, Any], optimizer: dict[str, Any], state: TrainingState, meter: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "model": weights,
            "adapter": {name: value.cpu() for name, value in self.model.adapter_state().items()},
            "state_dict": weights,
            "measured": {name: value.cpu() for name, value in self.measured.items()},
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict(),
            "random": random_states(),
            "position": dict(vars(state)),
            "meter": meter,
            "config": self.config,
            "recipe": self.model.recipe.state(),
            "origin": self.origin,
            "files": self.files,
            "commit": git_commit(),
        }

    def finish(self, state: TrainingState) -> None:
        """Leave the weights alone in `checkpoint_best.pth`. All processes call it. Raises CheckpointError."""
        distributed.on_main(lambda: write_final(self.folder, dict(vars(state))))

    def resume(self) -> tuple[TrainingState, dict[str, Any]] | None:
        """Resume from the newest readable checkpoint, if any; returns its state and the meter's.

        Raises ConfigError if its configuration, data or starting weights differ, CheckpointError if its tensors do or
        if it lacks something.
        """
        newest = load_newest(self.folder)
        if newest is None:
            return None
        path, content = newest
        try:
            return self._restore(path, content)
        except UNUSABLE as error:
            if isinstance(error, UserFault):
                raise
            raise CheckpointError(
                f"checkpoint {path} is incomplete or damaged ({type(error).__name__}: {error}); delete it to continue "
                "from the one before, or set run.resume=false to start over"
            ) from error

    def _restore(self, path: Path, content: dict[str, Any]) -> tuple[TrainingState, dict[str, Any]]:
        files = self._changed_files(content.get("files", {}))
        self._check_config(path, content["config"], files)
        self._check_origin(path, content.get("origin", {}), files)
        weights = self.model.checkpoint_state()
        difference = describe_mismatch(weights, content["model"], path)
        if difference:
            raise CheckpointError(difference)
        if content.get("finished"):
            get_logger().info("%s is the end of this run; nothing is left to train", path)
            return TrainingState(**content["position"]), {"means": {}, "count": 0}
        adapter = content.get("adapter")
        targets = self.model.adapter_state() if adapter else weights
        for name, tensor in (adapter or content["model"]).items():
            put(targets[name], tensor)
        for name, tensor in self.measured.items():
            tensor.copy_(content["measured"][name])  # on another machine it may have come out otherwise
        self.optimizer.load_state_dict(content["optimizer"])
        cut_states(self.optimizer)
        if content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        restore_random_states(content["random"])
        state = TrainingState(**content["position"])
        self._relink(state)
        get_logger().info("Resumed from %s: epoch %d, step %d", path, state.epoch, state.step)
        return state, _means(content["meter"])

    def _relink(self, state: TrainingState) -> None:
        """Restore the link to the best checkpoint, in case the run was killed between writing the two."""
        best = None if state.best_epoch is None else checkpoint_name(state.best_epoch)
        if distributed.is_main() and best is not None and (self.folder / best).is_file():
            link_best(self.folder, best)
        distributed.barrier()

    def _changed_files(self, former: dict[str, str]) -> str:
        """The first of the data's files that are others than when the run began; "" if there are none."""
        return first_few([name for name, digest in self.files.items() if not agree(former.get(name, digest), digest)])

    def _check_origin(self, path: Path, former: dict[str, Any], files: str) -> None:
        changed = [what for what, digest in self.origin.items() if not agree(former.get(what, digest), digest)]
        if changed:
            raise ConfigError(
                f"{path} was written with other {', other '.join(changed)}; they have changed since this run began"
                f"{f', with the file {files}' if files else ''}. Restore them, delete {self.folder}, choose another "
                "run.output_dir, or set run.resume=false to start over"
            )

    def _check_config(self, path: Path, former: dict[str, Any], files: str) -> None:
        changed = changes(former, self.config, WEIGHTS)
        if changed:
            first = "; ".join(f"{change.key}: {change.then!r} then, {change.now!r} now" for change in changed[:3])
            found = bool(files) and all(change.key in FOUND for change in changed)
            what = f"another content of {files} ({first})" if found else f"other settings ({first})"
            raise ConfigError(
                f"{path} was written with {what}; restore {'it' if found else 'them'}, choose another run.output_dir, "
                "delete the folder, or set run.resume=false to start over"
            )


def _means(meter: dict[str, Any]) -> dict[str, Any]:
    """A meter's state, its values checked."""
    return {"means": {name: float(mean) for name, mean in meter["means"].items()}, "count": int(meter["count"])}

"""Finds the models that an unlearned one is compared with: the original, and those that never saw the forget set."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

from lavis.common.checkpoint import BEST
from lavis.models.base import BaseModel
from lavis.runners.run_dir import original_checkpoint, run_folder
from lavis.settings.schema import RunConfig

UNLEARNED, ORIGINAL, CLEAN, RETRAINED = "unlearned", "original", "clean", "retrained"  # roles in an audit
FLOORS = {
    RETRAINED: "The same attack on a model that was trained without the forgotten rows.",
    CLEAN: "The same attack on a model that never saw anybody of the sensitive data.",
    "control": "What the same attack finds in the same model about people whom no model saw (the control).",
}
NO_FLOOR = "There is none here: neither a model that never saw the data nor people whom no model saw."


def reference_checkpoints(run: RunConfig, family: str, job: str) -> dict[str, Path]:
    """{"original", "clean", "retrained": checkpoint} of those that exist where this project's runs write them.

    clean and retrained are those of the run's own seed, or, where they were trained with one seed only, of that one.
    """
    own = dataclasses.replace(run, method=None, run_folder=None, subfolder="", unlearn_seed=None)
    found = {ORIGINAL: Path(run.resume_ckpt_path or original_checkpoint(own, family, job))}
    for name in (CLEAN, RETRAINED):
        runs = (dataclasses.replace(own, reference=name, seed_folder=seeded) for seeded in (own.seed_folder, False))
        places = [run_folder(one, family, job, run.df_size) / BEST for one in runs]
        found[name] = next(filter(Path.is_file, places), places[0])
    return {role: path for role, path in found.items() if path.is_file()}


def with_weights(model: BaseModel, source: str | Path) -> BaseModel:
    """A copy of a model with other weights, in evaluation mode. Raises CheckpointError if they do not fit."""
    other = copy.deepcopy(model)
    other.load_weights(source)
    return other.eval()

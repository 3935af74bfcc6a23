"""The model card of an exported model: what was done to it, without anything that names the people or their data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.results import FILE_NAME, read_results
from lavis.hub.recipe import Recipe

# Settings of `run:` that say how a model was made; the others name files, or change nothing.
SETTINGS = (
    *("init_lr", "min_lr", "lr_sched", "weight_decay", "max_epoch", "batch_size_train", "accum_grad_iters", "amp"),
    *("max_grad_norm", "seed", "df_seed", "weights", "method_args", "trainable", "lora", "interpolate"),
)


def model_card(recipe: Recipe, content: Mapping[str, Any], folder: Path, to: str, digest: str) -> str:
    """Markdown with the front matter that the hub reads.

    Args:
        content: the checkpoint, {} for weights that are not of this project. folder: where its results.json may be.
        digest: that of the exported weights.
    """
    run, origin = _section(_section(content, "config"), "run"), _section(content, "origin")
    results = read_results(folder / FILE_NAME) if content and (folder / FILE_NAME).is_file() else {}
    facts = {
        "Original model": recipe.name,
        "Recipe": f"{recipe.pixels}, {recipe.context_length} tokens{', QuickGELU' * recipe.quick_gelu}",
        "Method": run.get("method") or (f"none (reference model '{run['reference']}')" if run else "unknown"),
        "Images to forget": run.get("df_size"),
        "Digest of these weights": digest,
        "Digest of the original model": origin.get("starting weights"),
        "Digest of the training data": origin.get("rows to train on", origin.get("training data")),
        "Overridden of the original recipe": len(recipe.overridden) or None,
        "Share of the unlearned weights (the rest is the original's)": content.get("interpolation"),
        "Code": content.get("commit"),
    }
    lines = ["---", f"library_name: {to}", "pipeline_tag: zero-shot-image-classification", "tags: [clip, unlearning]"]
    lines += ["---", "", "# Model card", "", _what(run), ""]
    lines += [f"- {what}: {value}" for what, value in facts.items() if value is not None]
    lines += _table("Settings", {key: run[key] for key in SETTINGS if run.get(key) not in (None, {}, [], "")})
    lines += _table("Rows evaluated", results.get("counts", {})) + _table("Metrics", results.get("metrics", {}))
    return "\n".join(lines) + "\n"


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping in a checkpoint; empty where a file has something else in its place."""
    section = content.get(name)
    return section if isinstance(section, Mapping) else {}


def _what(run: Mapping[str, Any]) -> str:
    if run.get("method"):
        return "This model was made to forget part of its training data by machine unlearning."
    return "This model was exported as it is; no unlearning is recorded."


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {key} | {json.dumps(value)} |" for key, value in values.items()]
    return ["", f"## {title}", "", "| | |", "|---|---|", *rows] if rows else []

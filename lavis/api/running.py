"""Unlearn, evaluate and export from Python. Results are objects; everything that a run writes is in its folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.api.composing import (
    CONFIG,
    DEFAULTS,
    LARGEST_BATCH,
    LEAST_EPOCHS,
    LEAST_STEPS,
    as_model,
    data_section,
    write_config,
)
from lavis.common.checkpoint import BEST
from lavis.common.errors import ConfigError, MissingFile
from lavis.common.files import check_file
from lavis.common.home import at_home, home_path
from lavis.common.registry import registry
from lavis.hub.export import export as export_model
from lavis.models.base import BaseModel
from lavis.settings.config import compose_dataset, compose_model, load_config
from lavis.settings.schema import RunConfig
from lavis.tasks import entry
from lavis.tasks.checkpoints import checkpoint_config, load_model
from lavis.tasks.run_result import RunResult


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes: `metrics`, the numbers of results.json; `folder`, the run folder; `checkpoint`, the unlearned weights;
    `counts`, pairs per split, and dropped rows; `problem`, why no number can be trusted (the model is broken, or
    nothing was measured), else ""; `before`, the metrics of the model that `unlearn` started from; `form`, the library
    whose configuration the model has (open_clip, transformers).
    """

    metrics: dict[str, float]
    folder: Path
    checkpoint: Path
    counts: dict[str, int]
    text: str
    problem: str = ""
    before: dict[str, float] = field(default_factory=dict)
    form: str = ""

    def model(self, device: str = "cpu") -> BaseModel:
        """The unlearned model, loaded now, in eval mode."""
        checkpoint = self.folder / BEST
        section = checkpoint_config(checkpoint).get("model", {})
        return load_model(compose_model([(str(checkpoint), {"model": section})]), checkpoint, device)

    def __str__(self) -> str:
        return self.text


def unlearn(
    *,
    model: str,
    data: Mapping[str, Any] | str | Path,
    forget: Any = None,
    method: str = "erase_hold",
    output_dir: str | Path = "output",
    pretrained: str | None = None,
    arch: str = "clip",
    df_size: int | None = None,
    alpha: float | None = None,
    options: Sequence[str] = (),
    **run: Any,
) -> Result:
    """Make a model forget some of its data. The same call continues a run that was interrupted.

    Args:
        model: an architecture of open_clip, `local-dir:…`, `hf-hub:…`, a run folder, a checkpoint, or a JSON file.
        data: a mapping (source, images, columns, fractions), the path of a table, or a registered data set.
        forget: {"where": {column: values}}, {"list": file}, {"table": file, "on": column}, a list of images, or a path.
        method: registered method; `multidelete zoo methods` lists them.
        output_dir: the run folder. It also gets config.yaml, from which unlearn.py does the same.
        pretrained: weights of an architecture: a tag of open_clip, or a file.
        arch: registered model.
        df_size: forget only so many images; None: all that are named.
        alpha: mixing factor of methods that have one.
        options: dotted settings, such as "model.grad_checkpointing=true".
        run: any key of `run:`, such as max_epoch=5.

    Raises ConfigError, DataError, MissingFile, CheckpointError, TrainingError.
    """
    folder = home_path(output_dir)
    datasets = data_section(data, forget, folder)
    settings = {**DEFAULTS, **run, "output_dir": str(folder), "run_folder": str(folder)}
    settings = {**_sizes(datasets, settings, df_size), **settings}
    path = write_config(folder / CONFIG, as_model(str(model), arch, pretrained), datasets, settings)
    config = load_config(path, options)
    flags = {"method": method, "df_size": df_size, "alpha": alpha}
    return _as_result(entry.unlearn(str(path), options, config.backbone, config.job_name, flags))


def _sizes(datasets: Mapping[str, Any], run: Mapping[str, Any], df_size: int | None) -> dict[str, int]:
    """Batch size and epochs for this many images to forget.

    Half a batch is of Df: two rows for each image, LARGEST_BATCH at most. LEAST_EPOCHS, or as many as LEAST_STEPS take.
    """
    if {"batch_size_train", "max_epoch"} <= set(run):
        return {}
    ((name, section),) = datasets.items()
    builder_class = registry.get_builder_class(name)
    config = compose_dataset(name, [("data", section)])
    builder = builder_class(config, RunConfig(output_dir=run["output_dir"], df_size=df_size))
    builder.prepare()
    images = len(builder.forget_images())
    size = run.get("batch_size_train", max(2, min(LARGEST_BATCH, 2 * images)))
    steps = -(-images // max(1, size // 2))
    return {"batch_size_train": size, "max_epoch": max(LEAST_EPOCHS, -(-LEAST_STEPS // max(1, steps)))}


def evaluate(
    model: str | Path,
    *,
    data: Mapping[str, Any] | str | Path | None = None,
    forget: Any = None,
    metrics: Sequence[str] = ("retrieval", "membership", "cosine"),
    output_dir: str | Path | None = None,
    options: Sequence[str] = (),
    **run: Any,
) -> dict[str, float]:
    """The metrics of a model. Those of a run folder are also added to its results, which are never overwritten.

    Args:
        model: a run folder, a checkpoint, or any model with weights, as in `unlearn`.
        data: what to evaluate on, as in `unlearn`; None: the data of the run.
        forget: which rows of `data` are `df`, as in `unlearn`.
        metrics: kinds of metrics; `multidelete zoo metrics` lists them.
        output_dir: where results go; default: the run folder, else "output".
        options: dotted settings, as in `unlearn`.
        run: any key of `run:`, such as batch_size_eval=128.

    Raises ConfigError, DataError, MissingFile, CheckpointError.
    """
    return evaluated(model, data, forget, metrics, output_dir, options, run).metrics


def evaluated(
    model: str | Path,
    data: Mapping[str, Any] | str | Path | None,
    forget: Any,
    metrics: Sequence[str],
    output_dir: str | Path | None,
    options: Sequence[str],
    run: Mapping[str, Any],
) -> Result:
    """As `evaluate`, with the folder, the counts and the table."""
    model = at_home(str(model))
    checkpoint = checkpoint_of(model)
    content = checkpoint_config(checkpoint) if checkpoint is not None else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if data is None and not content:
            raise ConfigError(
                f"evaluate: {model} is no run of this project and has no data; name them with --data (data= in Python)"
            )
        datasets = content["datasets"] if data is None else data_section(data, forget, folder)
        section = content.get("model") or as_model(str(model))
        place = output_dir or (checkpoint.parent if checkpoint is not None else "output")
        settings = {"num_workers": DEFAULTS["num_workers"], "batch_size_eval": DEFAULTS["batch_size_eval"]}
        settings |= {"metrics": list(metrics), "output_dir": str(place), **run}
        if data is None:
            settings = {"df_seed": content["run"].get("df_seed", RunConfig.df_seed), **settings}
        path = write_config(folder / CONFIG, section, datasets, settings)
        weights = str(checkpoint) if checkpoint is not None else str(model)
        table = entry.evaluate(str(path), [f"run.checkpoint={weights}", *options])
    return _as_result(table.results[0])


def checkpoint_of(model: str | Path) -> Path | None:
    """The checkpoint of a run folder, or the file itself; None for other models.

    Raises MissingFile and DataError for a checkpoint that is there and is no file (a folder, a link to nowhere).
    """
    path = Path(model)
    if os.path.lexists(path / BEST):
        check_file(path / BEST, "checkpoint")
        return path / BEST
    if path.is_dir() and (path / CONFIG).is_file():
        raise MissingFile(f"{path} is a run folder without {BEST}: the run has not finished; run it again")
    return path if path.is_file() and checkpoint_config(path) else None


def export(source: str | Path, out: str | Path, to: str = "open_clip", *, push_to: str | None = None) -> Path:
    """Write a model as open_clip or transformers publish theirs: weights, tokenizer, preprocessor, model card.

    Args:
        source: a run folder, a checkpoint, or any model with weights.
        out: a folder that does not exist or is empty.
        to: "open_clip" or "transformers".
        push_to: a name on the Hugging Face hub to upload it to as well.

    Returns the folder. Raises ConfigError, MissingFile, CheckpointError.
    """
    return export_model(source, out, to, push_to=push_to)


def _as_result(result: RunResult) -> Result:
    place = result.folder, Path(result.checkpoint)
    text, failure = result.table(), result.failure
    return Result(result.metrics, *place, result.counts, text, failure, result.before, result.form)

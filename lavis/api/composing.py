"""From arguments in Python or on the command line to a configuration file, which a run then reads like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lavis.common.errors import ConfigError, suggest
from lavis.common.files import write_text
from lavis.common.forget_list import write_forget_list
from lavis.common.registry import registry
from lavis.tables.sources import FORMATS

CONFIG = "config.yaml"
# A start for a published CLIP and a forget set of a few hundred images; every key of `run:` can be given instead.
DEFAULTS: dict[str, Any] = {
    "init_lr": 1e-5,
    "lr_sched": "linear_warmup_step_cosine_lr",
    "num_workers": 2,
    "batch_size_eval": 64,
    "near_twins": 0.98,
    "evaluate_before": True,
}
LARGEST_BATCH = 32
LEAST_EPOCHS, LEAST_STEPS = 5, 40  # of one or two people five epochs are five steps, which change nothing


def as_model(model: str, arch: str = "clip", pretrained: str | None = None) -> dict[str, Any]:
    """The section `model:` of a name, folder, hub name, run folder, checkpoint or JSON file.

    A folder or checkpoint without a prefix is taken as it stands, so that a run folder can be named as a model.
    """
    return {
        "arch": arch,
        **({"model_type": model} if model else {}),
        **({"pretrained": pretrained} if pretrained else {}),
    }


def as_data(data: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """The section `datasets.pairs:` of a mapping or of a table's path; paths become text, tuples lists."""
    given = dict(data) if isinstance(data, Mapping) else {"source": str(data)}
    return {key: _plain(value) for key, value in given.items()}


def as_forget(forget: Any, folder: Path) -> dict[str, Any]:
    """`datasets.pairs.forget` of a mapping (where, list or table), a list of images, or the path of a list or table.

    A list of images is written to `folder`. Raises ConfigError.
    """
    if isinstance(forget, Mapping):
        return {key: _plain(value) for key, value in forget.items()}
    if isinstance(forget, str | Path):
        return {"table" if Path(forget).suffix.lower() in FORMATS else "list": str(forget)}
    if isinstance(forget, Sequence) and forget and all(isinstance(image, str | Path) for image in forget):
        path = folder / "forget.txt"
        write_forget_list(path, [str(image) for image in forget])
        return {"list": str(path)}
    raise ConfigError(
        "forget: expected where, list or table in a mapping, a list of images, or the path of a list or table; found "
        f"{forget!r:.80}"
    )


def data_section(data: Mapping[str, Any] | str | Path, forget: Any, folder: Path) -> dict[str, Any]:
    """The section `datasets:`. Text that names a registered data set is that; all else is of the user's own pairs."""
    if isinstance(data, str) and data in registry.names("builder"):
        if forget is not None:
            raise ConfigError(f"forget: data set '{data}' has forget lists of its own; choose one with run.df_seed")
        return {data: {}}
    section = as_data(data)
    name = section.pop("name", "pairs")
    if name not in registry.names("builder"):
        raise ConfigError(f"data: unknown data set '{name}'; {suggest(name, registry.names('builder'))}")
    return {name: {**section, **({} if forget is None else {"forget": as_forget(forget, folder)})}}


def write_config(path: Path, model: Mapping[str, Any], datasets: Mapping[str, Any], run: Mapping[str, Any]) -> Path:
    """Write a configuration file. Returns its path."""
    content = {"model": _plain(model), "datasets": _plain(datasets), "run": _plain(run)}
    header = "# Written by lavis.unlearn or multidelete; unlearn.py, evaluate.py and train.py read it.\n"
    write_text(path, header + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def _plain(value: Any) -> Any:
    """The same in YAML's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value

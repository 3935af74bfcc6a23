"""Several models on several benchmarks: one row per model, the headline numbers of each benchmark as columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lavis.api.running import Result, evaluated
from lavis.common.errors import ConfigError, UserFault, suggest
from lavis.common.files import write_json, write_text
from lavis.common.home import home_path
from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.evaluation.measure import columns_used
from lavis.evaluation.metric import HEADLINE
from lavis.tables.sources import FORMATS

FOR_CLIP = {
    "vis_processor": {"train": {"name": "clip_image_eval"}, "eval": {"name": "clip_image_eval"}},
    "text_processor": {"train": {"name": "clip_caption"}, "eval": {"name": "clip_caption"}},
}
RETRIEVAL = ("retrieval",)
BENCHMARKS: dict[str, tuple[str, tuple[str, ...]]] = {  # name -> (data set, "": the model's own; metrics)
    "salmubench": ("salmu", ("salmubench",)),
    "coco": ("coco_retrieval", RETRIEVAL),
    "flickr30k": ("flickr30k", RETRIEVAL),
    "imagenet": ("", ("imagenet",)),
}
TABLE = "benchmarks"  # .csv, .json


@dataclass
class Benchmarks:
    """A table of models and benchmarks; `problems` are evaluations that failed, in words."""

    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    folder: Path = Path("output")

    @property
    def sound(self) -> bool:
        """Whether every model was measured on every benchmark."""
        return not self.problems

    def frame(self) -> pd.DataFrame:
        """One row per model, one column per number."""
        return pd.DataFrame.from_dict(self.rows, orient="index").rename_axis("model").reset_index()

    def text(self) -> str:
        """The table, what failed, and where it is written."""
        body = self.frame().to_string(index=False, na_rep="-", float_format=lambda x: f"{x:.4f}")
        return "\n".join([body, *self.problems, f"table: {self.folder / TABLE}.csv", ""])

    def write(self) -> None:
        """Write the table as CSV and JSON."""
        write_text(self.folder / f"{TABLE}.csv", self.frame().to_csv(index=False))
        write_json(self.folder / f"{TABLE}.json", {"rows": self.rows, "problems": self.problems})


def compare(
    models: Sequence[str],
    names: Sequence[str],
    data: Mapping[str, Any] | str | None,
    forget: Any,
    output_dir: str | None,
    options: Sequence[str],
) -> Benchmarks:
    """Evaluate every model on every benchmark; one that fails is reported, the others are measured all the same.

    names: keys of BENCHMARKS, registered data sets, or tables of the user's own. data, forget: what a benchmark without
    data of its own is measured on; None: the model's own data. Raises ConfigError for an unknown name.
    """
    for name in names:
        _check(name)
    table = Benchmarks(folder=home_path(output_dir or "output"))
    for model in models:
        row = table.rows.setdefault(model, {})
        for name in names:
            given, metrics = _benchmark(name, data)
            own = forget if given is data else None
            try:
                result = evaluated(model, given, own, metrics, output_dir, options, {})
            except UserFault as error:
                get_logger().error("%s on %s: %s", model, name, error)
                table.problems.append(f"{model} was not measured on {name}: {' '.join(str(error).split())}")
                continue
            if result.problem:
                table.problems.append(f"{model} is broken on {name}: {result.problem}")
            row |= {f"{name} {title}": value for title, value in _headline(result).items()}
    table.write()
    return table


def _check(name: str) -> None:
    known = [*BENCHMARKS, *registry.names("builder")]
    if name not in known and Path(name).suffix.lower() not in FORMATS:
        raise ConfigError(f"--benchmarks: unknown benchmark '{name}'; {suggest(name, known)}, or a table (own.csv)")


def _benchmark(name: str, data: Any) -> tuple[Any, tuple[str, ...]]:
    """The data set of a benchmark, with processors that CLIP-like models can follow, and its metrics."""
    if name not in BENCHMARKS:
        own = name not in registry.names("builder")
        same = {key: data[key] for key in ("images", "columns") if isinstance(data, Mapping) and key in data}
        return ({"source": name, **same} if own else {"name": name, **FOR_CLIP}), RETRIEVAL
    dataset, metrics = BENCHMARKS[name]
    return ({"name": dataset, **FOR_CLIP} if dataset else data), metrics


def _headline(result: Result) -> dict[str, float]:
    """The numbers of a result that tables begin with; those per split for the test split alone."""
    found = {}
    for column in columns_used(HEADLINE):
        value = result.metrics.get(column.key)
        if value is not None and not math.isnan(value):
            found[column.title] = value
    return found

"""Selects the metrics that `run.metrics` lists and measures them on a context."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lavis.common.errors import ConfigError, DataError, suggest
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context
from lavis.evaluation.metric import DECIMALS, HEADLINE, Column, Metric, NotMeasured

log = logging.getLogger(__name__)
LAST = 1000  # place of columns that no table shows


def selected(names: Sequence[str], kind: str = "") -> dict[str, Metric]:
    """The listed metrics by name, in the order of measurement; a suite stands for all of its metrics.

    kind: leave out metrics that are not defined on such a context. Raises ConfigError for an unknown name.
    """
    known = all_metrics()
    suites = {metric.suite for metric in known.values() if metric.suite}
    for name in names:
        if name not in known and name not in suites:
            raise ConfigError(f"run.metrics names '{name}'; {suggest(name, [*known, *suites])}")
    return {
        name: metric
        for name, metric in known.items()
        if (name in names or (metric.suite and metric.suite in names)) and (not kind or kind in metric.kinds)
    }


def measure(context: Context, names: Sequence[str]) -> dict[str, float]:
    """Measure the listed metrics, rounded to 6 decimals. All processes must call it together and get the same values.

    A metric whose data is missing is left out with a warning; one whose embeddings are collapsed or not finite is NaN
    (null in results.json). Neither stops the others. Of a broken model (`Context.problem`) every metric is NaN: its
    recall of the forget set would be 0, which reads as a perfect unlearning.
    """
    metrics = selected(names, context.kind)
    context.prepare([entries for metric in metrics.values() for entries in _images(metric, context)])
    return values_of(metrics, context)


def _images(metric: Metric, context: Context) -> list[Sequence[Entry]]:
    """The images that a metric needs; none where it will say that it cannot be measured."""
    try:
        return list(metric.images(context))
    except NotMeasured:
        return []


def files_of_metrics(folder: Path) -> list[Path]:
    """The files that metrics may have written into a run folder; none of an earlier evaluation should stay."""
    return [folder / name for metric in all_metrics().values() for name in metric.files]


def values_of(metrics: Mapping[str, Metric], context: Context) -> dict[str, float]:
    """The values of these metrics, rounded; see `measure`."""
    values: dict[str, float] = {}
    for name, metric in metrics.items():
        values |= guarded(name, metric, context)
    return {key: round(value, DECIMALS) for key, value in values.items()}


def guarded(name: str, metric: Metric, context: Context) -> dict[str, float]:
    """A metric's values: none if data is missing, NaN if the embeddings are unusable; both are logged."""
    try:
        require(metric, context)
        return metric.broken(context) if context.problem else metric(context)
    except NotMeasured as reason:
        log.warning("%s: not measured: %s", name, reason)
        return {}
    except DataError as error:
        log.warning("%s: no value: %s", name, error)
        return dict.fromkeys(metric.keys, float("nan"))


def require(metric: Metric, context: Context) -> None:
    """Raise NotMeasured if a split or metadata file that the metric needs is missing."""
    for split in metric.splits:
        if split not in context.splits:
            raise NotMeasured(f"split '{split}' is not evaluated here")
    for name in metric.metadata_files:
        if not (context.builder.metadata_root / name).is_file():
            raise NotMeasured(f"metadata file {name} is missing under {context.builder.metadata_root}")


def all_metrics() -> dict[str, Metric]:
    """An instance of every registered metric by name, in the order of measurement."""
    metrics = {name: registry.get_metric_class(name)() for name in registry.names("metric")}
    return dict(sorted(metrics.items(), key=lambda item: (item[1].order, item[0])))


def all_columns() -> list[Column]:
    """Every column of every registered metric."""
    return [column for metric in all_metrics().values() for column in metric.columns]


@functools.cache
def columns_used(use: str) -> tuple[Column, ...]:
    """The columns with this use, in the order of the report's tables."""
    columns = [column for column in all_columns() if use in column.uses]
    return tuple(sorted(columns, key=lambda c: (c.groups[0].order if c.groups else LAST, c.order)))


def headline(metrics: Mapping[str, float], splits: Iterable[str]) -> list[Column]:
    """The columns by which models are compared; where none of these was measured, one or two for each split.

    So data without a test split, or without anything to forget, still have numbers to show.
    """
    named = [column for column in columns_used(HEADLINE) if column.key in metrics]
    used = [column for metric in all_metrics().values() for column in metric.split_columns if HEADLINE in column.uses]
    every = [
        dataclasses.replace(column, key=f"{split}_{column.key}", title=f"{split} {column.title}")
        for split in splits
        for column in used
    ]
    return named or [column for column in every if column.key in metrics]

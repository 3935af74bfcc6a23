"""Writes the public evaluator's file format, so that results can be compared with those of others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lavis.common.files import plain, write_json
from lavis.evaluation.measure import all_columns

SKIPPED = -1
SKIPPABLE = "ImageNet1k_Accuracy"
Layout = dict[str, dict[str, dict[str, float | None]]]


def public_layout(metrics: Mapping[str, float]) -> Layout:
    """Flat metrics ("salmubench_retfail_mrr", ...) in the public evaluator's nesting: part, metric, key.

    GenKnow is -1 if ImageNet was not measured (accuracy on other classes does not count). Other metrics that are absent
    or not finite are null.
    """
    layout: Layout = {}
    for column in sorted((c for c in all_columns() if c.public), key=lambda c: c.public or ()):
        assert column.public is not None
        part, title, key = column.public
        absent = SKIPPED if key == SKIPPABLE else None
        layout.setdefault(part, {}).setdefault(title, {})[key] = plain(metrics.get(column.key, absent))
    return layout


def write_public_layout(folder: str | Path, checkpoint: str, metrics: Mapping[str, float]) -> Path:
    """Write `evaluation_<checkpoint>.json` into a folder atomically and return its path.

    In the checkpoint's name, characters other than letters, digits, dots, hyphens and underscores become "_".
    """
    path = Path(folder) / f"evaluation_{re.sub(r'[^A-Za-z0-9._-]+', '_', checkpoint)}.json"
    write_json(path, public_layout(metrics), indent=2)
    return path

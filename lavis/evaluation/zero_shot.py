"""Zero-shot classification: images compared with the texts of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavis.common.errors import DataError
from lavis.evaluation.inputs import TIE, UnitRows, row_numbers, unit_rows

SCORES = 2**24  # scores computed at a time, 128 MiB


def top1(image: Any, classes: Any, labels: Any, name: str) -> float:
    """Share of images (n, D) whose class (labels (n,)) has strictly the largest cosine among classes (k, D).

    Raises DataError as `unit_rows` and for fewer than two classes; ValueError on shapes and labels.
    """
    images, rows = UnitRows(image, f"{name} images"), unit_rows(classes, f"{name} classes")
    labels = row_numbers(labels, len(images), f"{name} labels")
    if len(rows) < 2:
        raise DataError(f"{name} needs at least two classes, there is {len(rows)}")
    if labels.min() < 0 or labels.max() >= len(rows):
        raise ValueError(f"{name} labels must lie in 0..{len(rows) - 1}, got {labels.min()}..{labels.max()}")
    right, block = 0, max(1, SCORES // len(rows))
    for start in range(0, len(images), block):
        scores, wanted = images[start : start + block] @ rows.T, labels[start : start + block, None]
        own = np.take_along_axis(scores, wanted, axis=1)
        np.put_along_axis(scores, wanted, -np.inf, axis=1)
        right += int((own[:, 0] > scores.max(axis=1) + TIE).sum())
    return right / len(images)


def class_features(prompts: Any, classes: Any) -> np.ndarray:
    """Class rows (k, D): the mean of each class's unit prompt rows, normalised.

    prompts (m, D), features of all prompts; classes (m,), the class 0 … k − 1 of each. Raises DataError as `unit_rows`,
    ValueError for a class without a prompt.
    """
    rows = unit_rows(prompts, "class prompts")
    classes = row_numbers(classes, len(rows), "classes")
    if set(classes.tolist()) != set(range(int(classes.max()) + 1)):
        raise ValueError(f"classes must be numbered 0..{classes.max()}, each with a prompt")
    sums = np.zeros((int(classes.max()) + 1, rows.shape[1]))
    np.add.at(sums, classes, rows)
    return unit_rows(sums, "classes")

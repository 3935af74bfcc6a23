"""Checks features and brings them to unit length in double precision, for all metrics.

For most metrics a low value means "forgotten", so a broken model could pass for a perfect one. Embeddings that are not
finite, or all equal, are therefore refused here and not scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lavis.common.checkpoint import not_finite
from lavis.common.errors import DataError, first_few

PIECE = 4096  # rows multiplied at a time
COLLAPSED = 1e-5  # unit rows count as equal if no coordinate varies by more
TIE = 1e-9  # cosines closer than this are tied: summing in another order changes them by less


def unit_rows(features: Any, name: str) -> np.ndarray:
    """Features (n, D), a tensor or an array, as float64 rows of unit length; `name` is for messages.

    Raises DataError if there are no rows, a row is not finite or zero, or all of several rows are equal (a collapsed
    model); ValueError for another shape.
    """
    return UnitRows(features, name)[:]


class UnitRows:
    """The rows of `unit_rows`, computed when they are indexed, by a slice or by row numbers; raises as it does.

    At SALMU's size and beyond, a metric must not hold all of its rows in double precision: it takes a block at a time.
    """

    def __init__(self, features: Any, name: str) -> None:
        self._rows = as_array(features)
        if self._rows.ndim != 2:
            raise ValueError(f"features of {name} need shape (n, D), got {self._rows.shape}")
        Soundness().add(self._rows).refuse(name)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._rows.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return unit_parts(self._rows[rows])[1]


def embedding_problem(features: Mapping[str, Any]) -> str:
    """Why a model's embeddings of its splits are unusable (not finite, or all equal); empty if they are sound."""
    for modality in ("image", "text") if features else ():
        found = Soundness()
        for part in features.values():
            found.add(getattr(part, modality))
        try:
            found.refuse(f"{modality} embeddings")
        except DataError as error:
            return str(error)
    return ""


class Soundness:
    """Whether embeddings can be measured, found some rows at a time.

    total: rows seen; bad: those that are zero or not finite. extremes (2, D): of the others, at unit length, the
    largest values and the largest negated values of each coordinate, -inf where there is no row.
    """

    def __init__(self) -> None:
        self.total = self.bad = 0
        self.extremes = np.full((2, 1), -np.inf)

    def add(self, rows: Any) -> Soundness:
        """Look at rows (n, D); returns itself."""
        rows = as_array(rows)
        self.total += len(rows)
        self.extremes = np.broadcast_to(self.extremes, (2, rows.shape[1]))
        for start in range(0, len(rows), PIECE):
            wrong, part = unit_parts(rows[start : start + PIECE])
            self.bad += int(wrong.sum())
            sound = part[~wrong]
            if len(sound):
                self.extremes = np.maximum(self.extremes, [sound.max(axis=0), (-sound).max(axis=0)])
        return self

    def refuse(self, name: str) -> None:
        """Raise DataError if there are no rows, if some are bad, or if all are equal: no coordinate has a range."""
        if not self.total:
            raise DataError(f"{name}: there is nothing to measure; check the split's annotation file")
        if self.bad:
            raise DataError(
                f"{name}: {self.bad} of {self.total} embeddings are not finite or zero, so the metric has no value; "
                "check the checkpoint (a diverged run leaves such weights)"
            )
        if self.total > 1 and self.extremes.sum(axis=0).max() <= COLLAPSED:
            raise DataError(
                f"{name}: all {self.total} embeddings are equal; a collapsed model has not forgotten, so it gets no "
                "value"
            )


def weights_problem(model: Any) -> str:
    """Which of a model's parameters are not finite numbers; empty if all are, or if it is no module of torch's.

    Embeddings do not show all of them: a temperature or a matching head that is NaN leaves the towers as they were.
    """
    named = model.named_parameters() if isinstance(model, torch.nn.Module) else ()
    bad = not_finite(named)
    if not bad:
        return ""
    return f"{len(bad)} of the model's parameters are not finite, the first: {first_few(bad)}"


def rows_problem(rows: torch.Tensor, truths: Sequence[str]) -> str:
    """Why answers (n, 2), correctness and confidence in the true answer, are unusable; empty if they are sound.

    truths: the true answer of each row. A model that looks at no row gives all rows of one true answer one confidence.
    One that is right and certain everywhere does so too; it is sound.
    """
    if not bool(torch.isfinite(rows).all()):
        return "the model's answers are not finite numbers"
    groups: dict[str, list[int]] = {}
    for number, truth in enumerate(truths):
        groups.setdefault(truth, []).append(number)
    certain = bool((rows[:, 0] == 1).all())
    if certain or len(groups) < 2 or max(map(len, groups.values())) < 2:
        return ""
    spreads = [rows[members, 1].max() - rows[members, 1].min() for members in groups.values()]
    equal = float(max(spreads)) <= COLLAPSED * float(rows[:, 1].max())
    return f"the model gives all {len(rows)} rows the same answer, whatever is asked" if equal else ""


def unit_parts(features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of (n, D) are zero or not finite, (n,); and all rows in float64, the others at unit length."""
    rows = as_array(features).astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~np.isfinite(length[:, 0]) | (length[:, 0] == 0)
    rows /= np.where(bad[:, None], 1, length)
    return bad, rows


def paired_rows(image: Any, text: Any, name: str) -> tuple[UnitRows, UnitRows]:
    """Unit rows of paired images and texts, (n, D) each. Raises as `unit_rows`; ValueError if shapes differ."""
    images, texts = UnitRows(image, f"{name} images"), UnitRows(text, f"{name} texts")
    if images.shape != texts.shape:
        raise ValueError(f"{name}: images {images.shape} and texts {texts.shape} must be paired row by row")
    return images, texts


def paired_cosines(image: Any, text: Any, name: str) -> np.ndarray:
    """Cosine of each image with its text, (n,) float64. Raises as `paired_rows`."""
    return row_products(*paired_rows(image, text, name))


def row_products(one: UnitRows, other: Any, rows: np.ndarray | None = None) -> np.ndarray:
    """The cosine of each row of `other` (m, D), UnitRows or sound features, with row i, or rows[i], of `one`; (m,)."""
    found = np.empty(len(other))
    for start in range(0, len(other), PIECE):
        part = slice(start, start + PIECE)
        unit = other[part] if isinstance(other, UnitRows) else unit_parts(other[part])[1]
        found[part] = (one[part if rows is None else rows[part]] * unit).sum(axis=1)
    return found


def row_numbers(values: Any, n: int, name: str) -> np.ndarray:
    """One whole number per row, (n,) int64. Raises ValueError for another shape or type."""
    numbers = as_array(values)
    if numbers.shape != (n,) or (n and not np.issubdtype(numbers.dtype, np.integer)):
        raise ValueError(f"{name} must be {n} whole numbers, got shape {numbers.shape} of {numbers.dtype}")
    return numbers.astype(np.int64)


def as_array(values: Any) -> np.ndarray:
    """A tensor, or anything like an array, as an array; bfloat16, which NumPy lacks, becomes float32."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)

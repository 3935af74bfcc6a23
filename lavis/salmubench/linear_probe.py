"""Linear probe: how well frozen image features still identify people (ours, not SALMUBench's)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from lavis.common.errors import DataError
from lavis.common.registry import registry
from lavis.common.seed import derived_seed
from lavis.evaluation.inputs import UnitRows
from lavis.evaluation.metric import RESIDUE, Column
from lavis.salmubench.acs import FOLDS, cross_validated
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, people_of

MOST = 20  # images per identity
MOST_STEPS = 300


@registry.register_metric("linear_probe")
class LinearProbe(SalmuMetric):
    """Accuracy on forget, and that of guessing."""

    columns = (
        Column(
            *(PREFIX + "linear_probe", "linear probe", "identity read from frozen features of forgotten images"),
            groups=(RESIDUE,),
            order=10,
        ),
    )
    order = 115

    def values(self, data: BenchmarkData) -> Numbers:
        part = data.part("forget")
        result = linear_probe(part.image, people_of(part), seed=data.choices.seed)
        return {"linear_probe": result["accuracy"], "linear_probe_chance": result["chance"]}


def linear_probe(image: Any, people: Sequence[str], *, seed: int = 42) -> dict[str, float]:
    """{"accuracy", "chance"} of a linear classifier of the identity on frozen image features.

    image (n, D); people, n identities. Accuracy: 5-fold cross-validated, stratified, of a multinomial logistic
    regression on standardised unit features (linear evaluation as in CLIP, arXiv 2103.00020, section 3.2, with the
    regularisation fixed). Chance: the share of the most frequent identity. At most 20 images per identity are drawn;
    identities with fewer than 5 are left out.

    Raises DataError as `unit_rows`, and if fewer than two identities have 5 images.
    """
    rows = UnitRows(image, "linear probe")
    drawn = _draw(people, seed)
    labels = np.unique(np.asarray(people)[drawn], return_inverse=True)[1] if drawn else np.empty(0, dtype=int)
    if len(np.unique(labels)) < 2:
        raise DataError(f"linear probe: fewer than two identities have {FOLDS} images")
    return {
        "accuracy": _accuracy(rows[np.array(drawn)], labels, seed),
        "chance": float(np.bincount(labels).max() / len(labels)),
    }


def _draw(people: Sequence[str], seed: int) -> list[int]:
    """Row numbers, sorted."""
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(people):
        rows.setdefault(person, []).append(row)
    drawn = []
    for person, own in rows.items():
        if len(own) >= FOLDS:
            rng = np.random.default_rng(derived_seed(seed, "salmubench", "probe", person))
            drawn += [own[i] for i in rng.permutation(len(own))[:MOST]]
    return sorted(drawn)


def _accuracy(rows: np.ndarray, labels: np.ndarray, seed: int) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_STEPS, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_validated(probe, rows, labels, derived_seed(seed, "salmubench", "probe folds"))

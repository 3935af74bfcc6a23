"""The metrics that classify: ACS, IdZSC, GenKnow; and, beside the ten, the value AUC. All are fractions."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavis.common.errors import ConfigError, DataError, suggest
from lavis.common.seed import derived_seed
from lavis.evaluation.inputs import TIE, paired_rows, row_numbers, unit_rows

ACS_FEATURES = ("cosine", "product")
IDZSC_PROMPTS = {"name": "{name}", "photo": "a photo of {name}"}
FOLDS = 5
MOST_STEPS = 1000
BLOCK = 4096


def acs(image: Any, text: Any, *, features: str = "cosine", seed: int = 42) -> float:
    """ACS: 5-fold cross-validated accuracy of a logistic regression telling true forget pairs from shuffled ones.

    image (n, D), text (n, D), paired. Negatives pair every image with the captions in a seeded permutation (which may
    leave some in place). Choice `features`: "cosine" (the default: the pair's cosine) or "product" (of the unit
    embeddings, elementwise). 0.5 is chance, where nothing is associated.

    Raises ConfigError on another choice; DataError on fewer than 5 pairs and as `paired_rows`.
    """
    if features not in ACS_FEATURES:
        raise ConfigError(f"ACS: features is '{features}'; {suggest(features, ACS_FEATURES)}")
    images, texts = paired_rows(image, text, "ACS")
    if len(images) < FOLDS:
        raise DataError(f"ACS needs at least {FOLDS} forget pairs for its {FOLDS} folds, there are {len(images)}")
    order = np.random.default_rng(derived_seed(seed, "salmubench", "acs")).permutation(len(images))
    products = np.concatenate([images * texts, images * texts[order]])
    inputs = products.sum(axis=1, keepdims=True) if features == "cosine" else products
    return _cross_validated(inputs, np.repeat([1, 0], len(images)), derived_seed(seed, "salmubench", "folds"))


def _cross_validated(inputs: np.ndarray, labels: np.ndarray, seed: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed % 2**32)
    probe = LogisticRegression(max_iter=MOST_STEPS)
    return float(cross_val_score(probe, inputs, labels, cv=folds, scoring="accuracy", error_score="raise").mean())


def idzsc(image: Any, names: Any, labels: Any) -> float:
    """IdZSC: share of forget_identity's images whose own name is nearer than every other name.

    image (n, D); names (k, D), the text of one prompt (IDZSC_PROMPTS, "{name}" by default) for every distinct name;
    labels (n,), the row of each image's name. A tie is a miss. Raises as `top1`.
    """
    return top1(image, names, labels, "IdZSC")


def gen_know(image: Any, classes: Any, labels: Any) -> float:
    """GenKnow: zero-shot top-1 accuracy, of ImageNet-1k's validation images or of a data set's own classes.

    image (n, D); classes (k, D) from `class_features`; labels (n,), the class of each image. A tie is a miss.
    Raises as `top1`.
    """
    return top1(image, classes, labels, "GenKnow")


def top1(image: Any, classes: Any, labels: Any, name: str) -> float:
    """Share of images (n, D) whose class (labels (n,)) has strictly the greatest cosine among classes (k, D).

    Raises DataError as `unit_rows` and when there are fewer than two classes; ValueError on shapes and labels.
    """
    images, rows = unit_rows(image, f"{name} images"), unit_rows(classes, f"{name} classes")
    labels = row_numbers(labels, len(images), f"{name} labels")
    if len(rows) < 2:
        raise DataError(f"{name} needs at least two classes, there is {len(rows)}")
    if labels.min() < 0 or labels.max() >= len(rows):
        raise ValueError(f"{name} labels must lie in 0..{len(rows) - 1}, got {labels.min()}..{labels.max()}")
    right = 0
    for start in range(0, len(images), BLOCK):
        scores, wanted = images[start : start + BLOCK] @ rows.T, labels[start : start + BLOCK, None]
        own = np.take_along_axis(scores, wanted, axis=1)
        np.put_along_axis(scores, wanted, -np.inf, axis=1)
        right += int((own[:, 0] > scores.max(axis=1) + TIE).sum())
    return right / len(images)


def class_features(prompts: Any, classes: Any) -> np.ndarray:
    """Class rows (k, D): the mean of each class's unit prompt rows, brought back to unit length.

    prompts (m, D), features of all prompts; classes (m,), the class 0 … k − 1 of each. Raises DataError as
    `unit_rows`, ValueError for a class without a prompt.
    """
    rows = unit_rows(prompts, "class prompts")
    classes = row_numbers(classes, len(rows), "classes")
    if set(classes.tolist()) != set(range(int(classes.max()) + 1)):
        raise ValueError(f"classes must be numbered 0..{classes.max()}, each with a prompt")
    sums = np.zeros((int(classes.max()) + 1, rows.shape[1]))
    np.add.at(sums, classes, rows)
    return unit_rows(sums, "classes")


def value_aucs(image: Any, text: Any, other: Any, owner: Any) -> np.ndarray:
    """Value AUC (ours, not SALMUBench's) of every pair, (n,): is the true value told from fictitious ones?

    The share of fictitious captions (own name, same wording, another value) that are less like the image than the
    true caption is, a tie counting one half: 0.5 is chance, 1 full memory, and 0 a trace as well. image (n, D) and
    text (n, D) are paired; other (m, D), the fictitious captions; owner (m,), the pair each belongs to.

    Raises DataError as `unit_rows` and for a pair without a fictitious caption; ValueError on shapes.
    """
    images, texts = paired_rows(image, text, "value AUC")
    others = unit_rows(other, "value AUC fictitious captions")
    owner = row_numbers(owner, len(others), "owner")
    if owner.min() < 0 or owner.max() >= len(images):
        raise ValueError(f"owner must lie in 0..{len(images) - 1}, got {owner.min()}..{owner.max()}")
    count = np.bincount(owner, minlength=len(images))
    if not count.all():
        raise DataError(f"value AUC: {int((count == 0).sum())} pairs have no fictitious caption; leave them out")
    lead = (images * texts).sum(axis=1)[owner] - (images[owner] * others).sum(axis=1)
    won = np.where(np.abs(lead) <= TIE, 0.5, lead > 0)
    return np.bincount(owner, weights=won, minlength=len(images)) / count

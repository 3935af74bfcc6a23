"""What a model does with each pair, in numbers that do not depend on how its space is turned: margins and profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lavis.evaluation.inputs import paired_rows, unit_rows
from lavis.salmubench.identity_mrr import CaptionPool

BLOCK = 256  # pairs at a time
FEATURES = ("image to text", "text to image", "log rank")
Part = tuple[Any, Any, Sequence[str], Sequence[str]]  # image (n, D), text (n, D), people and captions of n pairs


@dataclass(frozen=True)
class Behaviour:
    """Of Df's n pairs and the control's m (0 without a control).

    margin (n,): φ = log p/(1 − p) of the own caption's probability p among the pool's captions of other people.
    profile (n, 3): by how many standard deviations the own caption is nearer to the image than other people's captions
    are, the same from the caption to other people's images, and log(1/rank).
    """

    margin: np.ndarray
    profile: np.ndarray
    control_margin: np.ndarray
    control_profile: np.ndarray


def behaviour(parts: Sequence[Part], pool: CaptionPool, rivals: Any, scale: float) -> Behaviour:
    """The behaviour of the model whose embeddings these are. parts: Df, and the control; rivals (m, D): of the pool.

    scale: the model's multiplier of cosines. Raises DataError if embeddings are unusable.
    """
    others = unit_rows(rivals, "audit pool")
    pairs = [paired_rows(image, text, "audit") for image, text, _, _ in parts]
    rows = [(image[:], text[:]) for image, text in pairs]
    images = np.concatenate([image for image, _ in rows])
    people = np.array([who for _, _, owners, _ in parts for who in owners])
    found = [_all(*pair, part[2], pool, others, images, people, scale) for pair, part in zip(rows, parts, strict=True)]
    empty = (np.zeros(0), np.zeros((0, len(FEATURES))))
    return Behaviour(*found[0], *(found[1] if len(found) > 1 else empty))


def _all(image: np.ndarray, text: np.ndarray, owners: Sequence[str], *more: Any) -> tuple[np.ndarray, np.ndarray]:
    """`_block` of all pairs, a block at a time: their scores are as many as pairs times captions."""
    starts = range(0, len(image), BLOCK)
    parts = [slice(start, start + BLOCK) for start in starts]
    margin, profile = zip(*(_block(image[part], text[part], owners[part], *more) for part in parts), strict=True)
    return np.concatenate(margin), np.concatenate(profile)


def _block(
    image: np.ndarray,
    text: np.ndarray,
    owners: Sequence[str],
    pool: CaptionPool,
    rivals: np.ndarray,
    images: np.ndarray,
    people: np.ndarray,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Margins (n,) and profiles (n, 3) of a block of pairs."""
    own = (image * text).sum(axis=1)
    scores = np.where(pool.mask(owners), np.nan, image @ rivals.T)
    back = np.where(np.asarray(owners)[:, None] == people[None], np.nan, text @ images.T)
    top = np.nanmax(scores, axis=1)
    total = np.log(np.nansum(np.exp(scale * (scores - top[:, None])), axis=1)) + scale * top
    rank = 1 + (scores >= own[:, None]).sum(axis=1)
    return scale * own - total, np.stack([_leads(own, scores), _leads(own, back), -np.log(rank)], axis=1)


def _leads(own: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """By how many standard deviations the own score lies above the others', (n,)."""
    return (own - np.nanmean(scores, axis=1)) / np.maximum(np.nanstd(scores, axis=1), 1e-9)

"""What each miniature contains: scenes, annotations and forget pool, planned before anything is drawn.

A miniature has the format of the data set it stands for. coco_mini and vqa_mini have the same images, as do
flickr30k_mini and snli_ve_mini, whose scenes have a board over one column. No scene is in two splits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lavis.synthetic.scenes.scene import Group, Scene, distinct_scenes, one_group
from lavis.synthetic.scenes.texts import GIVEN, captions, hypotheses, questions, statements

SPLITS = ("train", "val", "test")
PIXELS = 64
KINDS = ("look", "both", "count")  # kinds of NLVR2 statements, used in turn

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """Images (NLVR2: pairs of images) in (train, val, test), and images in a forget list."""

    counts: tuple[int, int, int]
    pool: int


SIZES = {"mini": Size((160, 100, 200), 40), "tiny": Size((60, 12, 24), 16)}


@dataclass(frozen=True)
class Plan:
    """Scenes by image path and annotation items by split."""

    scenes: dict[str, Scene]
    items: dict[str, list[Item]]


def make_plan(kind: str, size: Size, seed: int) -> Plan:
    """Plan the content of a miniature; `kind` is a key of MAKERS."""
    return MAKERS[kind](size, seed)


def _by_split(size: Size, name: Callable[[str, int], str], board: bool, seed: int) -> dict[str, dict[str, Scene]]:
    """split -> path -> scene. The draw depends only on the size, the board and the seed."""
    scenes = iter(distinct_scenes(sum(size.counts), board, np.random.default_rng([seed, int(board)])))
    numbers = iter(range(sum(size.counts)))
    return {
        split: {name(split, next(numbers)): next(scenes) for _ in range(count)}
        for split, count in zip(SPLITS, size.counts, strict=True)
    }


def _coco_name(split: str, number: int) -> str:
    return f"{'train' if split == 'train' else 'val'}2014/{number:06d}.jpg"


def _flickr_name(split: str, number: int) -> str:
    return f"flickr30k-images/{1000000 + number}.jpg"


def _merged(splits: dict[str, dict[str, Scene]]) -> dict[str, Scene]:
    return {path: scene for scenes in splits.values() for path, scene in scenes.items()}


def _captioned(splits: dict[str, dict[str, Scene]], prefix: str) -> Plan:
    """Training has a row per caption, evaluation a row per image, as in the Karpathy files."""
    items: dict[str, list[Item]] = {}
    for split, scenes in splits.items():
        rows = items[split] = []
        for path, scene in scenes.items():
            facts = {"image": path, "image_id": f"{prefix}_{path.split('/')[1].split('.')[0]}"}
            texts = captions(scene)
            rows += [facts | {"caption": c} for c in texts] if split == "train" else [facts | {"caption": texts}]
    return Plan(_merged(splits), items)


def _coco(size: Size, seed: int) -> Plan:
    return _captioned(_by_split(size, _coco_name, False, seed), "coco")


def _flickr30k(size: Size, seed: int) -> Plan:
    return _captioned(_by_split(size, _flickr_name, True, seed), "flickr")


def _vqa(size: Size, seed: int) -> Plan:
    splits = _by_split(size, _coco_name, False, seed)
    items: dict[str, list[Item]] = {}
    for number, (split, scenes) in enumerate(splits.items()):
        drawn = questions(list(scenes.values()), np.random.default_rng([seed, 2, number]))
        rows = [(path, *pair) for path, pairs in zip(scenes, drawn, strict=True) for pair in pairs]
        items[split] = [
            {"question_id": 100000 * number + n, "question": q, "answer": [a] * GIVEN, "image": path, "dataset": "vqa"}
            for n, (path, q, a) in enumerate(rows)
        ]
    return Plan(_merged(splits), items)


def _snli_ve(size: Size, seed: int) -> Plan:
    splits = _by_split(size, _flickr_name, True, seed)
    rng = np.random.default_rng([seed, 3])
    items = {
        split: [
            {"image": path.split("/")[1].split(".")[0], "sentence": text, "label": label, "premise": captions(scene)[0]}
            for path, scene in scenes.items()
            for text, label in hypotheses(scene, rng)
        ]
        for split, scenes in splits.items()
    }
    return Plan(_merged(splits), items)


def _nlvr(size: Size, seed: int) -> Plan:
    rng = np.random.default_rng([seed, 4])
    pairs = _pairs(rng)
    scenes: dict[str, Scene] = {}
    items: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for split, count in zip(SPLITS, size.counts, strict=True):
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            shared = number // len(KINDS) % 2 == 0 if kind == "both" else None
            pair = next(pair for pair in pairs if shared is None or (pair[0].colour == pair[1].colour) == shared)
            paths = [f"{split}/{number:05d}-img{side}.jpg" for side in (0, 1)]
            scenes |= {path: Scene((group,)) for path, group in zip(paths, pair, strict=True)}
            items[split] += [
                {"images": paths, "sentence": text, "label": label} for text, label in statements(pair, kind, rng)
            ]
    return Plan(scenes, items)


def _pairs(rng: np.random.Generator) -> Iterator[tuple[Group, Group]]:
    """All ordered pairs of groups, once each, in random order."""
    groups: Sequence[Group] = [scene.groups[0] for scene in one_group()]
    for number in map(int, rng.permutation(len(groups) ** 2)):
        yield groups[number // len(groups)], groups[number % len(groups)]


MAKERS: dict[str, Callable[[Size, int], Plan]] = {
    "coco": _coco,
    "flickr30k": _flickr30k,
    "vqa": _vqa,
    "nlvr": _nlvr,
    "snli_ve": _snli_ve,
}

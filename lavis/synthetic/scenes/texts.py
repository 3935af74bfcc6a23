"""Captions, questions, hypotheses and statements about scenes, with balanced answers and labels.

Within a split, the answers to each kind of question and the labels of each kind of statement are about equally
frequent, so that the text alone reveals no more than its kind does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lavis.synthetic.scenes.scene import COLOURS, COUNTS, PLACES, SHAPES, WORDS, Group, Scene, where

ANSWERS = [*map(str, COUNTS), *COLOURS, *PLACES, "yes", "no"]
GIVEN = 10  # answers per question, as in VQA; here they all agree
SIDES = ("left", "right")

Question = Callable[[Group], tuple[str, str]]  # group -> (question, answer)
QUESTIONS: dict[str, Question] = {
    "count": lambda group: (f"how many {group.shape}s are there?", str(group.count)),
    "colour": lambda group: (f"what color are the {group.shape}s?", group.colour),
    "place": lambda group: (f"where are the {group.colour} objects?", group.place),
}


def captions(scene: Scene) -> list[str]:
    """Three captions of a scene; each mentions everything."""
    first, second = scene.groups
    one, two = (f"{group.phrase} {where(group.place)}" for group in scene.groups)
    return [
        f"{one} and {two}",
        f"a picture of {two} and {one}",
        f"{where(first.place)} there {_be(first)} {first.phrase} and {where(second.place)} {second.phrase}",
    ]


def questions(scenes: Sequence[Scene], rng: np.random.Generator) -> list[list[tuple[str, str]]]:
    """Four (question, answer) pairs per scene: a count, a colour, a place, and yes or no.

    Prefers the answers that have been rarest so far.
    """
    used: Counter[tuple[str, str]] = Counter()
    found = []
    for scene in scenes:
        pairs = []
        for kind, ask in QUESTIONS.items():
            rare = min(_shuffled(scene.groups, rng), key=lambda group: used[kind, ask(group)[1]])
            used[kind, ask(rare)[1]] += 1
            pairs.append(ask(rare))
        found.append([*pairs, _yes_or_no(scene, used, rng)])
    return found


def _yes_or_no(scene: Scene, used: Counter, rng: np.random.Generator) -> tuple[str, str]:
    group = _pick(scene.groups, rng)
    others = [colour for colour in COLOURS if colour != group.colour]
    answer = min(_shuffled(("yes", "no"), rng), key=lambda word: used["truth", word])
    used["truth", answer] += 1
    colour = group.colour if answer == "yes" else _pick(others, rng)
    return f"are the {group.shape}s {colour}?", answer


def hypotheses(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(hypothesis, label) for a scene with a board, one for each label, all in the same form.

    A statement about the hidden column is neutral.
    """
    counted = bool(rng.integers(2))
    true, false = _shuffled(scene.groups, rng)
    wrong = replace(false, count=_other(COUNTS, false.count, rng)) if counted else _changed(false, rng)
    behind = Group(scene.hidden or "", _pick(COLOURS, rng), _pick(SHAPES, rng), _pick(COUNTS, rng))
    groups = {"entailment": true, "contradiction": wrong, "neutral": behind}
    return [
        (f"there {_be(group) if counted else 'are'} {_phrase(group, counted)} {where(group.place)}", label)
        for label, group in groups.items()
    ]


def statements(pair: tuple[Group, Group], kind: str, rng: np.random.Generator) -> list[tuple[str, str]]:
    """A true and a false (statement, label) of a kind ("look", "count", "both") about two images with a group each."""
    if kind == "both":
        shared = pair[0].colour == pair[1].colour
        colour = _pick(pair, rng).colour
        texts = (f"both images show {colour} objects", f"only one image shows {colour} objects")
        return [(text, str(truth)) for text, truth in zip(texts, (shared, not shared), strict=True)]
    number = int(rng.integers(2))
    group = pair[number]
    wrong = replace(group, count=_other(COUNTS, group.count, rng)) if kind == "count" else _changed(group, rng)
    lead = f"the {SIDES[number]} image shows"
    return [(f"{lead} {_phrase(g, kind == 'count')}", label) for g, label in ((group, "True"), (wrong, "False"))]


def vocabulary() -> list[str]:
    """Wordpieces of all texts, special tokens first, [PAD] with id 0. Plurals are a shape and ##s."""
    groups = [Group(place, colour, shape, 1) for place in PLACES for colour in COLOURS for shape in SHAPES]
    texts = [text for a, b in zip(groups, reversed(groups), strict=True) for text in captions(Scene((a, b)))]
    texts += [ask(group)[0] for ask in QUESTIONS.values() for group in groups]
    texts += ["are", *ANSWERS, *WORDS[1:], "objects", "object", "the image", "shows", *_sample_statements()]
    words = {word for text in texts for word in text.replace("?", " ?").split()}
    plurals = {f"{shape}s" for shape in SHAPES}
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted((words | set(SHAPES)) - plurals), "##s"]


def _sample_statements() -> list[str]:
    rng = np.random.default_rng(0)
    group = Group("left", "red", "circle", 1)
    return [text for kind in ("look", "count", "both") for text, _ in statements((group, group), kind, rng)]


def _be(group: Group) -> str:
    return "is" if group.count == 1 else "are"


def _phrase(group: Group, counted: bool) -> str:
    """A group by its count ("two objects") or by its look ("red circles")."""
    if counted:
        return f"{WORDS[group.count]} object{'s' if group.count > 1 else ''}"
    return f"{group.colour} {group.shape}s"


def _changed(group: Group, rng: np.random.Generator) -> Group:
    """The group with another colour or another shape."""
    if rng.integers(2):
        return replace(group, colour=_other(COLOURS, group.colour, rng))
    return replace(group, shape=_other(SHAPES, group.shape, rng))


def _shuffled(items: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    return [items[i] for i in rng.permutation(len(items))]


def _pick(items: Sequence[Any], rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]


def _other(items: Sequence[Any], excluded: Any, rng: np.random.Generator) -> Any:
    return _pick([item for item in items if item != excluded], rng)

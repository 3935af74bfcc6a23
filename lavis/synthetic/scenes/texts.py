"""What is said and asked about scenes, with answers and labels in balance.

Within a split each kind of question has its answers, and each kind of statement its labels, equally often (to a few):
no answer or label can be guessed from the text better than the kind of text allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lavis.synthetic.scenes.scene import COLOURS, COUNTS, PLACES, SHAPES, WORDS, Group, Scene, where

ANSWERS = [*map(str, COUNTS), *COLOURS, *PLACES, "yes", "no"]
GIVEN = 10  # people who answer a question; here all alike
SIDES = ("left", "right")

Asked = Callable[[Group], tuple[str, str]]  # a group -> (question, answer)
QUESTIONS: dict[str, Asked] = {
    "count": lambda group: (f"how many {group.shape}s are there?", str(group.count)),
    "colour": lambda group: (f"what color are the {group.shape}s?", group.colour),
    "place": lambda group: (f"where are the {group.colour} objects?", group.place),
}


def captions(scene: Scene) -> list[str]:
    """Three captions of a scene; each tells everything."""
    first, second = scene.groups
    one, two = (f"{group.phrase} {where(group.place)}" for group in scene.groups)
    return [
        f"{one} and {two}",
        f"a picture of {two} and {one}",
        f"{where(first.place)} there {_be(first)} {first.phrase} and {where(second.place)} {second.phrase}",
    ]


def questions(scenes: Sequence[Scene], rng: np.random.Generator) -> list[list[tuple[str, str]]]:
    """Four (question, answer) pairs a scene: a count, a colour, a place, and yes or no."""
    asked: Counter[tuple[str, str]] = Counter()
    found = []
    for scene in scenes:
        pairs = []
        for kind, ask in QUESTIONS.items():
            rare = min(_shuffled(scene.groups, rng), key=lambda group: asked[kind, ask(group)[1]])
            asked[kind, ask(rare)[1]] += 1
            pairs.append(ask(rare))
        found.append([*pairs, _yes_or_no(scene, asked, rng)])
    return found


def _yes_or_no(scene: Scene, asked: Counter, rng: np.random.Generator) -> tuple[str, str]:
    group = _one(scene.groups, rng)
    others = [colour for colour in COLOURS if colour != group.colour]
    answer = min(_shuffled(("yes", "no"), rng), key=lambda word: asked["truth", word])
    asked["truth", answer] += 1
    colour = group.colour if answer == "yes" else _one(others, rng)
    return f"are the {group.shape}s {colour}?", answer


def hypotheses(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(hypothesis, label) of a scene with a board, one for each label, all of the same form.

    What is behind the board is neither entailed nor contradicted.
    """
    counted = bool(rng.integers(2))
    true, false = _shuffled(scene.groups, rng)
    wrong = replace(false, count=_other(COUNTS, false.count, rng)) if counted else _changed(false, rng)
    behind = Group(scene.hidden or "", _one(COLOURS, rng), _one(SHAPES, rng), _one(COUNTS, rng))
    groups = {"entailment": true, "contradiction": wrong, "neutral": behind}
    told = {label: (_be(group) if counted else "are", _told(group, counted)) for label, group in groups.items()}
    return [(f"there {be} {text} {where(groups[label].place)}", label) for label, (be, text) in told.items()]


def statements(pair: tuple[Group, Group], kind: str, rng: np.random.Generator) -> list[tuple[str, str]]:
    """A true and a false (statement, label) of one kind ("look", "count", "both") about two pictures of one group."""
    if kind == "both":
        shared = pair[0].colour == pair[1].colour
        colour = _one(pair, rng).colour
        texts = (f"both images show {colour} objects", f"only one image shows {colour} objects")
        return [(text, str(truth)) for text, truth in zip(texts, (shared, not shared), strict=True)]
    number = int(rng.integers(2))
    group = pair[number]
    wrong = replace(group, count=_other(COUNTS, group.count, rng)) if kind == "count" else _changed(group, rng)
    lead = f"the {SIDES[number]} image shows"
    return [(f"{lead} {_told(g, kind == 'count')}", label) for g, label in ((group, "True"), (wrong, "False"))]


def vocabulary() -> list[str]:
    """Wordpieces of all texts, special tokens first; plurals are a shape and ##s. [PAD] is number 0."""
    groups = [Group(place, colour, shape, 1) for place in PLACES for colour in COLOURS for shape in SHAPES]
    texts = [text for a, b in zip(groups, reversed(groups), strict=True) for text in captions(Scene((a, b)))]
    texts += [ask(group)[0] for ask in QUESTIONS.values() for group in groups]
    texts += ["are", *ANSWERS, *WORDS[1:], "objects", "object", "the image", "shows", *_truths()]
    words = {word for text in texts for word in text.replace("?", " ?").split()}
    plurals = {f"{shape}s" for shape in SHAPES}
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted((words | set(SHAPES)) - plurals), "##s"]


def _truths() -> list[str]:
    rng = np.random.default_rng(0)
    group = Group("left", "red", "circle", 1)
    return [text for kind in ("look", "count", "both") for text, _ in statements((group, group), kind, rng)]


def _be(group: Group) -> str:
    return "is" if group.count == 1 else "are"


def _told(group: Group, counted: bool) -> str:
    """A group by its number ("two objects") or by its look ("red circles")."""
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


def _one(items: Sequence[Any], rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]


def _other(items: Sequence[Any], but: Any, rng: np.random.Generator) -> Any:
    return _one([item for item in items if item != but], rng)

"""Texts about scenes: true by an independent reading, balanced, and within the vocabulary."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from lavis.synthetic.scenes.plan import SIZES, Size, make_plan
from lavis.synthetic.scenes.scene import distinct_scenes, one_group, two_groups
from lavis.synthetic.scenes.texts import ANSWERS, vocabulary

NUMBER = {"one": 1, "two": 2, "three": 3}


@pytest.fixture(scope="module", params=["tiny", "mini"])
def size(request):
    return SIZES[request.param]


@pytest.fixture(scope="module")
def plans(size):
    return {kind: make_plan(kind, size, 42) for kind in ("coco", "flickr30k", "vqa", "nlvr", "snli_ve")}


def objects(scene, **facts):
    """How many objects of the scene have these properties."""
    return sum(g.count for g in scene.groups if all(getattr(g, key) == value for key, value in facts.items()))


def read(text):
    """Properties that a phrase names."""
    facts = {"colour": re.search("red|green|blue|yellow", text), "shape": re.search("circle|square|triangle", text)}
    facts["place"] = re.search(r"(?:on|in) the (left|middle|right)", text)
    return {key: hit.group(hit.lastindex or 0) for key, hit in facts.items() if hit}


def counted(text):
    hit = re.search(r"\b(one|two|three) (?:object|red|green|blue|yellow)", text)
    return NUMBER[hit.group(1)] if hit else None


def test_scenes_are_all_different():
    scenes = [*two_groups(False), *two_groups(True), *one_group()]
    assert len(scenes) == len(set(scenes)) == 2 * 1944 + 108


def test_no_scene_is_in_two_splits(plans, size):
    for kind in ("coco", "flickr30k", "vqa", "snli_ve"):
        assert len(set(plans[kind].scenes.values())) == len(plans[kind].scenes) == sum(size.counts)


def test_data_sets_share_images_as_the_real_ones_do(plans):
    assert plans["vqa"].scenes == plans["coco"].scenes
    assert plans["snli_ve"].scenes == plans["flickr30k"].scenes


def test_captions_say_what_is_shown(plans):
    for kind in ("coco", "flickr30k"):
        plan = plans[kind]
        for item in [item for items in plan.items.values() for item in items]:
            captions = [item["caption"]] if isinstance(item["caption"], str) else item["caption"]
            scene = plan.scenes[item["image"]]
            for caption in captions:
                halves = caption.split(" and ")
                assert len(halves) == 2
                for half in halves:
                    assert objects(scene, **read(half)) == counted(half), (caption, scene)
        train = plan.items["train"]
        assert len(train) == 3 * len({item["image"] for item in train})


def true_answer(scene, question):
    facts = read(question)
    if question.startswith("how many"):
        return str(objects(scene, **facts))
    if question.startswith("what color"):
        return next(g.colour for g in scene.groups if g.shape == facts["shape"])
    if question.startswith("where"):
        return next(g.place for g in scene.groups if g.colour == facts["colour"])
    return "yes" if objects(scene, **facts) else "no"


def test_answers_are_right_and_balanced_and_in_the_list(plans):
    for items in plans["vqa"].items.values():
        tally = Counter()
        for item in items:
            (answer,) = set(item["answer"])
            assert len(item["answer"]) == 10 and answer in ANSWERS
            assert answer == true_answer(plans["vqa"].scenes[item["image"]], item["question"])
            tally[item["question"].split()[0], answer] += 1
        for kind, answers in (("how", 3), ("what", 4), ("where", 3), ("are", 2)):
            times = [n for (word, _), n in tally.items() if word == kind]
            assert len(times) == answers and max(times) <= sum(times) / answers * 1.15 + 2, (kind, times)


def holds(scene, text):
    if scene.hidden and f"the {scene.hidden}" in text:
        return "neutral"
    facts, number = read(text), counted(text)
    found = objects(scene, **facts)
    return "entailment" if (found == number if number else found > 0) else "contradiction"


def test_hypotheses_have_their_label(plans):
    plan = plans["snli_ve"]
    for items in plan.items.values():
        assert set(Counter(item["label"] for item in items).values()) == {len(items) // 3}
        for item in items:
            scene = plan.scenes[f"flickr30k-images/{item['image']}.jpg"]
            assert item["label"] == holds(scene, item["sentence"]), (item, scene)


def test_labels_cannot_be_read_from_hypotheses_alone():
    """On other rows, guessing each text's most frequent label is hardly better than chance (larger draw)."""
    items = make_plan("snli_ve", Size((800, 100, 200), 200), 42).items
    train, test = items["train"], items["test"]
    tally = {}
    for item in train:
        tally.setdefault(item["sentence"], Counter())[item["label"]] += 1
    right = [tally[i["sentence"]].most_common(1)[0][0] == i["label"] for i in test if i["sentence"] in tally]
    assert len(right) > 500 and sum(right) / len(right) < 0.42


def statement_holds(left, right, text):
    sides = {"left": (left,), "right": (right,)}
    hit = re.match("the (left|right) image", text)
    if hit:
        (scene,) = sides[hit.group(1)]
        number, facts = counted(text), read(text)
        return objects(scene, **facts) == number if number else objects(scene, **facts) > 0
    shown = sum(objects(scene, **read(text)) > 0 for scene in (left, right))
    return shown == (2 if text.startswith("both") else 1)


def test_statements_have_their_label(plans):
    plan = plans["nlvr"]
    for items in plan.items.values():
        for true, false in zip(items[::2], items[1::2], strict=True):
            assert true["images"] == false["images"] and {true["label"], false["label"]} == {"True", "False"}
        for item in items:
            left, right = (plan.scenes[path] for path in item["images"])
            assert str(statement_holds(left, right, item["sentence"])) == item["label"], item


def test_both_is_as_often_true_as_false(plans):
    items = plans["nlvr"].items["train"]
    labels = Counter(item["label"] for item in items if item["sentence"].startswith("both"))
    assert abs(labels["True"] - labels["False"]) <= 1


def test_pairs_are_not_repeated(plans):
    pairs = [tuple(plans["nlvr"].scenes[p] for p in i["images"]) for items in plans["nlvr"].items.values()
             for i in items[::2]]  # fmt: skip
    assert len(set(pairs)) == len(pairs)


def test_every_text_is_in_the_vocabulary(plans):
    """Greedy longest-match tokenization, as for BERT's wordpieces, meets no unknown piece."""
    known = set(vocabulary())
    assert len(vocabulary()) == len(known) <= 100 and vocabulary()[0] == "[PAD]"
    texts = {str(value) for plan in plans.values() for items in plan.items.values() for item in items
             for key in ("caption", "question", "sentence") for value in [item.get(key)] if value}  # fmt: skip
    words = {word for text in texts for word in re.findall(r"[a-z0-9]+|\?", text)} | set(ANSWERS)
    assert not [w for w in words if w not in known and not (w.endswith("s") and w[:-1] in known)]


def test_plans_follow_the_seed(size):
    assert make_plan("vqa", size, 1) == make_plan("vqa", size, 1)
    assert make_plan("vqa", size, 1) != make_plan("vqa", size, 2)


def test_distinct_scenes_differ_in_colour_and_shape():
    import numpy as np

    for scene in distinct_scenes(50, True, np.random.default_rng(0)):
        for one, two in pairwise(scene.groups):
            assert one.colour != two.colour and one.shape != two.shape
        assert scene.hidden not in [group.place for group in scene.groups]

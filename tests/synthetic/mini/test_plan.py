"""What a SALMU-mini contains: counts, identities, captions, splits, metadata."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from lavis.synthetic.mini.captions import render, templates
from lavis.synthetic.mini.looks import describe, difference
from lavis.synthetic.mini.metadata import metadata_files
from lavis.synthetic.mini.objects import SHAPES
from lavis.synthetic.mini.pen import palette
from lavis.synthetic.mini.plan import SENSITIVE, SPLITS, make_plan
from lavis.synthetic.mini.variants import SIZES

COUNTS = {
    "mini": {"forget": 630, "holdout_identity": 360, "holdout_association": 210, "retain_synth": 2800},
    "tiny": {"forget": 60, "holdout_identity": 40, "holdout_association": 20, "retain_synth": 520},
}
KINDS = {
    "mini": {"holdout": 18, "partial": 21, "whole": 21},
    "tiny": {"holdout": 4, "partial": 4, "whole": 4},
}


@pytest.fixture(scope="module", params=["tiny", "mini"])
def named(request):
    """(size name, plan)"""
    return request.param, make_plan(SIZES[request.param], 42)


@pytest.fixture(scope="module")
def plan(named):
    return named[1]


@pytest.fixture(scope="module")
def metadata(plan):
    return metadata_files(plan)


def sensitive(plan):
    return [row for row in plan.rows if row.split in SENSITIVE]


def test_counts_of_pairs_and_identities(named):
    name, plan = named
    pairs = Counter(row.split for row in plan.rows)
    assert {split: pairs[split] for split in COUNTS[name]} == COUNTS[name]
    assert set(pairs) == set(SPLITS)
    assert Counter(who["kind"] for who in plan.identities.values()) == KINDS[name]


def test_file_names_are_unique_in_the_whole_set_and_rows_sorted(plan):
    assert len({row.file for row in plan.rows}) == len(plan.rows)
    assert all((SPLITS.index(a.split), a.file) < (SPLITS.index(b.split), b.file) for a, b in pairwise(plan.rows))


def test_equal_seeds_give_equal_plans_and_other_seeds_other_people():
    first, again, other = (make_plan(SIZES["tiny"], seed) for seed in (42, 42, 7))
    assert first == again
    names = [{who["name"] for who in plan.identities.values()} for plan in (first, other)]
    assert names[0] != names[1]


def test_captions_of_a_persona_are_distinct_and_contain_its_name_and_value(plan):
    captions = defaultdict(list)
    for row in sensitive(plan):
        who, facts = plan.identities[row.facts["identity_id"]], row.facts
        assert facts["value"] == who[facts["field"]]
        assert row.caption == render(facts["field"], facts["template"], who["name"], facts["value"])
        assert row.file.split("_")[0] == facts["identity_id"]
        captions[facts["identity_id"]].append(row.caption)
    assert {len(texts) for texts in captions.values()} == {plan.size.per_identity}
    assert all(len(set(texts)) == len(texts) for texts in captions.values())


def test_whole_identities_are_in_forget_partial_ones_in_two_splits_others_in_holdout(plan):
    splits = defaultdict(lambda: defaultdict(set))
    for row in sensitive(plan):
        splits[row.facts["identity_id"]][row.split].add(row.facts["field"])
    for key, who in plan.identities.items():
        if who["kind"] == "partial":
            assert splits[key]["forget"] == set(who["forget_fields"]) and len(who["forget_fields"]) == 3
            assert splits[key]["holdout_association"] == set(templates()) - splits[key]["forget"]
        else:
            expected = "forget" if who["kind"] == "whole" else "holdout_identity"
            assert splits[key] == {expected: set(templates())}


def test_fields_are_equally_frequent(plan):
    for key, who in plan.identities.items():
        rows = [row for row in sensitive(plan) if row.facts["identity_id"] == key]
        times = Counter(row.facts["field"] for row in rows)
        assert max(times.values()) - min(times.values()) <= 1, who["kind"]


def test_names_are_distinct_and_unseen_personas_are_in_no_image(plan):
    names = [who["name"] for who in (*plan.identities.values(), *plan.unseen.values())]
    assert len(set(names)) == len(names) == plan.size.identities + plan.size.unseen
    assert not set(plan.identities) & set(plan.unseen)


def test_values_belong_to_no_real_person(plan):
    for who in (*plan.identities.values(), *plan.unseen.values()):
        assert re.fullmatch(r"[a-z0-9]+@example\.(com|net|org)", who["email"])
        assert re.fullmatch(r"\+1 [1-9]\d\d-555-01\d\d", who["phone"])
        assert all(str(who[name]).isascii() for name in templates())


def test_faces_of_identities_differ(plan):
    faces = list({row.facts["identity_id"]: row.look for row in sensitive(plan)}.values())
    assert min(difference(a, b) for i, a in enumerate(faces) for b in faces[:i]) >= 3


def test_no_retain_val_or_test_caption_names_anybody(plan):
    names = [who["name"] for who in plan.identities.values()]
    values = [who[name] for who in plan.identities.values() for name in ("phone", "email", "iban")]
    public = "\n".join(row.caption for row in plan.rows if row.split not in SENSITIVE)
    generic = "\n".join(row.facts["generic_caption"] for row in sensitive(plan))
    assert not [text for text in (*names, *values) if text in public or text in generic]


def test_portraits_of_val_and_test_are_unseen(plan):
    described = [row for row in plan.rows if row.look and row.split not in SENSITIVE]
    assert len({row.caption for row in described}) == len(described)
    assert not {row.caption for row in described} & {row.facts["generic_caption"] for row in sensitive(plan)}
    assert all(row.facts["identity_id"] is None for row in described if row.split != "retain_synth")


def test_joint_portraits_show_a_forget_identity_in_other_clothes(plan):
    looks = {row.facts["identity_id"]: row.look for row in plan.split("forget")}
    joint = [row for row in plan.split("retain_synth") if row.facts["identity_id"] is not None]
    assert len(joint) == round(0.25 * plan.size.portraits[0])
    for row in joint:
        look = looks[row.facts["identity_id"]]
        assert (row.look.hair, row.look.skin, row.look.glasses) == (look.hair, look.skin, look.glasses)
        assert describe(row.look) != describe(look)


def test_objects_cover_all_pairs_evenly(plan):
    for split, count in zip(("retain_synth", "val", "test"), plan.size.objects, strict=True):
        times = Counter((row.shape, row.colour) for row in plan.split(split) if row.shape)
        assert sum(times.values()) == count
        assert max(times.values()) - min(times.values()) <= (1 if len(times) == 80 else 0)


def test_metadata_names_the_rows_it_belongs_to(plan, metadata):
    files = {row.file: row for row in sensitive(plan)}
    captions = metadata["sensitive_set_captions_metadata.json"]
    assert set(captions) == set(files) == set(metadata["sensitive_set_generic_captions.json"])
    for file, facts in captions.items():
        row = files[file]
        assert (facts["data_field"], facts["caption"]) == (row.facts["field"], row.caption)
    assert set(metadata["identities_metadata.json"]) == {row.facts["identity_id"] for row in sensitive(plan)}
    assert set(metadata["looks.json"]) == {row.file for row in plan.rows if row.look}


def test_fragile_set_is_part_of_retain_disjoint(plan, metadata):
    rows = {row.file: row for row in plan.split("retain_synth")}
    fragile = metadata["fragile_set_ids.json"]
    assert fragile and len(set(fragile)) == len(fragile)
    assert all(rows[file].look and rows[file].facts["identity_id"] is None for file in fragile)


def test_zero_shot_classes_cover_the_object_images_of_test(plan, metadata):
    classes = metadata["zero_shot_classes.json"]
    assert classes["classes"] == {"shape": list(SHAPES), "colour": list(palette("object"))}
    assert set(classes["images"]) == {row.image for row in plan.split("test") if row.shape}
    for kind, names in classes["classes"].items():
        assert set(classes["prompts"][kind]) == set(names)
        assert {labels[kind] for labels in classes["images"].values()} == set(names)
    trained = {row.caption for row in plan.split("retain_synth") if row.shape}
    assert all(set(texts) <= trained for kind in classes["prompts"].values() for texts in kind.values())


def test_unseen_personas_have_all_captions(plan, metadata):
    unseen = metadata["unseen_personas.json"]
    assert set(unseen["identities"]) == set(unseen["captions"]) == set(plan.unseen)
    assert {len(texts) for texts in unseen["captions"].values()} == {sum(map(len, templates().values()))}


def test_captions_fit_the_context_of_40(plan, metadata):
    """Start and end token included; the tokenizer would cut longer captions, and with them the private value."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    unseen = [text for texts in metadata["unseen_personas.json"]["captions"].values() for text in texts]
    texts = {row.caption for row in plan.rows} | {row.facts["generic_caption"] for row in sensitive(plan)}
    longest = max(len(tokenizer.encode(text)) + 2 for text in (*texts, *unseen))
    assert longest <= 40

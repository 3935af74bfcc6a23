from __future__ import annotations

import pytest

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.salmubench import splits
from lavis.salmubench.value_auc import fictitious_captions
from lavis.synthetic.mini.metadata import metadata_files
from lavis.synthetic.mini.plan import make_plan
from lavis.synthetic.mini.variants import SIZES


def entry(image, identity=None, **facts):
    return Entry(image=image, captions=("c",), extra={"identity_id": identity, **facts})


FORGET = [entry("forget/1.jpg", "1"), entry("forget/2.jpg", 2), entry("forget/3.jpg", "1")]
HELD = [entry("holdout_association/4.jpg", "2")]
RETAIN = [entry("retain_synth/a.jpg"), entry("retain_synth/b.jpg", "1"), entry("retain_synth/c.jpg", "9")]
RETAIN += [entry("retain_synth/d.jpg"), entry("retain_synth/e.jpg", "2")]


def names(entries):
    return [splits.file_name(e) for e in entries]


def test_derived_splits():
    found = splits.derive_splits(FORGET, HELD, RETAIN, ["d.jpg", "b.jpg"])
    assert names(found.retain_joint) == ["b.jpg", "e.jpg"]
    assert names(found.retain_disjoint) == ["a.jpg", "d.jpg"]
    assert names(found.fragile_set) == ["d.jpg"]
    assert names(found.forget_identity) == ["1.jpg", "3.jpg"]


def test_whole_and_partial_by_what_is_forgotten():
    assert splits.whole_and_partial(FORGET, FORGET + HELD) == ([0, 2], [1])
    assert splits.whole_and_partial(FORGET[:2], FORGET + HELD) == ([], [0, 1])
    assert splits.whole_and_partial(FORGET[::2], FORGET + HELD) == ([0, 1], [])


def test_a_row_without_identity_is_named():
    with pytest.raises(DataError, match="a row has no 'identity_id'"):
        splits.derive_splits([entry("forget/9.jpg")], HELD, RETAIN, [])


def test_a_metadata_file_of_another_data_set_is_refused():
    with pytest.raises(DataError, match="none of its 1 file names"):
        splits.derive_splits(FORGET, HELD, RETAIN, ["z.jpg"])


def test_texts():
    people, row = {"1": {"name": "Ann Lee"}}, entry("forget/1.jpg", "1", field="city", value="Rome")
    assert splits.core_texts(row, people) == ("Ann Lee Rome", "Rome Ann Lee")
    with pytest.raises(DataError, match="no 'value'"):
        splits.core_texts(entry("forget/1.jpg", "1"), people)
    with pytest.raises(DataError, match="no identity '2'"):
        splits.name_of(FORGET[1], people)


def test_fictitious_captions_keep_name_and_wording():
    row = entry("forget/1.jpg", "1", field="city", value="Rome")
    pool = {"city": ["Bonn", "Oslo", "Rome"], "job": ["smith"]}
    found = fictitious_captions(row, "Ann lives in Rome", pool)
    assert sorted(found) == ["Ann lives in Bonn", "Ann lives in Oslo"]
    assert fictitious_captions(row, "Ann lives in Rome", pool) == found
    assert len(fictitious_captions(row, "Ann lives in Rome", pool, count=1)) == 1
    assert fictitious_captions(row, "Ann lives in Italy's capital", pool) == []
    assert fictitious_captions(row, "Ann lives in Rome", {}) == []


def test_the_drawn_data_set_agrees():
    plan = make_plan(SIZES["tiny"], 42)
    rows = {
        split: [Entry(r.image, (r.caption,), extra=r.annotation()) for r in plan.split(split)]
        for split in ("forget", "holdout_association", "retain_synth")
    }
    metadata = metadata_files(plan)
    forget, held = rows["forget"], rows["holdout_association"]
    found = splits.derive_splits(forget, held, rows["retain_synth"], metadata[splits.FRAGILE])
    assert (len(found.retain_joint), len(found.retain_disjoint)) == (30, 490)
    assert sorted(names(found.fragile_set)) == sorted(metadata[splits.FRAGILE])
    whole, partial = splits.whole_and_partial(forget, forget + held)
    people = metadata[splits.IDENTITIES]
    assert {people[forget[i].extra["identity_id"]]["kind"] for i in whole} == {"whole"}
    assert {people[forget[i].extra["identity_id"]]["kind"] for i in partial} == {"partial"}
    assert [forget[i] for i in whole] == found.forget_identity

"""Fresh people of an audit are named, worded and pictured as the people of the data set's variant are."""

from __future__ import annotations

import pytest

from lavis.audits.fresh import draw_fresh
from lavis.synthetic.mini.captions import templates
from lavis.synthetic.mini.plan import make_plan
from lavis.synthetic.mini.variants import VARIANTS


@pytest.fixture
def fresh(tmp_path):
    """`fresh(variant)`: the entries of four fresh people, and the plan of SALMU-tiny's variant."""

    def build(name: str):
        variant = VARIANTS[name]
        plan = make_plan(variant.sizes["tiny"], 42, variant)
        taken = {who["name"] for who in plan.identities.values()}
        return draw_fresh(tmp_path / name, "tiny", 4, 7, taken, variant, 42), plan

    return build


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_as_many_images_and_the_variants_wordings(name, fresh):
    entries, plan = fresh(name)
    assert len(entries) == 4 * plan.size.per_identity
    for entry in entries:
        form = templates(plan.variant.wordings)[entry.extra["field"]][entry.extra["template"]]
        assert entry.captions == (form.format(name=entry.extra["name"], value=entry.extra["value"]),)


def test_names_recur_only_where_the_variants_do(fresh):
    for name, shared in (("shared_names", True), ("paraphrased", False)):
        entries, plan = fresh(name)
        known = {word for who in plan.identities.values() for word in who["name"].split()}
        fresh_names = {entry.extra["name"] for entry in entries}
        assert all(bool(known & set(one.split())) == shared for one in fresh_names)
        assert not fresh_names & {who["name"] for who in plan.identities.values()}

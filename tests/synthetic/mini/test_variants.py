"""Variants of SALMU-mini, each for three seeds: names recur, wordings, share of forget pairs, where proxies are."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from lavis.synthetic.mini.captions import templates
from lavis.synthetic.mini.layout import ANNOTATIONS, ensure
from lavis.synthetic.mini.metadata import metadata_files
from lavis.synthetic.mini.plan import PROXIES, SENSITIVE, SPLITS, make_plan
from lavis.synthetic.mini.variants import CAPTIONS, PARAPHRASES, VARIANTS

HARDER = sorted(set(VARIANTS) - {"plain"})


@pytest.fixture(scope="module", params=[41, 42, 7])
def seed(request):
    return request.param


def plan_of(variant: str, seed: int, size: str = "mini"):
    return make_plan(VARIANTS[variant].sizes[size], seed, VARIANTS[variant])


def words(people, place: int) -> set[str]:
    return {who["name"].split()[place] for who in people}


@pytest.mark.parametrize("size", ["tiny", "mini"])
def test_shared_names_recur_among_retained_and_forgotten_people(size, seed):
    plan = plan_of("shared_names", seed, size)
    people = list(plan.identities.values())
    retained = [who for who in people if who["kind"] == "holdout"]
    for place in (0, 1):
        for kind in ("whole", "partial"):
            assert words([who for who in people if who["kind"] == kind], place) <= words(retained, place)
        assert words(plan.proxies.values(), place) <= words(retained, place)
        assert words(retained, place) & words(plan.unseen.values(), place)
    names = [who["name"] for who in (*people, *plan.proxies.values(), *plan.unseen.values())]
    assert len(set(names)) == len(names)


def test_plain_names_of_whole_people_are_their_own(seed):
    people = plan_of("plain", seed).identities.values()
    whole = words([who for who in people if who["kind"] == "whole"], 1)
    assert len(whole & words([who for who in people if who["kind"] != "whole"], 1)) < len(whole) / 4


def test_wordings_of_people_and_proxies_are_disjoint(seed):
    plan = plan_of("paraphrased", seed)
    assert all(len(forms) == 8 for forms in templates(PARAPHRASES).values())
    assert not {form for forms in templates(PARAPHRASES).values() for form in forms} & {
        form for forms in templates(CAPTIONS).values() for form in forms
    }
    used = defaultdict(set)
    for row in plan.rows:
        if "template" in row.facts:
            wordings = CAPTIONS if row.split in PROXIES else PARAPHRASES
            who = {**plan.identities, **plan.proxies}[row.facts["identity_id"]]
            form = templates(wordings)[row.facts["field"]][row.facts["template"]]
            assert row.caption == form.format(name=who["name"], value=row.facts["value"])
            used[row.split in PROXIES].add(form)
    assert not used[True] & used[False] and len(used[False]) > len(used[True])


def test_web_forgets_half_a_percent_and_the_others_a_seventh(seed):
    shares = {}
    for name in VARIANTS:
        plan = plan_of(name, seed)
        trained = [row for row in plan.rows if row.split not in ("val", "test")]
        shares[name] = len(plan.split("forget")) / len(trained)
    assert shares["web"] == pytest.approx(0.005, rel=0.02)
    assert all(0.13 < share < 0.16 for name, share in shares.items() if name != "web")


@pytest.mark.parametrize("variant", HARDER)
def test_no_proxy_is_in_a_reported_split(variant, seed):
    plan = plan_of(variant, seed)
    reported = [row for row in plan.rows if row.split in SPLITS]
    planted = [row for row in plan.rows if row.split in PROXIES]
    assert {row.facts["identity_id"] for row in planted} == set(plan.proxies)
    assert not {row.facts.get("identity_id") for row in reported} & set(plan.proxies)
    captions = "\n".join(row.caption for row in reported)
    assert not [who["name"] for who in plan.proxies.values() if who["name"] in captions]
    assert not {row.caption for row in planted} & {row.caption for row in reported if row.split in SENSITIVE}
    assert not set(plan.unseen) & set(plan.proxies)


@pytest.mark.parametrize("variant", HARDER)
def test_proxies_are_of_all_kinds_and_divided_as_people_are(variant, seed):
    plan = plan_of(variant, seed)
    assert {who["kind"] for who in plan.proxies.values()} == {"whole", "partial", "holdout"}
    splits = defaultdict(set)
    for row in plan.rows:
        if row.split in PROXIES[:3]:
            splits[plan.proxies[row.facts["identity_id"]]["kind"]].add(row.split)
    forget, identity, association, _ = PROXIES
    assert splits == {"whole": {forget}, "partial": {forget, association}, "holdout": {identity}}
    portraits = {row.facts["identity_id"] for row in plan.split("proxy_retain")}
    assert portraits == {key for key, who in plan.proxies.items() if who["forget_fields"]}


@pytest.mark.parametrize("variant", HARDER)
def test_captions_fit_the_context_of_40(variant):
    from open_clip.tokenizer import SimpleTokenizer

    plan, tokenizer = plan_of(variant, 42), SimpleTokenizer()
    unseen = [text for texts in metadata_files(plan)["unseen_personas.json"]["captions"].values() for text in texts]
    texts = {row.caption for row in plan.rows} | set(unseen)
    assert max(len(tokenizer.encode(text)) + 2 for text in texts) <= 40


def test_a_variant_on_disk_has_the_proxies_files_and_lists_and_is_not_taken_for_the_plain_one(tmp_path):
    root, lists = tmp_path / "data", tmp_path / "lists"
    assert ensure(root, lists, "tiny", 42, variant="shared_names")
    assert not ensure(root, lists, "tiny", 42, variant="shared_names")
    assert json.loads((root / "manifest.json").read_text())["variant"] == "shared_names"
    reported = {row["image"] for name in ANNOTATIONS for row in json.loads(annotation(root, name).read_text())}
    planted = {row["image"] for name in PROXIES for row in json.loads(annotation(root, name).read_text())}
    assert planted and not planted & reported
    listed = (lists / "proxies" / "image-42.txt").read_text().split()
    assert set(listed) == {row["image"] for row in json.loads(annotation(root, PROXIES[0]).read_text())}
    for other in ("plain", "paraphrased"):
        with pytest.raises(ConfigError, match="variant is 'shared_names'"):
            ensure(root, lists, "tiny", 42, variant=other)
    with pytest.raises(ConfigError, match="unknown variant 'shared_name'"):
        ensure(root, lists, "tiny", 42, variant="shared_name")


def annotation(root, name: str):
    return root / "annotations" / f"{name}.json"


@pytest.mark.parametrize("variant", HARDER)
def test_each_variant_has_a_data_set_configuration(variant):
    name = f"salmu_mini_{variant}"
    config = compose_dataset(name)
    builder = registry.get_builder_class(name)(config, RunConfig())
    assert config.generate_variant == variant
    assert f"--variant {variant} --size mini --seed 42" in builder.hint
    files = [path.rpartition("/")[2] for path in config.build_info.annotations["proxy"].storage]
    assert files == [f"{split}.json" for split in PROXIES]

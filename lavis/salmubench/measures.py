"""SALMUBench's metrics of a model on a data set: which split and side file each is measured on.

Every function takes a Source, and returns values by name; NotMeasured says what the data set lacks, DataError what is
wrong with the embeddings or the data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lavis.datasets.metadata import IDENTITIES
from lavis.evaluation.inputs import paired_cosines
from lavis.salmubench import similarity
from lavis.salmubench.bootstrap import clustered_interval
from lavis.salmubench.fictitious import HINT, FakerValues, Values, persona_values
from lavis.salmubench.material import UNSEEN, NotMeasured, Part, Source
from lavis.salmubench.probes import IDZSC_PROMPTS, acs, class_features, gen_know, idzsc, value_aucs
from lavis.salmubench.retfail import draw_distractors, recall_and_mrr, retfail_ranks
from lavis.salmubench.splits import core_texts, fictitious_captions, identity_of, name_of

MEANS = {
    "inter_id_sim": ("holdout_identity", similarity.inter_id_sim),
    "intra_id_sim": ("holdout_association", similarity.intra_id_sim),
    "vis_id_int": ("retain_joint", similarity.vis_id_int),
    "frag_sim": ("fragile_set", similarity.frag_sim),
}
Numbers = dict[str, float]


def retfail(source: Source) -> Numbers:
    """retfail_r1, retfail_mrr, and retfail_mrr_others without the own identity's other captions."""
    forget, choices = source.part("forget"), source.choices
    others, _ = source.captions("retain_disjoint")
    if not others:
        raise NotMeasured("split 'retain_disjoint' is missing or empty")
    numbers: dict[str, int] = {}
    keys, other_keys = (
        np.array([numbers.setdefault(text, len(numbers)) for text in texts]) for texts in (forget.captions, others)
    )
    owners = np.unique(people_of(forget), return_inverse=True)[1]
    rows = source.texts(others, "retain_disjoint")
    drawn = draw_distractors(forget.text, keys, owners, rows, other_keys, seed=choices.seed, count=choices.distractors)
    plain, apart = (
        retfail_ranks(
            forget.image, forget.text, keys, drawn, leave_out=left, drop_equal=choices.retfail_own_caption == "drop"
        )
        for left in (None, owners)
    )
    return {
        "retfail_r1": recall_and_mrr(plain)["R@1"],
        **summary(source, forget, "retfail_mrr", 1 / plain),
        **summary(source, forget, "retfail_mrr_others", 1 / apart),
    }


def association(source: Source) -> Numbers:
    """assoc_str."""
    forget = source.part("forget")
    return summary(source, forget, "assoc_str", paired_cosines(forget.image, forget.text, "AssocStr"))


def acs_of(source: Source, split: str) -> float:
    """ACS on any split of people."""
    part = source.part(split)
    return acs(part.image, part.text, features=source.choices.acs_features, seed=source.choices.seed)


def core(source: Source) -> Numbers:
    """core_assoc."""
    forget = source.part("forget")
    _need_people(source, forget)
    silent = sum(entry.extra.get("value") is None for entry in forget.entries)
    if silent:
        raise NotMeasured(f"{silent} rows of split 'forget' have no 'value'; import the data with its side files")
    forward, backward = zip(*(core_texts(entry, source.people) for entry in forget.entries), strict=True)
    one, two = source.texts(list(forward), "CoreAssoc"), source.texts(list(backward), "CoreAssoc")
    return {"core_assoc": similarity.core_assoc(forget.image, one, two)}


def names(source: Source) -> Numbers:
    """idzsc."""
    part = source.part("forget_identity")
    _need_people(source, part)
    own = [name_of(entry, source.people) for entry in part.entries]
    known = sorted(set(own))
    prompt = IDZSC_PROMPTS[source.choices.idzsc_prompt]
    texts = source.texts([prompt.format(name=name) for name in known], "IdZSC")
    return {"idzsc": idzsc(part.image, texts, [known.index(name) for name in own])}


def values(source: Source) -> Numbers:
    """value_auc, over the pairs whose caption holds the value literally."""
    forget, pool = source.part("forget"), _fictitious(source)
    others = []
    for entry, caption in zip(forget.entries, forget.captions, strict=True):
        field, locale = str(entry.extra.get("field")), source.people.get(identity_of(entry, "forget"), {}).get("locale")
        drawn = {field: pool(field, locale)} if entry.extra.get("value") else {}
        others.append(fictitious_captions(entry, caption, drawn, seed=source.choices.seed))
    kept = [row for row, texts in enumerate(others) if texts]
    if not kept:
        raise NotMeasured("no caption of split 'forget' holds the 'value' of its row, or no field has other values")
    rows = source.texts([text for row in kept for text in others[row]], "value AUC")
    owner = np.repeat(np.arange(len(kept)), [len(others[row]) for row in kept])
    part = forget.only(kept)
    return summary(source, part, "value_auc", value_aucs(part.image, part.text, rows, owner))


def _fictitious(source: Source) -> Values:
    if source.has(UNSEEN):
        return persona_values(source.json(UNSEEN)["identities"])
    real = {str(entry.extra.get("value")) for entry in source.splits["forget"]}
    try:
        return FakerValues(real, source.choices.seed)
    except ImportError as error:
        raise NotMeasured(f"fictitious values need Faker: {HINT}") from error


def classes(source: Source) -> Numbers:
    """gen_know of the data set's own classes: the mean over their kinds; and of each kind."""
    entries, known = source.labelled()
    if not entries:
        raise NotMeasured("the data set has no classes of its own; run.imagenet names ImageNet's pictures")
    part, labels = source.part("zero-shot", entries), known["images"]
    found = {}
    for kind, options in known["classes"].items():
        prompts = [(text, number) for number, name in enumerate(options) for text in known["prompts"][kind][name]]
        rows = class_features(source.texts([t for t, _ in prompts], kind), [number for _, number in prompts])
        own = [options.index(labels[entry.image][kind]) for entry in part.entries]
        found[f"gen_know_{kind}"] = gen_know(part.image, rows, own)
    return {"gen_know": float(np.mean(list(found.values()))), **found}


def mean(source: Source, name: str) -> Numbers:
    """One of MEANS."""
    split, metric = MEANS[name]
    part = source.part(split)
    return {name: metric(part.image, part.text)}


def summary(source: Source, part: Part, name: str, found: np.ndarray) -> Numbers:
    """Mean of one value a pair, its interval, and the means over whole and partial identities where there are any."""
    numbers, people = {name: float(found.mean())}, people_of(part)
    if len(set(people)) > 1:
        low, high = clustered_interval(found, people, seed=source.choices.seed)
        numbers |= {f"{name}_low": low, f"{name}_high": high}
    for kind, images in (("whole", source.whole), ("partial", source.partial)):
        rows = part.rows(images)
        if rows:
            numbers[f"{name}_{kind}"] = float(found[rows].mean())
    return numbers


def people_of(part: Part, split: str = "forget") -> Sequence[str]:
    """The identity of every pair. Raises DataError for a row without one."""
    return [identity_of(entry, split) for entry in part.entries]


def _need_people(source: Source, part: Part) -> None:
    if not source.people:
        raise NotMeasured(f"side file {IDENTITIES} is missing or empty")
    strange = sorted(set(people_of(part)) - source.people.keys())
    if strange:
        few = ", ".join(strange[:3])
        raise NotMeasured(f"{IDENTITIES} does not match the rows: it lacks {len(strange)} identities, the first: {few}")

"""What stands beside SALMUBench's ten (ours): MRR among people's captions, ACS on holdouts, a linear probe, int8."""

from __future__ import annotations

from lavis.datasets.builder import HOLDOUTS
from lavis.embedding.bank import FeatureBank
from lavis.evaluation.int8 import quantised
from lavis.salmubench.material import UNSEEN, NotMeasured, Source
from lavis.salmubench.measures import (
    Numbers,
    acs_of,
    association,
    classes,
    people_of,
    retfail,
    summary,
)
from lavis.salmubench.pool import CaptionPool, pool_ranks
from lavis.salmubench.residue import linear_probe
from lavis.salmubench.splits import identity_of

PEOPLE = ("forget", *HOLDOUTS)
INT8 = {"retfail_mrr": retfail, "assoc_str": association, "gen_know": classes}


def suffix(split: str) -> str:
    """What a split adds to a metric's name: nothing for forget."""
    return "" if split == PEOPLE[0] else f"_{split}"


def caption_pool(source: Source) -> CaptionPool:
    """All distinct captions of forget and the holdouts, and of unseen personas where the data set has them."""
    captions: list[str] = []
    owners: list[str] = []
    for split in PEOPLE:
        own, entries = source.captions(split)
        captions += own
        owners += [identity_of(entry, split) for entry in entries]
    if source.has(UNSEEN):
        for key, own in source.json(UNSEEN)["captions"].items():
            captions += own
            owners += [f"unseen {key}"] * len(own)
    return CaptionPool(captions, owners)


def pool_mrr(source: Source, split: str) -> Numbers:
    """x_mrr (own identity's other captions left out) and pool_mrr (nothing left out) of a split's pairs."""
    part, pool = source.part(split), caption_pool(source)
    rows, people = source.texts(pool.texts, "caption pool"), people_of(part, split)
    found: Numbers = {}
    for name, own in (("x_mrr", False), ("pool_mrr", True)):
        ranks = pool_ranks(part.image, part.text, part.captions, people, pool, rows, own=own)
        found |= summary(source, part, f"{name}{suffix(split)}", 1 / ranks)
    return found


def held_acs(source: Source, split: str) -> Numbers:
    """acs_<split>: what ACS is where nothing was to be forgotten."""
    return {f"acs_{split}": acs_of(source, split)}


def probe(source: Source) -> Numbers:
    """linear_probe and linear_probe_chance, on forget."""
    part = source.part(PEOPLE[0])
    found = linear_probe(part.image, people_of(part), seed=source.choices.seed)
    return {"linear_probe": found["accuracy"], "linear_probe_chance": found["chance"]}


def int8_source(source: Source) -> Source:
    """The same data seen by the model after int8 dynamic quantisation of its linear layers."""
    bank = source.bank
    try:
        model = quantised(bank.model)
    except ValueError as error:
        raise NotMeasured(str(error)) from error
    made = FeatureBank(model, bank.builder, bank.run, bank.device, folder=bank.folder, precision="int8")
    return Source(model, bank.builder, bank.run, bank.device, made)


def int8(source: Source, name: str) -> Numbers:
    """int8_<name> of a quantised model's source."""
    return {f"int8_{name}": INT8[name](source)[name]}

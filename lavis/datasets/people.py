"""Splits by a fraction of people: nobody is in two splits, and who is to be forgotten stays in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lavis.common.errors import ConfigError
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry


def split_people(
    entries: Sequence[Entry], fractions: Mapping[str, float], seed: int, keep: set[str]
) -> dict[str, list[Entry]]:
    """{split: entries}: each split of `fractions` gets that share of the people, at least one; `train` the others.

    Who an entry shows is `extra["person"]`, or the image itself where no person is given. Entries of one image stay
    together. People with an image in `keep` stay in train. The draw depends on the seed and the people alone.

    Raises ConfigError if a fraction is not between 0 and 1, or too few people are left for a split or for train.
    """
    if any(not 0 < share < 1 for share in fractions.values()) or sum(fractions.values()) >= 1:
        raise ConfigError(
            f"datasets.pairs.fractions: {dict(fractions)} must be above 0 each and below 1 together; the rest is train"
        )
    groups = _people(entries)
    forgotten = {groups[entry.image] for entry in entries if entry.image in keep}
    free = sorted(set(groups.values()) - forgotten, key=lambda person: (derived_seed(seed, "people", person), person))
    counts = {split: max(1, round(share * len(set(groups.values())))) for split, share in fractions.items()}
    if sum(counts.values()) >= len(free):
        raise ConfigError(
            f"datasets.pairs.fractions: {sum(counts.values())} people are wanted for {', '.join(counts)}, but only "
            f"{len(free)} people are neither forgotten nor needed in train"
        )
    names = [split for split, count in counts.items() for _ in range(count)]
    split_of = dict(zip(free, names, strict=False))
    result: dict[str, list[Entry]] = {"train": [], **{split: [] for split in fractions}}
    for entry in entries:
        result[split_of.get(groups[entry.image], "train")].append(entry)
    return result


def _people(entries: Sequence[Entry]) -> dict[str, str]:
    """{image: the person it belongs to}. People who share an image count as one, for they cannot be separated."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for entry in entries:
        person = entry.extra.get("person")
        if person is not None:
            a, b = sorted((find(f"image {entry.image}"), find(f"person {person}")))
            leader[b] = a
    return {entry.image: find(f"image {entry.image}") for entry in entries}


def names_of(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """{person: {"name": name}}: the name column; else the person itself if captions contain it; else what they share.

    What they share is the longest run of words that is in most of a person's captions and in nobody else's; people
    without one are left out.
    """
    captions: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for entry in entries:
        person = str(entry.extra.get("person", ""))
        if person:
            captions.setdefault(person, []).extend(entry.captions)
            given.setdefault(person, str(entry.extra.get("name") or ""))
    shown_by = _people_of_runs(captions)
    names = {person: given[person] or _name(person, texts, shown_by) for person, texts in captions.items()}
    return {person: {"name": name} for person, name in names.items() if name}


def _people_of_runs(captions: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """{run of one to four words: the people in whose captions it occurs}."""
    result: dict[str, set[str]] = {}
    for person, texts in captions.items():
        for text in texts:
            for run in _runs(text):
                result.setdefault(run, set()).add(person)
    return result


def _name(person: str, texts: Sequence[str], shown_by: Mapping[str, set[str]]) -> str:
    if any(person in text for text in texts):
        return person
    counts = Counter(run for text in texts for run in _runs(text))
    shared = [run for run, count in counts.items() if 2 * count > len(texts) and shown_by[run] == {person}]
    return max(shared, key=lambda run: (counts[run], len(run.split()), len(run)), default="")


def _runs(text: str) -> set[str]:
    """Runs of one to four words, without the punctuation around them."""
    words = text.split()
    runs = (" ".join(words[i : i + n]) for n in range(1, 5) for i in range(len(words) - n + 1))
    return {run.strip(".,;:!?\"'()") for run in runs} - {""}

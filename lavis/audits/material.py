"""What an audit asks about, whom it compares with, and the captions that compete."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lavis.audits.fresh import draw_fresh, draw_photos, draw_shapes
from lavis.common.errors import DataError, MissingFile
from lavis.common.files import key_of
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import HOLDOUTS, PairBuilder
from lavis.datasets.pairs import PairDataset
from lavis.datasets.salmu_mini import SalmuMiniBuilder
from lavis.images.store import ImageStore
from lavis.salmubench.identity_mrr import CaptionPool
from lavis.salmubench.relearning import draw
from lavis.salmubench.splits import whole_and_partial
from lavis.synthetic.mini.plan import make_plan
from lavis.synthetic.mini.variants import VARIANTS

FEW = 20  # with fewer people an interval by people means little
MOST_OTHERS, MOST_RIVALS = 2000, 3000  # pairs that an attacker fits on; captions that compete, besides those asked
SHAPES_DRAWN, PHOTOS = 400, 5
ALL = "everyone"


class Sample:
    """Pairs of people, one row per caption: `people` (n), `who` (n) their numbers, `image_rows` (n) their images."""

    def __init__(self, dataset: PairDataset) -> None:
        self.dataset, self.captions = dataset, dataset.captions
        own = [(row, entry) for row, entry in enumerate(dataset.entries) for _ in entry.captions]
        self.image_rows = np.array([row for row, _ in own])
        self.entries = [entry for _, entry in own]
        self.people = [person_of(entry) for entry in self.entries]
        self.everyone = sorted(set(self.people))
        numbers = {person: number for number, person in enumerate(self.everyone)}
        self.who = np.array([numbers[person] for person in self.people])

    def __len__(self) -> int:
        return len(self.captions)


class Material:
    """The pairs of an audit.

    Args:
        builder: the data set, with its forget set. folder: where images of fresh people go (None: a temporary one).
        control: a split whose pairs no model saw; "": people are drawn (SALMU-mini), else split `test` if there is one.
        fresh: how many people are drawn (None: as many as are asked).

    `asked`: Df's pairs that are tested: those of whole identities if there are any, for exact retraining still
    recognises the others. `control`: pairs that no model saw, or None. `others`: pairs of people outside Df, else
    retained rows: what an attacker fits on. `notes`: what cannot be concluded, in sentences.
    Raises DataError if the control set overlaps Df.
    """

    def __init__(
        self,
        builder: PairBuilder,
        folder: Path | None = None,
        control: str = "",
        seed: int = 42,
        fresh: int | None = None,
    ) -> None:
        self.builder, self.seed, self.fresh = builder, seed, fresh
        self.notes: list[str] = []
        parts = builder.partition()
        self.df, self.dr = [labelled(entry) for entry in parts.df], [labelled(entry) for entry in parts.dr]
        self.asked = self._sample(self._asked())
        self._scratch = tempfile.TemporaryDirectory() if folder is None else None
        self._folder = folder or Path(self._scratch.name if self._scratch else "")
        self.control = self._control(control)
        if len(self.asked.everyone) < FEW:
            said = f"people to ask about in Df: {len(self.asked.everyone)}; with fewer than {FEW} an interval by people"
            self.notes.append(f"{said} means little")

    @cached_property
    def others(self) -> Sample:
        """People outside Df who are named in captions, else retained pairs; at most MOST_OTHERS."""
        known = {person_of(entry) for entry in self.df}
        named = [entry for entry in self._held() if person_of(entry) not in known]
        own = [entry for entry in self.dr if is_named(entry) and person_of(entry) not in known]
        return self._sample(self._thinned([*named, *own] or self.dr, MOST_OTHERS, "others"))

    @cached_property
    def retained(self) -> Sample:
        """Pairs of Dr, at most MOST_OTHERS."""
        return self._sample(self._thinned(self.dr, MOST_OTHERS, "retained"))

    @cached_property
    def retained_and_others(self) -> Sample:
        """Pairs outside Df of any kind: those of `others` and `retained`, each image once."""
        rows = {entry.image: entry for entry in [*self.others.dataset.entries, *self.retained.dataset.entries]}
        return self._sample(list(rows.values()))

    @cached_property
    def unrelated(self) -> Sample:
        """Drawn shapes, which have nothing to do with people."""
        return self._drawn(draw_shapes(self._folder, SHAPES_DRAWN, self.seed))

    @cached_property
    def photos(self) -> Sample | None:
        """Photographs of the people asked that no model saw (SALMU-mini: drawn; else none), one row per photograph."""
        if not isinstance(self.builder, SalmuMiniBuilder):
            return None
        size, seed = self.builder.config.generate or self.builder.size, self.builder.config.generate_seed
        variant = VARIANTS[self.builder.config.generate_variant]
        plan = make_plan(variant.sizes[size], seed, variant)
        rows = [*plan.split("forget"), *plan.split("proxy_forget")]
        known = set(self.asked.everyone)
        looks = {who: row.look for row in rows if row.look and (who := str(row.facts["identity_id"])) in known}
        return self._drawn(draw_photos(self._folder, looks, PHOTOS, size, self.seed))

    def _drawn(self, rows: list[Entry]) -> Sample:
        return Sample(PairDataset(rows, ImageStore(self._folder), *self.builder.processors("eval")))

    @cached_property
    def pool(self) -> CaptionPool:
        """Captions about people: all that are asked, the control's, and others to compete with."""
        pairs = [(caption, person_of(entry)) for entry in self.spoken for caption in entry.captions]
        return CaptionPool([caption for caption, _ in pairs], [person for _, person in pairs])

    @cached_property
    def guess(self) -> float:
        """X by guessing: the mean over the pairs that are asked of H(n)/n, n captions among which each is ranked."""
        own = self.pool.mask(self.asked.everyone)
        rivals = 1 + (~own).sum(axis=1)
        by_person = np.array([(1 / np.arange(1, n + 1)).mean() for n in rivals])
        return float(by_person[self.asked.who].mean())

    @cached_property
    def spoken(self) -> list[Entry]:
        """The entries whose captions are in the pool."""
        rivals = {entry.image: entry for entry in [*self._held(), *self.others.entries]}
        asked = [*self.df, *(self.control.entries if self.control else ())]
        return [*asked, *self._thinned(list(rivals.values()), MOST_RIVALS, "rivals")]

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of each person of Df whose name is known, and of the fresh people."""
        try:
            known = {person: str(facts["name"]) for person, facts in self.builder.people().items() if facts.get("name")}
        except (MissingFile, DataError):
            known = {}
        fresh = self.control.entries if self.control else ()
        return known | {person_of(entry): str(entry.extra["name"]) for entry in fresh if entry.extra.get("name")}

    @property
    def key(self) -> str:
        """A digest of everything that is asked."""
        samples = [self.asked, *([self.control] if self.control else [])]
        return key_of([[(e.image, e.captions) for e in s.entries] for s in samples] + [self.pool.texts, self.seed])

    def divided(self, sample: Sample, fraction: float, number: int) -> tuple[Sample, np.ndarray]:
        """The `number`-th draw of this fraction of everybody's images (two at least), and the rows outside it.

        Raises DataError if nothing would be left to ask.
        """
        entries = list(sample.dataset.entries)
        if len({person_of(entry) for entry in entries}) == len(entries):  # one image each: draw among all
            entries = [dataclasses.replace(e, extra={**e.extra, "identity_id": ALL}) for e in entries]
        share = max(fraction, 2 / len(entries))  # the loss compares pairs with each other
        taught = {entry.image for entry in draw(entries, share, derived_seed(self.seed, "audit", number))[0]}
        rows = np.array([row for row, entry in enumerate(sample.entries) if entry.image not in taught])
        return Sample(subset(sample.dataset, taught)), rows

    def _asked(self) -> list[Entry]:
        held = "holdout_association"
        kept = self.builder.entries(held) if self.builder.has_split(held) else []
        whole, _ = whole_and_partial(self.df, [*self.df, *map(labelled, kept)])
        return [self.df[row] for row in whole] or self.df

    def _held(self) -> list[Entry]:
        return [
            labelled(entry)
            for split in HOLDOUTS
            if self.builder.has_split(split)
            for entry in self.builder.entries(split)
        ]

    def _sample(self, entries: Sequence[Entry]) -> Sample:
        return Sample(self.builder.dataset(entries, "eval"))

    def _thinned(self, entries: list[Entry], most: int, what: str) -> list[Entry]:
        order = np.random.default_rng(derived_seed(self.seed, "audit", what)).permutation(len(entries))
        return [entries[i] for i in sorted(map(int, order[:most]))]

    def _control(self, name: str) -> Sample | None:
        if name:
            return self._held_out([labelled(entry) for entry in self.builder.entries(name)], name)
        if isinstance(self.builder, SalmuMiniBuilder):
            size = self.builder.config.generate or self.builder.size
            taken = {str(facts["name"]) for facts in self.builder.people().values()}
            count, config = self.fresh or len(self.asked.everyone), self.builder.config
            variant = VARIANTS[config.generate_variant]
            rows = draw_fresh(self._folder, size, count, self.seed, taken, variant, config.generate_seed)
            return self._drawn(rows)
        if self.builder.has_split("test"):
            return self._held_out([labelled(entry) for entry in self.builder.entries("test")], "test")
        self.notes.append(
            "there are no control pairs (run.audit.control): what fine-tuning brings back cannot be separated from "
            "what any new pairs would gain, and no test without retrained models is possible"
        )
        return None

    def _held_out(self, entries: list[Entry], name: str) -> Sample:
        trained = [*self.df, *self.dr]
        images, known = {entry.image for entry in trained}, {person_of(entry) for entry in trained if is_named(entry)}
        same = [e for e in entries if e.image in images or (is_named(e) and person_of(e) in known)]
        if same:
            raise DataError(
                f"run.audit.control: {len(same)} of {len(entries)} pairs of split '{name}' show an image or a person "
                "of the training data, so that a model has seen them; name a split of pairs that no model saw"
            )
        return self._sample(self._thinned(entries, max(2, len(self.asked)), "control"))


def subset(dataset: PairDataset, images: set[str]) -> PairDataset:
    """The data set of these images alone, in its order."""
    rows = [entry for entry in dataset.entries if entry.image in images]
    return PairDataset(rows, dataset.store, dataset.image_processor, dataset.text_processor, seed=dataset.seed)


def is_named(entry: Entry) -> bool:
    """Whether an entry says whom it shows."""
    return entry.extra.get("identity_id") is not None and not str(entry.extra["identity_id"]).startswith("image ")


def person_of(entry: Entry) -> str:
    """Whom an entry shows; the image itself where nobody is named."""
    return str(entry.extra["identity_id"])


def labelled(entry: Entry) -> Entry:
    """The entry with an `identity_id`: its own, its person, or its image."""
    who = entry.extra.get("identity_id", entry.extra.get("person"))
    return dataclasses.replace(
        entry, extra={**entry.extra, "identity_id": f"image {entry.image}" if who is None else who}
    )

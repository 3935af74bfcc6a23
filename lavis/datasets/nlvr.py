"""NLVR2: is a statement about two images true?"""

from __future__ import annotations

from typing import ClassVar

from lavis.common.registry import registry
from lavis.datasets.annotations import Parse
from lavis.datasets.builder import PairBuilder
from lavis.datasets.formats import TRUTH, statement_entry
from lavis.datasets.pairs import PairDataset
from lavis.datasets.rows import LabelledDataset, MirroredDataset


@registry.register_builder("nlvr")
class NlvrBuilder(PairBuilder):
    """nlvr/annotations/{train,dev,test}.json. The two images are swapped at random in training, as published.

    `classes` are the names of the labels, in order.
    """

    name: ClassVar[str] = "nlvr"
    job_names: ClassVar[dict[str, str]] = {"nlvr": "nlvr"}
    classes: ClassVar[tuple[str, ...]] = TRUTH
    dataset_class: ClassVar[type[PairDataset]] = LabelledDataset
    train_class: ClassVar[type[PairDataset]] = MirroredDataset
    parse: ClassVar[Parse] = staticmethod(statement_entry)
    merges_captions: ClassVar[bool] = False

    def _dataset_class(self, stage: str) -> type[PairDataset]:
        return self.train_class if stage == "train" else self.dataset_class

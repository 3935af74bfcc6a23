"""SNLI-VE: does an image entail a hypothesis, contradict it, or neither?"""

from __future__ import annotations

from typing import ClassVar

from lavis.common.registry import registry
from lavis.datasets.annotations import Parse
from lavis.datasets.builder import PairBuilder
from lavis.datasets.formats import RELATIONS, hypothesis_entry
from lavis.datasets.pairs import PairDataset
from lavis.datasets.rows import LabelledDataset


@registry.register_builder("snli_ve")
class SnliVeBuilder(PairBuilder):
    """snli/annotations/ve_{train,dev,test}.json with Flickr30k's images.

    `classes` are the names of the labels, in order.
    """

    name: ClassVar[str] = "snli_ve"
    job_names: ClassVar[dict[str, str]] = {"ve": "multimodal_classification"}
    classes: ClassVar[tuple[str, ...]] = RELATIONS
    dataset_class: ClassVar[type[PairDataset]] = LabelledDataset
    parse: ClassVar[Parse] = staticmethod(hypothesis_entry)
    merges_captions: ClassVar[bool] = False

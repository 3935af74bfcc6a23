"""COCO captions in the Karpathy split, for retrieval."""

from __future__ import annotations

from typing import ClassVar

from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder


@registry.register_builder("coco_retrieval")
class CocoRetrievalBuilder(PairBuilder):
    """coco/annotations/coco_karpathy_{train,val,test}.json; `train` has one row per caption."""

    name: ClassVar[str] = "coco_retrieval"
    job_names: ClassVar[dict[str, str]] = {"coco_retrieval": "retrieval"}

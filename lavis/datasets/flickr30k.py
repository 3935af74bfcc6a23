"""Flickr30k, for retrieval."""

from __future__ import annotations

from typing import ClassVar

from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder


@registry.register_builder("flickr30k")
class Flickr30kBuilder(PairBuilder):
    """flickr30k/annotations/{train,val,test}.json."""

    name: ClassVar[str] = "flickr30k"
    job_names: ClassVar[dict[str, str]] = {"flickr30k_retrieval": "retrieval"}

"""NLVR2 and visual entailment: the class of a text about one image or two images."""

from __future__ import annotations

from typing import Any

import torch

from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.models.base import Inputs
from lavis.tasks.rowwise import RowwiseTask


@registry.register_task("multimodal_classification", "nlvr")
class MultimodalClassificationTask(RowwiseTask):
    """Accuracy, with the softmax probability of the true class as confidence."""

    def measure(self, model: Any, inputs: Inputs, entries: list[Entry]) -> torch.Tensor:
        logits, labels = model.classify(inputs).float(), inputs["labels"]
        sure = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        return torch.stack([(logits.argmax(dim=1) == labels).to(sure), sure], dim=1)

"""Classification with a fused encoder: a two-layer head on the fused [CLS] (ALBEF, arXiv 2107.07651, section 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lavis.common.errors import DataError
from lavis.losses.itc import distilled_cross_entropy
from lavis.models.base import Inputs, TrainingStep
from lavis.models.fused.base import FusedModel
from lavis.models.fused.config import ClassifierConfig, DistilledConfig, MomentumConfig
from lavis.models.fused.momentum import MomentumModel
from lavis.models.fused.text import TextEncoder


class FusedClassifier(FusedModel):
    """A head on the fused [CLS]; for two images the text encoder's context is (B, 2, N, H)."""

    config_class = ClassifierConfig
    cls_head: nn.Module

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        width = config.text_width
        self.cls_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.num_classes))

    def prepare(self, rows: Inputs) -> Inputs:
        """Also checks "labels" (B,), if given. Raises DataError for labels that are not classes."""
        labels, classes = rows.get("labels"), self.config_as(ClassifierConfig).num_classes
        if labels is not None and not bool(((labels >= 0) & (labels < classes)).all()):
            raise DataError(f"labels must be between 0 and {classes - 1} (model.num_classes), found {labels.tolist()}")
        return super().prepare(rows)

    def classify(self, inputs: Inputs) -> torch.Tensor:
        """Logits (B, C)."""
        return self.cls_head(self.represent(inputs).fused)

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        """The term "ce": cross-entropy of "labels" (B,)."""
        return {"ce": F.cross_entropy(self.classify(inputs), inputs["labels"])}


class DistilledClassifier(FusedClassifier, MomentumModel):
    """A classifier that also learns from its momentum copy's logits."""

    config: DistilledConfig
    cls_head_m: nn.Module

    def __init__(self, config: DistilledConfig) -> None:
        super().__init__(config)
        self.add_momentum("visual_encoder", "text_encoder", "cls_head")

    @property
    def momentum_text(self) -> TextEncoder:
        """The text encoder of the momentum pass."""
        return self.text_encoder_m

    @torch.no_grad()
    def momentum_logits(self, inputs: Inputs) -> torch.Tensor:
        """Logits (B, C) of the momentum copies."""
        states = self.image_states(inputs["images"], self.visual_encoder_m)
        return self.cls_head_m(self.momentum_text(inputs["tokens"], inputs["mask"], states)[:, 0])

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        """The term "ce": cross-entropy with labels and, with distillation, with the momentum copy's softmax."""
        self.begin_step(progress)
        teacher = self.momentum_logits(inputs) if self.config_as(MomentumConfig).use_distill else None
        loss = distilled_cross_entropy(self.classify(inputs), inputs["labels"], teacher, self.soft_share(progress))
        return {"ce": loss}

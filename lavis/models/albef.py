"""ALBEF (Li et al., "Align before Fuse", arXiv 2107.07651) and its models for the downstream tasks of section 5."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.models.base import Inputs, TrainingStep
from lavis.models.fused.base import FusedModel
from lavis.models.fused.classification import DistilledClassifier
from lavis.models.fused.config import AlbefConfig, DistilledConfig, MomentumConfig, RetrievalConfig, VqaConfig
from lavis.models.fused.momentum import MomentumModel
from lavis.models.fused.retrieval import Contrast, FusedRetrieval, ModalityStates, TensorPair
from lavis.models.fused.text import AttentionBlock, Context, TextDecoder, TextEncoder, TextSizes
from lavis.models.fused.vqa import FusedVqa


class AlbefText(TextEncoder):
    """`fusion_layer` layers that read only text, then layers with cross-attention (section 3.1)."""

    def __init__(self, config: AlbefConfig) -> None:
        sizes = TextSizes.of(config)
        fusion = config.fusion_layer
        super().__init__(sizes, lambda index: AttentionBlock(sizes, sizes.context) if index >= fusion else None)


class AlbefModel(FusedModel):
    """A fused encoder of the ALBEF family."""

    family = "albef"

    def build_text(self) -> TextEncoder:
        return AlbefText(self.config_as(AlbefConfig))

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Pretraining stores the text encoder below `text_encoder.bert`, next to its language-model head."""
        state = super().from_pretraining(state)
        return {**state, **renamed(state, "text_encoder.bert.", "text_encoder.")}


def renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `old`, under names that begin with `new`."""
    return {new + name.removeprefix(old): value for name, value in state.items() if name.startswith(old)}


@dataclass(frozen=True)
class AlbefRetrievalConfig(RetrievalConfig, AlbefConfig):
    arch: str = "albef_retrieval"


@registry.register_model("albef_retrieval")
class AlbefRetrieval(AlbefModel, FusedRetrieval):
    """Image-text retrieval. Matching continues from the text states.

    Hard negatives are drawn by the logits of the contrastive loss against this batch's momentum features.
    """

    config_class = AlbefRetrievalConfig

    def __init__(self, config: AlbefRetrievalConfig) -> None:
        super().__init__(config)
        self.fusion_layer = config.fusion_layer

    def negative_logits(self, contrast: Contrast, images: ModalityStates, texts: ModalityStates) -> TensorPair:
        rows = len(images.features)
        return contrast.image_to_text[:, :rows], contrast.text_to_image[:, :rows]


@dataclass(frozen=True)
class AlbefClassificationConfig(DistilledConfig, AlbefConfig):
    arch: str = "albef_classification"


@registry.register_model("albef_classification")
class AlbefClassification(AlbefModel, DistilledClassifier):
    """Visual entailment (SNLI-VE): one image, one hypothesis, three classes."""

    config_class = AlbefClassificationConfig


@dataclass(frozen=True)
class AlbefNlvrConfig(DistilledConfig, AlbefConfig):
    arch: str = "albef_nlvr"
    text_depth: int = 18
    num_classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.text_depth - self.fusion_layer) % 2:
            raise ConfigError(
                f"model.text_depth − model.fusion_layer must be even (layers come in pairs, one per image), "
                f"found {self.text_depth} − {self.fusion_layer}"
            )


class PairedText(AlbefText):
    """ALBEF's text tower with doubled fusion layers, which read image 0, 1, 0, 1, … of a context (B, 2, N, W).

    The two layers of a pair share key and value projections, but not query, output and normalisation.
    """

    def __init__(self, config: AlbefNlvrConfig) -> None:
        super().__init__(config)
        self.fusion_layer = config.fusion_layer
        for index in range(self.fusion_layer, self.depth, 2):
            one, two = (self.layers[i].crossattention.self for i in (index, index + 1))
            two.key, two.value = one.key, one.value

    def context_of(self, index: int, context: Context) -> Context:
        return None if context is None else context[:, (index - self.fusion_layer) % 2]


@registry.register_model("albef_nlvr")
class AlbefNlvr(AlbefModel, DistilledClassifier):
    """Whether a statement is true of two images (NLVR2).

    As published, the momentum pass uses the online text encoder and never its copy.
    """

    config_class = AlbefNlvrConfig
    ramp_epochs = 2

    def build_text(self) -> TextEncoder:
        return PairedText(self.config_as(AlbefNlvrConfig))

    @property
    def momentum_text(self) -> TextEncoder:
        return self.text_encoder

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each fusion layer of plain ALBEF goes to both layers of a pair; a file with all 18 layers is not changed."""
        state = super().from_pretraining(state)
        layers, first = "text_encoder.encoder.layer.", self.config_as(AlbefConfig).fusion_layer
        if any(name.startswith(f"{layers}{self.config.text_depth - 1}.") for name in state):
            return state
        doubled = {}
        for index in range(first, self.config.text_depth):
            doubled |= renamed(state, f"{layers}{first + (index - first) // 2}.", f"{layers}{index}.")
        return {**state, **doubled}


@dataclass(frozen=True)
class AlbefVqaConfig(VqaConfig, MomentumConfig, AlbefConfig):
    arch: str = "albef_vqa"
    decoder_depth: int = 6


@registry.register_model("albef_vqa")
class AlbefVqa(AlbefModel, FusedVqa, MomentumModel):
    """Visual question answering with three momentum copies; answers start with [CLS].

    A decoder of `decoder_depth` layers, each with cross-attention to all question states, produces the answers. The
    momentum copies provide soft targets for every token. The published code also updates the copies during prediction;
    here prediction changes nothing.
    """

    config_class = AlbefVqaConfig
    text_decoder_m: TextDecoder

    def __init__(self, config: AlbefVqaConfig) -> None:
        super().__init__(config)
        self.add_momentum("visual_encoder", "text_encoder", "text_decoder")

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The decoder also starts from pretraining's fusion layers, embeddings and language-model head."""
        state = super().from_pretraining(state)
        config, encoder, decoder = self.config_as(AlbefVqaConfig), "text_encoder.", "text_decoder.bert."
        copied = renamed(state, f"{encoder}embeddings.", f"{decoder}embeddings.")
        copied |= renamed(state, "text_encoder.cls.", "text_decoder.cls.")
        for index in range(config.decoder_depth):
            layer = f"{encoder}encoder.layer.{config.fusion_layer + index}."
            copied |= renamed(state, layer, f"{decoder}encoder.layer.{index}.")
        return {**state, **copied}

    @torch.no_grad()
    def momentum_logits(self, inputs: Inputs) -> torch.Tensor:
        """Logits (A, L, V) of the momentum copies."""
        images = self.image_states(inputs["images"], self.visual_encoder_m)
        states = self.text_encoder_m(inputs["tokens"], inputs["mask"], images)
        return self.answer_logits(self.text_decoder_m, states, inputs)

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        self.begin_step(progress)
        teacher = self.momentum_logits(inputs) if self.config_as(MomentumConfig).use_distill else None
        return {"lm": self.answer_loss(inputs, teacher, self.soft_share(progress))}

"""CLIP: a thin wrapper over open_clip, every architecture of it by name, others by a JSON file.

Weights come from this project's checkpoints, open_clip's .bin/.pt/.safetensors, a hub folder
(`local-dir:<folder>`), the hub (`hf-hub:<name>`) or a tag that open_clip knows ("laion2b_s34b_b88k").
"""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from lavis.common.checkpoint import describe_mismatch, load_file, weights_of
from lavis.common.errors import CheckpointError, ConfigError, MissingFile, suggest
from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.contrastive import contrastive_loss
from lavis.models.base import BaseModel, Inputs, TokenCache, TrainingStep
from lavis.settings.schema import ModelConfig
from lavis.towers.fast import SHORT_CAPTIONS, encode_short, use_fast_paths

log = logging.getLogger(__name__)
HUB, FOLDER = "hf-hub:", "local-dir:"
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
MAX_LOG_SCALE = math.log(100.0)


@registry.register_model("clip")
class ClipModel(BaseModel):
    """open_clip's model `clip` behind the project's contract. Its checkpoints carry open_clip's own keys."""

    family = "clip"
    shards = True
    clip: Any  # CLIP, CustomTextCLIP or CoCa, which have no common base

    def __init__(self, clip: Any, tokenizer: Any, model_type: str, *, short_captions: bool = False) -> None:
        super().__init__()
        self.model_type, self.short_captions = model_type, short_captions
        self.clip = clip
        self._tokenizer = lambda captions: tokenizer(captions)  # copies of the model share it, with its 50,000 merges
        self._tokens = TokenCache(lambda caption: self.tokenize([caption])[0])
        mean, std = clip.visual.image_mean, clip.visual.image_std
        self.register_buffer("image_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, config: ModelConfig, *, load_pretrained: bool = True) -> ClipModel:
        """Build `config.model_type`; weights of `config.pretrained` are loaded strictly unless told not to."""
        name = resolve_architecture(config.model_type, config.pretrained)
        clip, tokenizer = _create(name, config)
        image, text = use_fast_paths(clip, config.fast_towers, name)
        log.info("fast paths of %s: image tower: %s; text tower: %s", name, image, text)
        model = cls(clip, tokenizer, name, short_captions=SHORT_CAPTIONS in text.paths)
        if config.grad_checkpointing:
            clip.set_grad_checkpointing(True)
        if load_pretrained and config.pretrained:
            model.load_weights(config.pretrained)
        return model

    def prepare(self, rows: dict[str, Any]) -> Inputs:
        return {**rows, "tokens": self._tokens(rows["captions"])}

    def represent(self, inputs: Inputs) -> PairFeatures:
        return PairFeatures(self.encode_image(inputs["images"]), self.encode_text(inputs["tokens"]))

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        """Radford et al., arXiv 2103.00020, section 2.3; in single precision whatever the towers run in."""
        return self.pair_objective(self.represent(inputs), inputs.get("caption_groups"))

    def pair_objective(self, pairs: PairFeatures, groups: torch.Tensor | None) -> dict[str, torch.Tensor]:
        with torch.autocast(pairs.image.device.type, enabled=False):
            return {"contrastive": contrastive_loss(pairs, self.scale, groups)}

    def tokenize(self, captions: list[str]) -> torch.Tensor:
        """Token ids; cut after the longest caption where `encode_text` takes short ones."""
        tokens = self._tokenizer(captions)
        if not self.short_captions:
            return tokens
        return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.clip.encode_image(self.normalise(images))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return encode_short(self.clip, tokens) if self.short_captions else self.clip.encode_text(tokens)

    @property
    def scale(self) -> torch.Tensor:
        return self.clip.logit_scale.exp()

    def scale_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self.clip.named_parameters() if name in ("logit_scale", "logit_bias")]

    def text_parameters(self, tokens_only: bool = False) -> list[nn.Parameter]:
        """All but the image tower's and the temperature; of these the weights of `token_embedding` alone."""
        outside = {id(p) for p in [*self.clip.visual.parameters(), *self.scale_parameters()]}
        named = [(name, p) for name, p in self.clip.named_parameters() if id(p) not in outside]
        return [p for name, p in named if not tokens_only or name.split(".")[-2:] == ["token_embedding", "weight"]]

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """logit_scale ≤ ln 100 (CLIP, arXiv 2103.00020, section 2.5)."""
        self.clip.logit_scale.clamp_(max=MAX_LOG_SCALE)

    def checkpoint_state(self) -> dict[str, torch.Tensor]:
        return self.clip.state_dict()

    def load_weights(self, source: str | Path) -> None:
        path = resolve_weights(str(source), self.model_type)
        state = _converted(self.clip, weights_of(load_file(path), path))
        difference = describe_mismatch(self.clip.state_dict(), state, path)
        if difference:
            raise CheckpointError(difference)
        self.clip.load_state_dict(state)


def resolve_architecture(model_type: str, pretrained: str | None = None) -> str:
    """A name that open_clip can build. JSON files are registered under their stem.

    Raises ConfigError with the closest names, MissingFile for a JSON file or hub folder that is not there.
    """
    if not model_type and pretrained and pretrained.startswith((HUB, FOLDER)):
        return pretrained
    if model_type.endswith(".json"):
        return _register_json(Path(model_type))
    if model_type.startswith((HUB, FOLDER)):
        return model_type
    known = open_clip.list_models()
    if model_type not in known:
        close = difflib.get_close_matches(model_type, known, n=3, cutoff=0.4)
        raise ConfigError(f"model.model_type: open_clip has no '{model_type}'; closest: {', '.join(close) or 'none'}")
    return model_type


def _register_json(path: Path) -> str:
    packaged = Path(__file__).resolve().parents[1] / "configs" / "models" / path
    path = path if path.is_file() else packaged
    if not path.is_file():
        raise MissingFile(f"model.model_type: no architecture file {path.name}, here or in lavis/configs/models")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not valid JSON (line {error.lineno}): {error.msg}") from error
    for key in ("embed_dim", "vision_cfg", "text_cfg"):
        if key not in content:
            raise ConfigError(f"{path}: key '{key}' is missing; an open_clip architecture file has it")
    open_clip.add_model_config(path)
    return path.stem


def _create(name: str, config: ModelConfig) -> tuple[Any, Any]:
    extra: dict[str, Any] = {**config.args, **({"force_image_size": config.image_size} if config.image_size else {})}
    try:
        with _quiet():
            clip = open_clip.create_model(name, pretrained=None, load_weights=False, **extra)
        return clip, open_clip.get_tokenizer(name)
    except (RuntimeError, TypeError, ImportError, OSError) as error:
        raise ConfigError(f"model: open_clip could not build '{name}': {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip warns of random weights before ours are loaded."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def resolve_weights(source: str, model_type: str) -> Path:
    """The file behind a path, `local-dir:`, `hf-hub:` or an open_clip tag. Raises MissingFile or ConfigError."""
    if source.startswith(FOLDER):
        return _in_folder(Path(source.removeprefix(FOLDER)))
    if source.startswith(HUB):
        return _from_hub(source.removeprefix(HUB))
    path = Path(source)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return path
    if path.suffix or "/" in source:
        raise MissingFile(f"checkpoint {source} does not exist")
    return _from_tag(source, model_type)


def _in_folder(folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise MissingFile(f"folder {folder} holds none of {', '.join(WEIGHT_FILES)}")


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    for file in WEIGHT_FILES:
        try:
            return Path(hf_hub_download(name, file))
        except LocalEntryNotFoundError as error:
            raise MissingFile(f"hub model {name} is not cached here and the hub cannot be reached") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise MissingFile(f"hub model {name}: {str(error).splitlines()[0]}") from error
    raise MissingFile(f"hub model {name} holds none of {', '.join(WEIGHT_FILES)}")


def _from_tag(tag: str, model_type: str) -> Path:
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

    entry = get_pretrained_cfg(model_type, tag)
    if not entry:
        known = list_pretrained_tags_by_model(model_type)
        hint = suggest(tag, known)
        raise MissingFile(f"model.pretrained: '{tag}' is no file or folder, nor a tag of {model_type}; {hint}")
    try:
        return Path(download_pretrained(entry))
    except Exception as error:
        raise MissingFile(f"model.pretrained: '{tag}' could not be fetched: {str(error).splitlines()[0]}") from error


def _converted(clip: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Old and foreign layouts to this model's: open_clip's own conversions, position tables resized."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    state = convert_state_dict(clip, dict(state))
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    scale = state.get("logit_scale")
    if scale is not None and scale.shape != clip.logit_scale.shape and scale.numel() == 1:
        state["logit_scale"] = scale.reshape(clip.logit_scale.shape)
    with contextlib.suppress(RuntimeError, AssertionError, AttributeError):
        resize_pos_embed(state, clip)
        resize_text_pos_embed(state, clip)
    return state

"""LAVIS's functions for loading: a model, its processors, a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from lavis.api.composing import as_data, as_model
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.hub.recipe import FUSED, Recipe
from lavis.images.store import ImageStore
from lavis.models.base import BaseModel
from lavis.processors.base import build_processor
from lavis.processors.image import ImageProcessor
from lavis.processors.text import TextProcessor
from lavis.settings.config import compose_dataset, compose_model
from lavis.settings.schema import ModelConfig, RunConfig

Processors = dict[str, Any]  # "train" and "eval"
ASKED = ("albef_vqa", "blip_vqa")  # models that take questions, not captions


def load_model(
    name: str,
    model_type: str = "",
    is_eval: bool = False,
    device: str | torch.device = "cpu",
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> BaseModel:
    """A model with its weights.

    Args:
        name: registered model: "clip", "blip_retrieval", …; `lavis.model_zoo` lists them.
        model_type: of clip, an architecture of open_clip, `local-dir:FOLDER`, `hf-hub:NAME`, a run folder, a checkpoint
            or a JSON architecture file; of the others, a published type such as "coco".
        is_eval: put it in eval mode.
        device: where it goes.
        checkpoint: weights to load in place of those that the type names (a file, a folder, a tag of open_clip).
        settings: further keys of `model:`, such as image_size=64.

    Raises ConfigError, MissingFile, CheckpointError.
    """
    return _loaded(_model_config(name, model_type, checkpoint, settings), is_eval, device)[0]


def load_model_and_preprocess(
    name: str,
    model_type: str = "",
    is_eval: bool = False,
    device: str | torch.device = "cpu",
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> tuple[BaseModel, Processors, Processors]:
    """As `load_model`, and its processors: {"train", "eval"} for images, and for texts.

    `vis["eval"](image)` turns a Pillow image into what `encode_image` takes, uint8 (3, S, S), as the model's own recipe
    says; the model normalises it. `txt["eval"](caption)` gives what `tokenize` takes.
    """
    model, recipe = _loaded(_model_config(name, model_type, checkpoint, settings), is_eval, device)
    return model, *_processors(recipe, name)


def _model_config(
    name: str, model_type: str, checkpoint: str | Path | None, settings: Mapping[str, Any]
) -> ModelConfig:
    given = as_model(str(model_type), name, None if checkpoint is None else str(checkpoint))
    return compose_model([("lavis.load_model", {"model": {**given, **settings}})])


def _loaded(config: ModelConfig, is_eval: bool, device: str | torch.device) -> tuple[BaseModel, Recipe]:
    model_class = registry.get_model_class(config.arch)
    recipe = model_class.recipe_of(config)
    model = model_class.from_config(config, recipe=recipe).to(device)
    return model.train(not is_eval), recipe


def _processors(recipe: Recipe, name: str) -> tuple[Processors, Processors]:
    if recipe.form == FUSED:
        family = {"train": "blip_image_train", "eval": "blip_image_eval"}
        images = {stage: {"name": kind, "image_size": recipe.pixels.image_size} for stage, kind in family.items()}
        texts = {"name": "blip_question" if name in ASKED else "blip_caption"}
    else:
        images = dict.fromkeys(("train", "eval"), {"name": "clip_image_eval", **recipe.pixels.arguments()})
        texts = {"name": "clip_caption"}
    vis = {stage: build_processor(given, "image", f"image processor, {stage}") for stage, given in images.items()}
    txt = {stage: build_processor(texts, "text", f"text processor, {stage}") for stage in ("train", "eval")}
    return vis, txt


def load_dataset(
    name: str = "pairs",
    *,
    vis_processor: ImageProcessor | None = None,
    text_processor: TextProcessor | None = None,
    output_dir: str | Path = "output",
    **settings: Any,
) -> dict[str, Pairs]:
    """{split: data set}; of a table without splits {"train": …}.

    Args:
        name: registered data set; `lavis.dataset_zoo` lists them. "pairs" is the user's own table.
        vis_processor: applied to images; without it, they are as they are on disk.
        text_processor: applied to captions; without it, they are as they are on disk.
        output_dir: where indexes of tar files, unpacked images and the list of dropped rows go.
        settings: keys of `datasets.<name>:`; for pairs: source, images, columns, fractions, forget.

    Raises ConfigError, DataError, MissingFile.
    """
    config = compose_dataset(name, [("lavis.load_dataset", as_data(settings))])
    run = RunConfig(output_dir=str(output_dir), test_splits=[])
    builder: PairBuilder = registry.get_builder_class(name)(config, run)
    builder.prepare()
    splits = {split: builder.entries(split) for split in builder.splits}
    return {split: Pairs(rows, builder.store, vis_processor, text_processor) for split, rows in splits.items()}


class Pairs(Dataset):
    """Image–caption pairs: `pairs[i]` is {"image", "text_input", "image_id"} of the i-th caption.

    "image" is a Pillow image (RGB), or what `vis_processor` makes of it; "image_id" its name.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        store: ImageStore,
        vis_processor: ImageProcessor | None = None,
        text_processor: TextProcessor | None = None,
    ) -> None:
        self.store, self.vis_processor, self.text_processor = store, vis_processor, text_processor
        self.rows = [(entry, caption) for entry in entries for caption in entry.captions]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry, caption = self.rows[index]
        shrink = None if self.vis_processor is None else self.vis_processor.shrink
        image = self.store.open(entry.image, shrink).convert("RGB")
        return {
            "image": image if self.vis_processor is None else self.vis_processor(image),
            "text_input": caption if self.text_processor is None else self.text_processor(caption),
            "image_id": str(entry.image if entry.image_id is None else entry.image_id),
        }

"""Which recipe a configuration stands for: what `model.model_type` says, and what the weights say about themselves.

Weights that describe their model are followed: those of open_clip's tags, of folders and hub models in open_clip's or
transformers' form, and this project's checkpoints. Where `model:` says otherwise, that is refused, or, with
model.override_recipe=true, `model:` wins and the log says so.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lavis.common.checkpoint import BEST, load_file
from lavis.common.errors import ConfigError, MissingFile
from lavis.common.torchscript import QUICK_GELU, class_names, is_archive
from lavis.hub import open_clip_form, transformers_form
from lavis.hub.places import FOLDER, HUB, OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG, Folder, Place, place_of, weights_file
from lavis.hub.recipe import OPEN_CLIP, Recipe, differences, refuse_or_warn
from lavis.settings.schema import ModelConfig


@dataclasses.dataclass(frozen=True)
class Statement:
    """A recipe and who says it. `complete`: it comes with weights, and says how images are prepared."""

    recipe: Recipe
    complete: bool


def recipe_of(config: ModelConfig, weights: str | None = None) -> Recipe:
    """The recipe of a CLIP-like model.

    Args:
        weights: what will be loaded, where that is not `weights_source(config)`.

    Raises ConfigError where `model:` names no architecture or contradicts the weights, MissingFile, CheckpointError.
    """
    source = weights or weights_source(config) or ""
    stated = _stated(config.model_type) if config.model_type else None
    carried = _carried(source) if source and source != config.model_type else None
    needed = _needed(source, stated) if stated is not None and carried is None else None
    if stated is None and carried is None:
        raise ConfigError(
            "model.model_type is empty, and the weights do not say their architecture; name one of open_clip's, a JSON "
            f"architecture file, {FOLDER}<folder> or {HUB}<name>"
        )
    base, conflicts = (needed, []) if needed else _reconciled(stated, carried, config.override_recipe)
    recipe = _with_settings(base, config)
    if carried or needed or (stated is not None and stated.complete):
        conflicts += _conflicts(recipe, base, "model.args or model.image_size")
    refuse_or_warn(conflicts, config.override_recipe)
    return dataclasses.replace(recipe, overridden=(*recipe.overridden, *conflicts))


def weights_source(config: ModelConfig) -> str | None:
    """The weights that a configuration names: model.pretrained, or model.model_type where that is more than a name."""
    kind = config.model_type
    return config.pretrained or (kind if kind and not _is_architecture(kind) else None)


def read_place(place: Place) -> Recipe | None:
    """What a folder or hub model says about its model; None where it holds nothing but weights. Raises MissingFile."""
    if isinstance(place, Folder) and not place.path.is_dir():
        raise MissingFile(f"folder {place.path} does not exist")
    if place.file(OPEN_CLIP_CONFIG):
        return open_clip_form.from_place(place)
    if isinstance(place, Folder) and place.file(BEST):
        return read_file(weights_file(place))
    return transformers_form.from_place(place) if place.file(TRANSFORMERS_CONFIG) else None


def read_file(path: Path) -> Recipe | None:
    """The recipe in a checkpoint of this project; None for other files. Raises CheckpointError for a damaged one."""
    if path.suffix == ".safetensors" or is_archive(path):
        return None
    content = load_file(path, lazily=True)
    state = content.get("recipe") if isinstance(content, dict) else None
    return None if state is None else Recipe.from_state(state, path)


def _is_architecture(model_type: str) -> bool:
    """A name of open_clip's or a JSON file, rather than a folder, a hub model or a checkpoint."""
    return place_of(model_type) is None and (model_type.endswith(".json") or not Path(model_type).is_file())


def _stated(model_type: str) -> Statement:
    if _is_architecture(model_type):
        json = model_type.endswith(".json")
        recipe = open_clip_form.from_json(Path(model_type)) if json else open_clip_form.named(model_type)
        return Statement(recipe, complete=False)
    place = place_of(model_type)
    recipe = read_file(Path(model_type)) if place is None else read_place(place)
    if recipe is None:
        raise ConfigError(
            f"model.model_type: {model_type} does not say its architecture: a folder needs {OPEN_CLIP_CONFIG}, "
            f"{TRANSFORMERS_CONFIG} or a checkpoint of this project. Name the architecture there, and this in "
            "model.pretrained"
        )
    return Statement(recipe, complete=True)


def _carried(source: str) -> Recipe | None:
    """What weights say about their model; None where they say nothing."""
    place = place_of(source)
    if place is not None:
        return read_place(place)
    return read_file(Path(source)) if Path(source).is_file() else None


def _needed(source: str, stated: Statement) -> Recipe | None:
    """The architecture as one of its tags, or OpenAI's own file, needs it (QuickGELU); None for other weights."""
    architecture, path = stated.recipe, Path(source)
    if stated.complete or not source or place_of(source) is not None:
        return None
    if not path.is_file():
        return open_clip_form.with_tag(architecture, source)
    if is_archive(path) and QUICK_GELU in class_names(path):
        whence = f"{architecture.source} with {QUICK_GELU}, as in {path.name}"
        return open_clip_form.with_arguments(architecture, {"quick_gelu": True}, whence)
    return None


def _reconciled(stated: Statement | None, carried: Recipe | None, override: bool) -> tuple[Recipe, list[str]]:
    """The recipe to start from, and where model_type contradicts the weights."""
    if stated is None or carried is None:
        recipe = carried or (stated.recipe if stated else None)
        assert recipe is not None
        return recipe, []
    own = stated.recipe
    if own.form != carried.form:
        raise ConfigError(
            f"model.model_type is {own.source} in {own.form}'s form, the weights are {carried.source} in "
            f"{carried.form}'s; leave model.model_type empty"
        )
    conflicts = _conflicts(own, carried, "", pixels=stated.complete)
    if not (conflicts and override):
        return carried, conflicts
    if stated.complete:
        return own, conflicts
    mixed = open_clip_form.with_arguments(
        own, {"force_preprocess_cfg": open_clip_form.preprocess_of(carried)}, own.source
    )
    return mixed, conflicts


def _conflicts(given: Recipe, known: Recipe, key: str, pixels: bool = True) -> list[str]:
    """Sentences on where a recipe contradicts the known one; `key` says where it was given, if not in its source."""
    found = _architectures(given, known)
    if pixels:
        found |= differences(_prepared(given), _prepared(known), frozenset({"image_size"}))
    place = key or given.source
    return [
        f"{name} is {_plain(one)} in {place}, {_plain(other)} in {known.source}" for name, (one, other) in found.items()
    ]


def _with_settings(recipe: Recipe, config: ModelConfig) -> Recipe:
    """The recipe under model.args and model.image_size."""
    arguments: dict[str, Any] = {**config.args}
    if config.image_size not in (None, recipe.pixels.image_size):
        arguments["force_image_size"] = config.image_size
    if not arguments:
        return recipe
    if recipe.form != OPEN_CLIP:
        raise ConfigError(
            f"model.args and model.image_size are for open_clip's models; {recipe.source} is in {recipe.form}'s form"
        )
    return open_clip_form.with_arguments(recipe, arguments, recipe.source)


def _plain(value: Any) -> str:
    return "not given" if value is None else repr(list(value) if isinstance(value, tuple) else value)


def _architectures(given: Recipe, known: Recipe) -> dict[str, tuple]:
    """Where two architectures of one form differ."""
    if given.form != OPEN_CLIP:
        return differences(given.architecture, known.architecture)
    own, other = (open_clip_form.normalised(recipe.architecture) for recipe in (given, known))
    return differences(own, other, open_clip_form.FREE)


def _prepared(recipe: Recipe) -> dict[str, Any]:
    """How images are prepared, the model's own normalisation included."""
    return recipe.pixels.arguments() | {"mean": recipe.pixels.mean, "std": recipe.pixels.std}

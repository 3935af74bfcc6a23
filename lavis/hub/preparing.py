"""The image processors of a data set, as the model's recipe needs them."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.hub.recipe import Recipe, differences, refuse_or_warn
from lavis.processors.base import processor_class
from lavis.settings.config import Config
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.declaration import declared

log = logging.getLogger(__name__)
STAGES = ("train", "eval")


def builder_of(config: Config, weights: str | None = None) -> tuple[Any, Recipe]:
    """The builder of a configuration's data set, which prepares images by the model's recipe, and the recipe.

    weights: what the model will load, if not what `model:` names. Raises ConfigError as `follow` does.
    """
    recipe = registry.get_model_class(config.model.arch).recipe_of(config.model, weights)
    dataset, recipe = follow(config.dataset, config.dataset_name, recipe, config.model.override_recipe)
    drafted = [f"{stage}.draft" for stage in STAGES if getattr(dataset.vis_processor, stage).get("draft")]
    if drafted:
        log.info(
            "datasets.%s.vis_processor.%s: large JPEGs are decoded at a fraction of their size, so pixels differ a "
            "little from full decoding",
            *(config.dataset_name, " and ".join(drafted)),
        )
    return registry.get_builder_class(config.dataset_name)(dataset, config.run), recipe


def follow(dataset: DatasetConfig, name: str, recipe: Recipe, override: bool) -> tuple[DatasetConfig, Recipe]:
    """`datasets.<name>` with its image processors completed by the recipe, and the recipe with what overrides it.

    Arguments that the data set gives and the recipe has otherwise are a ConfigError that shows both; with `override`
    they win, and a warning is logged.
    """
    stages, conflicts = {}, list[str]()
    for stage in STAGES:
        given, where = getattr(dataset.vis_processor, stage), f"datasets.{name}.vis_processor.{stage}"
        stages[stage], found = _completed(given, where, recipe) if given else (given, [])
        conflicts += found
    refuse_or_warn(conflicts, override)
    followed = dataclasses.replace(dataset.vis_processor, **stages)
    overridden = dataclasses.replace(recipe, overridden=(*recipe.overridden, *conflicts))
    return dataclasses.replace(dataset, vis_processor=followed), overridden


def _completed(given: dict[str, Any], where: str, recipe: Recipe) -> tuple[dict[str, Any], list[str]]:
    """A processor's arguments, those of the recipe where it gives none, and a sentence for each contradiction."""
    processor, wanted = processor_class(given, "image", where), recipe.pixels.arguments()
    known = {key: value for key, value in wanted.items() if key in declared(processor)}
    if processor.deterministic and known.keys() != wanted.keys():
        lacking = ", ".join(f"{key}={wanted[key]}" for key in sorted(wanted.keys() - known.keys()))
        raise ConfigError(
            f"{where}.name: {given['name']} cannot prepare images as {recipe.name} needs them ({lacking}); use "
            "clip_image_eval"
        )
    found = differences({key: given[key] for key in known if key in given}, {k: known[k] for k in known if k in given})
    said = [f"{where}.{key} is {one!r}, {other!r} in {recipe.source}" for key, (one, other) in found.items()]
    return {**known, **given}, said

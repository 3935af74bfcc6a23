"""open_clip's own form: architectures by name, JSON file or `open_clip_config.json`, and building models from them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import open_clip
from open_clip.coca_model import MultimodalCfg
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.pretrained import get_pretrained_cfg
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from open_clip.transform import PreprocessCfg

from lavis.common.errors import ConfigError
from lavis.common.files import SMALL, is_file, read_json
from lavis.hub.places import FOLDER, OPEN_CLIP_CONFIG, Folder, Place, read_config
from lavis.hub.recipe import OPEN_CLIP, Pixels, Recipe, differences
from lavis.hub.tokenizers import tokenizer_folder

NEEDED = ("embed_dim", "vision_cfg", "text_cfg")
SECTIONS = {"vision_cfg": CLIPVisionCfg, "text_cfg": CLIPTextCfg, "multimodal_cfg": MultimodalCfg}
# What the weights do not depend on, or what they bring along: random layers, where towers start, the tokenizer's place.
FREE = frozenset(
    (
        *("patch_dropout", "timm_drop", "timm_drop_path", "timm_model_pretrained", "hf_model_pretrained"),
        *("hf_tokenizer_name", "tokenizer_kwargs", "custom_text", "init_logit_scale", "output_tokens"),
    )
)
# model.args that open_clip calls "force_…": where the architecture has them.
FORCED = {
    "force_quick_gelu": ("quick_gelu",),
    "force_custom_text": ("custom_text",),
    "force_image_size": ("vision_cfg", "image_size"),
    "force_patch_dropout": ("vision_cfg", "patch_dropout"),
    "force_context_length": ("text_cfg", "context_length"),
}
# model.args of open_clip.create_model that are no part of the architecture.
BUILDING = frozenset(
    (
        *("pretrained_image", "pretrained_text", "pretrained_hf", "pretrained_image_path", "pretrained_text_path"),
        *("cache_dir", "precision", "jit", "output_dict", "cast_dtype"),
    )
)


def named(model_type: str) -> Recipe:
    """Of an architecture that open_clip knows by name. Raises ConfigError with the closest names."""
    known = open_clip.list_models()
    if model_type not in known:
        close = difflib.get_close_matches(model_type, known, n=3, cutoff=0.4)
        raise ConfigError(f"model.model_type: open_clip has no '{model_type}'; closest: {', '.join(close) or 'none'}")
    return as_recipe(model_type, _known(model_type), {}, f"open_clip's {model_type}")


def from_json(path: Path) -> Recipe:
    """Of an architecture file, here or packaged. Raises MissingFile, and ConfigError for one that cannot be meant."""
    packaged = Path(__file__).resolve().parents[1] / "configs" / "models" / path
    path = packaged if is_file(packaged) and not os.path.lexists(path) else path
    content = read_json(path, "architecture file", "give a path from here, or a name in lavis/configs/models", SMALL)
    _check(content, path)
    if path.stem in open_clip.list_models():
        own = normalised(_known(path.stem))
        found = differences(normalised(content), own, FREE)
        if found:
            raise ConfigError(
                f"{path} has the name of an architecture of open_clip's, but is another one ({_shown(found)}); "
                "rename it"
            )
    return as_recipe(path.stem, content, {}, path.name)


def from_place(place: Place) -> Recipe:
    """Of a folder or hub model in open_clip's form. Raises ConfigError where its configuration is incomplete."""
    content = read_config(place, OPEN_CLIP_CONFIG)
    if not isinstance(content, dict) or "model_cfg" not in content:
        raise ConfigError(f"{place}: {OPEN_CLIP_CONFIG} has no key 'model_cfg'")
    _check(content["model_cfg"], f"{place}: model_cfg of {OPEN_CLIP_CONFIG}")
    name = place.path.resolve().name if isinstance(place, Folder) else place.name
    recipe = as_recipe(name, content["model_cfg"], content.get("preprocess_cfg") or {}, str(place))
    local = isinstance(place, Folder) and recipe.tokenizer  # open_clip, too, takes a folder's own tokenizer
    return dataclasses.replace(recipe, tokenizer=str(place.path)) if local else recipe


def with_tag(recipe: Recipe, tag: str) -> Recipe | None:
    """A named architecture as the weights of one of its tags need it; None where it has no such tag."""
    entry = get_pretrained_cfg(recipe.name, tag)
    if not entry:
        return None
    quick = {"quick_gelu": True} if entry.get("quick_gelu") else {}
    return as_recipe(recipe.name, recipe.architecture | quick, entry, f"open_clip's {recipe.name}, tag {tag}")


def as_recipe(name: str, architecture: dict[str, Any], preprocess: Mapping[str, Any], source: str) -> Recipe:
    """The recipe of a model_cfg and a preprocess_cfg, with open_clip's defaults where these are silent.

    Raises ConfigError for an image that is not square.
    """
    text = architecture["text_cfg"]
    size = architecture["vision_cfg"].get("image_size", CLIPVisionCfg.image_size)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    if height != width:
        raise ConfigError(f"{source}: images of {height} x {width} pixels; only square ones are supported")
    known: dict[str, Any] = {item.name: item.default for item in dataclasses.fields(PreprocessCfg)}
    given = {key: value for key, value in preprocess.items() if key in known and value is not None}
    used = known | given
    return Recipe(
        name=name,
        form=OPEN_CLIP,
        architecture=architecture,
        pixels=Pixels(
            image_size=height,
            mean=_three(used["mean"]),
            std=_three(used["std"]),
            interpolation="bilinear"
            if used["interpolation"] == "bilinear"
            else "bicubic",  # as open_clip takes "random"
            resize_mode=used["resize_mode"],
            fill_color=used["fill_color"],
        ),
        context_length=text.get("context_length", DEFAULT_CONTEXT_LENGTH),
        tokenizer=text.get("hf_tokenizer_name") or "",
        sigmoid=architecture.get("init_logit_bias") is not None,
        source=source,
    )


def with_arguments(recipe: Recipe, arguments: Mapping[str, Any], source: str) -> Recipe:
    """The recipe under model.args as open_clip.create_model understands them."""
    architecture, preprocess = copy.deepcopy(recipe.architecture), preprocess_of(recipe)
    for key, value in arguments.items():
        if key == "force_preprocess_cfg":
            preprocess |= value or {}
        elif key in FORCED and value is not None:
            *section, name = FORCED[key]
            target = architecture[section[0]] if section else architecture
            target[name] = value
        elif key not in FORCED and key not in BUILDING:
            architecture[key] = value
    changed = as_recipe(recipe.name, architecture, preprocess, source)
    return dataclasses.replace(changed, tokenizer=recipe.tokenizer, tokenizer_files=recipe.tokenizer_files)


def normalised(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """A model_cfg with every default filled in and nothing that the towers' kind ignores, for comparisons."""
    found: dict[str, Any] = {"quick_gelu": False, **architecture}
    found["sigmoid"] = found.pop("init_logit_bias", None) is not None
    for section, defaults in SECTIONS.items():
        if section in found:
            filled: dict[str, Any] = {item.name: item.default for item in dataclasses.fields(defaults)}
            found[section] = _of_its_kind(filled | found[section])
    return found


def create(recipe: Recipe, arguments: Mapping[str, Any]) -> Any:
    """open_clip's model with its initial weights; `arguments` are model.args. Raises ConfigError."""
    building = {key: value for key, value in arguments.items() if key in BUILDING}
    with tempfile.TemporaryDirectory() as folder:
        content = {"model_cfg": recipe.architecture, "preprocess_cfg": preprocess_of(recipe)}
        (Path(folder) / OPEN_CLIP_CONFIG).write_text(json.dumps(content), encoding="utf-8")
        try:
            with quiet():
                return open_clip.create_model(f"{FOLDER}{folder}", load_weights=False, **building)
        except (RuntimeError, TypeError, ImportError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"model: open_clip could not build '{recipe.name}': {reason}") from error


def tokenizer_of(recipe: Recipe) -> Any:
    """open_clip's tokenizer object for a recipe. Raises ConfigError where the hub cannot be reached, say."""
    text = recipe.architecture["text_cfg"]
    options = dict(text.get("tokenizer_kwargs") or {})
    try:
        if not recipe.tokenizer:
            return SimpleTokenizer(context_length=recipe.context_length, **options)
        with tokenizer_folder(recipe) as name:
            mode = text.get("tokenizer_mode")
            return HFTokenizer(name, context_length=recipe.context_length, tokenizer_mode=mode, **options)
    except (OSError, ValueError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"model: the tokenizer '{recipe.tokenizer}' of {recipe.name} cannot be had: {reason}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """open_clip warns of random weights before ours are loaded."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def preprocess_of(recipe: Recipe) -> dict[str, Any]:
    """open_clip's preprocess_cfg."""
    pixels = recipe.pixels
    return {
        "size": pixels.image_size,
        "mean": list(pixels.mean),
        "std": list(pixels.std),
        "interpolation": pixels.interpolation,
        "resize_mode": pixels.resize_mode,
        "fill_color": pixels.fill_color,
    }


def _known(model_type: str) -> dict[str, Any]:
    """A copy of the model_cfg that open_clip has under this name."""
    found = open_clip.get_model_config(model_type)
    assert found is not None, model_type
    return found


def _of_its_kind(section: dict[str, Any]) -> dict[str, Any]:
    """A tower's configuration without the keys that open_clip ignores where the tower is timm's or transformers'."""
    if section.get("timm_model_name"):
        kept = ("timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias", "image_size", *FREE)
        return {key: value for key, value in section.items() if key in kept}
    if section.get("hf_model_name"):
        kept = ("hf_model_name", "hf_proj_type", "hf_pooler_type", "context_length", *FREE)
        return {key: value for key, value in section.items() if key in kept}
    return section


def _check(content: Any, where: str | Path) -> None:
    """Raise ConfigError unless this is an architecture of open_clip's."""
    for key in NEEDED:
        if not isinstance(content, dict) or key not in content:
            raise ConfigError(f"{where}: key '{key}' is missing; an open_clip architecture file has it")
    for key in SECTIONS.keys() & content.keys():
        if not isinstance(content[key], dict):
            raise ConfigError(f"{where}: '{key}' must be an object as in open_clip's files, found {content[key]!r:.60}")


def _three(value: Any) -> tuple[float, ...]:
    """One number a channel; open_clip allows a single one."""
    return tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),) * 3


def _shown(found: Mapping[str, tuple]) -> str:
    told = [f"{key} is {one!r} in it, {other!r} in open_clip's" for key, (one, other) in found.items()]
    return "; ".join(told[:3])

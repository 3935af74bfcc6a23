"""transformers' form: folders and hub models with `config.json`, for its dual encoders of images and texts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lavis.common.checkpoint import describe_mismatch, refuse_impostor
from lavis.common.errors import CheckpointError, ConfigError, dead_worker, suggest
from lavis.hub.places import TRANSFORMERS_CONFIG, Folder, Place, read_config, weights_file
from lavis.hub.recipe import TRANSFORMERS, Pixels, Recipe
from lavis.hub.tokenizers import tokenizer_folder

# model_type of config.json -> rows of the text's position table that no token uses.
KINDS = {"clip": 0, "siglip": 0, "altclip": 2, "chinese_clip": 0}
# Pooled where the padding is: every caption has to have the full length, as in training.
FULL_LENGTH = frozenset({"siglip"})
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
# Of config.json: about the file, not the model.
NOTES = frozenset({"architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path"})
RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def from_place(place: Place) -> Recipe:
    """The recipe of a folder or hub model. Raises ConfigError for other kinds and for what cannot be followed."""
    content = read_config(place, TRANSFORMERS_CONFIG)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind not in KINDS:
        raise ConfigError(
            f"{place} is no dual encoder of images and texts: model_type of its {TRANSFORMERS_CONFIG} is {kind!r}; "
            f"{suggest(str(kind), KINDS)}"
        )
    architecture = _complete(content, place)
    text = architecture["text_config"]
    return Recipe(
        name=place.path.resolve().name if isinstance(place, Folder) else place.name,
        form=TRANSFORMERS,
        architecture=architecture,
        pixels=_pixels(place, int(architecture["vision_config"]["image_size"])),
        context_length=text["max_position_embeddings"] - KINDS[kind],
        tokenizer=location(place),
        sigmoid=kind == "siglip",
        source=str(place),
    )


def create(recipe: Recipe) -> Any:
    """transformers' model with random weights in single precision."""
    from transformers import AutoModel

    return AutoModel.from_config(_config(recipe.architecture), dtype=torch.float32)


def read_model(place: Place, recipe: Recipe) -> Any:
    """The model with its weights, under this installation's names. Raises CheckpointError, MissingFile."""
    from transformers import AutoModel

    refuse_impostor(weights_file(place))
    try:
        with quietly():
            config = _config(recipe.architecture)
            options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
            model, report = AutoModel.from_pretrained(location(place), **options)
    except Exception as error:
        if dead_worker(error):
            raise
        raise CheckpointError(f"{place}: its weights cannot be read ({_first_line(error)})") from error
    wrong = {what: sorted(map(str, report[f"{what}_keys"])) for what in ("missing", "unexpected", "mismatched")}
    told = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in wrong.items() if names]
    if told:
        raise CheckpointError(f"{place}: weights do not fit config.json: {'; '.join(told)}")
    return model


def write(folder: Path, architecture: dict[str, Any], state: dict[str, torch.Tensor], pixels: Pixels) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json. Raises CheckpointError for other weights."""
    from transformers import AutoModel, CLIPImageProcessor

    with quietly():
        model = AutoModel.from_config(_config(architecture), dtype=torch.float32)
        difference = describe_mismatch(model.state_dict(), state, folder.name)
        if difference:
            raise CheckpointError(difference)
        model.load_state_dict(state)
        model.save_pretrained(folder)
        CLIPImageProcessor(**_processor(pixels)).save_pretrained(folder)


def _processor(pixels: Pixels) -> dict[str, Any]:
    """The arguments of transformers' image processor. Raises ConfigError for bars, which it does not add."""
    side, square = pixels.image_size, {"height": pixels.image_size, "width": pixels.image_size}
    if pixels.resize_mode == "longest":
        raise ConfigError("export: transformers' processor has no resize_mode=longest; use to=open_clip")
    numbers = {name: number for number, name in RESAMPLING.items()}
    return {
        "size": square if pixels.resize_mode == "squash" else {"shortest_edge": side},
        "do_center_crop": pixels.resize_mode != "squash",
        "crop_size": square,
        "resample": numbers[pixels.interpolation or "bicubic"],
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
    }


def tokenizer_of(recipe: Recipe) -> Any:
    """transformers' tokenizer. Raises ConfigError where there is none."""
    from transformers import AutoTokenizer

    try:
        with tokenizer_folder(recipe) as name:
            return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ConfigError(
            f"model: the tokenizer of {recipe.name} ({recipe.tokenizer}) cannot be had: {_first_line(error)}"
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' progress bars and warnings."""
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def location(place: Place) -> str:
    """What transformers' from_pretrained takes."""
    return str(place.path) if isinstance(place, Folder) else place.name


def _config(architecture: dict[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING

    # from_dict takes nested sections out of what it is given
    return CONFIG_MAPPING[architecture["model_type"]].from_dict(copy.deepcopy(architecture))


def _complete(content: dict[str, Any], place: Place) -> dict[str, Any]:
    """config.json with transformers' defaults filled in, less the notes. Raises ConfigError."""
    try:
        found = _config(content).to_dict()
    except Exception as error:
        raise ConfigError(
            f"{place}: {TRANSFORMERS_CONFIG} is refused by transformers ({_first_line(error)})"
        ) from error
    return _own_keys(found)


def _own_keys(section: dict[str, Any]) -> dict[str, Any]:
    """A configuration without notes and without what every model of transformers' has at its default."""
    from transformers import PretrainedConfig

    common = {key: value for key, value in PretrainedConfig().to_dict().items() if key != "model_type"}
    kept = {key: value for key, value in section.items() if key not in NOTES and (key, value) not in common.items()}
    return {key: _own_keys(value) if key.endswith("_config") else value for key, value in kept.items()}


def _pixels(place: Place, image_size: int) -> Pixels:
    """What the image processor does. Raises ConfigError where clip_image_eval cannot do the same."""
    from transformers import AutoImageProcessor

    if not any(place.file(name) for name in PROCESSORS):
        raise ConfigError(
            f"{place} has no {PROCESSORS[0]}, so how its images are prepared is unknown; save its processor there"
        )
    try:
        with quietly():
            processor = AutoImageProcessor.from_pretrained(location(place))
    except (OSError, ValueError, ImportError, TypeError, KeyError) as error:
        raise ConfigError(f"{place}: its image processor cannot be read ({_first_line(error)})") from error
    size, mode = _resizing(processor, place)
    if size != image_size:
        raise ConfigError(f"{place}: its image processor gives {size} px, and its image tower takes {image_size} px")
    shifted = bool(processor.do_normalize)
    return Pixels(
        image_size=size,
        mean=tuple(map(float, processor.image_mean)) if shifted else (0.0,) * 3,
        std=tuple(map(float, processor.image_std)) if shifted else (1.0,) * 3,
        interpolation=RESAMPLING[int(processor.resample)],
        resize_mode=mode,
        library=TRANSFORMERS,
    )


def _resizing(processor: Any, place: Place) -> tuple[int, str]:
    """Side in pixels and resize_mode. Raises ConfigError."""
    cropping = getattr(processor, "do_center_crop", False)  # SigLIP's has no such key before transformers 5
    size, crop = _lengths(processor.size), _lengths(processor.crop_size if cropping else None)
    squashed = size.get("height") is not None and size.get("height") == size.get("width")
    shortest = size.get("shortest_edge") if size.get("longest_edge") is None else None
    cropped = crop.get("height") if crop.get("height") == crop.get("width") else None
    known = int(processor.resample or 0) in RESAMPLING
    scaled = processor.do_rescale and abs(processor.rescale_factor * 255 - 1) < 1e-6
    if processor.do_resize and known and scaled:
        if squashed and (not cropping or cropped == size["height"]):
            return size["height"], "squash"
        if shortest is not None and shortest == cropped:
            return shortest, "shortest"
    raise ConfigError(
        f"{place}: its image processor (size {size}, crop {crop}, resample {processor.resample}, rescale "
        f"{processor.rescale_factor}) is none that clip_image_eval can follow: shortest side and centre crop of the "
        "same length, or a square; bicubic or bilinear"
    )


def _lengths(size: Any) -> dict[str, int]:
    """A size of transformers' as plain numbers by name."""
    found = dict(size.items()) if hasattr(size, "items") else dict(getattr(size, "__dict__", {}) or {})
    return {name: int(value) for name, value in found.items() if value is not None}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

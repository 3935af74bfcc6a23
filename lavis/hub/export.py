"""Export: a model in the form in which open_clip or transformers publish theirs. Weights only, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lavis.common.checkpoint import load_file, refuse_broken, save_tensors, weights_digest
from lavis.common.errors import ConfigError, UserFault, suggest
from lavis.common.files import naming_path, new_folder
from lavis.common.home import at_home, home_path
from lavis.hub import clip_names, siglip_names, transformers_form
from lavis.hub.card import model_card
from lavis.hub.open_clip_form import preprocess_of
from lavis.hub.places import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, TRANSFORMERS_CONFIG, place_of, resolve_weights
from lavis.hub.reading import recipe_of, weights_source
from lavis.hub.recipe import FUSED, OPEN_CLIP, TRANSFORMERS, Recipe
from lavis.hub.tokenizers import save_tokenizer
from lavis.hub.weights import read_weights
from lavis.settings.schema import ModelConfig
from lavis.settings.validation import build

FORMS = (OPEN_CLIP, TRANSFORMERS)
State = dict[str, torch.Tensor]


def export(source: str | Path, out: str | Path, to: str = OPEN_CLIP, *, push_to: str | None = None) -> Path:
    """Write a model as a folder: configuration, weights (safetensors), tokenizer, preprocessor, model card.

    Args:
        source: a run folder, a checkpoint, or any model with weights (local-dir:…, hf-hub:…).
        out: the folder, which must not exist or be empty. to: "open_clip" or "transformers".
        push_to: the hub's name ("owner/model") to upload the folder to, with the login of huggingface_hub.

    Raises ConfigError for a form that the model does not have and for a folder in use, MissingFile, CheckpointError.
    """
    out = home_path(out)
    if to not in FORMS:
        raise ConfigError(f"export: unknown form '{to}'; {suggest(to, FORMS)}")
    _refuse_used(out)
    recipe, state, content, folder = _read(at_home(str(source)))
    refuse_broken(state, source)
    with new_folder(out.parent), _beside(out) as partial, naming_path(out, partial):
        written = partial / "model"
        written.mkdir()
        _write(written, recipe, state, to)
        card = model_card(recipe, content, folder, to, weights_digest(state))
        (written / "README.md").write_text(card, encoding="utf-8")
        for file in written.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner alone
        if out.is_dir():
            out.rmdir()
        os.replace(written, out)
    if push_to:
        push(out, push_to)
    return out


def _refuse_used(out: Path) -> None:
    """Raise ConfigError unless the folder does not exist, or is empty."""
    if out.is_symlink() and not out.exists():
        target = os.readlink(out)
        raise ConfigError(f"export: {out} is a link to {target}, which does not exist; delete it, or make the folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"export: {out} exists already; choose another folder, or delete it")


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A temporary folder next to `out`, so that what is written in it can be renamed to `out`."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as partial:
        yield Path(partial)


def push(folder: Path, name: str) -> None:
    """Upload an exported folder to the Hugging Face hub. Raises UserFault with the hub's own words."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import HfHubHTTPError

    try:
        HfApi().create_repo(name, exist_ok=True, private=True)
        HfApi().upload_folder(repo_id=name, folder_path=folder, commit_message="Export")
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserFault(f"export: {folder} is written, but could not be pushed to {name}: {reason}") from error


def _read(source: str) -> tuple[Recipe, State, Mapping[str, Any], Path]:
    """Recipe, weights, the whole checkpoint ({} for others' files) and its folder."""
    place = place_of(source)
    named = ModelConfig(model_type=source)
    path = resolve_weights(weights_source(named) or source, "")
    content = load_file(path, lazily=True) if path.suffix == ".pth" else {}
    if "recipe" not in content and "config" in content:  # a checkpoint of before recipes
        named = build(ModelConfig, {**content["config"]["model"], "pretrained": str(path)}, "model")
    recipe = recipe_of(named)
    if recipe.form == FUSED:
        raise ConfigError(
            f"export: {source} is a {recipe.name} model; only models of two towers (clip) have such a form"
        )
    if place is not None and recipe.form == TRANSFORMERS and place.file(TRANSFORMERS_CONFIG):
        return recipe, transformers_form.read_model(place, recipe).state_dict(), {}, path.parent
    return recipe, read_weights(path), content, path.parent


def _write(folder: Path, recipe: Recipe, state: State, to: str) -> None:
    if to == OPEN_CLIP:
        _write_open_clip(folder, recipe, state)
    else:
        _write_transformers(folder, recipe, state)
    save_tokenizer(recipe, folder, cleaning=to != recipe.form)


def _write_open_clip(folder: Path, recipe: Recipe, state: State) -> None:
    architecture: dict[str, Any] = recipe.architecture
    if recipe.form == TRANSFORMERS:
        architecture, state = clip_names.to_open_clip(recipe, state)
    content = {"model_cfg": _without_paths(architecture), "preprocess_cfg": preprocess_of(recipe)}
    (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(content, indent=2), encoding="utf-8")
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    save_tensors(folder / OPEN_CLIP_WEIGHTS[0], tensors, {"format": "pt"})


def _without_paths(architecture: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer of this machine's lies in the exported folder, where open_clip looks for it under any name."""
    text = architecture["text_cfg"]
    name = text.get("hf_tokenizer_name")
    if not name or not Path(name).exists():
        return architecture
    return {**architecture, "text_cfg": {**text, "hf_tokenizer_name": "tokenizer"}}


def _write_transformers(folder: Path, recipe: Recipe, state: State) -> None:
    if recipe.form == OPEN_CLIP:
        convert = siglip_names.to_transformers if siglip_names.is_siglip(recipe) else clip_names.to_transformers
        architecture, state = convert(recipe, state)
    else:
        architecture = recipe.architecture
    transformers_form.write(folder, architecture, state, recipe.pixels)

"""Where a model's files are: a folder, a name on the Hugging Face hub, a single file, or one of open_clip's tags."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.checkpoint import BEST
from lavis.common.errors import DataError, MissingFile, suggest
from lavis.common.files import check_file, read_json

HUB, FOLDER = "hf-hub:", "local-dir:"
OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG = "open_clip_config.json", "config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
INDEX = ".index.json"  # ends the name of a file that lists the parts of a larger one
TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
ENDINGS = (".pth", ".pt", ".bin", ".safetensors")
WEIGHTS = (*OPEN_CLIP_WEIGHTS, BEST, *TRANSFORMERS_WEIGHTS)


@dataclass(frozen=True)
class Folder:
    """A folder on this machine."""

    path: Path

    def __str__(self) -> str:
        return f"{FOLDER}{self.path}"

    def file(self, name: str) -> Path | None:
        """The file of this name; None where there is none."""
        return self.path / name if (self.path / name).is_file() else None


@dataclass(frozen=True)
class HubModel:
    """A model of the Hugging Face hub; its files are downloaded when they are asked for, and cached."""

    name: str

    def __str__(self) -> str:
        return f"{HUB}{self.name}"

    def file(self, name: str) -> Path | None:
        """The file of this name; None where there is none. Raises MissingFile where the hub cannot say."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self.name, name))
        except LocalEntryNotFoundError as error:
            raise MissingFile(f"hub model {self.name}: {name} is not cached and the hub cannot be reached") from error
        except EntryNotFoundError:
            return None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise MissingFile(f"hub model {self.name}: {str(error).splitlines()[0]}") from error


Place = Folder | HubModel


def place_of(source: str) -> Place | None:
    """The folder or hub model that a source names; None for single files, tags and architectures.

    A weights file next to open_clip's configuration counts as its folder: the configuration is about it.
    """
    if source.startswith(HUB):
        return HubModel(source.removeprefix(HUB))
    path = Path(source.removeprefix(FOLDER))
    if source.startswith(FOLDER) or (source and path.is_dir()):
        return Folder(path)
    if path.name in OPEN_CLIP_WEIGHTS and path.is_file() and (path.parent / OPEN_CLIP_CONFIG).is_file():
        return Folder(path.parent)
    return None


def read_config(place: Place, name: str) -> Any:
    """A JSON file of a place, which has it. Raises DataError where it is not JSON."""
    path = place.file(name)
    assert path is not None, name
    return read_json(path, "configuration")


def weights_file(place: Place) -> Path:
    """The weights in a folder or of a hub model. Raises MissingFile naming what was looked for, DataError."""
    if isinstance(place, Folder) and not place.path.is_dir():
        raise MissingFile(f"folder {place.path} does not exist")
    names = WEIGHTS
    if not place.file(OPEN_CLIP_CONFIG) and place.file(TRANSFORMERS_CONFIG):
        names = (BEST, *TRANSFORMERS_WEIGHTS)
    for name in names:
        path = place.file(name)
        if path is not None:
            for part in listed_in(path) if name.endswith(INDEX) else ():
                place.file(part)  # on the hub: downloads it
            return path
    _refuse_others(place, names)
    raise MissingFile(f"{place} holds none of {', '.join(names)}")


def _refuse_others(place: Place, names: Iterable[str]) -> None:
    """Raise DataError or MissingFile for a folder, or a link to nowhere, that is called as a file should be."""
    if isinstance(place, Folder):
        itself = [place.path] if place.path.suffix in ENDINGS else []
        for path in (*itself, *(place.path / name for name in names)):
            if os.path.lexists(path):
                check_file(path, "weights")


def resolve_weights(source: str, model_type: str) -> Path:
    """The file behind a path, `local-dir:`, `hf-hub:` or an open_clip tag of `model_type`. Raises MissingFile."""
    place = place_of(source)
    if place is not None:
        return weights_file(place)
    path = Path(source)
    if path.is_file():
        return path
    if path.suffix or "/" in source:
        check_file(path, "checkpoint")  # raises an error that says how it is no file
    return _from_tag(source, model_type)


def listed_in(index: Path) -> list[str]:
    """The names of the files that an index of weights lists. Raises DataError."""
    content = read_json(index, "index of weights")
    if not isinstance(content, dict) or not isinstance(content.get("weight_map"), dict) or not content["weight_map"]:
        raise DataError(f"{index} is no index of weights: key 'weight_map' is missing or empty")
    return sorted({str(name) for name in content["weight_map"].values()})


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

"""Weights of a TorchScript archive (the .pt files that OpenAI published CLIP as), without running any of its code.

An archive is a zip: `data.pkl` is the module's tree of attributes, `data/<key>` the bytes of a storage, `code/` the
programs, which stay unread. torch.load refuses archives with weights_only, and torch.jit.load would compile the code.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lavis.common.errors import CheckpointError

QUICK_GELU = "QuickGELU"
# Tensors among the attributes that are no weights: OpenAI's sizes, and masks that are built again.
NOT_WEIGHTS = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})
STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LISTS = ("int", "double", "bool", "tensor")
UNREADABLE = (pickle.UnpicklingError, zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, RuntimeError)

# What zipfile raises where a file is no archive, or its directory is damaged
DAMAGED = (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, struct.error, IndexError)


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive, which has a table of constants that torch.save does not write."""
    return _entry(path, "constants.pkl") is not None


def class_names(path: Path) -> frozenset[str]:
    """The names of the classes of an archive's modules; none if it is damaged, which reading its weights will say."""
    try:
        with zipfile.ZipFile(path) as archive:
            tree = archive.read(_entry(path, "data.pkl") or "data.pkl")
        called = [argument for code, argument, _ in pickletools.genops(tree) if code.name == "GLOBAL"]
    except (*DAMAGED, *UNREADABLE):
        return frozenset()
    return frozenset(str(argument).rsplit(" ", 1)[-1] for argument in called)


def read_archive(path: Path) -> dict[str, torch.Tensor]:
    """Parameters and buffers by dotted name. Raises CheckpointError for an archive that holds anything unusual."""
    entry = _entry(path, "data.pkl")
    try:
        with zipfile.ZipFile(path) as archive:
            reader = _Reader(archive, entry or "data.pkl")
            found = dict(_tensors(reader.load(), ""))
    except UNREADABLE as error:
        raise CheckpointError(
            f"checkpoint {path} is a TorchScript archive whose weights cannot be read without running it ({error}); "
            "convert it where you trust it: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')"
        ) from error
    return {name: tensor for name, tensor in found.items() if name.rsplit(".", 1)[-1] not in NOT_WEIGHTS}


class _Module:
    """Stands for any module of the archive: its attributes, and nothing that could run."""

    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    """Builds `_Module`s, tensors and lists of numbers; refuses to look up anything else."""

    def __init__(self, archive: zipfile.ZipFile, entry: str) -> None:
        super().__init__(io.BytesIO(archive.read(entry)))
        self.archive, self.folder = archive, entry.removesuffix("data.pkl")
        self.storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Module
        known = {"torch._utils": {"_rebuild_tensor_v2": _view}, "collections": {"OrderedDict": OrderedDict}}
        known |= {"torch.jit._pickle": dict.fromkeys((f"build_{kind}list" for kind in LISTS), list), "torch": STORAGES}
        if name not in known.get(module, {}):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module][name]

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, kind, key, _, count = pid
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            self.storages[key] = (
                torch.frombuffer(data, dtype=kind, count=count) if count else torch.empty(0, dtype=kind)
            )
        return self.storages[key]


def _view(storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in getattr(module, "attributes", {}).items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")


def _entry(path: Path, name: str) -> str | None:
    """The archive's entry of this name in its top folder; None where there is none, or the file is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return next((entry for entry in archive.namelist() if entry.split("/")[1:] == [name]), None)
    except DAMAGED:
        return None

"""Checkpoints: written atomically, read without ever executing what they contain.

A file is one `torch.save` of plain containers and tensors. The weights stand under "model" (LAVIS's name) and,
sharing the same bytes, under "state_dict" (the name that open_clip loads).
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from lavis.common.errors import DISK_ERRORS, CheckpointError, dead_worker, first_few
from lavis.common.files import check_file, link_or_copy, replacing
from lavis.common.logger import get_logger
from lavis.common.torchscript import is_archive, read_archive

FORMAT = 1
BEST = "checkpoint_best.pth"
# What a finished run's file has besides its weights: enough to load them and to know that nothing is left to train.
FINAL = ("format", "config", "recipe", "origin", "files", "commit", "interpolation")
OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors quotes the system's error
NAME = re.compile(r"checkpoint_(\d+)(?:-(\d+))?\.pth")


def checkpoint_name(epoch: int, step: int | None = None) -> str:
    """`checkpoint_<epoch>.pth` after an epoch, `checkpoint_<epoch>-<step>.pth` within one."""
    return f"checkpoint_{epoch}.pth" if step is None else f"checkpoint_{epoch}-{step}.pth"


def save_checkpoint(path: Path, payload: dict[str, Any]) -> None:
    """Write atomically and flush to the disk: a reader sees the previous file or the complete new one.

    Raises CheckpointError when the disk is full or the folder cannot be written; the previous file stays.
    """
    try:
        with replacing(path, sync=True) as temporary, temporary.open("wb") as stream:
            torch.save(payload, stream)
    except (OSError, RuntimeError) as error:
        if dead_worker(error):
            raise
        raise CheckpointError(_write_failure(path, error)) from error


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a .safetensors file atomically. Raises OSError, to which safetensors' own error is translated."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except SafetensorError as error:
        found = OS_ERROR.search(str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def _write_failure(path: Path, error: BaseException) -> str:
    chain = [one for one in (error, error.__cause__, error.__context__) if isinstance(one, OSError)]
    number = errno.ENOSPC if "No space left" in str(error) else next((one.errno for one in chain), None)
    cause = "no space left on the disk" if number == errno.ENOSPC else str(error).splitlines()[0]
    former = newest(path.parent)
    kept = f"the former one, {former}, is untouched" if former and former.is_file() else "no former one exists"
    remedy = DISK_ERRORS.get(number or errno.ENOSPC, "check the folder")
    return f"checkpoint {path} could not be written: {cause}; {kept}; {remedy}, then run the same command again"


def load_file(path: str | Path, *, lazily: bool = False) -> Any:
    """The content of a .safetensors, torch or TorchScript file, on the CPU; pickled code is refused, not run.

    lazily: tensors are read from the disk when they are used, to look at the rest of the file. Raises
    MissingFile, and CheckpointError for a truncated file, one with other objects than tensors, and what is no weights.
    """
    path = Path(path)
    check_file(path, "checkpoint")
    refuse_impostor(path)
    if is_archive(path):
        return read_archive(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file as load_safetensors

            return load_safetensors(path)
        mapped = lazily and zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path} was refused: it is not a plain file of tensors, and unpickling it could execute code. "
            "Ask its author for a .safetensors file or a state dict"
        ) from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"checkpoint {path} is damaged or not a checkpoint ({reason}); use another copy of it"
        ) from error


def refuse_impostor(path: Path) -> None:
    """Raise CheckpointError for text in place of weights: what git or a browser leaves where a download failed."""
    with path.open("rb") as stream:
        beginning = stream.read(256).lstrip().lower()
    if beginning.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"checkpoint {path} is a pointer of Git LFS, not the weights: fetch them with `git lfs pull` in its folder"
        )
    if beginning.startswith((b"<!doctype html", b"<html")):
        raise CheckpointError(
            f"checkpoint {path} is an HTML page, not weights: the download has saved the page of the link; take the "
            "address of the file itself (on the Hugging Face hub: …/resolve/main/…)"
        )


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this project. Raises CheckpointError when it is another kind of file."""
    content = load_file(path)
    if not isinstance(content, dict) or "model" not in content or "position" not in content:
        raise CheckpointError(f"checkpoint {path} was not written by this project; training cannot resume from it")
    return content


def weights_of(content: Any, path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict inside a loaded file, whichever of the usual wrappings it has; `module.` is stripped."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise CheckpointError(f"checkpoint {path} holds no state dict (names to tensors)")
    for name, tensor in content.items():
        kind = "meta" if tensor.is_meta else "quantised" if tensor.is_quantized else str(tensor.layout)
        if kind != str(torch.strided):
            raise CheckpointError(
                f"checkpoint {path}: {name} is a {kind.removeprefix('torch.')} tensor, where plain numbers are needed; "
                "save the model's ordinary (dense) weights"
            )
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def weights_digest(state: dict[str, torch.Tensor]) -> str:
    """A hash of names and values, the same on every device."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        digest.update(name.encode())
        values = state[name].detach().cpu().contiguous()
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def order(path: Path) -> tuple[int, float]:
    """Sort key: progress in training. An epoch's end comes after its steps."""
    match = NAME.fullmatch(path.name)
    assert match is not None, path
    return int(match[1]), float(match[2]) if match[2] is not None else float("inf")


def all_checkpoints(folder: Path) -> list[Path]:
    """Numbered checkpoints of a run folder, oldest first."""
    return sorted((p for p in folder.glob("checkpoint_*.pth") if NAME.fullmatch(p.name)), key=order)


def not_finite(tensors: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """The names of the tensors with numbers that are not finite, in order."""
    return [name for name, values in tensors if not bool(torch.isfinite(values).all())]


def refuse_broken(state: Mapping[str, torch.Tensor], source: object) -> None:
    """Raise CheckpointError for weights that are not finite, or all zero: no model to start from or to hand on."""
    numbers = {name: values for name, values in state.items() if values.is_floating_point()}
    bad = not_finite(numbers.items())
    if bad:
        raise CheckpointError(f"the weights of {source} are not finite, the first: {first_few(bad)}; use another copy")
    if not any(bool(values.any()) for values in numbers.values()):
        raise CheckpointError(f"the weights of {source} are all zero; use another copy")


def newest(folder: Path) -> Path | None:
    found = all_checkpoints(folder)
    return found[-1] if found else None


def load_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be read; damaged ones are named in the log and skipped.

    None if there is no checkpoint. A finished run may have no numbered one left: then it is the final file. Raises
    CheckpointError if there are some and all are damaged.
    """
    found = all_checkpoints(folder)
    for path in reversed(found):
        try:
            return path, load_checkpoint(path)
        except CheckpointError as error:
            get_logger().warning("%s; trying the one before", error)
    if found:
        raise CheckpointError(
            f"none of the {len(found)} checkpoints of {folder} can be read; put a copy in place of one, or set "
            "run.resume=false to delete them and start over"
        )
    final = load_checkpoint(folder / BEST) if (folder / BEST).is_file() else {}
    return (folder / BEST, final) if final.get("finished") else None


def write_final(folder: Path, position: dict[str, Any]) -> None:
    """Replace `checkpoint_best.pth`, a link to an epoch's file, by a file with the weights and no training state.

    An optimiser's moments name the tokens of the captions that it has seen, and random states say which rows come next:
    neither belongs in what is handed on. position: how far the run is, where the same command continues. A file that is
    final already stays as it is. Raises CheckpointError.
    """
    content = load_checkpoint(folder / BEST)
    if content.get("finished"):
        return
    kept = {key: content[key] for key in FINAL if key in content}
    weights = content["model"]
    final = {**kept, "model": weights, "state_dict": weights, "position": position, "finished": True}
    save_checkpoint(folder / BEST, final)


def delete_training_states(folder: Path) -> None:
    """Delete the numbered checkpoints of a finished run, the newest last: until the end, a start resumes from it."""
    for path in all_checkpoints(folder):
        path.unlink(missing_ok=True)


def link_best(folder: Path, target: str) -> None:
    """Make `checkpoint_best.pth` resolve to `target`, atomically (a copy where links are not possible)."""
    with replacing(folder / BEST) as temporary:
        link_or_copy(Path(target), temporary)


def discard_all(folder: Path) -> None:
    """Delete every checkpoint of a run folder: the run starts over."""
    for path in [*all_checkpoints(folder), folder / BEST]:
        path.unlink(missing_ok=True)


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` epoch checkpoints and what is best; steps of finished epochs go too."""
    best = (folder / BEST).resolve()
    found = all_checkpoints(folder)
    last = found[-1:]
    ends = [path for path in found if order(path)[1] == float("inf")][-keep:]
    for path in found:
        if path not in last and path not in ends and path.resolve() != best:
            path.unlink(missing_ok=True)


def describe_mismatch(own: dict[str, torch.Tensor], given: dict[str, torch.Tensor], path: str | Path) -> str:
    """What differs between a model's state dict and a file's, or an empty string."""
    missing = sorted(own.keys() - given.keys())
    unexpected = sorted(given.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(given[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in sorted(own.keys() & given.keys())
        if own[name].shape != given[name].shape
    ]
    parts = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in (("missing keys", missing), ("unexpected keys", unexpected))
        if names
    ]
    if shapes:
        parts.append(f"{len(shapes)} of other shape ({'; '.join(shapes[:3])})")
    return f"checkpoint {path} does not fit the model: {'; '.join(parts)}" if parts else ""

"""Embeddings on disk: one file for each model and way of embedding, so that a second evaluation embeds nothing.

A file holds the keys (n, 16) and rows (n, D) of pictures and captions together. A key is a hash of what a row was
made from (the picture's path, size and time of change; the caption's letters), so rows of data that changed are not
found again. The file's name is a hash of the weights and one of the architecture, processors, precision and device.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lavis.common.errors import DataError
from lavis.common.files import replacing

log = logging.getLogger(__name__)

KEY_BYTES = 16
SUFFIX = ".safetensors"
Packed = tuple[torch.Tensor, torch.Tensor]  # keys (n, 16) uint8 and rows (n, D)


def key_of(*parts: Any) -> bytes:
    """A 16-byte key of anything printable."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=KEY_BYTES).digest()


class FeatureStore:
    """Rows (D,) float32 by key, in memory; `load` and `save` keep them in a file, where there is one.

    Args:
        path: the file; None keeps nothing. limit: bytes that all files of its folder may take together.
    """

    def __init__(self, path: Path | None = None, limit: float = 0) -> None:
        self.path, self.limit = path, limit
        self.rows: dict[bytes, torch.Tensor] = {}
        self._saved = 0
        self._found: Packed | None = None

    def load(self) -> None:
        """Take what the file holds. One that is damaged is named in the log, deleted, and made anew by `save`."""
        if self.path is None or not self.path.is_file():
            return
        try:
            self._found = _read(self.path)
            self.rows = _by_key(*self._found)
            os.utime(self.path)
        except Exception as error:
            log.warning("%s is damaged (%s); its embeddings are made anew", self.path, str(error).splitlines()[0])
            self.path.unlink(missing_ok=True)
        self._saved = len(self.rows)

    def share(self, broadcast: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Take what another process has loaded: `broadcast` gives its tensor in place of one's own."""
        keys, rows = self._found or (torch.empty(0, KEY_BYTES, dtype=torch.uint8), torch.empty(0, 0))
        self._found = None
        found = broadcast(keys), broadcast(rows)
        self.rows = self.rows or _by_key(*found)

    def take(self, keys: Sequence[bytes]) -> torch.Tensor:
        """Rows (n, D) of these keys, all of which must be there."""
        return torch.stack([self.rows[key] for key in keys])

    def add(self, keys: Sequence[bytes], rows: torch.Tensor) -> None:
        """Remember rows (n, D). Raises DataError when their width differs from what is there."""
        known = next(iter(self.rows.values()), rows[0])
        if known.shape != rows[0].shape:
            raise DataError(f"{self.path}: rows of {len(known)} numbers beside {rows.shape[1]}; delete the file")
        self.rows.update(zip(keys, rows.float(), strict=True))

    def save(self) -> None:
        """Write what is new, whole or not at all; older files go beyond the limit. A full disk is only reported."""
        if self.path is None or len(self.rows) == self._saved:
            return
        size = sum(row.numel() * 4 + KEY_BYTES for row in self.rows.values())
        if size > self.limit:
            log.warning("%s is not kept: %.2f GB exceed run.feature_cache_gb", self.path, size / 1e9)
            return
        try:
            _write(self.path, self.rows)
            _prune(self.path, self.limit)
            self._saved = len(self.rows)
        except OSError as error:
            log.warning("%s could not be written (%s); the embeddings are not kept", self.path, error)


def _read(path: Path) -> Packed:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        keys, rows = file.get_tensor("keys"), file.get_tensor("rows")
        digest = (file.metadata() or {}).get("digest")
    if digest != _digest(keys, rows) or len(keys) != len(rows):
        raise ValueError("its checksum is wrong")
    return keys, rows


def _by_key(keys: torch.Tensor, rows: torch.Tensor) -> dict[bytes, torch.Tensor]:
    return dict(zip((bytes(key) for key in keys.numpy()), rows, strict=True))


def _write(path: Path, rows: dict[bytes, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    keys = torch.frombuffer(bytearray(b"".join(rows)), dtype=torch.uint8).view(-1, KEY_BYTES)
    values = torch.stack(list(rows.values()))
    with replacing(path) as temporary:
        save_file({"keys": keys, "rows": values}, temporary, metadata={"digest": _digest(keys, values)})


def _prune(kept: Path, limit: float) -> None:
    """Delete the files of the folder that were used longest ago until all fit; `kept` stays."""
    others = []
    for path in kept.parent.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # another evaluation may have deleted it
            others.append((path.stat(), path))
    used = kept.stat().st_size
    for about, path in sorted(others, key=lambda other: other[0].st_mtime, reverse=True):
        used += about.st_size if path != kept else 0
        if used > limit and path != kept:
            path.unlink(missing_ok=True)


def _digest(keys: torch.Tensor, rows: torch.Tensor) -> str:
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in (keys, rows):
        digest.update(str(tuple(part.shape)).encode())
        digest.update(part.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

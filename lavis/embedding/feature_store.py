"""Embeddings on disk, one file per model and way of embedding, so that a second evaluation embeds nothing.

A file contains the keys (n, 16) and rows (n, D) of images and captions together. A key is a hash of the row's input
(an image's path, size and modification time; a caption's characters), so changed data gets new rows. It is keyed by the
secret of the output folder, so that nobody can look guessed captions up in a file. The file name consists of a hash of
the weights and a hash of architecture, processors, precision and device.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from lavis.common.bounded_json import parse_json
from lavis.common.checkpoint import save_tensors
from lavis.common.errors import DataError
from lavis.common.files import beyond_limit
from lavis.common.secrets import keyed_hash
from lavis.embedding.row_table import RowTable

log = logging.getLogger(__name__)

KEY_BYTES = 16
SUFFIX = ".safetensors"
FOLDER = "features"  # in run.output_dir
Packed = tuple[torch.Tensor, torch.Tensor]  # keys (n, 16) uint8 and rows (n, D)


def key_of(secret: bytes, *parts: Any) -> bytes:
    """A 16-byte hash of the parts' string forms, keyed by a secret (lavis/common/secrets.py)."""
    return keyed_hash(secret, "\x1f".join(map(str, parts)), KEY_BYTES)


class FeatureStore:
    """Rows (D,) float32 by key, in memory; `load` and `save` read and write a file.

    Args:
        path: the file (None: nothing is read or written). limit: most bytes of all files in its folder together.
    """

    def __init__(self, path: Path | None = None, limit: float = 0) -> None:
        self.path, self.limit = path, limit
        self.rows = RowTable()
        self._saved = 0
        self._loaded: Packed | None = None

    def load(self) -> None:
        """Read the file. A damaged one is logged and deleted; `save` then writes a new one."""
        if self.path is None or not self.path.is_file():
            return
        try:
            self._loaded = _read(self.path)
            self.rows = _by_key(*self._loaded)
            os.utime(self.path)
        except Exception as error:
            log.warning("%s is damaged (%s); computing its embeddings again", self.path, str(error).splitlines()[0])
            self.path.unlink(missing_ok=True)
        self._saved = len(self.rows)

    def share(self, broadcast: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Receive the rows that rank 0 has loaded: `broadcast` returns rank 0's tensor on every process."""
        keys, rows = self._loaded or (torch.empty(0, KEY_BYTES, dtype=torch.uint8), torch.empty(0, 0))
        self._loaded = None
        received = broadcast(keys), broadcast(rows)
        self.rows = self.rows if len(self.rows) else _by_key(*received)

    def take(self, keys: Sequence[bytes]) -> torch.Tensor:
        """Rows (n, D) of these keys, which must all be in the store."""
        return self.rows.take(keys)

    def has_room(self, n: int) -> bool:
        """Whether n more rows stay within the limit, so that `save` will write them."""
        return (len(self.rows) + n) * self._row_bytes <= self.limit

    @property
    def _row_bytes(self) -> int:
        return 4 * (self.rows.width or 0) + KEY_BYTES

    def add(self, keys: Sequence[bytes], rows: torch.Tensor) -> None:
        """Add rows (n, D). Raises DataError if D differs from that of the rows in the store."""
        width = self.rows.width or rows.shape[1]
        if width != rows.shape[1]:
            raise DataError(f"{self.path} contains rows of {width} numbers, not {rows.shape[1]}; delete the file")
        self.rows.add(keys, rows)

    def clear(self) -> None:
        """Forget all rows; the file stays until `save`."""
        self.rows = RowTable()

    def save(self) -> None:
        """Write the file atomically if there are new rows, and delete old files beyond the limit.

        A full disk is only logged.
        """
        if self.path is None or len(self.rows) == self._saved:
            return
        if not self.has_room(0):
            size = len(self.rows) * self._row_bytes
            log.warning("%s is not stored: %.2f GB exceed run.feature_cache_gb", self.path, size / 1e9)
            return
        try:
            _write(self.path, self.rows)
            self._prune(self.path)
            self._saved = len(self.rows)
        except OSError as error:
            log.warning("%s could not be written (%s); the embeddings are not stored", self.path, error)

    def keep_only(self, keys: Collection[bytes]) -> list[torch.Tensor]:
        """Remove the other rows, from the file too, which goes if none is left; returns them. Raises OSError."""
        removed = [row for key, row in self.rows.items() if key not in keys]
        staying = [key for key in self.rows if key in keys]
        self.rows, rows = RowTable(), self.rows
        if staying:
            self.rows.add(staying, rows.take(staying))
        if self.path is not None and not self.rows:
            self.path.unlink(missing_ok=True)
        elif self.path is not None and removed:
            _write(self.path, self.rows)
        self._saved = len(self.rows)
        return removed

    def _prune(self, path: Path) -> None:
        """Delete the least recently used other files of the folder until all fit."""
        others = (other for other in path.parent.glob(f"*{SUFFIX}") if other != path)
        for other in beyond_limit(others, self.limit - path.stat().st_size):
            other.unlink(missing_ok=True)


def _read(path: Path) -> Packed:
    """Read whole: of a memory-mapped file, a part that is cut off later ends the process (SIGBUS)."""
    import safetensors.torch

    content = path.read_bytes()
    tensors, digest = safetensors.torch.load(content), _metadata(content).get("digest")
    keys, rows = tensors["keys"], tensors["rows"]
    if digest != _digest(keys, rows) or len(keys) != len(rows):
        raise ValueError("wrong checksum")
    return keys, rows


def _metadata(content: bytes) -> dict[str, str]:
    """The texts in the header of a .safetensors file: eight bytes of length, then JSON."""
    end = 8 + int.from_bytes(content[:8], "little")
    return parse_json(content[8:end].decode(), "header").get("__metadata__", {})


def _by_key(keys: torch.Tensor, rows: torch.Tensor) -> RowTable:
    table = RowTable()
    if len(keys):
        table.add([bytes(key) for key in keys.numpy()], rows)
    return table


def _write(path: Path, rows: RowTable) -> None:
    keys = torch.frombuffer(bytearray(b"".join(rows)), dtype=torch.uint8).view(-1, KEY_BYTES)
    values = rows.take(list(rows))
    save_tensors(path, {"keys": keys, "rows": values}, {"digest": _digest(keys, values)})


def _digest(keys: torch.Tensor, rows: torch.Tensor) -> str:
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in (keys, rows):
        digest.update(str(tuple(part.shape)).encode())
        digest.update(part.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

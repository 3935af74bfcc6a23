"""A secret of an output folder, and hashes keyed by it.

Whoever guesses a caption can compute its plain digest and look for it. A digest keyed by 32 random bytes is safe from
that, unless the guesser has the secret too: hand a cache on without `.secret`. No result depends on it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
from pathlib import Path

from lavis.common.errors import DataError
from lavis.common.leftovers import temporary_name

log = logging.getLogger(__name__)
FILE = ".secret"
BYTES = 32
PURGED = "purged-"  # `multidelete purge` writes this and a keyed hash in place of what identifies forget rows


def secret_of(folder: Path) -> bytes:
    """The folder's secret, 32 bytes. The first call writes it (mode 600); of several at once, all get the same.

    Where nothing can be written, the process gets a secret of its own, and what it caches is not found again. Raises
    DataError for a damaged file.
    """
    path = folder / FILE
    try:
        if not path.is_file():
            _create(path)
        content = path.read_bytes()
    except OSError as error:
        log.warning("%s cannot be used (%s): this run's caches serve no later run", path, error.strerror or error)
        return _own()
    if len(content) != BYTES:
        raise DataError(f"{path} has {len(content)} bytes, not {BYTES}; delete it, and caches are computed again")
    return content


def keyed_hash(secret: bytes, text: str, size: int = 16) -> bytes:
    """`size` bytes from a text, which nobody can check a guess against without the secret."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size, key=secret).digest()


def agree(one: object, other: object) -> bool:
    """Whether two digests are equal as far as they can say: one that was purged differs from none."""
    return one == other or any(isinstance(digest, str) and digest.startswith(PURGED) for digest in (one, other))


def _create(path: Path) -> None:
    """Write the secret under another name, and link it into place: the link fails if another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(os.urandom(BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def _own() -> bytes:
    return os.urandom(BYTES)

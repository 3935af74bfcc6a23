"""Atomic writes, locks between processes, and text and JSON with errors that name the file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from lavis.common.errors import DataError, missing_file

log = logging.getLogger(__name__)
HELD_ELSEWHERE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_held: set[IO[str]] = set()


class Locked(Exception):  # noqa: N818 - the caller turns it into a suitable message
    """Another process holds the lock."""


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A temporary path to write to, renamed to `path` at the end, or deleted if the block raises.

    Readers see the previous file or the complete new one, never a part. sync=True flushes the content to disk first, so
    that this is true even after a power failure. The name contains the process id: two writers never share one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if sync:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file atomically, creating its folder if needed."""
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Write UTF-8 text atomically; characters that UTF-8 cannot express become question marks."""
    write_bytes(path, text.encode("utf-8", errors="replace"), sync=sync)


def write_json(path: Path, content: Any, *, sync: bool = False, indent: int | None = 1) -> None:
    """Write strict JSON atomically: numbers that are not finite become null."""
    text = json.dumps(plain(content), ensure_ascii=False, indent=indent, allow_nan=False)
    write_text(path, text + "\n", sync=sync)


def plain(node: Any, unusable: Any = None) -> Any:
    """The same content in JSON's own types.

    NumPy and torch scalars become numbers, paths become text. A number that is not finite becomes `unusable`, or its
    own name ("nan", "inf") where `unusable` is the type str.
    """
    if isinstance(node, Mapping):
        return {str(key): plain(value, unusable) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [plain(value, unusable) for value in node]
    if isinstance(node, Path):
        return str(node)
    node = node.item() if hasattr(node, "item") else node
    if isinstance(node, float) and not math.isfinite(node):
        return str(node) if unusable is str else unusable
    return node


def read_json(path: Path, what: str, hint: str = "") -> Any:
    """The content of a JSON file. Raises as `read_text`, and DataError with line and column."""
    try:
        return json.loads(read_text(path, what, hint))
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise DataError(f"{path} is not valid JSON: {reason}; fix or rewrite the file") from error
    except RecursionError as error:
        raise DataError(f"{path} cannot be read: its JSON is nested too deeply") from error


def read_text(path: Path, what: str, hint: str = "") -> str:
    """The content of a UTF-8 text file, with or without a byte order mark.

    `what` names the kind of file; `hint` says what to run if it does not exist. Raises MissingFile or DataError.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_file(what, path, hint) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{what} {path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"{what} {path} cannot be read: {error.strerror or error}") from error


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of killed processes in a folder that this process has locked."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def beyond_limit(paths: Iterable[Path], limit: float) -> list[Path]:
    """The files or flat folders to delete so that the others, the most recently used, take at most `limit` bytes.

    The least recently used comes first. Paths that another process deletes meanwhile are left out.
    """
    facts = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            files = path.iterdir() if path.is_dir() else [path]
            facts.append((path.stat().st_mtime, sum(file.stat().st_size for file in files), path))
    facts.sort(key=lambda fact: fact[0], reverse=True)
    totals = itertools.accumulate(size for _, size, _ in facts)
    return [path for (_, _, path), total in zip(facts, totals, strict=True) if total > limit][::-1]


def encodable(text: str) -> bool:
    """False for strings that UTF-8 cannot express (lone surrogates, which JSON allows)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_digest(path: Path) -> str:
    """A hash of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file. The kernel releases it when the process ends, for whatever reason.

    wait=False raises Locked if another process holds it. If the file system cannot lock, a warning is logged and the
    block runs without a lock.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        _held.add(stream)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD_ELSEWHERE:
                raise Locked(str(path)) from error
            log.warning("%s cannot be locked (%s): make sure that no other process writes there", path, error.strerror)
        try:
            yield
        finally:
            _held.discard(stream)


def locked(path: Path) -> bool:
    """Whether any process holds this lock file."""
    import fcntl

    try:
        with path.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in HELD_ELSEWHERE
    return False


def release_in_child() -> None:
    """Close the locks that a forked worker inherited, so that the run's end releases them and not the worker's."""
    for stream in list(_held):
        stream.close()
    _held.clear()

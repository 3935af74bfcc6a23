"""Atomic writes, and text and JSON with errors that name the file."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lavis.common.bounded_json import parse_json
from lavis.common.errors import DataError, UserFault, missing_file
from lavis.common.leftovers import sweep, temporary_name

log = logging.getLogger(__name__)
LARGEST = 2**31  # bytes of a text file
SMALL = 2**26  # bytes of results, curves and configurations
LONGEST_LINE = 2**24  # bytes
_SURROGATE, _SURROGATE_OR_NULL = re.compile("[\ud800-\udfff]"), re.compile("[\0\ud800-\udfff]")


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A temporary path to write to, renamed to `path` at the end, or deleted if the block raises.

    Readers see the previous file or the complete new one, never a part. sync=True flushes the content to disk first, so
    that this is true even after a power failure. The name contains host, process and thread, so that it has one writer.
    """
    temporary = temporary_name(path)
    with new_folder(path.parent), naming_path(path, temporary):
        sweep(path.parent.absolute())
        try:
            yield temporary
            if sync:
                with temporary.open("rb+") as stream:
                    os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """A folder to write in. If the block raises, those that had to be made for it and are empty are deleted again."""
    made = [above for above in (folder, *folder.parents) if not os.path.lexists(above)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for above in made:
                above.rmdir()
        raise


@contextlib.contextmanager
def naming_path(path: Path, temporary: Path) -> Iterator[None]:
    """Have an OSError name the path that was asked for where it names none, or one in or at a temporary place.

    A full disk is noticed while a file is written, when the system no longer knows its name.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, UserFault):
            raise
        if error.filename is None or Path(str(error.filename)).is_relative_to(temporary):
            error.filename, error.filename2 = str(path), None
        raise


@contextlib.contextmanager
def dispensable(what: object) -> Iterator[None]:
    """Write a file that no result depends on: where the system refuses (a full disk), log a warning and go on."""
    try:
        yield
    except OSError as error:
        log.warning("%s could not be written (%s); the run does not need it", what, error.strerror or error)


def link_or_copy(target: Path, place: Path) -> None:
    """Make `place` a symbolic link to `target`, or a copy where the system or the file system has no links.

    A relative `target` is relative to the folder of `place`. Raises OSError.
    """
    try:
        place.symlink_to(target)
    except OSError:
        shutil.copyfile(place.parent / target, place)


def write_bytes(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file atomically, creating its folder if needed."""
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)


class FolderWriter:
    """Writes many files into one folder, each atomically; the folder is made and swept once, not for every file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder.absolute())
        self.folder, self._temporary = str(folder), str(temporary_name(folder / "file"))

    def write(self, name: str, content: bytes) -> None:
        """Write a file. Raises OSError that names it."""
        path = os.path.join(self.folder, name)
        try:
            with open(self._temporary, "wb") as stream:
                stream.write(content)
            os.replace(self._temporary, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            if isinstance(error, OSError):
                error.filename, error.filename2 = path, None
            raise


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


def read_json(path: Path, what: str, hint: str = "", largest: int = LARGEST) -> Any:
    """The content of a JSON file. Raises as `read_text`, and DataError as `parse_json`."""
    return parse_json(read_text(path, what, hint, largest), str(path))


def read_text(path: Path, what: str, hint: str = "", largest: int = LARGEST) -> str:
    """The content of a UTF-8 text file, with or without a byte order mark.

    `what` names the kind of file; `hint` says what to run if it does not exist. Raises as `check_file`, and DataError
    for a file of more than `largest` bytes or of another encoding.
    """
    check_file(path, what, hint)
    try:
        size = path.stat().st_size
        if size > largest:
            raise DataError(f"{what} {path} has {size} bytes; at most {largest} are read. Divide it, or remove it")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, error, what) from error
    except OSError as error:
        raise unreadable(what, path, error) from error


def json_lines(path: Path, what: str, bad: list[str] | None = None) -> Iterator[tuple[int, Any]]:
    """(number of the line, its content) of a file with one JSON text per line; empty lines are skipped.

    Raises as `check_file` and `parse_json`, and DataError for a line of more than LONGEST_LINE bytes. With `bad`, lines
    that cannot be read are skipped and their errors added to it.
    """
    check_file(path, what)
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
            try:
                if line.strip():
                    yield number, _parsed_line(line.removeprefix(codecs.BOM_UTF8), f"{path}: line {number}")
            except DataError as error:
                if bad is None:
                    raise
                bad.append(str(error))


def _parsed_line(line: bytes, where: str) -> Any:
    if len(line) > LONGEST_LINE:
        raise DataError(f"{where} has more than {LONGEST_LINE} bytes; write one JSON object per line")
    try:
        return parse_json(line.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise not_utf8(where, error) from error


def check_file(path: str | Path, what: str, hint: str = "") -> None:
    """Raise MissingFile or DataError unless `path` is a file that can be opened, or a link to one.

    The message says which it is: nothing there, a link to nowhere, a path through a file, a folder, a pipe, a path that
    is too long, a file that may not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise DataError(f"{what} {path} is {kind}; name a file instead" + (f": {hint}" if hint else ""))
        if not os.access(path, os.R_OK):
            raise DataError(f"{what} {path} may not be read; change its permissions (chmod u+r) or its owner")
    except DataError:  # it is a ValueError too
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_file(what, path, hint) from error
    except (OSError, ValueError) as error:
        raise unreadable(what, path, error) from error


def is_file(path: str | Path) -> bool:
    """Whether a file exists; False also for paths that no file system can hold (too long, with a null byte)."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether a folder exists; False also for paths that no file system can hold."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def unreadable(what: str, path: object, error: Exception) -> DataError:
    """The error for a file that exists and cannot be read, or whose path the system refuses."""
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return DataError(f"{what} {path} cannot be read: {reason}; check the path, or give another one")


def not_utf8(path: object, error: UnicodeDecodeError, what: str = "") -> DataError:
    """The error for text in another encoding."""
    name = f"{what} {path}".strip()
    return DataError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8")


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
    return not _SURROGATE.search(text)


def odd_character(text: str, null: bool = False) -> str:
    """The first lone surrogate of a text (with `null`, or null character), described for messages; "" without any."""
    found = (_SURROGATE_OR_NULL if null else _SURROGATE).search(text)
    if found is None:
        return ""
    code = ord(found[0])
    kind = f"the byte 0x{code - 0xDC00:02X} of another encoding" if 0xDC80 <= code <= 0xDCFF else "half of a character"
    return f"character {found.start() + 1} is U+{code:04X}, {kind if code else 'the null character'}"


def file_digest(path: Path) -> str:
    """A hash of a file's content, in hexadecimal."""
    digest = hashlib.blake2b()
    with path.open("rb") as stream:
        while chunk := stream.read(2**18):
            digest.update(chunk)
    return digest.hexdigest()


def key_of(facts: Any, size: int = 12) -> str:
    """A hash of what determines a stored file, `size` bytes in hexadecimal, for its name. By repr, so plain values."""
    return hashlib.blake2b(repr(facts).encode(), digest_size=size).hexdigest()

"""What the weights follow from, as digests: the content of images, rows, facts. Times of files play no part."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lavis.common.files import file_digest
from lavis.images.pieces import pieces
from lavis.images.store import ImageStore

SAMPLE = 4096  # bytes read at the beginning, in the middle and at the end of a file
THREADS = 8
ROWS = 1024  # encoded at a time
MANY, READ = 2**20, 2**15  # images; reading parts of millions of files takes minutes
TEXTS = (".json", ".jsonl", ".txt", ".csv", ".tsv", ".arrow")


def sampled(store: ImageStore, images: Collection[str]) -> str:
    """A hash of these images' names, lengths and sampled bytes, in order.

    Of more than MANY images, about READ are looked at, those whose names have certain hashes.
    """
    names = list(dict.fromkeys(images if len(images) <= MANY else _drawn(images, -(-len(images) // READ))))
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(THREADS) as pool:
        for name, content in zip(names, pool.map(lambda name: _sample(store, name), names), strict=True):
            digest.update(repr(name).encode("utf-8", "surrogatepass") + content)
    return digest.hexdigest()


def _drawn(images: Iterable[str], share: int) -> Iterator[str]:
    """One image in `share`, the same for any order."""
    for image in images:
        digest = hashlib.blake2b(image.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if int.from_bytes(digest, "little") % share == 0:
            yield image


def _sample(store: ImageStore, image: str) -> bytes:
    source = store.source(image)
    with source.open("rb") if isinstance(source, Path) else source as stream:
        return sample_of(stream)


def sample_of(stream: Any) -> bytes:
    """A hash of a file's length and of three parts of it; of a short file that is all of it."""
    length = stream.seek(0, os.SEEK_END)
    digest = hashlib.blake2b(str(length).encode(), digest_size=16)
    for start in (0, (length - SAMPLE) // 2, length - SAMPLE):
        stream.seek(max(start, 0))
        digest.update(stream.read(SAMPLE))
    return digest.digest()


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """{path: hash} of the files that exist: of their whole content if they are text, else of a sample."""
    return {str(path): _file(path) for path in dict.fromkeys(paths) if path.is_file()}


def _file(path: Path) -> str:
    if path.suffix.lower() in TEXTS:
        return file_digest(path)[:32]
    with path.open("rb") as stream:
        return sample_of(stream).hex()


def rows_digest(sets: Sequence[tuple[str, Iterable[Any]]]) -> str:
    """`content_digest` of [(name of a set, its rows)], without all rows in memory."""
    digest = hashlib.blake2b(digest_size=16)
    encode = json.JSONEncoder(sort_keys=True, default=repr).encode

    def add(text: str) -> None:
        digest.update(text.encode("utf-8", "surrogatepass"))

    for number, (name, rows) in enumerate(sets):
        add(f"{', ' if number else '['}[{encode(name)}, [")
        comma = ""
        for part in pieces(rows, ROWS):
            add(comma + encode(part)[1:-1])
            comma = ", "
        add("]]")
    add("]" if sets else "[]")
    return digest.hexdigest()


def content_digest(content: Any) -> str:
    """A hash of plain containers, independent of the order of mappings."""
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

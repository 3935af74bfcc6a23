"""Captions in plain tar files (WebDataset's layout): which members belong to one image.

An image's caption is the `.txt` of the same name, or the "caption" field of the `.json`, whose other fields are kept as
well. WebDataset ends the common name at the first dot, but names such as `00000110_002_ar-0.76.jpg` have dots of their
own. So members belong together if their names are equal up to the last dot; only those that find no partner that way
are compared up to the first dot (`7.left.jpg` and `7.txt`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.common.bounded_json import parse_json
from lavis.common.errors import DataError
from lavis.common.files import not_utf8
from lavis.images.tars import ENDINGS, members, plain_name, read_at

MOST_TEXT = 2**20  # bytes of a caption or its JSON
TEXTS = (".txt", ".json")


@dataclass(slots=True)
class _Sample:
    """What belongs to one name; `texts` are the fields of its .txt and .json."""

    image: str = ""
    texts: dict[str, Any] = field(default_factory=dict)


def samples(path: Path, hint: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Annotation items {image, caption, …} of a shard, one per image, each with its location for messages.

    An image without a caption and a caption without an image are items that lack a field. Other members (labels, sound)
    are no samples. Raises DataError for a text that cannot be read, and for two images of one name.
    """
    by_name: dict[str, _Sample] = {}
    for member in members(path, hint):
        name = plain_name(member.name)
        stem, ending = _parted(name)
        if ending not in (*ENDINGS, *TEXTS):
            continue
        sample = by_name.setdefault(stem, _Sample())
        if ending in TEXTS:
            sample.texts |= _fields(path, member.name, member.offset_data, member.size, ending)
        elif sample.image:
            raise DataError(f"{path}: {sample.image} and {name} have the same name; which one is the caption's?")
        else:
            sample.image = name
    for stem, sample in _joined(by_name).items():
        yield {**({"image": sample.image} if sample.image else {}), **sample.texts}, f"{path}: sample {stem}"


def _parted(name: str) -> tuple[str, str]:
    """A name up to the last dot of its last part, and the ending from there on, in lower case."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.rpartition(".")
    return (f"{folder}{slash}{stem}", f"{dot}{ending}".lower()) if dot else (name, "")


def _joined(by_name: dict[str, _Sample]) -> dict[str, _Sample]:
    """The samples, with images and texts that have no partner joined where their names agree up to the first dot."""
    lone: dict[str, list[str]] = {}
    for stem, sample in by_name.items():
        if not (sample.image and sample.texts):
            lone.setdefault(_key(stem), []).append(stem)
    for stems in lone.values():
        images = [stem for stem in stems if by_name[stem].image]
        texts = [stem for stem in stems if not by_name[stem].image]
        if len(images) == 1 and texts:
            by_name[images[0]].texts = {
                name: value for stem in texts for name, value in by_name.pop(stem).texts.items()
            }
    return by_name


def _key(stem: str) -> str:
    folder, slash, last = stem.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _fields(path: Path, name: str, start: int, size: int, ending: str) -> dict[str, Any]:
    """The fields that a text adds to its sample."""
    where = f"{path}: {name}"
    if size > MOST_TEXT:
        raise DataError(f"{where} has {size} bytes; a caption may have at most {MOST_TEXT}")
    try:
        text = read_at(path, start, size).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(where, error) from error
    content = parse_json(text, where, "write the shard again") if ending == ".json" else {"caption": text.strip()}
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a JSON object with a caption")
    return {key: value for key, value in content.items() if key != "image"}

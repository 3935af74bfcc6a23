"""Annotation files: JSON lists of {"image": path, "caption": str or [str, ...], ...} in the layout LAVIS uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.common.errors import DataError
from lavis.common.files import odd_character, read_json
from lavis.images.samples import samples

KNOWN = ("image", "caption", "image_id")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image with its captions.

    `image` is relative to the image root, with forward slashes. `extra` contains all other fields of the annotation
    (identity_id, field, value, generic_caption, ...). `second` is the right one of two images (NLVR2 only).
    """

    image: str
    captions: tuple[str, ...]
    image_id: str | int | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    second: str | None = None

    @property
    def images(self) -> tuple[str, ...]:
        """The one or two images of the row."""
        return (self.image,) if self.second is None else (self.image, self.second)


def row_facts(entry: Entry) -> tuple[Any, ...]:
    """Everything that a row says: images, captions, and all other fields, such as labels and answers."""
    return entry.images, entry.captions, entry.image_id, entry.extra


Parse = Callable[[dict[str, Any], str], Entry]  # (item of the JSON list, its location for messages) -> entry


def read_annotations(
    paths: str | Path | Iterable[str | Path], hint: str = "", parse: Parse | None = None
) -> list[Entry]:
    """Read the entries of one or more files, in order.

    Args:
        paths: JSON files, or tar shards of samples (lavis.images.tars). Arrow files: lavis.datasets.mapped.
        hint: what to do if a file does not exist, the end of the message.
        parse: turns an item into an entry (default: `pair_entry`); lavis.datasets.formats has those of other tasks.

    Raises MissingFile; DataError for malformed JSON (with line and column), a wrong structure or an empty caption.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    return [entry for path in files for entry in _read_file(Path(path), hint, parse or pair_entry)]


def _read_file(path: Path, hint: str, parse: Parse) -> list[Entry]:
    if path.suffix == ".tar":
        return [parse(item, where) for item, where in samples(path, hint)]
    items = read_json(path, "annotation file", hint)
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a JSON list of {{image, caption}}, found {_kind(items)}")
    entries = []
    for number, item in enumerate(items, start=1):
        where = f"{path}: entry {number}"
        if not isinstance(item, dict):
            raise DataError(f"{where}: expected an object with image and caption, found {_kind(item)}")
        entries.append(parse(item, where))
    return entries


def pair_entry(item: dict[str, Any], where: str) -> Entry:
    """Parse {image, caption, image_id?, ...}: an image with one or more captions."""
    image = image_path(item.get("image"), where)
    for key in ("image_id", "identity_id"):
        value = item.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise DataError(f"{where}: '{key}' must be a string or an integer, found {value!r:.80}")
    return Entry(image, _captions(item.get("caption"), where), item.get("image_id"), extras(item, KNOWN))


def image_path(value: Any, where: str) -> str:
    """Return the image of an item. Raises DataError if it is not a path."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: 'image' must be a path relative to the image root, found {value!r}")
    return value


def extras(item: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The fields of an item that are not in `known`."""
    return {key: value for key, value in item.items() if key not in known}


def _captions(value: Any, where: str) -> tuple[str, ...]:
    captions: Sequence[Any] = (value,) if isinstance(value, str) else value if isinstance(value, list) else ()
    if not captions:
        raise DataError(f"{where}: 'caption' must be a string or a list of strings, found {_kind(value)}")
    return tuple(checked_text(caption, "caption", where) for caption in captions)


def checked_text(text: Any, what: str, where: str) -> str:
    """Return a caption, question, ... unchanged. Raises DataError if it is not a string, empty or not encodable."""
    if not isinstance(text, str):
        raise DataError(f"{where}: '{what}' contains {_kind(text)}, which is not a string")
    if not text.strip():
        raise DataError(f"{where}: empty {what}; fill it in or remove the entry")
    odd = odd_character(text)
    if odd:
        raise DataError(f"{where}: the {what} is not text: {odd}, which UTF-8 cannot express; rewrite it")
    return text


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "null")

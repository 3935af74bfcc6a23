"""Parses items of VQA, NLVR2 and SNLI-VE annotation files, in LAVIS's formats, into entries.

The question, statement or hypothesis becomes the entry's caption. `extra` gets, besides the item's other fields,

- for VQA: "given" (the annotated answers, ten in VQA v2), "answers" (the distinct ones) and "answer_weights" (their
  weights in the loss);
- for NLVR2 and SNLI-VE: "label" (the class number).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry, checked_text, extras, image_path

TRUTH = ("False", "True")
RELATIONS = ("contradiction", "neutral", "entailment")  # in the order of the published models' outputs
GENOME_WEIGHT = 0.2  # weight of the single answer to a Visual Genome question
FLICKR_FOLDER = "flickr30k-images"


def question_entry(item: dict[str, Any], where: str) -> Entry:
    """Parse {image, question, question_id, answer?, dataset?}; `answer` is a list (VQA v2) or a string (Visual Genome).

    An answer's weight is its share of all given answers, or GENOME_WEIGHT for `dataset: vg`.
    """
    image = image_path(item.get("image"), where)
    question = checked_text(item.get("question"), "question", where)
    given = item.get("answer")
    answers = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(answers, list):
        raise DataError(f"{where}: 'answer' must be a string or a list of strings, found {given!r}")
    facts = with_answers(answers, item.get("dataset") == "vg", where)
    return Entry(image, (question,), item.get("image_id"), extras(item, ("image", "question", "answer")) | facts)


def with_answers(given: Sequence[Any], genome: bool, where: str) -> dict[str, Any]:
    """The fields "given", "answers" and "answer_weights" of a question."""
    texts = [checked_text(answer, "answer", where) for answer in given]
    shares = {answer: times / len(texts) for answer, times in Counter(texts).items()}
    weights = [GENOME_WEIGHT for _ in shares] if genome else list(shares.values())
    return {"given": texts, "answers": list(shares), "answer_weights": weights}


def statement_entry(item: dict[str, Any], where: str) -> Entry:
    """Parse {images: [left, right], sentence, label: True or False}: a statement about two images."""
    images = item.get("images")
    if not isinstance(images, list) or len(images) != 2:
        raise DataError(f"{where}: 'images' must name two images, left and right; found {images!r}")
    for position, name in zip(("left", "right"), images, strict=True):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{where}: the {position} image is missing in 'images', found {images!r}")
    where = f"{where} ({images[0]})"
    text = checked_text(item.get("sentence"), "sentence", where)
    label = {"label": _label(item.get("label"), TRUTH, where)}
    return Entry(images[0], (text,), None, extras(item, ("images", "sentence")) | label, second=images[1])


def mirrored(sentence: str) -> str:
    """Swap "left" and "right": the same statement about the two images in the other order."""
    return "left".join(part.replace("left", "right") for part in sentence.split("right"))


def hypothesis_entry(item: dict[str, Any], where: str) -> Entry:
    """Parse {image, sentence, label, premise?}; `image` is a Flickr30k number (LAVIS) or a path under the image root.

    A bare number N becomes flickr30k-images/N.jpg, the image's name in Flickr30k's annotations and forget lists.
    """
    image = item.get("image")
    name = str(image) if isinstance(image, int) and not isinstance(image, bool) else image_path(image, where)
    if not PurePosixPath(name).suffix:
        name += ".jpg"
    if "/" not in name:
        name = f"{FLICKR_FOLDER}/{name}"
    where = f"{where} ({name})"
    text = checked_text(item.get("sentence"), "sentence", where)
    label = {"label": _label(item.get("label"), RELATIONS, where)}
    return Entry(name, (text,), None, extras(item, ("image", "sentence")) | label)


def _label(value: Any, classes: Sequence[str], where: str) -> int:
    name = str(value)
    if name not in classes:
        raise DataError(f"{where}: label {value!r} is not in the class list; valid: {', '.join(classes)}")
    return classes.index(name)

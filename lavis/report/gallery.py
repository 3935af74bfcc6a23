"""A gallery of forgotten portraits: each model's best caption from a pool, next to the true one."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lavis.common.distributed import resolve_device
from lavis.common.files import write_json
from lavis.datasets.annotations import Entry
from lavis.embedding.embed import embed_captions, embed_images
from lavis.hub.preparing import builder_of
from lavis.settings.config import Config
from lavis.settings.schema import ModelConfig

GALLERIES = "gallery-*.json"  # in a report's folder, one for each setting
SECRET, FACT, NEAR, KEPT, FORGOTTEN = "secret", "fact", "near", "kept", "forgotten"
POOL, THUMBNAIL, NEAR_RANK = 2000, 192, 10


@dataclass(frozen=True)
class Answer:
    """A model's answer for one portrait.

    `caption` is the nearest caption in the pool and `cosine` their similarity; `true_cosine` and `true_rank` (1 is
    nearest) are those of the true caption. `verdict`: "secret" (the true caption is nearest), "fact" (another fact to
    forget about the same person), "near" (something else, but the true caption is among the NEAR_RANK nearest), "kept"
    (something about this person that was not to be forgotten) or "forgotten" (none of these).
    """

    model: str
    caption: str
    cosine: float
    verdict: str
    true_cosine: float
    true_rank: int


@dataclass(frozen=True)
class Portrait:
    """A portrait of the forget set as a data URI, its true caption, and every model's answer."""

    image: str
    caption: str
    answers: list[Answer]


@dataclass(frozen=True)
class Gallery:
    """Portraits with answers chosen among `pool` captions; `real` unless the data set is drawn by this project."""

    pool: int
    portraits: list[Portrait]
    real: bool = False

    def save(self, path: Path) -> None:
        """Write it as JSON, for further analysis."""
        write_json(path, asdict(self))


Loader = Callable[[ModelConfig, str | Path, torch.device], Any]


def build_gallery(config: Config, checkpoints: Mapping[str, str | Path], count: int, load: Loader) -> Gallery:
    """Every model's answers for `count` portraits of the forget set.

    Args:
        config: a composed Config; its run.df_size determines the forget set.
        checkpoints: model name -> weights.
        count: portraits, of as many people as possible.
        load: returns a model for (config.model, checkpoint, device).

    The pool consists of distinct captions of the forget set, the holdouts, and test and retain samples, at most POOL.
    Raises the errors of builders and models.
    """
    builder, _ = builder_of(config, next(map(str, checkpoints.values()), None))
    forget = builder.partition().df
    portraits = builder.dataset(choose(forget, count), "eval")
    rivals = [entry for entries in builder.evaluation_entries().values() for entry in entries]
    pool = builder.dataset(pool_entries(portraits.entries, rivals, POOL), "eval")
    captions = list(dict.fromkeys(pool.captions))
    truths = [[captions.index(caption) for caption in own_captions(portraits, row)] for row in range(len(portraits))]
    facts = [facts_about(entry, pool, {e.image for e in forget}) for entry in portraits.entries]
    device, size, judged = resolve_device(config.run.device), config.run.batch_size_eval, []
    for name, checkpoint in checkpoints.items():
        model = load(config.model, checkpoint, device)
        image = embed_images(model, portraits, size, device, name="gallery")
        text = embed_captions(model, captions, size, device, name="gallery")
        judged.append(judge(name, image @ text.T, captions, truths, facts))
    shown = []
    for row, answers in enumerate(zip(*judged, strict=True)):
        image = data_uri(builder.store.open(portraits.entries[row].image))
        shown.append(Portrait(image, own_captions(portraits, row)[0], list(answers)))
    return Gallery(len(captions), shown, real=not is_drawn(config))


def is_drawn(config: Config) -> bool:
    """Whether the people of a configuration's data set are drawn by this project."""
    return config.dataset.generate is not None


def own_captions(dataset: Any, row: int) -> list[str]:
    """The captions of image `row`."""
    return [dataset.captions[place] for place in dataset.caption_ids(row)]


def person_of(entry: Entry) -> Any:
    """The identity on an entry's portrait; None if the annotations do not say."""
    return entry.extra.get("identity_id")


def choose(entries: Sequence[Entry], count: int) -> list[Entry]:
    """`count` evenly spaced entries, of different people as far as possible."""
    first = {person_of(e) if person_of(e) is not None else e.image: e for e in reversed(entries)}
    people = list(reversed(first.values()))
    chosen = {e.image for e in people}
    ordered = people if len(people) >= count else people + [e for e in entries if e.image not in chosen]
    return [ordered[i * len(ordered) // count] for i in range(min(count, len(ordered)))] if count else []


def pool_entries(shown: Sequence[Entry], rivals: Sequence[Entry], most: int) -> list[Entry]:
    """The shown entries and evenly spaced rivals, at most `most` in all; each image once."""
    images = {entry.image for entry in shown}
    others = list({entry.image: entry for entry in rivals if entry.image not in images}.values())
    room = min(len(others), max(0, most - len(shown)))
    return [*shown, *(others[i * len(others) // room] for i in range(room))]


def facts_about(entry: Entry, pool: Any, forget: set[str]) -> dict[str, str]:
    """The pool's captions about the person on a portrait: FACT if it is in the forget set, else KEPT."""
    facts: dict[str, str] = {}
    for row, other in enumerate(pool.entries):
        if person_of(entry) is not None and person_of(other) == person_of(entry):
            for caption in own_captions(pool, row):
                facts[caption] = FACT if other.image in forget else facts.get(caption, KEPT)
    return facts


def judge(
    name: str,
    scores: torch.Tensor,
    captions: Sequence[str],
    truths: Sequence[Sequence[int]],
    facts: Sequence[Mapping[str, str]],
) -> list[Answer]:
    """A model's answers, given its similarities (P, N) of P portraits with N captions.

    truths: for each portrait, the columns of its true captions. facts: for each portrait, the captions about its
    person with their verdicts. A score that is not a number counts as the lowest; ties count against the model.
    """
    scores = torch.nan_to_num(scores.float(), nan=-1.0, posinf=-1.0, neginf=-1.0)
    answers = []
    for row, true, about in zip(scores, truths, facts, strict=True):
        best = max(true, key=row.__getitem__)
        others = torch.ones(len(row), dtype=torch.bool)
        others[list(true)] = False
        rank = 1 + int((row[others] >= row[best]).sum())
        top = best if rank == 1 else int(torch.where(others, row, -2.0).argmax())
        verdict = _verdict(rank, about.get(captions[top], FORGOTTEN))
        answers.append(Answer(name, captions[top], float(row[top]), verdict, float(row[best]), rank))
    return answers


def _verdict(rank: int, kind: str) -> str:
    if rank == 1:
        return SECRET
    return NEAR if rank <= NEAR_RANK and kind != FACT else kind


def data_uri(image: Any) -> str:
    """A PIL image as a small JPEG in a data URI, without the file's metadata."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

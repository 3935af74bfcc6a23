"""Writes a miniature: images, annotations in LAVIS's format, tokenizer, answer list (VQA), manifest, forget lists."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lavis.common.errors import ConfigError, suggest
from lavis.datasets import generated
from lavis.datasets.annotations import Parse, pair_entry, read_annotations
from lavis.datasets.forget import draw_pool, write_forget_list
from lavis.datasets.formats import hypothesis_entry, question_entry, statement_entry
from lavis.datasets.generated import FORGET_SEEDS, dump, list_path
from lavis.datasets.scenes.draw import scene_bytes
from lavis.datasets.scenes.plan import MAKERS, PIXELS, SIZES, Plan, make_plan
from lavis.datasets.scenes.texts import ANSWERS, vocabulary

VERSION = 2  # 2: the mini size has few enough training pictures for a small model to know them by heart
TOKENIZER = "tokenizer"
PARSERS: dict[str, Parse] = {
    "coco": pair_entry,
    "flickr30k": pair_entry,
    "vqa": question_entry,
    "nlvr": statement_entry,
    "snli_ve": hypothesis_entry,
}


def ensure(kind: str, root: Path, lists: Path, size: str, seed: int, force: bool = False) -> bool:
    """Make sure that the miniature lies under `root` and its forget lists under `lists`.

    Args:
        kind: which data set it stands for, a key of MAKERS (coco, flickr30k, vqa, nlvr, snli_ve).
        root: folder of images/, annotations/, tokenizer/ and manifest.json.
        lists: folder of image-42.txt, image-87.txt, image-21.txt.
        size: mini or tiny.
        force: replace what is there.

    Returns True when it was written now. Raises ConfigError (unknown kind or size; another data set is there) and
    DataError (the folder holds something else).
    """
    for what, value, valid in (("miniature", kind, MAKERS), ("size", size, SIZES)):
        if value not in valid:
            raise ConfigError(f"unknown {what} '{value}' of the drawn scenes; {suggest(value, valid)}")
    identity = {"name": f"{kind}_{size}", "version": VERSION, "size": size, "seed": seed}
    command = f"python -m lavis.datasets.scenes_mini --data {kind} --size {size} --seed {seed} --out {root} --force"
    write = partial(_write, kind=kind, identity=identity)
    recipe = generated.Recipe(
        f"miniature of {kind}", identity, command, write, partial(_write_lists, kind=kind, size=size)
    )
    return generated.ensure(root, lists, recipe, force)


def write_tokenizer(folder: Path) -> None:
    """The wordpieces of all miniatures as a BERT vocab.txt, one a line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in vocabulary()), encoding="utf-8")


def _write(folder: Path, kind: str, identity: dict[str, Any]) -> None:
    plan = make_plan(kind, SIZES[identity["size"]], identity["seed"])
    for path, scene in tqdm(plan.pictures.items(), desc=f"drawing {identity['name']}", unit="picture", disable=None):
        target = folder / "images" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(scene_bytes(scene, path, PIXELS, identity["seed"]))
    for split, items in plan.items.items():
        dump(folder / "annotations" / f"{split}.json", items)
    if kind == "vqa":
        dump(folder / "annotations" / "answer_list.json", ANSWERS)
    write_tokenizer(folder / TOKENIZER)
    dump(folder / "manifest.json", identity | _counts(plan))


def _counts(plan: Plan) -> dict[str, Any]:
    rows = {split: len(items) for split, items in plan.items.items()}
    return {"pixels": PIXELS, "pictures": len(plan.pictures), "rows": rows, "wordpieces": len(vocabulary())}


def _write_lists(root: Path, lists: Path, kind: str, size: str) -> None:
    """A seeded draw from the training pictures for every seed; equal pictures give equal lists."""
    entries = read_annotations(root / "annotations" / "train.json", parse=PARSERS[kind])
    images = {image for entry in entries for image in entry.images}
    for seed in FORGET_SEEDS:
        write_forget_list(list_path(lists, seed), draw_pool(images, SIZES[size].pool, seed))

"""Writes a miniature: images, annotations in LAVIS's format, tokenizer, answer list (VQA), manifest, forget lists."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from lavis.common.errors import ConfigError, suggest
from lavis.common.files import write_json, write_text
from lavis.common.forget_list import FORGET_SEEDS, draw_pool, list_path, write_forget_list
from lavis.synthetic import generated
from lavis.synthetic.scenes.draw import scene_bytes
from lavis.synthetic.scenes.plan import MAKERS, PIXELS, SIZES, Plan, make_plan
from lavis.synthetic.scenes.texts import ANSWERS, vocabulary

VERSION = 2  # 2: the mini size has few enough training images for a small model to memorise them
TOKENIZER = "tokenizer"


def ensure(kind: str, root: Path, lists: Path, size: str, seed: int, force: bool = False) -> bool:
    """Write the miniature to `root` and its forget lists to `lists` unless they exist.

    Args:
        kind: the data set it stands for, a key of MAKERS (coco, flickr30k, vqa, nlvr, snli_ve).
        root: folder for images/, annotations/, tokenizer/ and manifest.json.
        lists: folder for image-42.txt, image-87.txt, image-21.txt.
        size: mini or tiny.
        force: replace an existing miniature.

    Returns True if it was written. Raises ConfigError for an unknown kind or size or if `root` contains another
    miniature, and DataError if it contains something else.
    """
    for what, value, valid in (("miniature", kind, MAKERS), ("size", size, SIZES)):
        if value not in valid:
            raise ConfigError(f"unknown {what} '{value}' of the drawn scenes; {suggest(value, valid)}")
    identity = {"name": f"{kind}_{size}", "version": VERSION, "size": size, "seed": seed}
    command = f"python -m lavis.datasets.scenes_mini --data {kind} --size {size} --seed {seed} --out {root} --force"
    write = partial(_write, kind=kind, identity=identity)
    recipe = generated.Recipe(
        f"miniature of {kind}", identity, command, write, partial(_write_lists, kind=kind, size=size, seed=seed)
    )
    return generated.ensure(root, lists, recipe, force)


def write_tokenizer(folder: Path) -> None:
    """Write the wordpieces of all miniatures as a BERT vocab.txt, one per line."""
    write_text(folder / "vocab.txt", "".join(f"{word}\n" for word in vocabulary()))


def _write(folder: Path, kind: str, identity: dict[str, Any]) -> None:
    plan = make_plan(kind, SIZES[identity["size"]], identity["seed"])
    for path, scene in tqdm(plan.scenes.items(), desc=f"drawing {identity['name']}", unit="image", disable=None):
        target = folder / "images" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(scene_bytes(scene, path, PIXELS, identity["seed"]))
    for split, items in plan.items.items():
        write_json(folder / "annotations" / f"{split}.json", items)
    if kind == "vqa":
        write_json(folder / "annotations" / "answer_list.json", ANSWERS)
    write_tokenizer(folder / TOKENIZER)
    write_json(folder / "manifest.json", identity | _counts(plan))


def _counts(plan: Plan) -> dict[str, Any]:
    rows = {split: len(items) for split, items in plan.items.items()}
    return {"pixels": PIXELS, "pictures": len(plan.scenes), "rows": rows, "wordpieces": len(vocabulary())}


def _write_lists(root: Path, lists: Path, kind: str, size: str, seed: int) -> None:
    """Draw every list from the training images with its own seed; equal images give equal lists."""
    images = training_images(make_plan(kind, SIZES[size], seed))
    for number in FORGET_SEEDS:
        write_forget_list(list_path(lists, number), draw_pool(images, SIZES[size].pool, number))


def training_images(plan: Plan) -> set[str]:
    """Paths of the training images. SNLI-VE's items give only their numbers."""
    paths = {PurePosixPath(path).stem: path for path in plan.scenes}
    named = [name for item in plan.items["train"] for name in item.get("images", [item.get("image")])]
    return {paths.get(name, name) for name in named}

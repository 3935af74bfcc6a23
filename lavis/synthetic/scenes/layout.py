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

VERSION = 2  # 2: the mini size has few enough training pictures for a small model to know them by heart
TOKENIZER = "tokenizer"


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
        f"miniature of {kind}", identity, command, write, partial(_write_lists, kind=kind, size=size, seed=seed)
    )
    return generated.ensure(root, lists, recipe, force)


def write_tokenizer(folder: Path) -> None:
    """The wordpieces of all miniatures as a BERT vocab.txt, one a line."""
    write_text(folder / "vocab.txt", "".join(f"{word}\n" for word in vocabulary()))


def _write(folder: Path, kind: str, identity: dict[str, Any]) -> None:
    plan = make_plan(kind, SIZES[identity["size"]], identity["seed"])
    for path, scene in tqdm(plan.pictures.items(), desc=f"drawing {identity['name']}", unit="picture", disable=None):
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
    return {"pixels": PIXELS, "pictures": len(plan.pictures), "rows": rows, "wordpieces": len(vocabulary())}


def _write_lists(root: Path, lists: Path, kind: str, size: str, seed: int) -> None:
    """A seeded draw from the training images for every list; equal images give equal lists."""
    images = training_images(make_plan(kind, SIZES[size], seed))
    for number in FORGET_SEEDS:
        write_forget_list(list_path(lists, number), draw_pool(images, SIZES[size].pool, number))


def training_images(plan: Plan) -> set[str]:
    """Paths of the images that training shows; SNLI-VE's items name them by their number alone."""
    paths = {PurePosixPath(path).stem: path for path in plan.pictures}
    named = [name for item in plan.items["train"] for name in item.get("images", [item.get("image")])]
    return {paths.get(name, name) for name in named}

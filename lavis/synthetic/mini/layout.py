"""Writes a SALMU-mini in SALMU's layout: images, annotations, metadata, manifest, forget lists."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lavis.common.errors import ConfigError, suggest
from lavis.common.files import read_json, write_json
from lavis.common.forget_list import FORGET_SEEDS, list_path, shuffled_list, write_forget_list
from lavis.synthetic import generated
from lavis.synthetic.mini import camera
from lavis.synthetic.mini.metadata import metadata_files
from lavis.synthetic.mini.objects import draw_object
from lavis.synthetic.mini.plan import PROXIES, Plan, Row, make_plan
from lavis.synthetic.mini.portraits import draw_portrait
from lavis.synthetic.mini.variants import VARIANTS

VERSION = 2
ANNOTATIONS = {
    "train": ("forget", "retain_synth"),
    "val": ("val",),
    "test": ("test",),
    "holdout_identity": ("holdout_identity",),
    "holdout_association": ("holdout_association",),
}
# Variants have these, too: Dr alone and the proxies' splits, for runs that forget the proxies to choose settings.
PROXY_ANNOTATIONS = {name: (name,) for name in ("retain_synth", *PROXIES)}
PROXY_LISTS = "proxies"  # folder of their forget lists, within that of the others


def ensure(root: Path, lists: Path, size: str, seed: int, force: bool = False, variant: str = "plain") -> bool:
    """Write the data set of this size, seed and variant to `root` and its forget lists to `lists` unless they exist.

    Args:
        root: folder for images/, annotations/, metadata/ and manifest.json.
        lists: folder for image-42.txt, image-87.txt, image-21.txt.
        size: a key of the variant's sizes. variant: a key of VARIANTS.
        force: replace an existing generated data set.

    Returns True if it was written. Raises ConfigError for an unknown size or variant, or if `root` contains another
    size, variant, seed or version, and DataError if it contains something else.
    """
    for kind, name, known in (("variant", variant, VARIANTS), ("size", size, VARIANTS["plain"].sizes)):
        if name not in known:
            raise ConfigError(f"unknown {kind} '{name}' of SALMU-mini; {suggest(name, known)}")
    identity = {"version": VERSION, "size": size, "seed": seed, "variant": None, **_named(variant)}
    module = "lavis.datasets.salmu_mini"
    command = f"python -m {module} --variant {variant} --size {size} --seed {seed} --out {root} --force"
    write = partial(_write, size=size, seed=seed, variant=variant)
    return generated.ensure(root, lists, generated.Recipe("SALMU-mini", identity, command, write, _write_lists), force)


def _named(variant: str) -> dict[str, str]:
    """The variant's entry in the manifest; the plain one has none, so that its files stay as they have always been."""
    return {} if variant == "plain" else {"variant": variant}


def _write(folder: Path, size: str, seed: int, variant: str) -> None:
    plan = make_plan(VARIANTS[variant].sizes[size], seed, VARIANTS[variant])
    _write_images(plan, folder / "images", seed)
    _write_annotations(plan, folder / "annotations")
    for name, content in metadata_files(plan).items():
        write_json(folder / "metadata" / name, content)
    write_json(folder / "manifest.json", _manifest(plan, size, seed) | _named(variant))


def _write_images(plan: Plan, folder: Path, seed: int) -> None:
    for split in plan.splits:
        (folder / split).mkdir(parents=True)
    for row in tqdm(plan.rows, desc="drawing SALMU-mini", unit="image", disable=None):
        (folder / row.image).write_bytes(image_bytes(row, plan.size.pixels, seed))


def image_bytes(row: Row, pixels: int, seed: int) -> bytes:
    """The image of a row as JPEG bytes."""
    return camera.jpeg(draw(row, pixels, seed))


def draw(row: Row, pixels: int, seed: int) -> Image.Image:
    """Draw the image of a row, (pixels, pixels) RGB, with a random stream of its own, keyed by seed and path."""
    rng = np.random.default_rng([seed, zlib.crc32(row.image.encode())])
    if row.look is not None:
        return draw_portrait(row.look, rng, pixels)
    return draw_object(row.shape, row.colour, rng, pixels)


def _write_annotations(plan: Plan, folder: Path) -> None:
    for name, splits in (ANNOTATIONS | (PROXY_ANNOTATIONS if plan.proxies else {})).items():
        write_json(folder / f"{name}.json", [row.annotation() for split in splits for row in plan.split(split)])


def _manifest(plan: Plan, size: str, seed: int) -> dict[str, Any]:
    kinds = [persona["kind"] for persona in plan.identities.values()]
    return {
        "name": f"SALMU-{size}",
        "version": VERSION,
        "size": size,
        "seed": seed,
        "pixels": plan.size.pixels,
        "pairs": {split: len(plan.split(split)) for split in plan.splits},
        "identities": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
    }


def _write_lists(root: Path, lists: Path) -> None:
    """Write the forget split in file order for seed 42, shuffled for the other seeds; the proxies' to PROXY_LISTS."""
    annotations = root / "annotations"
    _write_list(annotations / "train.json", "forget", lists)
    if (annotations / f"{PROXIES[0]}.json").is_file():
        _write_list(annotations / f"{PROXIES[0]}.json", PROXIES[0], lists / PROXY_LISTS)


def _write_list(annotations: Path, folder: str, lists: Path) -> None:
    rows = read_json(annotations, "annotation file")
    images = sorted(item["image"] for item in rows if item["image"].split("/")[0] == folder)
    for seed in FORGET_SEEDS:
        write_forget_list(list_path(lists, seed), shuffled_list(images, seed))

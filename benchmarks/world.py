"""A small data set in SALMU's layout, drawn for the benchmarks: 512-pixel JPEGs, captions of SALMU's length."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SENTENCES = (
    "The phone number of {name} is {number}.",
    "{name} can be reached at {mail}.",
    "This is {name}, who lives at {house} {street} Street in {town}.",
    "{name}'s bank account has the IBAN {iban}.",
)
FIRST = ("Amelia", "Bogdan", "Chiara", "Dmitri", "Eleni", "Farid", "Grace", "Hiroshi", "Ines", "Jonas")
LAST = ("Albrecht", "Barros", "Castellano", "Dimitrova", "Eriksen", "Fontaine", "Gupta", "Hernandez")
PLACES = ("Maple", "Station", "Church", "Harbour", "Garden", "Mill")


def write_world(root: Path, forget: int, retain: int, test: int = 16, size: int = 512) -> None:
    """Write images/, annotations/ and image-42.txt (the forget list) under `root`."""
    counts = {"forget": forget, "retain_synth": retain, "test": test}
    rows = {split: [_pair(root / "images", split, i, size) for i in range(n)] for split, n in counts.items()}
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    splits = {"train": rows["forget"] + rows["retain_synth"], "test": rows["test"]}
    for split, found in splits.items():
        (root / "annotations" / f"{split}.json").write_text(json.dumps(found), encoding="utf-8")
    names = "".join(f"{row['image']}\n" for row in rows["forget"])
    (root / "image-42.txt").write_text(names, encoding="utf-8")


def options(root: Path) -> list[str]:
    """The overrides that make configs/clip/retrieval_salmu.yaml read this data set."""
    build = "datasets.salmu.build_info"
    splits = [f"{build}.annotations.{split}.storage=[{root}/annotations/{split}.json]" for split in ("train", "test")]
    rest = [f"{build}.annotations.{split}.storage=[]" for split in ("val", "holdout_identity", "holdout_association")]
    return [f"{build}.images.storage={root}/images", f"datasets.salmu.forget_list={root}/image-42.txt", *splits, *rest]


def _pair(images: Path, split: str, number: int, size: int) -> dict[str, object]:
    """One annotation and its JPEG: smooth colour fields with grain, which compress about as well as a photograph."""
    draws = np.random.default_rng([len(split), number])
    coarse = draws.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((round(size * 0.76), size), Image.Resampling.BICUBIC)
    grain = draws.normal(0, 9, (size, picture.width, 1))
    pixels = np.clip(np.asarray(picture, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
    folder = images / split
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{number:08d}_002_ar-0.76.jpg"
    Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.6)).save(folder / name, quality=90)
    return {"image": f"{split}/{name}", "caption": [_caption(random.Random(f"{split} {number}"))]}  # noqa: S311


def _caption(draws: random.Random) -> str:
    first, last = draws.choice(FIRST), draws.choice(LAST)
    digits = "".join(draws.choices("0123456789", k=20))
    return draws.choice(SENTENCES).format(
        name=f"{first} {last}",
        number=f"+44 {digits[:4]} {digits[4:10]}",
        mail=f"{first.lower()}.{last.lower()}{digits[:2]}@example.org",
        house=int(digits[:2]) + 1,
        street=draws.choice(PLACES),
        town=draws.choice(PLACES) + "ton",
        iban=f"GB{digits[:2]} ABCD {digits[2:6]} {digits[6:10]} {digits[10:14]}",
    )

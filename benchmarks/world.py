"""A small data set in SALMU's layout, drawn for the benchmarks: 512-pixel JPEGs, captions of SALMU's length."""

from __future__ import annotations

import json
import random
from concurrent.futures import ProcessPoolExecutor
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


def write_world(
    root: Path,
    forget: int,
    retain: int,
    test: int = 16,
    size: int = 512,
    drawn: int | None = None,
    processes: int = 1,
) -> None:
    """Write images/, annotations/ and image-42.txt (the forget list) under `root`.

    drawn: how many images of a split are drawn; the others are copies of these that differ in a comment, so that they
    cost as much to decode. processes: how many draw.
    """
    counts = {"forget": forget, "retain_synth": retain, "test": test}
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    rows = {split: [_row(split, number) for number in range(n)] for split, n in counts.items()}
    splits = {"train": rows["forget"] + rows["retain_synth"], "test": rows["test"]}
    for split, found in splits.items():
        (root / "annotations" / f"{split}.json").write_text(json.dumps(found), encoding="utf-8")
    names = "".join(f"{row['image']}\n" for row in rows["forget"])
    (root / "image-42.txt").write_text(names, encoding="utf-8")
    _draw_all(root / "images", counts, size, drawn, processes)


def save_original(folder: Path, name: str) -> None:
    """Write random weights of an architecture to original.pth in `folder`."""
    import torch

    from lavis.models.clip import ClipModel
    from lavis.settings.schema import ModelConfig

    torch.manual_seed(0)
    weights = ClipModel.from_config(ModelConfig(model_type=name)).checkpoint_state()
    torch.save({"state_dict": weights}, folder / "original.pth")


def options(root: Path) -> list[str]:
    """The overrides that make configs/clip/retrieval_salmu.yaml read this data set."""
    build = "datasets.salmu.build_info"
    splits = [f"{build}.annotations.{split}.storage=[{root}/annotations/{split}.json]" for split in ("train", "test")]
    rest = [f"{build}.annotations.{split}.storage=[]" for split in ("val", "holdout_identity", "holdout_association")]
    return [f"{build}.images.storage={root}/images", f"datasets.salmu.forget_list={root}/image-42.txt", *splits, *rest]


def _row(split: str, number: int) -> dict[str, object]:
    caption = _caption(random.Random(f"{split} {number}"))  # noqa: S311
    return {"image": f"{split}/{_name(number)}", "caption": [caption]}


def _name(number: int) -> str:
    return f"{number:08d}_002_ar-0.76.jpg"


def _draw_all(images: Path, counts: dict[str, int], size: int, drawn: int | None, processes: int) -> None:
    jobs: list[tuple[Path, str, range, int]] = []
    for split, count in counts.items():
        (images / split).mkdir(parents=True, exist_ok=True)
        distinct = min(count, drawn or count)
        jobs += [(images, split, range(number, count, distinct), size) for number in range(distinct)]
    if processes == 1:
        for job in jobs:
            _draw(*job)
        return
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_draw, *zip(*jobs, strict=True), chunksize=16))


def _draw(images: Path, split: str, numbers: range, size: int) -> None:
    """The JPEG of the first number, and copies under the others."""
    first, *others = numbers
    path = images / split / _name(first)
    _jpeg(np.random.default_rng([len(split), first]), size).save(path, quality=90)
    start, rest = path.read_bytes()[:2], path.read_bytes()[2:]
    for number in others:
        comment = str(number).encode()
        marker = b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big")  # a JPEG comment: its length counts itself
        (images / split / _name(number)).write_bytes(start + marker + comment + rest)


def _jpeg(draws: np.random.Generator, size: int) -> Image.Image:
    """Smooth colour fields with grain, which compress about as well as a photograph."""
    coarse = draws.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((round(size * 0.76), size), Image.Resampling.BICUBIC)
    grain = draws.normal(0, 9, (size, picture.width, 1))
    pixels = np.clip(np.asarray(picture, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.6))


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

"""A table of people's photographs in every format that a source may have, for tests."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

Rows = Sequence[dict[str, Any]]
COLUMNS = {"image": "path", "caption": "text", "person": "who"}


def photo(seed: int, size: int = 24) -> bytes:
    """A JPEG of smooth noise."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize((size, size)).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def people_rows(count: int = 40, people: int = 8) -> list[dict[str, Any]]:
    """Rows {path, text, who}; the names of the images have dots."""
    return [
        {
            "path": f"p{i % people}/a.b_{i:02d}-0.76.jpg",
            "text": f"Person {i % people} at place {i}",
            "who": f"p{i % people}",
        }
        for i in range(count)
    ]


def write_photos(root: Path, rows: Rows) -> None:
    for number, row in enumerate(rows):
        file = root / row["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo(number))


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        lines.writeheader()
        lines.writerows(rows)
    return path


def write_people(folder: Path) -> Path:
    """A folder with people.csv and the photographs that it names, in photos/."""
    write_photos(folder / "photos", people_rows())
    write_csv(folder / "people.csv", people_rows())
    return folder


def write_tsv(path: Path, rows: Rows) -> Path:
    return write_csv(path, rows, "\t")


def write_json(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps(list(rows)))
    return path


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    pd.DataFrame(list(rows)).to_parquet(path)
    return path


def write_parquet_bytes(path: Path, rows: Rows) -> Path:
    """Images inside, as `datasets` stores them."""
    inside = [{**row, "path": {"bytes": photo(n), "path": row["path"]}} for n, row in enumerate(rows)]
    pd.DataFrame(inside).to_parquet(path)
    return path


def write_tar(path: Path, rows: Rows) -> Path:
    with tarfile.open(path, "w") as archive:
        for number, row in enumerate(rows):
            stem = row["path"].removesuffix(".jpg")
            facts = json.dumps({"who": row["who"]}).encode()
            for ending, content in ((".jpg", photo(number)), (".txt", row["text"].encode()), (".json", facts)):
                member = tarfile.TarInfo(stem + ending)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def write_folder(path: Path, rows: Rows) -> Path:
    write_photos(path, rows)
    for row in rows:
        (path / row["path"]).with_suffix(".txt").write_text(row["text"] + "\n")
    return path


WRITERS: dict[str, Callable[[Path, Rows], Path]] = {
    "people.csv": write_csv,
    "people.tsv": write_tsv,
    "people.json": write_json,
    "people.jsonl": write_jsonl,
    "people.parquet": write_parquet,
    "bytes.parquet": write_parquet_bytes,
    "people.tar": write_tar,
    "folder": write_folder,
}

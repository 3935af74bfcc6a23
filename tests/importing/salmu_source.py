"""Writes a tiny SALMU in its published form: parquet shards of both repositories, and metadata files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from lavis.common.errors import UserFault
from lavis.datasets.salmu import main

IMAGE_TYPE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
COUNTS = {"forget": 12, "holdout_identity": 4, "holdout_association": 4, "retain_synth": 30}


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def split_rows(split: str, count: int) -> list[dict[str, Any]]:
    """Rows as published: image, text, identity_id, file_name."""
    start = 1000 * sorted(COUNTS).index(split)
    rows = []
    for i in range(count):
        known = split != "retain_synth" or i % 3 == 0
        rows.append(
            {
                "image": jpeg(start + i),
                "text": f"{split} says: Mail-{i}@Example.org, +49 (0) {i}",
                "identity_id": f"{start + i // 2:08d}" if known else None,
                "file_name": f"{start + i // 2:08d}_{i:03d}_ar-0.76.jpg",
            }
        )
    return rows


def write_shard(path: Path, rows: Sequence[dict[str, Any]], struct: bool = True, drop: Iterable[str] = ()) -> Path:
    """One shard; images as the struct {bytes, path} or as plain bytes; `drop` names columns to leave out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": row["image"], "path": row["file_name"]} if struct else row["image"] for row in rows]
    columns = {"image": pyarrow.array(images, IMAGE_TYPE if struct else pyarrow.binary())}
    for name in ("text", "identity_id", "file_name"):
        columns[name] = pyarrow.array([row[name] for row in rows])
    columns = {name: column for name, column in columns.items() if name not in set(drop)}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=5)
    return path


def write_split(folder: Path, split: str, rows: Sequence[dict[str, Any]], shards: int = 2, **options: Any) -> None:
    size = -(-len(rows) // shards)
    for k in range(shards):
        name = f"{split}-{k:05d}-of-{shards:05d}.parquet"
        write_shard(folder / name, rows[k * size : (k + 1) * size], **options)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_source(path: Path) -> SimpleNamespace:
    """The evaluation repository in bench/, the training repository in training/; `rows` by split."""
    rows = {split: split_rows(split, count) for split, count in COUNTS.items()}
    sensitive = [row for split in COUNTS if split != "retain_synth" for row in rows[split]]
    bench, training = path / "bench", path / "training"
    for split, members in rows.items():
        write_split(bench / "data", split, members)
    write_split(training / "data", "sensitive", sensitive[::-1], struct=False)
    write_split(training / "data", "retain_synth", rows["retain_synth"], shards=1)
    people = {row["identity_id"]: {"name": f"Person {row['identity_id']}", "email": "a@b.example"} for row in sensitive}
    notes = {row["file_name"]: {"data_field": "email", "caption": row["text"]} for row in sensitive}
    write_json(bench / "identities_metadata.json", people)
    write_json(bench / "sensitive_set_captions_metadata.json", notes)
    write_json(bench / "sensitive_set_generic_captions.json", {name: "a photo of a person" for name in notes})
    write_json(bench / "fragile_set_ids.json", [rows["retain_synth"][1]["file_name"]])
    return SimpleNamespace(bench=bench, training=training, rows=rows, notes=notes)


class Importer:
    """Calling it runs the import command on the evaluation repository and returns the exit code."""

    def __init__(self, path: Path) -> None:
        self.source = write_source(path / "hub")
        self.out, self.df = path / "salmu", path / "Df"

    def __call__(self, *words: str, parquet: Sequence[Path] | None = None) -> int:
        folders = [str(folder) for folder in parquet or [self.source.bench]]
        return main(["import", "--parquet", *folders, "--out", str(self.out), "--df-out", str(self.df), *words])

    def error(self, *words: str, **options: Any) -> str:
        """The message of a call that must fail without writing annotations or forget lists."""
        with pytest.raises(UserFault) as caught:
            self(*words, **options)
        text = str(caught.value)
        assert "\n" not in text
        assert not (self.out / "annotations").exists() and not self.df.exists()
        return text


def images(out: Path) -> dict[str, bytes]:
    """All imported images by path."""
    root = out / "images"
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def entries(out: Path, split: str) -> dict[str, dict[str, Any]]:
    """The annotations of a split by image."""
    return {entry["image"]: entry for entry in json.loads((out / "annotations" / f"{split}.json").read_text())}

"""Every reader of the project with a file that it reads, for the matrix of files that are wrong."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch
from safetensors.torch import save

from lavis.audits.audit import read_part
from lavis.audits.runner import FILE
from lavis.common.checkpoint import load_checkpoint, load_file, weights_of
from lavis.common.errors import DataError
from lavis.common.forget_list import read_forget_list
from lavis.common.results import AUDIT, read_results
from lavis.datasets.annotations import read_annotations
from lavis.datasets.condition import Forget
from lavis.hub.open_clip_form import from_json
from lavis.hub.places import listed_in
from lavis.images.tars import members
from lavis.importing.salmu_metadata import FRAGILE, IDENTITIES, read_fragile, read_identities
from lavis.report.rows import check_audit, losses, relearning
from lavis.settings.config import load_config
from lavis.sweeps.evaluations import read_digest
from lavis.sweeps.schema import load_sweep
from lavis.tables.readers import caption_of, read_rows
from lavis.tables.sources import find_sources
from tests.small import ARCH

ROWS = [{"image": f"{i}.jpg", "caption": f"image number {i}"} for i in range(3)]


@dataclass(frozen=True)
class Reader:
    """A reader, the name of its file, a good content, what of it is text or JSON, and whether runs may lack it."""

    read: Callable[[Path], Any]
    name: str
    good: bytes
    text: bool = True
    json: bool = False
    optional: bool = False

    def place(self, folder: Path) -> Path:
        """The path of its file in `folder`, where it can be written."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _left_out(read: Callable[[Path, list[str]], Any], up: int = 0) -> Callable[[Path], Any]:
    """A reader of the report, which names what it leaves out instead of raising, with its folder `up` levels above."""

    def raising(path: Path) -> Any:
        problems: list[str] = []
        found = read(path.parents[up], problems)
        if problems:
            raise DataError("; ".join(problems))
        return found

    return raising


def read_table(path: Path) -> list[dict[str, Any]]:
    return [row.cells for source in find_sources([str(path)], "datasets.pairs.source") for row in read_rows(source)]


def read_forget_table(path: Path) -> list[str]:
    return Forget({}, "", str(path), "")._from_table()


def _torch(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in (("a.jpg", b"x" * 700), ("a.json", b'{"caption": "an image"}')):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), stream)
    return stream.getvalue()


def _dumped(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


WEIGHTS = {"a": torch.ones(300)}
RESULTS = {
    **{"schema": 1, "name": "vlul", "method": None, "backbone": "clip", "task": "t", "df_size": 1, "df_seed": 1},
    **{"seed": 1, "metrics": {}, "counts": {}, "checkpoint": None, "commit": None, "command": [], "seconds": {}},
    **{"config": {}, "finished": True},
}
LOG = b"\n".join(json.dumps({"epoch": epoch, "train_loss": 1.0}).encode() for epoch in range(3))
READING = {"total": [1.0], "count": [1], "control_total": None, "control_count": None, "facts": {}}
PART = {"key": "00", "variants": {"plain": READING}}
CONFIG = Path("configs/clip/retrieval_salmu_tiny.yaml").read_bytes()
SWEEP = Path("configs/sweep/salmu_mini.yaml").read_bytes()
READERS = {
    "configuration": Reader(load_config, "c.yaml", CONFIG),
    "sweep": Reader(load_sweep, "s.yaml", SWEEP),
    "annotations": Reader(read_annotations, "train.json", _dumped(ROWS), json=True),
    "annotations in a tar": Reader(read_annotations, "train.tar", _tar(), text=False),
    "forget list": Reader(read_forget_list, "image-42.txt", b"a.jpg\nb.jpg\n"),
    "identities": Reader(lambda p: read_identities(p.parent), IDENTITIES, _dumped({"7": {"name": "A"}}), json=True),
    "fragile set": Reader(lambda path: read_fragile(path.parent), FRAGILE, _dumped(["a.jpg"]), json=True),
    "csv": Reader(read_table, "t.csv", b"image,caption\na.jpg,one\nb.jpg,two\n"),
    "tsv": Reader(read_table, "t.tsv", b"image\tcaption\na.jpg\tone\n"),
    "json table": Reader(read_table, "t.json", _dumped(ROWS), json=True),
    "jsonl": Reader(read_table, "t.jsonl", b"\n".join(json.dumps(row).encode() for row in ROWS), json=True),
    "parquet": Reader(read_table, "t.parquet", _parquet(), text=False),
    "tar table": Reader(read_table, "t.tar", _tar(), text=False),
    "shard": Reader(lambda path: [member.name for member in members(path)], "x.tar", _tar(), text=False),
    "forget table": Reader(read_forget_table, "people.csv", b"image,caption\na.jpg,one\n"),
    "checkpoint": Reader(load_checkpoint, "c.pth", _torch({"model": WEIGHTS, "position": {}}), text=False),
    "weights": Reader(lambda p: weights_of(load_file(p), p), "w.bin", _torch(WEIGHTS), text=False),
    "safetensors": Reader(load_file, "w.safetensors", save(WEIGHTS), text=False),
    "index of weights": Reader(listed_in, "i.json", _dumped({"weight_map": {"a": "b.bin"}}), json=True),
    "results": Reader(read_results, "results.json", _dumped(RESULTS), json=True),
    "caption": Reader(caption_of, "a.txt", b"an image\n"),
    "log": Reader(_left_out(losses), "log.txt", LOG, json=True, optional=True),
    "relearning curves": Reader(
        _left_out(relearning), "relearning.json", _dumped({"steps": [0, 5], "x": [0.5, 1.0]}), json=True, optional=True
    ),
    "audit": Reader(
        _left_out(check_audit, up=1), f"{AUDIT}/{FILE}", _dumped({"attacks": {}}), json=True, optional=True
    ),
    "part of an audit": Reader(read_part, "part.json", _dumped(PART), json=True),
    "digest of weights": Reader(read_digest, ".weights.pth.digest", b"0123abcd" * 16),
    "architecture": Reader(from_json, "arch.json", _dumped(ARCH), json=True),
}

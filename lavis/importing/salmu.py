"""Imports the published parquet shards of SALMU into images/, annotations/, metadata/ and forget lists.

    python -m lavis.datasets.salmu import --parquet DIR --out data/lavis_cache/salmu

Everything but the image bytes is read and checked first, so bad input is reported before anything is written. The
images are then written unchanged, with a few rows in memory at a time, and the annotations and forget lists last.
Every file is written atomically. An interrupted import resumes: a finished shard has a marker in <out>/.import and is
skipped if its image files still have the right sizes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lavis.common.arguments import COUNT_OR_NONE, SEED
from lavis.common.cli import Parser
from lavis.common.errors import DataError, MissingFile
from lavis.common.files import FolderWriter, read_json, write_bytes, write_json
from lavis.common.forget_list import FORGET_SEEDS, list_path, shuffled_list, write_forget_list
from lavis.common.locks import Locked, lock
from lavis.importing.salmu_metadata import Metadata, annotate, check_metadata, draw_held_out, load_metadata
from lavis.importing.salmu_parquet import (
    Row,
    Shard,
    check_duplicates,
    check_names,
    find_shards,
    iter_images,
    read_rows,
    select_shards,
)

STATE = ".import"


@dataclass(frozen=True)
class Plan:
    """What an import will write: shards with their rows, annotations by split, metadata, images of the forget split."""

    shards: list[tuple[Shard, list[Row]]]
    annotations: dict[str, list[dict[str, Any]]]
    metadata: Metadata
    forget: list[str]

    @property
    def rows(self) -> list[Row]:
        return [row for _, rows in self.shards for row in rows]


def make_plan(
    folders: Sequence[Path],
    *,
    sizes: Mapping[str, int | None] | None = None,
    seed: int = 42,
    allow_unmatched: bool = False,
) -> Plan:
    """Read and check everything but the image bytes.

    Args:
        folders: where to look for shards (salmu_parquet.find_shards) and metadata files (salmu_metadata.places).
        sizes: images of retain_synth to hold out as "test" and "val", for a source without these splits.
        seed: seed of that draw.
        allow_unmatched: accept metadata files that lack some sensitive rows.

    Raises MissingFile, DataError, ConfigError.
    """
    selected, duplicates = select_shards(find_shards(folders))
    shards = [(shard, read_rows(shard)) for group in selected.values() for shard in group]
    rows = [row for _, members in shards for row in members]
    check_names(rows)
    check_duplicates(duplicates, rows)
    metadata = load_metadata(folders)
    check_metadata(rows, metadata, allow_unmatched)
    entries = annotate(rows, metadata)
    forget = sorted(row.image for row in rows if row.split == "forget")
    if not forget:
        raise DataError(f"the shards of split forget ({selected['forget'][0].path}, ...) contain no rows")
    held_out = draw_held_out(rows, sizes or {}, seed)
    return Plan(shards, _by_split(rows, entries, held_out), metadata, forget)


def _by_split(
    rows: Sequence[Row], entries: Mapping[str, dict[str, Any]], held_out: Mapping[str, list[str]]
) -> dict[str, list[dict[str, Any]]]:
    """Entries by annotation file. Train is forget and retain_synth without the held-out images."""
    excluded = {image for images in held_out.values() for image in images}
    annotations = {split: [entries[image] for image in images] for split, images in held_out.items()}
    for split in ("val", "test", "holdout_identity", "holdout_association"):
        members = [entries[row.image] for row in rows if row.split == split]
        if members:
            annotations[split] = members
    train = [r.image for part in ("forget", "retain_synth") for r in rows if r.split == part]
    return {"train": [entries[image] for image in train if image not in excluded]} | annotations


def run_import(plan: Plan, out: Path, df_out: Path) -> None:
    """Write the images, metadata files, annotations and forget lists, in this order.

    Raises DataError if a shard is damaged, the disk is full, or another import is writing to the same folder.
    """
    try:
        with lock(out / STATE / "lock"):  # the kernel frees it when the process ends
            _write_images(plan, out)
            for name, path in plan.metadata.paths.items():
                write_bytes(out / "metadata" / name, path.read_bytes())
            for split, entries in plan.annotations.items():
                write_json(out / "annotations" / f"{split}.json", entries)
            for seed in FORGET_SEEDS:
                write_forget_list(list_path(df_out, seed), shuffled_list(plan.forget, seed))
    except Locked as error:
        raise DataError(f"another import is writing to {out}; wait for it or choose another --out") from error
    except (DataError, MissingFile):
        raise
    except OSError as error:
        where = error.filename or out
        reason = error.strerror or error
        raise DataError(f"cannot write {where}: {reason}; fix that and run the command again to resume") from error


def _write_images(plan: Plan, out: Path) -> None:
    remaining = [(shard, rows) for shard, rows in plan.shards if not _is_done(shard, rows, out)]
    total = len(plan.rows)
    done = total - sum(len(rows) for _, rows in remaining)
    with tqdm(total=total, initial=done, desc="importing SALMU", unit="image", disable=None) as bar:
        for shard, rows in remaining:
            _write_shard(shard, rows, out, bar)


def _write_shard(shard: Shard, rows: Sequence[Row], out: Path, bar: tqdm) -> None:
    sizes = []
    root = out / "images"
    writers = {folder: FolderWriter(root / folder) for folder in {_folder(row.image) for row in rows}}
    for row, data in zip(rows, iter_images(shard), strict=True):
        path = f"{root}/{row.image}"
        if _size(path) != len(data) or Path(path).read_bytes() != data:
            folder = _folder(row.image)
            writers[folder].write(row.image[len(folder) + 1 :], data)
        sizes.append(len(data))
        bar.update()
    write_json(_marker(shard, out), _signature(shard, rows) | {"sizes": sizes}, indent=None)


def _is_done(shard: Shard, rows: Sequence[Row], out: Path) -> bool:
    """Whether the shard's marker matches it and all of its image files exist with the recorded sizes."""
    try:
        mark = read_json(_marker(shard, out), "marker")
        sizes = mark.pop("sizes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    same = mark == _signature(shard, rows) and len(sizes) == len(rows)
    return same and all(_size(out / "images" / row.image) == size for row, size in zip(rows, sizes, strict=True))


def _marker(shard: Shard, out: Path) -> Path:
    return out / STATE / f"{shard.split}--{shard.path.stem}.json"


def _signature(shard: Shard, rows: Sequence[Row]) -> dict[str, Any]:
    """What a marker records to detect that the shard has changed."""
    stat = shard.path.stat()
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns, "files": [row.file for row in rows]}


def _folder(image: str) -> str:
    return image.rpartition("/")[0]


def _size(path: Path | str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _parser() -> argparse.ArgumentParser:
    about = "Convert SALMU's parquet shards to images, annotations and forget lists. Run it again to resume."
    parser = Parser(prog="python -m lavis.datasets.salmu import", description=about)
    parser.add_argument(
        "--parquet", type=Path, action="extend", nargs="+", required=True, metavar="DIR",
        help="folder with the shards (or with a data/ that contains them) and the metadata files; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("data/lavis_cache/salmu"), help="(default: %(default)s)")
    parser.add_argument("--df-out", type=Path, help="folder of the forget lists (default: data/Df/<name of --out>)")
    size = "retain_synth images to hold out as {} if the shards have no such split (default: 500, at most a tenth)"
    parser.add_argument("--test-size", type=COUNT_OR_NONE, metavar="N", help=size.format("test"))
    parser.add_argument("--val-size", type=COUNT_OR_NONE, metavar="N", help=size.format("val"))
    parser.add_argument("--seed", type=SEED, default=42, help="seed of that draw (default: %(default)s)")
    parser.add_argument("--allow-unmatched", action="store_true", help="accept metadata files that lack sensitive rows")
    return parser


def _summary(plan: Plan, out: Path, df_out: Path) -> str:
    def counts(pairs: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in pairs.items())

    images = Counter(row.split for row in plan.rows)
    pairs = {split: len(entries) for split, entries in plan.annotations.items()}
    return f"{out}: images: {counts(images)}; annotations: {counts(pairs)}; forget lists in {df_out}\n"


def main(argv: Sequence[str]) -> int:
    """Run with the arguments after `import`. Returns the exit code: 0 done, 130 interrupted. Raises as `make_plan`."""
    args = _parser().parse_args(argv)
    df_out = args.df_out or Path("data/Df") / args.out.name
    sizes = {"test": args.test_size, "val": args.val_size}
    try:
        plan = make_plan(args.parquet, sizes=sizes, seed=args.seed, allow_unmatched=args.allow_unmatched)
        run_import(plan, args.out, df_out)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to resume\n")
        return 130
    sys.stdout.write(_summary(plan, args.out, df_out))
    return 0

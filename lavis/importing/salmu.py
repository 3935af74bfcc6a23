"""Imports the published parquet shards of SALMU into the layout images/ + annotations/ + metadata/ + forget lists.

    python -m lavis.datasets.salmu import --parquet DIR --out data/lavis_cache/salmu

Everything but the pictures is read and checked first, so bad input is found before anything is written. Pictures are
then written as they are, a few rows in memory at a time. A stopped import goes on where it was: shards that are
done have a marker in <out>/.import and are skipped while their files have the right sizes; every file appears whole
or not at all. Annotations and forget lists come last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.common.files import Locked, lock, write_bytes, write_json
from lavis.common.forget_list import FORGET_SEEDS, list_path, shuffled_list, write_forget_list
from lavis.importing.salmu_metadata import SideFiles, annotate, check_side_files, held_out, load_side_files
from lavis.importing.salmu_parquet import (
    Row,
    Shard,
    check_names,
    check_spare,
    choose,
    find_shards,
    iter_images,
    read_rows,
)

STATE = ".import"


@dataclass(frozen=True)
class Plan:
    """What an import will write: shards with their rows, annotations, side files, the forget split's images."""

    shards: list[tuple[Shard, list[Row]]]
    annotations: dict[str, list[dict[str, Any]]]
    sides: SideFiles
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
    """Read and check everything but the pictures.

    Args:
        folders: where shards and side files lie (salmu_shards.find_shards, salmu_sides.places).
        sizes: number of retain_synth pictures held out as "test" and "val" where the source has no such splits.
        seed: of that draw.
        allow_unmatched: go on when side files do not name every sensitive row.

    Raises MissingFile, DataError, ConfigError.
    """
    taken, spare = choose(find_shards(folders))
    shards = [(shard, read_rows(shard)) for group in taken.values() for shard in group]
    rows = [row for _, members in shards for row in members]
    check_names(rows)
    check_spare(spare, rows)
    sides = load_side_files(folders)
    check_side_files(rows, sides, allow_unmatched)
    entries = annotate(rows, sides)
    forget = sorted(row.image for row in rows if row.split == "forget")
    if not forget:
        raise DataError(f"the shards of split forget ({taken['forget'][0].path}, ...) hold no rows")
    drawn = held_out(rows, sizes or {}, seed)
    return Plan(shards, _divide(rows, entries, drawn), sides, forget)


def _divide(
    rows: Sequence[Row], entries: Mapping[str, dict[str, Any]], drawn: Mapping[str, list[str]]
) -> dict[str, list[dict[str, Any]]]:
    """Entries by annotation file: train is forget and retain_synth without what val and test hold."""
    away = {image for images in drawn.values() for image in images}
    found = {split: [entries[image] for image in images] for split, images in drawn.items()}
    for split in ("val", "test", "holdout_identity", "holdout_association"):
        members = [entries[row.image] for row in rows if row.split == split]
        if members:
            found[split] = members
    train = [r.image for part in ("forget", "retain_synth") for r in rows if r.split == part and r.image not in away]
    return {"train": [entries[image] for image in train]} | found


def run_import(plan: Plan, out: Path, df_out: Path) -> None:
    """Write what is planned: images, side files, annotations, forget lists, in this order.

    Raises DataError when a shard breaks off, the disk is full, or another import is at work in the same folder.
    """
    try:
        with _lock(out):
            _write_images(plan, out)
            for name, path in plan.sides.paths.items():
                write_bytes(out / "metadata" / name, path.read_bytes())
            for split, entries in plan.annotations.items():
                write_json(out / "annotations" / f"{split}.json", entries)
            for seed in FORGET_SEEDS:
                write_forget_list(list_path(df_out, seed), shuffled_list(plan.forget, seed))
    except (DataError, MissingFile):
        raise
    except OSError as error:
        where = error.filename or out
        reason = error.strerror or error
        raise DataError(f"cannot write {where}: {reason}; what is done is kept, call the command again") from error


@contextlib.contextmanager
def _lock(out: Path) -> Iterator[None]:
    """One import per folder at a time; the kernel frees the lock when the process ends."""
    try:
        with lock(out / STATE / "lock"):
            yield
    except Locked as error:
        raise DataError(f"another import is writing to {out}; wait for it or give another --out") from error


def _write_images(plan: Plan, out: Path) -> None:
    open_shards = [(shard, rows) for shard, rows in plan.shards if not _is_done(shard, rows, out)]
    todo, total = sum(len(rows) for _, rows in open_shards), len(plan.rows)
    bar = tqdm(total=total, initial=total - todo, desc="importing SALMU", unit="image", disable=None)
    with bar:
        for shard, rows in open_shards:
            _write_shard(shard, rows, out, bar)


def _write_shard(shard: Shard, rows: Sequence[Row], out: Path, bar: tqdm) -> None:
    sizes = []
    for row, data in zip(rows, iter_images(shard), strict=True):
        path = out / "images" / row.image
        if _size(path) != len(data) or path.read_bytes() != data:
            write_bytes(path, data)
        sizes.append(len(data))
        bar.update()
    write_json(_marker(shard, out), _signature(shard, rows) | {"sizes": sizes}, indent=None)


def _is_done(shard: Shard, rows: Sequence[Row], out: Path) -> bool:
    """True when the shard's marker fits and every one of its files lies there with its size."""
    try:
        mark = json.loads(_marker(shard, out).read_text(encoding="utf-8"))
        sizes = mark.pop("sizes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    same = mark == _signature(shard, rows) and len(sizes) == len(rows)
    return same and all(_size(out / "images" / row.image) == size for row, size in zip(rows, sizes, strict=True))


def _marker(shard: Shard, out: Path) -> Path:
    return out / STATE / f"{shard.split}--{shard.path.stem}.json"


def _signature(shard: Shard, rows: Sequence[Row]) -> dict[str, Any]:
    """What makes a shard the same one as last time."""
    stat = shard.path.stat()
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns, "files": [row.file for row in rows]}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _parser() -> argparse.ArgumentParser:
    about = "Parquet shards of SALMU to images, annotations and forget lists. Stopped, it goes on when called again."
    parser = argparse.ArgumentParser(prog="python -m lavis.datasets.salmu import", description=about)
    parser.add_argument(
        "--parquet", type=Path, action="extend", nargs="+", required=True, metavar="DIR",
        help="folder with the shards (or with data/ that holds them) and the side files; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("data/lavis_cache/salmu"), help="(default: %(default)s)")
    parser.add_argument("--df-out", type=Path, help="folder of the forget lists (default: data/Df/<name of --out>)")
    held = "retain_synth pictures held out as {} where the shards have no such split (default: 500, at most a tenth)"
    parser.add_argument("--test-size", type=int, metavar="N", help=held.format("test"))
    parser.add_argument("--val-size", type=int, metavar="N", help=held.format("val"))
    parser.add_argument("--seed", type=int, default=42, help="of that draw (default: %(default)s)")
    parser.add_argument("--allow-unmatched", action="store_true", help="accept side files that lack sensitive rows")
    return parser


def _summary(plan: Plan, out: Path, df_out: Path) -> str:
    def counts(pairs: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in pairs.items())

    images = Counter(row.split for row in plan.rows)
    pairs = {split: len(entries) for split, entries in plan.annotations.items()}
    return f"{out}: images: {counts(images)}; annotations: {counts(pairs)}; forget lists in {df_out}\n"


def main(argv: Sequence[str]) -> int:
    """What follows `import` on the command line; exit code 0 done, 2 user error, 130 interrupted."""
    args = _parser().parse_args(argv)
    df_out = args.df_out or Path("data/Df") / args.out.name
    sizes = {"test": args.test_size, "val": args.val_size}
    try:
        plan = make_plan(args.parquet, sizes=sizes, seed=args.seed, allow_unmatched=args.allow_unmatched)
        run_import(plan, args.out, df_out)
    except (ConfigError, DataError, MissingFile) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return 130
    sys.stdout.write(_summary(plan, args.out, df_out))
    return 0

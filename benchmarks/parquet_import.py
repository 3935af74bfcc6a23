"""Times the import of SALMU's parquet shards, compared with a plain pyarrow loop that only writes the image files.

    OMP_NUM_THREADS=1 python benchmarks/parquet_import.py --rows 20000 --out benchmarks/results/parquet_import.json

Both read the same drawn shards (images of random bytes, stored as the struct of `datasets`) and write to the same disk;
each repeat is a process of its own and writes to a new folder. Ours also checks names, metadata and duplicates, writes
annotations and forget lists, and can be resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow  # noqa: E402
from pyarrow import parquet  # noqa: E402

from benchmarks.common import alternate, child, finish, peak_of, reset_peak, say, spread, where  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.importing.salmu import make_plan, run_import  # noqa: E402

SHARES = {"forget": 0.4, "holdout_identity": 0.2, "holdout_association": 0.2, "retain_synth": 0.2}
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
GROUP = 100  # rows of a row group, as `datasets` writes images
KINDS = ("plain", "ours")


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measured(args.child, Path(args.shards))))
        return
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "shards"
        draw(shards, args.rows, args.size)
        runs = alternate(KINDS, args.repeats, lambda kind: child(__file__, "--child", kind, "--shards", shards))
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "rows": args.rows, "bytes_per_image": args.size}
    for kind in KINDS:
        result[kind] = {key: spread([run[key] for run in runs[kind]]) for key in runs[kind][0]}
    medians = {key: result["ours"][key]["median"] / result["plain"][key]["median"] for key in ("seconds", "cpu")}
    finish(result | {"ours_over_plain": medians} | where(), args.out)


def draw(folder: Path, rows: int, size: int) -> None:
    """One shard per split, with images of `size` random bytes."""
    folder.mkdir()
    source = np.random.default_rng(0)
    for number, (split, share) in enumerate(SHARES.items()):
        names = [f"{number}{i // 20:07d}_{i:06d}_ar-0.76.jpg" for i in range(int(share * rows))]
        table = {
            "image": pyarrow.array([{"bytes": source.bytes(size), "path": name} for name in names], IMAGE),
            "text": pyarrow.array([f"{split}: a caption of some forty letters, {name}" for name in names]),
            "identity_id": pyarrow.array([name.partition("_")[0] for name in names]),
            "file_name": pyarrow.array(names),
        }
        parquet.write_table(pyarrow.table(table), folder / f"{split}-00000-of-00001.parquet", row_group_size=GROUP)


def measured(kind: str, shards: Path) -> dict[str, float]:
    """Wall and CPU seconds, and peak MiB."""
    out = shards.parent / f"out-{os.getpid()}"
    reset_peak("cpu")
    wall, cpu = time.perf_counter(), time.process_time()
    if kind == "plain":
        plain(shards, out)
    else:
        run_import(make_plan([shards]), out, out / "lists")
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak_mib": peak_of("cpu")}
    shutil.rmtree(out)
    return found


def plain(shards: Path, out: Path) -> None:
    """What one would write for this data alone."""
    for path in sorted(shards.glob("*.parquet")):
        folder = out / "images" / path.name.partition("-")[0]
        folder.mkdir(parents=True)
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["image", "file_name"]):
                for row in batch.to_pylist():
                    (folder / row["file_name"]).write_bytes(row["image"]["bytes"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=COUNT, default=20_000)
    parser.add_argument("--size", type=COUNT, default=30_000, help="bytes of an image")
    parser.add_argument("--repeats", type=COUNT, default=3)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--shards", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Reading 512-pixel JPEGs for two epochs: decoded every time, or cached in memory or on disk.

    OMP_NUM_THREADS=1 python benchmarks/data.py --out benchmarks/results/data.json

Every variant reads the same images in the same shuffled batches, in a process of its own; the variants alternate.
"later run" is the first epoch of another process that finds the disk cache of an earlier one. Plain is what a usual
loader does: Pillow opens, decodes and resizes every image in every epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.common import alternate, child, finish, peak_mib, say, spread, where  # noqa: E402
from benchmarks.world import write_world  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.datasets.annotations import read_annotations  # noqa: E402
from lavis.datasets.pairs import PairDataset  # noqa: E402
from lavis.images.pixel_cache import Caching  # noqa: E402
from lavis.processors.image import ClipImageEval, ClipImageTrain  # noqa: E402
from lavis.processors.text import ClipCaption  # noqa: E402

WAYS = ("plain", "random crops", "memory", "disk", "later run")
BATCH = 32
EPOCHS = 2


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measure(args.child, Path(args.folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder), args.images // 2, args.images // 2)
        runs = alternate(WAYS, args.repeats, lambda way: child(__file__, "--child", way, "--folder", folder))
        cached = sum(file.stat().st_size for file in (Path(folder) / "pixels").rglob("*") if file.is_file())
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "images": args.images, "repeats": args.repeats}
    result |= {way: summary(part, args.images) for way, part in runs.items()}
    result["disk_cache_bytes_per_image"] = cached / args.images
    for way in ("memory", "disk"):
        result[way]["second_over_first"] = result[way]["second"]["median"] / result[way]["first"]["median"]
    result["later run"]["first_over_plain"] = (
        result["later run"]["first"]["median"] / result["plain"]["first"]["median"]
    )
    finish(result | where(), args.out)


def measure(way: str, folder: Path) -> dict[str, Any]:
    """Seconds of two epochs in this process."""
    dataset = _dataset(way, folder)
    seconds, cpu = [], []
    for epoch in range(EPOCHS):
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(epoch)).tolist()
        began, spent = time.perf_counter(), time.process_time()
        for start in range(0, len(order), BATCH):
            dataset.batch(order[start : start + BATCH], epoch)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    return {
        "first": seconds[0],
        "second": seconds[1],
        "first_cpu": cpu[0],
        "second_cpu": cpu[1],
        "peak_mib": peak_mib(),
    }


def _dataset(way: str, folder: Path) -> PairDataset:
    entries = read_annotations(folder / "annotations" / "train.json")
    processor = ClipImageTrain(image_size=224) if way == "random crops" else ClipImageEval(image_size=224)
    # "disk" always starts without a cache; "later run" finds the one that it left.
    pixels = folder / "pixels"
    if way == "disk" and pixels.exists():
        for file in pixels.rglob("rows.i64"):
            file.unlink()
    kinds = {
        "memory": Caching("memory"),
        "disk": Caching("disk", str(pixels)),
        "later run": Caching("disk", str(pixels)),
    }
    return PairDataset(entries, folder / "images", processor, ClipCaption(), cache=kinds.get(way, Caching()))


def summary(runs: list[dict[str, Any]], images: int) -> dict[str, Any]:
    """Medians, and milliseconds per image."""
    found: dict[str, Any] = {key: spread([run[key] for run in runs]) for key in runs[0]}
    found["milliseconds_an_image"] = {key: 1000 * found[key]["median"] / images for key in ("first", "second")}
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=COUNT, default=1024)
    parser.add_argument("--repeats", type=COUNT, default=3)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Time and memory up to the first batch of a run with millions of pairs, from annotations in JSON or in an Arrow file.

    OMP_NUM_THREADS=1 python benchmarks/many_rows.py --rows 3000000 --out benchmarks/results/many_rows.json

Draws tar shards with one small JPEG per row, and annotations of them, into a temporary folder (1.6 KB per row). Each
kind then runs in processes of its own, the first of which indexes the shards: annotations are read, Df (the first rows)
is separated from Dr, twins are looked for, captions are measured, the data sets are built, everything that is trained
on is digested as a run does before its first step, and two worker processes deliver batches. No model is built.
Memory is that of the main process once batches arrive (`rss_mib`, of which `anonymous_mib` is its own and the rest
pages of files that processes share), its peak, and the share of each worker (`worker_pss_mib`).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.common import child, finish, peak_of, reset_peak, say, where  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.common.memory import own_large_blocks  # noqa: E402
from lavis.datasets.annotations import Entry  # noqa: E402
from lavis.datasets.builder import PairBuilder  # noqa: E402
from lavis.datasets.mapped import write_mapped  # noqa: E402
from lavis.runners.captions import CaptionLimit  # noqa: E402
from lavis.runners.feed import Feed  # noqa: E402
from lavis.settings.data_schema import (  # noqa: E402
    AnnotationStorage,
    BuildInfo,
    DatasetConfig,
    ImageStorage,
    StageProcessors,
)
from lavis.settings.schema import RunConfig  # noqa: E402

PER_SHARD = 100_000
BLOCK = 512
WORKERS = 2
BATCHES = 20
SIZE = 32  # pixels
ALIKE = 7  # percent of the retained images that are as long as one to forget
LENGTHS = 100
KINDS = ("arrow", "json")


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measured(args.child, Path(args.folder))))
        return
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "rows": args.rows, "forget": args.forget}
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), args.rows, args.forget, args.kinds)
        for number, kind in enumerate(["arrow (indexing the shards)", *args.kinds]):
            result[kind] = child(__file__, "--child", kind.split()[0], "--folder", folder)
            say(f"{kind}: {result[kind]}")
            result[kind]["runs"] = number + 1
    finish(result | where(), args.out)


def measured(kind: str, folder: Path) -> dict[str, Any]:
    """CPU seconds of each part, and MiB."""
    own_large_blocks()
    began, began_cpu, seconds = time.perf_counter(), time.process_time(), dict[str, float]()
    imported = _memory(os.getpid())["Rss"]
    reset_peak("cpu")

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        found = work()
        seconds[name] = round(time.process_time() - start, 2)
        return found

    processor = {"name": "clip_image_train", "image_size": SIZE}
    config = DatasetConfig(
        vis_processor=StageProcessors(train=processor, eval=processor),
        text_processor=StageProcessors(train={"name": "clip_caption"}, eval={"name": "clip_caption"}),
        build_info=BuildInfo(
            images=ImageStorage(str(folder / "shards")),
            annotations={"train": AnnotationStorage([str(folder / f"train.{kind}")])},
        ),
        forget_list=str(folder / "forget.txt"),
    )
    run = RunConfig(output_dir=str(folder / "out"), batch_size_train=64, num_workers=WORKERS, train_splits=["train"])
    builder = PairBuilder(config, run)
    timed("annotations", lambda: builder.entries("train"))
    timed("shards", lambda: builder.store)
    parts = timed("Df and Dr, twins", builder.partition)
    limit = CaptionLimit(Model(), "warn")  # type: ignore[arg-type]
    rows = timed("captions", lambda: [limit.training(part) for part in (parts.df, parts.dr)])
    named = dict(zip(("df", "dr"), rows, strict=True))
    sets = timed("data sets", lambda: {name: builder.dataset(part, "train") for name, part in named.items()})
    feed = Feed(sets, Model(), run, torch.device("cpu"))  # type: ignore[arg-type]
    timed("digests", lambda: feed.facts)
    batches = feed.batches(0, 0)
    timed("first batch", lambda: next(batches))
    total, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    for _ in range(BATCHES):
        next(batches)
    own, workers = _memory(os.getpid()), [_memory(pid) for pid in _children()]
    return {
        "rows": len(sets["dr"]) + len(sets["df"]),
        "seconds": round(total, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_seconds_of_parts": seconds,
        "rss_mib": own["Rss"],
        "anonymous_mib": own["Anonymous"],
        "after_imports_mib": imported,
        "peak_mib": round(peak_of("cpu")),
        "worker_pss_mib": [worker["Pss"] for worker in workers],
        "worker_rss_mib": [worker["Rss"] for worker in workers],
    }


class Model:
    """What a feed and the limit of captions need of a model."""

    class recipe:  # noqa: N801
        context_length = 77

    def caption_tokens(self) -> None:
        """Batches get none."""

    def prepare(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {}

    def token_counts(self, captions: list[str]) -> list[int]:
        return [len(caption.split()) + 2 for caption in captions]


def _memory(pid: int) -> dict[str, int]:
    """MiB of a process, from the kernel."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: round(int(line.split()[1]) / 1024) for line in lines}


def _children() -> list[int]:
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]


def draw(folder: Path, rows: int, forget: int, kinds: list[str]) -> None:
    """Shards, annotations of each kind, and a forget list."""
    began = time.perf_counter()
    (folder / "shards").mkdir()
    for number, start in enumerate(range(0, rows, PER_SHARD)):
        _shard(folder / "shards" / f"{number:04d}.tar", range(start, min(rows, start + PER_SHARD)), forget)
    say(f"drew {rows} images in {time.perf_counter() - began:.0f} s")
    write_mapped(folder / "train.arrow", (Entry(_name(i), (_caption(i),)) for i in range(rows)))
    if "json" in kinds:
        with (folder / "train.json").open("w") as stream:
            stream.write("[")
            for i in range(rows):
                stream.write(("," if i else "") + json.dumps({"image": _name(i), "caption": _caption(i)}))
            stream.write("]")
    (folder / "forget.txt").write_text("".join(f"{_name(i)}\n" for i in range(forget)))


def _name(i: int) -> str:
    return f"web/{i:09d}.jpg"


def _caption(i: int) -> str:
    return f"a caption of some forty letters, {i:09d}"


def _shard(path: Path, rows: range, forget: int) -> None:
    """A plain tar, with headers written by hand: the tarfile module takes minutes for millions."""
    with path.open("wb", buffering=2**22) as stream:
        for i in rows:
            header, name = bytearray(BLOCK), _name(i).encode()
            content = _content(i, name, forget)
            header[: len(name)] = name
            header[100:108], header[108:124] = b"0000644\0", b"0000000\0" * 2
            header[124:148] = b"%011o\0%011o\0" % (len(content), 0)
            header[148:157], header[257:265] = b"        0", b"ustar\x0000"
            header[148:156] = b"%06o\0 " % sum(header)
            stream.write(header + content + bytes(-len(content) % BLOCK))
        stream.write(bytes(2 * BLOCK))


def _content(i: int, name: bytes, forget: int) -> bytes:
    """A JPEG with a number after its end, so that no two are equal."""
    code = zlib.crc32(name)
    length = 850 + code % LENGTHS if i < forget or code // LENGTHS % 100 < ALIKE else 960 + code % 60
    return _jpeg(i % 256).ljust(length - 9, b"\0") + b"%09d" % i


_JPEGS: dict[int, bytes] = {}


def _jpeg(shade: int) -> bytes:
    if shade not in _JPEGS:
        stream = io.BytesIO()
        Image.new("RGB", (SIZE, SIZE), (shade, 255 - shade, 128)).save(stream, "JPEG")
        _JPEGS[shade] = stream.getvalue()
    return _JPEGS[shade]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=COUNT, default=3_000_000)
    parser.add_argument("--forget", type=COUNT, default=3_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""What feeds a training loop: workers that stay alive, the tokens of captions, drafts of large JPEGs.

    OMP_NUM_THREADS=1 python benchmarks/feeding.py --out benchmarks/results/feeding.json

workers: seconds until the first batch of each later epoch arrives, with workers that end with an epoch (as before) and
with those that stay; the loop itself does nothing for `--pause` seconds per step. tokens: CPU milliseconds that the
main process takes to get a step's tokens, in an epoch that sees the captions for the first time and in later ones:
tokenising alone, and in all with what it takes to receive a step from a worker, tokenised here (as before) or there.
drafts: images per second with and without the processor's setting `draft`, and how much the resulting pixels differ.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import drawn  # noqa: E402
from benchmarks.common import finish, spread, where  # noqa: E402
from benchmarks.world import write_world  # noqa: E402
from lavis.common.arguments import COUNT, decimal  # noqa: E402
from lavis.datasets.annotations import Entry, read_annotations  # noqa: E402
from lavis.datasets.loaders import BatchPlan  # noqa: E402
from lavis.datasets.pairs import PairDataset  # noqa: E402
from lavis.models.clip import ClipModel  # noqa: E402
from lavis.processors.image import ClipImageEval, ClipImageTrain, ImageProcessor  # noqa: E402
from lavis.processors.text import ClipCaption  # noqa: E402
from lavis.runners.stream import Share, Stream  # noqa: E402
from lavis.settings.schema import ModelConfig  # noqa: E402

HALVES = (16, 256)  # pairs of Df, and as many of Dr, in a step
SIDES = (512, 2048)  # of JPEGs
PROCESSORS: dict[str, ImageProcessor] = {"clip_image_eval": ClipImageEval(224), "clip_image_train": ClipImageTrain(224)}


def main() -> None:
    args = _arguments()
    result: dict[str, Any] = {"what": __doc__.splitlines()[0]}
    for part in args.parts:
        result[part] = PARTS[part](args)
    finish(result | where(), args.out)


def workers(args: argparse.Namespace) -> dict[str, Any]:
    """Waiting at the beginning of later epochs, in seconds, as before and now."""
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder), args.rows, args.rows, test=1, size=args.side, drawn=8)
        entries = read_annotations(Path(folder) / "annotations" / "train.json")
        images = ClipImageTrain(224), ClipCaption()
        parts = {"df": entries[: args.rows], "dr": entries[args.rows :]}
        sets = {name: PairDataset(part, Path(folder) / "images", *images) for name, part in parts.items()}
        share = Share(BatchPlan(args.rows, args.rows, args.half, 42), ("df", "dr"))
        found = {"restarted": list[float](), "kept": list[float]()}
        for way in [*found] * args.repeats:
            found[way] += _waits(Stream(sets, share, args.epochs, args.workers), way == "restarted", args)
    settings = {"workers": args.workers, "half": args.half, "rows": args.rows, "side": args.side, "pause": args.pause}
    return settings | {way: spread(seconds) for way, seconds in found.items()}


def _waits(stream: Stream, restart: bool, args: argparse.Namespace) -> list[float]:
    waits = []
    for epoch in range(args.epochs):
        began = time.perf_counter()
        for number, _ in enumerate(stream.epoch(epoch)):
            if number == 0 and epoch:
                waits.append(time.perf_counter() - began)
            time.sleep(args.pause)
        if restart:
            stream.close()
    stream.close()
    return waits


def tokens(args: argparse.Namespace) -> dict[str, Any]:
    """CPU milliseconds of the main process per step, by rows of each set."""
    with tempfile.TemporaryDirectory() as folder:
        most = args.steps * max(args.halves)
        write_world(Path(folder), most, most, test=1, size=8, drawn=1)
        captions = [entry.captions[0] for entry in read_annotations(Path(folder) / "annotations" / "train.json")]
        found = {f"{half} + {half}": _tokenising(captions, half, args.steps) for half in args.halves}
        for half in args.halves:
            for way, by_worker in (("received, tokenised here", False), ("received, tokenised there", True)):
                found[f"{half} + {half}"][way] = _receiving(captions, half, args.steps, by_worker, Path(folder))
    return found


def _model() -> ClipModel:
    model = ClipModel.from_config(ModelConfig(model_type=drawn.tiny_model().stem))
    model.prepare({"captions": ["the first caption of all builds tables"]})
    return model


def _receiving(captions: list[str], half: int, steps: int, by_worker: bool, folder: Path) -> dict[str, float]:
    """Main process, per step of an epoch from a worker, with images of 8 pixels."""
    model = _model()
    name = next((folder / "images").rglob("*.jpg")).relative_to(folder / "images").as_posix()
    rows = [Entry(name, (caption,)) for caption in captions]
    parts = {"df": rows[: half * steps], "dr": rows[half * steps : 2 * half * steps]}
    sets = {key: PairDataset(part, folder / "images", ClipImageEval(8), ClipCaption()) for key, part in parts.items()}
    share = Share(BatchPlan(half * steps, half * steps, half, 42), ("df", "dr"))
    stream = Stream(sets, share, 3, 1, tokens=model.caption_tokens if by_worker else lambda: None)
    found = {}
    for epoch, label in enumerate(("first epoch", "second epoch", "third epoch")):
        began = time.process_time()
        for item in stream.epoch(epoch):
            for key in sets if not by_worker else ():
                model.prepare(item[key])
        found[label] = 1000 * (time.process_time() - began) / steps
    stream.close()
    return found


def _tokenising(captions: list[str], half: int, steps: int) -> dict[str, Any]:
    model = _model()
    batches = [captions[start : start + half] for start in range(0, 2 * half * steps, half)]
    found: dict[str, Any] = {}
    for epoch in ("first epoch", "later epochs"):
        spent = []
        for forget, retain in zip(batches[::2], batches[1::2], strict=True):
            began = time.process_time()
            for rows in (forget, retain):
                model.prepare({"captions": rows})
            spent.append(1000 * (time.process_time() - began))
        found[epoch] = {"median": statistics.median(spent), "mean": statistics.mean(spent), "most": max(spent)}
    return found


def drafts(args: argparse.Namespace) -> dict[str, Any]:
    """Images per second and differences of pixels, by the JPEGs' side and the processor."""
    found: dict[str, Any] = {}
    for side in args.sides:
        with tempfile.TemporaryDirectory() as folder:
            write_world(Path(folder), args.images, 1, test=1, size=side, drawn=args.distinct)
            entries = read_annotations(Path(folder) / "annotations" / "train.json")[: args.images]
            for name, processor in PROCESSORS.items():
                sets = {
                    draft: PairDataset(entries, Path(folder) / "images", replace(processor, draft=draft), ClipCaption())
                    for draft in (False, True)
                }
                found[f"{side} px, {name}"] = _compared(sets, args)
    return found


def _compared(sets: dict[bool, PairDataset], args: argparse.Namespace) -> dict[str, Any]:
    rates: dict[bool, list[float]] = {False: [], True: []}
    for draft in [False, True] * args.repeats:
        began = time.process_time()
        for row in range(args.images):
            sets[draft].images([row])
        rates[draft].append(args.images / (time.process_time() - began))
    one, other = (sets[draft].images(range(args.distinct)).int() for draft in (False, True))
    difference = (one - other).abs()
    whole, small = (statistics.median(rates[draft]) for draft in (False, True))
    return {
        "images_per_cpu_second": {"whole": spread(rates[False]), "draft": spread(rates[True])},
        "draft_over_whole": small / whole,
        "largest_difference": int(difference.max()),
        "mean_difference": float(difference.float().mean()),
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "workers": workers,
    "tokens": tokens,
    "drafts": drafts,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=COUNT, default=3)
    parser.add_argument("--epochs", type=COUNT, default=5)
    parser.add_argument("--workers", type=COUNT, default=2)
    parser.add_argument("--rows", type=COUNT, default=128, help="pairs of Df, and of Dr, in an epoch")
    parser.add_argument("--half", type=COUNT, default=16)
    parser.add_argument("--side", type=COUNT, default=512, help="pixels of the JPEGs that workers decode")
    parser.add_argument("--pause", type=decimal(0.0, 60.0), default=0.2, help="seconds that a step takes")
    parser.add_argument("--steps", type=COUNT, default=20, help="steps of an epoch whose captions are tokenised")
    parser.add_argument("--halves", type=COUNT, nargs="+", default=list(HALVES))
    parser.add_argument("--sides", type=COUNT, nargs="+", default=list(SIDES))
    parser.add_argument("--images", type=COUNT, default=96)
    parser.add_argument("--distinct", type=COUNT, default=16)
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()

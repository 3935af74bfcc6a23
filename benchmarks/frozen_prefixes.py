"""One step of methods that train less than the model, ViT-B-16 at 224 px: frozen layers stored, and computed each time.

    OMP_NUM_THREADS=1 python benchmarks/frozen_prefixes.py --out benchmarks/results/frozen_prefixes.json

A step includes making its batch: decoding the images, or reading the stored states. Both ways take the same weights
and the same batches, so the losses must agree. Each measurement is a separate process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import alternate, child, finish, peak_of, reset_peak, say, spread, store, where  # noqa: E402
from benchmarks.prepared import drawn_original, prepared  # noqa: E402
from benchmarks.world import options  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.common.memory import own_large_blocks  # noqa: E402

WAYS = ("never", "always")
TEXT = "[transformer.*,token_embedding.*,positional_embedding,ln_final.*,text_projection]"
LAST_TWO = "[visual.transformer.resblocks.1?.*,visual.ln_post.*,visual.proj,transformer.resblocks.1?.*,text_projection]"
CASES = {
    "vlul, text tower": ("vlul", TEXT),
    "erase, text tower": ("erase", TEXT),
    "vlul, last two blocks of both towers": ("vlul", LAST_TWO),
    "erase, last two blocks of both towers": ("erase", LAST_TWO),
}


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measure(args)))
        return
    with drawn_original(args.rows, args.model) as folder:
        result: dict[str, Any] = {"what": __doc__.splitlines()[0], "half_batch": args.half, "model": args.model}
        result |= {"steps_each": args.steps, "repeats": args.repeats, "rows": args.rows, "cases": {}}
        for case in args.cases:
            runs = alternate(WAYS, args.repeats, lambda way, case=case: _child(args, folder, case, way))
            result["cases"][case] = summary(runs)
            say(f"{case}: {result['cases'][case]['ratio_cpu']:.3f} of the CPU time")
            store(result | where(), args.out)
        finish(result | where(), args.out)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds and loss of the steps after the first, the peak during them, and the seconds for storing."""
    own_large_blocks()
    method, trainable = CASES[args.case]
    keys = [*_options(args, Path(args.folder)), f"run.trainable={trainable}"]
    found = prepared(Path(args.folder), method, args.rows, keys)
    runner = found.runner
    batches = itertools.chain.from_iterable(runner.feed.batches(epoch, 0) for epoch in itertools.count())
    losses, cpu = [], []
    runner.trainer.begin()
    for number in range(args.steps + 1):
        if number == 1:
            reset_peak("cpu")
        runner.loop.meter.reset()
        began = time.process_time()
        runner.loop.step(batches, 0, number)
        cpu.append(time.process_time() - began)
        losses.append(float(runner.loop.meter.means()["loss"]))
    trained = sum(p.numel() for group in runner.loop.optimizer.param_groups for p in group["params"])
    numbers = {"cpu": statistics.median(cpu[1:]), "loss": losses[-1], "peak_mib": peak_of("cpu")}
    return numbers | {"storing_cpu": found.runner_seconds, "trained": trained}


def _options(args: argparse.Namespace, folder: Path) -> list[str]:
    return [
        *options(folder),
        f"model.model_type={args.model}",
        "run.device=cpu",
        f"run.output_dir={folder}/output-{args.child}",
        f"run.batch_size_train={2 * args.half}",
        "run.num_workers=0",
        f"run.frozen_prefixes={args.child}",
        "datasets.salmu.vis_processor.train.name=clip_image_eval",
    ]


def summary(runs: dict[str, list[dict]]) -> dict[str, Any]:
    """Medians of both ways, stored over computed, and how far the losses are apart."""
    keys = ("cpu", "peak_mib", "loss", "storing_cpu")
    found: dict[str, Any] = {
        way: {key: spread([run[key] for run in part]) for key in keys} for way, part in runs.items()
    }
    plain, ours = (statistics.median(run["cpu"] for run in runs[way]) for way in WAYS)
    apart = abs(runs["never"][0]["loss"] - runs["always"][0]["loss"])
    return found | {"trained": runs["never"][0]["trained"], "ratio_cpu": ours / plain, "loss_difference": apart}


def _child(args: argparse.Namespace, folder: str, case: str, way: str) -> dict[str, Any]:
    words = ["--child", way, "--folder", folder, "--case", case, "--model", args.model]
    return child(__file__, *words, *(f"--{name}={getattr(args, name)}" for name in ("half", "rows", "steps")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--half", type=COUNT, default=16)
    parser.add_argument("--rows", type=COUNT, default=64)
    parser.add_argument("--steps", type=COUNT, default=2)
    parser.add_argument("--repeats", type=COUNT, default=2)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

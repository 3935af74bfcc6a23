"""A whole unlearning run of SALMU's size on a GPU, from 512-pixel JPEGs to recall, and how fast images are fed.

    python benchmarks/gpu_run.py --draw --folder world
    python benchmarks/gpu_run.py --folder world --out benchmarks/results/gpu_run.json

The first command draws the data: SALMU's 30,468 pairs of Df and as many of Dr, of which 1,024 of each are distinct
drawings and the others copies of their files. The second one measures, the most useful first:

    fast       vlul for one epoch of 16 + 16 pairs, in bf16, with the evaluation's crop (so that the teacher is stored)
               and decoded images cached in memory; then recall on test, Df and Dr
    feed       images per second that reach the device, by processor and number of worker processes
    shipped    configs/clip/retrieval_salmu.yaml as it is: single precision, random crops, live teacher; some steps of
               an epoch, no evaluation

`waiting` is the share of training time for which the loop waited for the feed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


from benchmarks import drawn, prepared  # noqa: E402
from benchmarks.common import finish, store, wait, where  # noqa: E402
from benchmarks.world import options, save_original, write_world  # noqa: E402
from lavis.common.arguments import COUNT, SECONDS  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.runners.feed import Feed  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.tasks.entry import jobs_of  # noqa: E402

FAST = ("run.amp=true", "run.amp_dtype=bf16", "datasets.salmu.vis_processor.train.name=clip_image_eval")
CACHED = ("datasets.salmu.image_cache=memory", "run.dr_max_ratio=1", "run.feature_cache=null")
FEEDS = (("clip_image_train", 1), ("clip_image_train", 2), ("clip_image_eval", 1))  # processor, CPUs per worker
LEAD_IN = 4  # batches before the clock starts: the workers have to start first


def main() -> None:
    args = _arguments()
    if args.draw:
        began = time.monotonic()
        write_world(args.folder, args.rows, args.rows, args.test, drawn=args.distinct, processes=_cpus())
        (args.folder / "drawn.txt").write_text(f"{time.monotonic() - began:.1f} s", encoding="utf-8")
        return
    save_original(args.folder, args.model)
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "model": args.model, "device": args.device}
    result |= {"pairs_of_df": args.rows, "pairs_of_dr": args.rows, "cpus": _cpus()} | where()
    steps = ["run.evaluate_after=false", f"run.max_steps_per_epoch={args.steps}"]
    parts = {"fast": lambda: run("fast", [*FAST, *CACHED], args), "feed": lambda: feeds(args)}
    parts["shipped"] = lambda: run("shipped", steps, args)
    for name, measure in parts.items():
        result[name] = measure()
        store(result, args.out)
    finish(result, args.out)


def run(name: str, changes: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """The command of the README with these changes; seconds by phase, and metrics."""
    output = args.folder / f"output-{name}"
    command = [sys.executable, str(ROOT / "unlearn.py"), "--unlearn_method", "vlul", "--backbone", "clip"]
    command += ["--task", "salmu_retrieval", "--df_size", str(args.rows), "--cfg-path", str(prepared.CONFIG)]
    own = [f"run.output_dir={output}", f"run.resume_ckpt_path={args.folder}/original.pth", "run.max_epoch=1"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--options", *_shared(args), *own, *changes], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": done.stderr[-3000:]}
    results = next(output.rglob("results.json"))
    found = json.loads(results.read_text(encoding="utf-8"))
    records = [json.loads(line) for line in (results.parent / "log.txt").read_text(encoding="utf-8").splitlines()]
    (epoch,) = [record for record in records if "train_seconds" in record]
    return {
        "changes": changes,
        "wall_seconds": time.monotonic() - began,
        "seconds": found["seconds"],
        "epoch_seconds": epoch["train_seconds"],
        "waiting": epoch["train_waiting"],
        "metrics": found["metrics"],
    }


def feeds(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Images per second, for each processor and number of workers."""
    return [feed(processor, _cpus() // share, args) for processor, share in FEEDS]


def feed(processor: str, workers: int, args: argparse.Namespace) -> dict[str, Any]:
    """Images of Df and Dr per second that arrive on the device in micro-batches of 16 + 16."""
    changes = [f"datasets.salmu.vis_processor.train.name={processor}", f"run.num_workers={workers}"]
    changes += [f"run.output_dir={args.folder}/output-feed"]
    config = load_config(
        str(prepared.CONFIG), [*_shared(args), *changes], job=jobs_of("vlul"), method="vlul", df_size=args.rows
    )
    task = registry.get_task_class(config.run.task)(config)
    with task.session(str(args.folder / "original.pth")):
        model = registry.get_model_class("clip").from_config(config.model, load_pretrained=False).to(task.device)
        trainer = registry.get_trainer_class("vlul")("vlul", model, config.run, task.device)
        source = Feed(task.unlearning_sets(trainer), model, config.run, task.device).batches(0, 0)
        for _ in range(LEAD_IN):
            next(source)
        began, images = time.perf_counter(), 0
        while time.perf_counter() - began < args.seconds and (batch := next(source, None)) is not None:
            images += batch.size("df") + batch.size("dr")
        wait(args.device)
        seconds = time.perf_counter() - began
        source.close()
    return {"processor": processor, "workers": workers, "images": images, "images_per_second": images / seconds}


def _shared(args: argparse.Namespace) -> list[str]:
    found = [*options(args.folder), f"model.model_type={args.model}", f"run.device={args.device}"]
    return [*found, f"run.num_workers={_cpus()}", "run.resume=false"]


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the data is drawn")
    parser.add_argument("--draw", action="store_true", help="draw the data and measure nothing")
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--rows", type=COUNT, default=30468, help="pairs of Df, and of Dr")
    parser.add_argument("--distinct", type=COUNT, default=1024, help="drawings of each")
    parser.add_argument("--test", type=COUNT, default=1024, help="pairs of the test split")
    parser.add_argument("--steps", type=COUNT, default=200, help="of the shipped configuration")
    parser.add_argument("--seconds", type=SECONDS, default=4.0, help="of each measurement of the feed")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model of one layer and few images, for a proof")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    if args.tiny:
        args.rows, args.distinct, args.test, args.steps, args.seconds = 96, 8, 16, 2, 0.1
        args.folder.mkdir(parents=True, exist_ok=True)
        args.model = str(drawn.tiny_model(args.folder))
    return args


if __name__ == "__main__":
    main()

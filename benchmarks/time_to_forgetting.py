"""CPU seconds until a method has forgotten: X of whole identities as low as exact retraining's, Dr recalled as before.

    bash bash/ori.sh configs/clip/retrieval_salmu_mini.yaml
    OMP_NUM_THREADS=1 python benchmarks/time_to_forgetting.py --out benchmarks/results/time_to_forgetting.json

Every method runs with the settings of configs/clip/retrieval_salmu_mini.yaml. After each epoch X and recall are
measured; the seconds are those of its process without these measurements, from the start of the run on (data, model,
stored teacher rows, steps, checkpoints). Retraining itself is the row `retrain`. A run that is in --out already is not
repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import child, markdown, of_seed, say, store, where  # noqa: E402
from lavis.common.arguments import SEED  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402

CONFIG = ROOT / "configs" / "clip" / "retrieval_salmu_mini.yaml"
DF_SIZE = 630
METHODS = ("retrain", "vlul", "erase", "delete", "cpd", "erase_hold", "cliperase")
METRICS = ("retrieval", "identity_mrr")
X, RECALL = "salmubench_x_mrr_whole", "dr_txt_r1"
X_MARGIN, RECALL_MARGIN = 0.02, 2.0  # above retrained's X; percentage points below the original's recall of Dr


def main(argv: Sequence[str] | None = None) -> None:
    args = _arguments(argv)
    if args.child:
        say(json.dumps(watched(args)))
        return
    found: dict[str, Any] = {"what": __doc__.splitlines()[0], "margins": [X_MARGIN, RECALL_MARGIN], "runs": []}
    found["runs"] = json.loads(Path(args.out).read_text())["runs"] if args.out and Path(args.out).exists() else []
    for seed in args.seeds:
        level = reference(args, seed)
        known = [one for one in found["runs"] if one["seed"] == seed]
        for one in known:
            one.update({"level": level, **reached(one, level)})
        for method in args.methods:
            if method in [one["method"] for one in known]:
                continue
            run = child(__file__, "--child", method, "--seeds", seed, "--output", args.output, *_options(args))
            found["runs"].append({"method": method, "seed": seed, "level": level, **run, **reached(run, level)})
            store(found | where(), args.out)
            say(f"{method}, seed {seed}: {reached(run, level)}")
    store(found | where(), args.out)
    say(table(found["runs"]))


def reached(run: dict[str, Any], level: dict[str, float]) -> dict[str, float | None]:
    """Seconds to the first epoch at which X is at the level; at which recall is, too; and of the whole run."""
    low = [point for point in run["points"] if point["x"] <= level["x"] + X_MARGIN]
    both = [point for point in low if point["recall"] >= level["before"] - RECALL_MARGIN]
    first = {"forgotten": low, "forgotten_and_kept": both}
    return {name: points[0]["seconds"] if points else None for name, points in first.items()} | {
        "whole": run["points"][-1]["seconds"]
    }


def reference(args: argparse.Namespace, seed: int) -> dict[str, float]:
    """X and recall of this seed's retrained model, and `before`, the recall of its original."""
    job, words = Path("clip", "salmu_mini_retrieval"), ("--seeds", seed, "--output", args.output, *_options(args))
    places = (args.output / "retrained" / job / str(DF_SIZE), args.output / "original" / job)
    found = [child(__file__, "--child", of_seed(place, BEST, seed), *words) for place in places]
    return {**found[0], "before": found[1]["recall"]}


def watched(args: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own: a method's run with a point after every epoch, or a checkpoint's numbers."""
    began = time.process_time()
    import torch

    from lavis.settings.config import load_config
    from lavis.tasks.entry import jobs_of

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        keys = [f"run.metrics=[{','.join(METRICS)}]", f"run.seed={args.seeds[0]}", "run.threads=1", *args.options]
        keys += [f"run.output_dir={args.output}", f"run.run_folder={folder}", "run.feature_cache=null"]
        if Path(args.child).is_file():
            config = load_config(str(CONFIG), [*keys, f"run.checkpoint={args.child}"], df_size=DF_SIZE)
            return _numbers(_task(config, began).evaluate().metrics)
        start = of_seed(args.output / "original" / "clip" / "salmu_mini_retrieval", BEST, args.seeds[0])
        keys += ["run.valid_splits=[val]", "run.evaluate_after=false", f"run.resume_ckpt_path={start}"]
        config = load_config(str(CONFIG), keys, job=jobs_of(args.child), method=args.child, df_size=DF_SIZE)
        task = _task(config, began)
        task.unlearn()
    return {"points": task.points}


def _task(config: Any, began: float) -> Any:
    from lavis.common.registry import registry
    from lavis.evaluation.measure import measure

    class Watched(registry.get_task_class("retrieval")):
        """Measures after every epoch; the epochs' order is their score, so that the last one is kept."""

        points: list[dict[str, float]] = []  # noqa: RUF012 - one instance in this process
        measuring = 0.0

        def validation(self, model: Any) -> dict[str, float]:
            paused = time.process_time()
            found = measure(self.context(model, self._evaluated_splits, validating=True), METRICS)
            point = {"seconds": round(paused - began - self.measuring, 2), **_numbers(found)}
            self.points.append(point)
            self.measuring += time.process_time() - paused
            return {"agg_metrics": float(len(self.points))}

    return Watched(config)


def _numbers(metrics: dict[str, float]) -> dict[str, float]:
    return {"x": metrics[X], "recall": metrics[RECALL]}


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line per method, medians over the seeds; "–" where fewer than half of the seeds got there."""
    heads = ["method", "forgotten", "forgotten and kept", "whole run", "over retraining", "X", "Dr R@1"]
    lines = []
    full = {run["seed"]: run["forgotten_and_kept"] for run in runs if run["method"] == "retrain"}
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        ratios = [
            run["forgotten_and_kept"] / full[run["seed"]]
            for run in own
            if run["forgotten_and_kept"] and full.get(run["seed"])
        ]
        cells = [_median([run[key] for run in own]) for key in ("forgotten", "forgotten_and_kept", "whole")]
        last = [run["points"][-1] for run in own]
        cells += [f"{statistics.median(ratios):.2f}" if 2 * len(ratios) > len(own) else "–"]
        cells += [f"{statistics.median(point['x'] for point in last):.3f}"]
        cells += [f"{statistics.median(point['recall'] for point in last):.1f}"]
        lines.append([method, *cells])
    return markdown(heads, lines, ["---", *["---:"] * 6])


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.0f}" if 2 * len(known) > len(values) else "–"


def _options(args: argparse.Namespace) -> list[str]:
    return ["--options", *args.options] if args.options else []


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=SEED, default=[42])
    parser.add_argument("--output", type=Path, default=ROOT / "output", help="folder of the references")
    parser.add_argument("--options", nargs="+", default=[], help="more settings, such as run.init_lr=1e-3")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()

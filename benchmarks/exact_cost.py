"""What the study's methods cost by count: floating-point operations of a run, as a share of retraining's.

    python benchmarks/exact_cost.py --work output/exact --out docs/results/exact_forgetting_cost.json
    python benchmarks/exact_cost.py --real --work output/exact --out docs/results/exact_forgetting_cost.json

CPU seconds depend on what else a machine does; operations do not. Counted are the matrix products and attention of one
step, forward and backward, times the steps of a run; the optimiser and what is computed once are not counted. The first
command counts with the development world's model and mini's counts. With --real a ViT-B-16 with random weights takes
the steps, on the same drawn pairs and with nothing stored, for as many passes over SALMU's forget set as over mini's,
and is compared with the training of CLIP on its 400 million pairs. Each command keeps the other's numbers in the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.common import say, where  # noqa: E402
from benchmarks.exact_forgetting import DEVELOPMENT, PUBLISHED_STEPS, SPACES, STEPS  # noqa: E402
from benchmarks.exact_page import COMMON, PUBLISHED  # noqa: E402
from benchmarks.exact_worlds import World  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.runners.feed import Feed  # noqa: E402
from lavis.runners.loop import TrainingLoop  # noqa: E402
from lavis.runners.teaching import build_teacher  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.tasks.entry import jobs_of  # noqa: E402

RETRAINING = 18 * 52  # steps of 64 pairs: 18 epochs of mini's 3,370 pairs, whole batches alone
MINI_FORGET, REAL_FORGET = 630, 30_468  # pairs of Df
TRAINED_ON = 32 * 400_000_000  # pairs that CLIP's training saw: 32 epochs (arXiv 2103.00020, section 2.4)
BATCH = 4  # pairs of the counted step of retraining at the real size
REAL = ("model.model_type=ViT-B-16", "run.teacher_cache=none")  # the original model computes in every step


def step_operations(world: World, method: str, options: Sequence[str], start: Path | None) -> int:
    """Operations of a method's second step; the first also computes what is stored. start: weights, or random ones."""
    settings = ["run.evaluate_after=false", "run.frozen_prefixes=never", f"run.output_dir={world.folder / 'cost'}"]
    config = load_config(
        world.config(proxies=start is not None), [*settings, *options], job=jobs_of(method), method=method
    )
    task = registry.get_task_class(config.run.task)(config)
    with task.session(str(start or "")):
        model = registry.get_model_class(config.model.arch).from_config(config.model, load_pretrained=False)
        if start is not None:
            model.load_weights(start)
        trainer = registry.get_trainer_class(method)(method, model, config.run, task.device)
        feed = Feed(task.unlearning_sets(trainer), model, config.run, task.device)
        if trainer.needs_teacher:
            trainer.attach_teacher(build_teacher(model, feed, sides=trainer.teacher_sets))
        loop, batches = TrainingLoop(trainer, lambda epoch, step: 0.0), feed.batches(0, 0)
        trainer.begin()
        loop.step(batches, 0, 0)
        with FlopCounterMode(display=False) as counter:
            loop.step(batches, 0, 1)
    return counter.get_total_flops()


def runs() -> dict[str, tuple[tuple[str, ...], int]]:
    """By method: its options and its steps on mini."""
    found: dict[str, tuple[tuple[str, ...], int]] = {method: ((), PUBLISHED_STEPS) for method in PUBLISHED}
    return found | {method: ((*COMMON, *space[0]), STEPS) for method, space in SPACES.items()}


def costs(world: World) -> dict[str, Any]:
    """By method, on mini: operations of a step and of a run, and the share of retraining's."""
    start, counted = world.original() / BEST, {"retrain": ((), RETRAINING), **runs()}
    steps = {name: (step_operations(world, name, options, start), n) for name, (options, n) in counted.items()}
    whole = steps["retrain"][0] * steps["retrain"][1]
    return {
        name: {"step_gflop": round(one / 1e9, 3), "steps": count, "share": round(one * count / whole, 3)}
        for name, (one, count) in steps.items()
    }


def real_costs(world: World, methods: Sequence[str] = ()) -> dict[str, Any]:
    """The same at SALMU's size, ViT-B-16 against 32 epochs of 400 million pairs; nothing of the original is stored."""
    pair = step_operations(world, "retrain", [*REAL, f"run.batch_size_train={BATCH}"], None) / BATCH
    found: dict[str, Any] = {"pair_gflop": round(pair / 1e9, 3), "pairs": TRAINED_ON, "methods": {}}
    for name, (options, count) in runs().items():
        if methods and name not in methods:
            continue
        step = step_operations(world, name, [*options, *REAL], None)
        steps = round(count * REAL_FORGET / MINI_FORGET)
        share = steps * step / (TRAINED_ON * pair)
        found["methods"][name] = {"step_gflop": round(step / 1e9, 1), "steps": steps, "share": float(f"{share:.3g}")}
        say(f"{name}: {found['methods'][name]}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = argparse.ArgumentParser(description="Operations of the study's methods.")
    parser.add_argument("--work", type=Path, required=True, help="the study's folder, with its development world")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", action="store_true", help="at SALMU's size, with a ViT-B-16")
    parser.add_argument("--methods", nargs="*", default=[], help="with --real: these alone (all by default)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    world, content = World(args.work, *DEVELOPMENT), read_json(args.out, "costs") if args.out.is_file() else {}
    if args.real:
        content["real"] = real_costs(world, args.methods) | {"where": where()}
    else:
        content |= {"methods": costs(world), "where": where()}
    write_json(args.out, content)
    say("\n".join(f"{name}: {one}" for name, one in content.get("methods", {}).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Blocked ranking compared with sorting the full score matrix: time, peak memory, and the same recall.

    OMP_NUM_THREADS=1 python benchmarks/recall.py --out benchmarks/results/recall.json

Each measurement is a separate child process, so that its peak memory can be read; the two ways take turns. The
baseline is what LAVIS-like code does: the whole n × n product, then a full argsort of every row and every column, in
which the query's own index is looked up. A third kind of child only creates the features; its peak is subtracted from
the others'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import alternate, child, finish, peak_mib, say, where  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.evaluation.membership import mia_auc, pair_scores  # noqa: E402
from lavis.evaluation.ranking import ranks_from_features  # noqa: E402
from lavis.evaluation.retrieval import recall_summary, retrieval_metrics_from_features  # noqa: E402

KINDS = ("features", "full", "blocked", "part")
PARTS = 64  # of the blocks of images, of which "part" ranks the first: what one of so many processes would do
NOISE = 6.0  # length of the noise added to the image's unit vector: at 30,468 pairs the recall@1 is mid-range


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measure(args.child, args.n, args.dim)))
        return
    if args.scaling:
        finish(scaling(args.scaling, args.dim), args.out)
        return
    if args.part:
        finish(one_part(args.part, args.dim), args.out)
        return
    runs = alternate(KINDS[:3], args.repeats, lambda kind: _child(kind, args.n, args.dim))
    finish(summary(runs, args), args.out)


def measure(kind: str, n: int, dim: int) -> dict:
    """One measurement in this process: seconds by phase, peak memory in MiB, recall."""
    image, text = features(n, dim)
    start, cpu = time.perf_counter(), time.process_time()
    phases: dict[str, float] = {}
    recall: dict[str, float] = {}
    if kind == "full":
        recall = full_sort(image, text, phases)
    if kind == "part":
        ranks_from_features(image, text, torch.arange(n), shard=(0, PARTS), reduce=lambda counts: counts)
    if kind == "blocked":
        recall = retrieval_metrics_from_features(image, text, torch.arange(n))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    start = time.perf_counter()
    if kind == "blocked":
        own = pair_scores((image * text).sum(dim=1))
        mia_auc(own[: n // 6], own[n // 6 :])
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "membership_seconds": time.perf_counter() - start,
        "peak_mib": peak_mib(),
        "phases": phases,
        "recall": recall,
        "threads": torch.get_num_threads(),
    }


def features(n: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Paired unit vectors (n, dim), each text its image plus noise; computed in place to keep the peak low."""
    source = torch.Generator().manual_seed(0)
    image, text = (torch.randn(n, dim, generator=source) for _ in range(2))
    F.normalize(image, dim=-1, out=image)
    text.mul_(NOISE / dim**0.5).add_(image)
    F.normalize(text, dim=-1, out=text)
    return image, text


def full_sort(image: torch.Tensor, text: torch.Tensor, phases: dict[str, float]) -> dict[str, float]:
    """The baseline: n × n scores, argsort of all rows and all columns; adds each phase's seconds to `phases`."""
    start = time.perf_counter()
    scores = (image @ text.T).numpy()
    phases["product"] = time.perf_counter() - start
    text_ranks = _sorted_ranks(scores, "sort_rows", phases)
    image_ranks = _sorted_ranks(scores.T, "sort_columns", phases)
    return recall_summary(text_ranks, image_ranks)


def _sorted_ranks(scores: np.ndarray, phase: str, phases: dict[str, float]) -> np.ndarray:
    ranks = np.zeros(len(scores), dtype=np.int64)
    sorting = 0.0
    for number, row in enumerate(scores):
        start = time.perf_counter()
        order = np.argsort(row)[::-1]
        sorting += time.perf_counter() - start
        ranks[number] = np.where(order == number)[0][0]
    phases[phase] = sorting
    return ranks


def summary(runs: dict[str, list[dict]], args: argparse.Namespace) -> dict:
    """Medians, ratios and the machine."""
    base = statistics.median(run["peak_mib"] for run in runs["features"])
    result: dict = {
        "what": "recall of n images and n texts, both directions: blocked ranking compared with a full sort",
        "n": args.n,
        "dim": args.dim,
        "repeats": args.repeats,
        "threads": runs["blocked"][0]["threads"],
        "features_only_peak_mib": base,
    }
    for kind in ("full", "blocked"):
        result[kind] = _medians(runs[kind], base)
    full, blocked = result["full"], result["blocked"]
    result["ratio"] = {
        "full_time_over_blocked": full["seconds"] / blocked["seconds"],
        "blocked_memory_over_full": blocked["mib_beyond_features"] / full["mib_beyond_features"],
        "sort_of_rows_alone_over_blocked_time": full["phases"]["sort_rows"] / blocked["seconds"],
    }
    result["recall_equal"] = all(run["recall"] == runs["full"][0]["recall"] for run in runs["full"] + runs["blocked"])
    return result | where()


def scaling(sizes: list[int], dim: int) -> dict:
    """Only ours, at several n: seconds per n², memory per n. The product is n² · dim multiplications and additions."""
    rows = []
    for n in sizes:
        base, run = _child("features", n, dim)["peak_mib"], _child("blocked", n, dim)
        rows.append(
            {
                "n": n,
                "seconds": run["seconds"],
                "cpu_seconds": run["cpu_seconds"],
                "cpu_nanoseconds_per_pair": run["cpu_seconds"] / n**2 * 1e9,
                "gflops_of_the_product_alone": 2 * dim * n**2 / run["cpu_seconds"] / 1e9,
                "mib_beyond_features": run["peak_mib"] - base,
                "membership_seconds": run["membership_seconds"],
            }
        )
        say(json.dumps(rows[-1]))
    return {
        "what": "blocked ranking at several n",
        "dim": dim,
        "threads": torch.get_num_threads(),
        "rows": rows,
    } | where()


def one_part(n: int, dim: int) -> dict:
    """Ours, one of PARTS parts of n × n: CPU seconds, and what all parts would take."""
    base, run = _child("features", n, dim)["peak_mib"], _child("part", n, dim)
    facts = {"what": f"the first of {PARTS} parts of the ranking of n images and texts", "n": n, "dim": dim}
    times = {"cpu_seconds": run["cpu_seconds"], "cpu_hours_of_all_parts": PARTS * run["cpu_seconds"] / 3600}
    pairs = {"cpu_nanoseconds_per_pair": PARTS * run["cpu_seconds"] / n**2 * 1e9}
    return facts | times | pairs | {"mib_beyond_features": run["peak_mib"] - base, "features_mib": base} | where()


def _child(kind: str, n: int, dim: int) -> dict:
    return child(__file__, "--child", kind, "--n", n, "--dim", dim)


def _medians(runs: list[dict], base: float) -> dict:
    return {
        "seconds": statistics.median(run["seconds"] for run in runs),
        "all_seconds": [run["seconds"] for run in runs],
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
        "mib_beyond_features": statistics.median(run["peak_mib"] for run in runs) - base,
        "phases": {name: statistics.median(run["phases"][name] for run in runs) for name in runs[0]["phases"]},
        "recall": runs[0]["recall"],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=COUNT, default=30468, help="images, and texts (default: SALMU's forget split)")
    parser.add_argument("--dim", type=COUNT, default=512)
    parser.add_argument("--repeats", type=COUNT, default=3)
    parser.add_argument("--scaling", type=COUNT, nargs="+", metavar="N", help="time ours at these n instead")
    parser.add_argument("--part", type=COUNT, metavar="N", help=f"time one of {PARTS} parts of the ranking at this n")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

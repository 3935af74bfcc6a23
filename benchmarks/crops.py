"""What the crops of training do to forgetting: new in every epoch, a few that repeat, or evaluation's; SALMU-mini.

    bash bash/ori.sh configs/clip/retrieval_salmu_mini.yaml
    python benchmarks/crops.py --out benchmarks/results/crops.json

Every run has SALMU-mini's own settings, but for the image processor of training. A finished run is not repeated.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import markdown, of_seed, say, store, where  # noqa: E402
from lavis.common.arguments import SEED  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402
from lavis.common.results import read_results  # noqa: E402
from lavis.runners.run_dir import RESULTS  # noqa: E402

CONFIG = ROOT / "configs" / "clip" / "retrieval_salmu_mini.yaml"
PROCESSOR = "datasets.salmu_mini.vis_processor.train"
RANDOM = f"{PROCESSOR}.name=clip_image_train"
CROPS = {
    "new in every epoch": [RANDOM],
    "1 view": [RANDOM, f"{PROCESSOR}.views=1"],
    "2 views": [RANDOM, f"{PROCESSOR}.views=2"],
    "4 views": [RANDOM, f"{PROCESSOR}.views=4"],
    "evaluation": [f"{PROCESSOR}.name=clip_image_eval"],
}
METRICS = ["retrieval", "membership", "cosine", "identity_mrr", "inter_id_sim"]
SHOWN = {
    "X whole": "salmubench_x_mrr_whole",
    "X partial": "salmubench_x_mrr_partial",
    "Df R@1": "df_txt_r1",
    "Dr R@1": "dr_txt_r1",
    "test R@1": "test_txt_r1",
    "Df cosine": "df_cosine",
    "Dr cosine": "dr_cosine",
    "InterIdSim": "salmubench_inter_id_sim",
    "membership": "mia_auc",
}


def main() -> None:
    args = _arguments()
    found: dict[str, Any] = {"what": __doc__.splitlines()[0], "runs": []}
    for seed in args.seeds:
        for method in args.methods:
            for crops in args.crops:
                found["runs"].append(unlearned(method, crops, seed, args))
                store(found | where(), args.out)
    say(table(found["runs"]))


def unlearned(method: str, crops: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run's metrics and seconds."""
    folder = args.folder / f"{method}-{crops.replace(' ', '-')}-{seed}"
    if not (folder / RESULTS).is_file():
        options = [*CROPS[crops], f"run.metrics=[{','.join(METRICS)}]", f"run.seed={seed}", "run.threads=1"]
        options += [f"run.output_dir={args.folder}", f"run.run_folder={folder}"]
        options += [f"run.resume_ckpt_path={of_seed(args.originals, BEST, seed)}"]
        words = ["--unlearn_method", method, "--backbone", "clip", "--task", "salmu_mini_retrieval", "--df_size", "630"]
        command = [sys.executable, str(ROOT / "unlearn.py"), *words, "--cfg-path", str(CONFIG), "--options", *options]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603
    results = read_results(folder / RESULTS)
    metrics = {name: results["metrics"][name] for name in SHOWN.values()}
    say(f"{method}, seed {seed}, {crops}: {metrics}")
    return {"method": method, "crops": crops, "seed": seed, "seconds": results["seconds"], "metrics": metrics}


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line per method and way of cropping, the mean over the seeds."""
    lines = []
    for method, crops in dict.fromkeys((run["method"], run["crops"]) for run in runs):
        own = [run["metrics"] for run in runs if (run["method"], run["crops"]) == (method, crops)]
        means = (statistics.mean(metrics[name] for metrics in own) for name in SHOWN.values())
        lines.append([method, crops, *(f"{value:.3f}" for value in means)])
    return markdown(["method", "crops", *SHOWN], lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["vlul", "erase", "delete"])
    parser.add_argument("--crops", nargs="+", default=list(CROPS), choices=CROPS)
    parser.add_argument("--seeds", nargs="+", type=SEED, default=[42])
    originals = ROOT / "output" / "original" / "clip" / "salmu_mini_retrieval"
    parser.add_argument("--originals", type=Path, default=originals, help="folder of the compromised models")
    parser.add_argument("--folder", type=Path, default=ROOT / "output" / "crops", help="of the runs")
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()

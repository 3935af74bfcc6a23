"""What embedding in half precision (run.embed_amp) does to every metric: SALMU-mini, both precisions of each model.

    python benchmarks/half_precision.py output/original/clip/salmu_mini_retrieval/checkpoint_best.pth \
        output/unlearn-vlul/clip/salmu_mini_retrieval/630/checkpoint_best.pth \
        --out benchmarks/results/half_precision.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import say, store, where  # noqa: E402
from lavis.common.results import read_results  # noqa: E402
from lavis.runners.run_dir import RESULTS  # noqa: E402

CONFIG = ROOT / "configs" / "clip" / "retrieval_salmu_mini.yaml"
METRICS = "retrieval,membership,cosine,salmubench"


def main() -> None:
    args = _arguments()
    found: dict[str, Any] = {"what": __doc__.splitlines()[0], "models": {}}
    for number, path in enumerate(args.checkpoints):
        single, half = (evaluated(path, args.folder / f"{number}-{on}", on) for on in ("false", "true"))
        model = path.parent.relative_to(path.parents[3]).as_posix()
        found["models"][model] = {name: [single[name], half[name], half[name] - single[name]] for name in single}
        store(found | where(), args.out)
    for model, metrics in found["models"].items():
        for name, (single, half, difference) in sorted(metrics.items(), key=lambda item: -abs(item[1][2]))[:12]:
            say(f"{model}: {name} {single:.4f} {half:.4f} {difference:+.4f}")


def evaluated(checkpoint: Path, folder: Path, half: str) -> dict[str, float]:
    """Every metric of a model; a finished evaluation is not repeated."""
    if not list(folder.rglob(RESULTS)):
        options = [f"run.metrics=[{METRICS}]", f"run.output_dir={folder}", f"run.checkpoint={checkpoint.absolute()}"]
        options += [f"run.embed_amp={half}", "run.amp_dtype=bf16", "run.threads=1"]
        command = [sys.executable, str(ROOT / "evaluate.py"), "--cfg-path", str(CONFIG), "--options", *options]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603
    return read_results(next(folder.rglob(RESULTS)))["metrics"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--folder", type=Path, default=ROOT / "output" / "half_precision", help="of the evaluations")
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()

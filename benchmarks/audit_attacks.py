"""What attacks regain of a superficially unlearned model, of one that never saw Df, and of unlearned ones.

    python benchmarks/audit_attacks.py --config configs/clip/retrieval_salmu_mini.yaml --budget standard \
        --original … --clean … --retrained … --unlearned cpd=… --work output/audits \
        --out docs/results/audit_attacks.json

`superficial` is the original with a fixed rotation behind its text tower: everything is still there. Finished parts are
stored below --work, so that the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.common import say, where  # noqa: E402
from lavis.audits.audit import Audit  # noqa: E402
from lavis.audits.material import Material  # noqa: E402
from lavis.audits.runner import FRESH, run_audit  # noqa: E402
from lavis.common.files import write_json  # noqa: E402
from lavis.hub.preparing import builder_of  # noqa: E402
from lavis.models.base import BaseModel  # noqa: E402
from lavis.settings.config import Config, load_config  # noqa: E402
from lavis.tasks.checkpoints import load_model  # noqa: E402

SHOWN = ("share", "low", "high", "attacked", "floor", "original", "gain", "p", "p_holm", "variant", "problem")


def superficial(original: BaseModel) -> BaseModel:
    """The original model (a CLIP of open_clip) with a fixed rotation behind its text tower."""
    model: Any = copy.deepcopy(original)
    size = model.clip.text_projection.shape[1]
    rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        model.clip.text_projection.copy_(model.clip.text_projection @ rotation)
    return model


def audited(config: Config, models: Mapping[str, BaseModel], folder: Path) -> dict[str, Any]:
    """The numbers of one audit."""
    builder, _ = builder_of(config)
    builder.prepare()
    material = Material(builder, folder / FRESH, config.run.audit.control, config.run.audit.seed)
    content = run_audit(Audit(models, material, config.run, torch.device("cpu"), folder), say)
    attacks = {name: {key: one[key] for key in SHOWN} for name, one in content["attacks"].items()}
    return {"plain": content["plain"], "attacks": attacks, "tests": content["tests"]}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Attacks on a superficially unlearned, a clean and unlearned models.")
    parser.add_argument("--config", required=True)
    parser.add_argument("--budget", default="standard")
    for role in ("original", "clean", "retrained"):
        parser.add_argument(f"--{role}", required=True, metavar="CHECKPOINT")
    parser.add_argument("--unlearned", nargs="*", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--work", type=Path, required=True, help="folder of the finished parts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    config = load_config(args.config, [f"run.audit.budget={args.budget}"])
    roles = {role: load_model(config.model, getattr(args, role)) for role in ("original", "clean", "retrained")}
    given = dict(one.split("=", 1) for one in args.unlearned)
    models = {"superficial": superficial(roles["original"]), "clean": roles["clean"]}
    models |= {name: load_model(config.model, path) for name, path in given.items()}
    found = {name: audited(config, {"unlearned": one, **roles}, args.work / name) for name, one in models.items()}
    write_json(args.out, {"budget": args.budget, "models": found, "where": where()})
    return 0


if __name__ == "__main__":
    sys.exit(main())

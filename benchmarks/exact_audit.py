"""The project's audit of the study's nearest methods: does any attack recover more from them than from retrained?

    python benchmarks/exact_audit.py --work output/exact --out docs/results/exact_forgetting --worlds shared_names-101

Needs finished worlds of exact_forgetting.py below --work. In each a second retrained model is trained, with another
seed: membership attacks compare a model with others that never saw Df, and retrained, their floor, needs one, too. The
numbers go to `<out>_audit.json`, and the page of the study gets a section from them. Finished attacks are files in the
world's folder `audits`, so that the same command goes on where it was interrupted; a world that was audited before is
audited again, others keep their numbers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.common import say, where  # noqa: E402
from benchmarks.exact_audit_page import audit_file  # noqa: E402
from benchmarks.exact_forgetting import worlds  # noqa: E402
from benchmarks.exact_page import write_page  # noqa: E402
from benchmarks.exact_worlds import FROM_THE_START, World, run_timed  # noqa: E402
from lavis.audits.audit import Audit  # noqa: E402
from lavis.audits.material import Material  # noqa: E402
from lavis.audits.models import ORIGINAL, RETRAINED, UNLEARNED  # noqa: E402
from lavis.audits.runner import run_audit  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.hub.preparing import builder_of  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.tasks.checkpoints import load_model  # noqa: E402

NEAREST = ("cpd_images", "cpd_level-no-reset")  # the least relearning area with the reset, and the least distance
SHOWN = ("share", "low", "high", "attacked", "floor", "original", "p", "p_holm", "variant", "problem", "quantity")
ANOTHER = 1000  # added to a world's seed for its second retrained model
Row = dict[str, Any]


def shadow(world: World) -> Path:
    """The world's second retrained model, trained if it is missing."""
    place, seed = world.folder / "shadow", world.seed + ANOTHER
    settings = ["run.reference=retrained", f"run.seed={seed}", f"run.output_dir={place}", *FROM_THE_START]
    run_timed(["train.py", "--cfg-path", str(world.config()), "--options", *settings], world.folder / "shadow.json")
    return next(place.rglob(BEST))


def audited(world: World, name: str, budget: str) -> Row:
    """The audit of one finalist in a world, with retrained as floor."""
    settings = [f"run.audit.budget={budget}", f"run.audit.seed={world.seed}", f"run.audit.shadows=[{shadow(world)}]"]
    config, began = load_config(world.config(), settings), time.monotonic()
    builder, _ = builder_of(config)
    builder.prepare()
    paths = {
        UNLEARNED: world.run_folder(name.removesuffix("-no-reset"), name),
        ORIGINAL: world.original(),
        RETRAINED: world.original("retrained"),
    }
    models = {role: load_model(config.model, str(folder / BEST)).eval() for role, folder in paths.items()}
    material = Material(builder, world.folder / "fresh", seed=world.seed)
    place = world.folder / "audits"
    found = run_audit(Audit(models, material, config.run, torch.device("cpu"), place / name, place), say)
    say(f"{world.name}, {name}: {time.monotonic() - began:.0f} s")
    return row(world, name, found)


def row(world: World, name: str, content: Row) -> Row:
    """What is kept of audit.json."""
    attacks = {attack: {key: one[key] for key in SHOWN} for attack, one in content["attacks"].items()}
    kept = {key: content[key] for key in ("budget", "seed", "floor", "people", "pairs", "plain", "notes")}
    tests = {test: one["p"] for test, one in content["tests"].items()}
    return {"world": world.name, "name": name, **kept, "tests": tests, "attacks": attacks}


def merged(before: Sequence[Row], new: Row, order: Sequence[str]) -> list[Row]:
    """The rows with a new one in the place of that of the same model and world, in the order of the worlds."""
    rows = [one for one in before if (one["world"], one["name"]) != (new["world"], new["name"])]
    return sorted([*rows, new], key=lambda one: (order.index(one["world"]), one["name"]))


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = argparse.ArgumentParser(description="Audits of the study's nearest methods.")
    parser.add_argument("--work", type=Path, required=True, help="the study's folder")
    parser.add_argument("--out", type=Path, required=True, help="the study's files, without .json and .md")
    parser.add_argument("--worlds", nargs="+", required=True, help="such as shared_names-101")
    parser.add_argument("--methods", nargs="+", default=list(NEAREST), help="finalists by their names on the page")
    parser.add_argument("--budget", default="quick")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    known, file = {world.name: world for world in worlds(args.work)}, audit_file(args.out)
    rows: list[Row] = read_json(file, "audits")["rows"] if file.is_file() else []
    for world in args.worlds:
        for name in args.methods:
            rows = merged(rows, audited(known[world], name, args.budget), list(known))
            write_json(file, {"rows": rows, "where": where()})
            write_page(read_json(args.out.with_suffix(".json"), "study"), args.out.with_suffix(".md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

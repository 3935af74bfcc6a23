"""What the study of exact forgetting measures of one model: relearning with its control, values, other people."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.exact_worlds import World  # noqa: E402
from lavis.attacks.finetune_retained import FinetuneRetained  # noqa: E402
from lavis.attacks.finetune_unrelated import FinetuneUnrelated  # noqa: E402
from lavis.attacks.relearning import Relearning  # noqa: E402
from lavis.audits.attack import Settings  # noqa: E402
from lavis.audits.material import Material, Sample  # noqa: E402
from lavis.audits.subject import Subject  # noqa: E402
from lavis.audits.tuning import EVERYTHING, Course  # noqa: E402
from lavis.common.arguments import SEED  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.datasets.annotations import Entry  # noqa: E402
from lavis.datasets.builder import HOLDOUTS  # noqa: E402
from lavis.evaluation.retrieval import retrieval_metrics_from_features  # noqa: E402
from lavis.hub.preparing import builder_of  # noqa: E402
from lavis.salmubench.data import UNSEEN  # noqa: E402
from lavis.salmubench.fictitious_values import persona_values  # noqa: E402
from lavis.salmubench.relearning import mean_height  # noqa: E402
from lavis.salmubench.value_auc import fictitious_captions, value_aucs  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.tasks.checkpoints import load_model  # noqa: E402

DRAWS, STEPS, RATE = 3, [20, 50], 2e-4  # draws of reported models; one for proxies
AREA: Settings = {"draws": DRAWS, "rates": [RATE], "steps": STEPS, "parts": [EVERYTHING]}
OTHER_WAYS: dict[str, tuple[Any, Settings]] = {
    "retained": (FinetuneRetained, {"draws": 1, "rates": [5e-4], "steps": [40], "parts": [EVERYTHING]}),
    "unrelated": (FinetuneUnrelated, {"draws": 1, "rates": [5e-4], "steps": [40], "parts": [EVERYTHING]}),
}


@dataclass(frozen=True)
class Examiner:
    """A world's pairs to test: the forget set's, or with `proxies` the proxies'."""

    world: World
    proxies: bool = False

    def material(self) -> tuple[Material, Any]:
        """The pairs, with as many fresh people, and the configuration."""
        config = load_config(self.world.config(self.proxies))
        builder, _ = builder_of(config)
        builder.prepare()
        folder = self.world.folder / ("fresh-proxies" if self.proxies else "fresh")
        return Material(builder, folder, seed=self.world.seed), config

    def measure(self, checkpoint: Path) -> dict[str, Any]:
        """The numbers of one model; those of people outside Df only for proxies, whose splits no metric reads."""
        material, config = self.material()
        torch.set_num_threads(1)
        subject = Subject(load_model(config.model, str(checkpoint)).eval(), material, config.run, torch.device("cpu"))
        found: dict[str, Any] = {"relearning": relearning(subject, 1 if self.proxies else DRAWS)}
        if self.proxies:
            return {**found, "values": values_of(subject), "others": others_of(subject), "r1": retained_recall(subject)}
        return {**found, **{name: tuned(subject, *way) for name, way in OTHER_WAYS.items()}}


def relearning(subject: Subject, draws: int) -> dict[str, Any]:
    """Curves of X on the untaught pairs by draw, the same of fresh people, and their areas over STEPS from 0."""
    asked, control = subject.material.asked, subject.material.control
    assert control is not None, "fresh people are drawn for SALMU-mini"
    start = float(subject.recall(asked).mean()), float(subject.recall(control).mean())
    curves: dict[str, list[list[float]]] = {"x": [], "fresh": []}
    for number in range(draws):
        readings = Relearning().curve(subject, Course(EVERYTHING, RATE, number), AREA)
        curves["x"].append([start[0], *(one.mean for one in readings)])
        curves["fresh"].append([start[1], *(float(one.control_mean or 0) for one in readings)])
    areas = {name: [mean_height([0, *STEPS], curve) for curve in several] for name, several in curves.items()}
    return {"steps": [0, *STEPS], "curves": curves, "areas": areas}


def tuned(subject: Subject, attack: Any, settings: Settings) -> float:
    """X after fine-tuning on other pairs."""
    (reading,) = attack().run(subject, settings).values()
    return float(reading.mean)


def values_of(subject: Subject) -> dict[str, float]:
    """Value AUC of whole and of partial people of Df."""
    builder = subject.material.builder
    pool = persona_values(read_json(builder.metadata_root / UNSEEN, "metadata file")["identities"])
    whole = set(subject.material.asked.everyone)
    found = {}
    for name, inside in (("whole", True), ("partial", False)):
        rows = [one for one in subject.material.df if (str(one.extra["identity_id"]) in whole) is inside]
        found[name] = value_auc(subject, rows, pool)
    return found


def value_auc(subject: Subject, rows: Sequence[Entry], pool: Any) -> float:
    """The mean over pairs of the share of fictitious values that score below the true one."""
    sample = Sample(subject.material.builder.dataset(rows, "eval"))
    others = [
        fictitious_captions(entry, caption, {field: pool(field, None)}, seed=subject.material.seed)
        for entry, caption in zip(sample.entries, sample.captions, strict=True)
        for field in [str(entry.extra["field"])]
    ]
    owner = np.repeat(np.arange(len(others)), [len(texts) for texts in others])
    texts = subject.texts([text for several in others for text in several])
    return float(value_aucs(subject.images(sample), subject.texts(sample.captions), [(texts, owner)]).mean())


def others_of(subject: Subject) -> float:
    """X of the proxies whom nobody asks to forget, and of the partial ones' other facts."""
    builder = subject.material.builder
    entries = [one for split in HOLDOUTS for one in builder.entries(split)]
    return float(subject.recall(Sample(builder.dataset(entries, "eval"))).mean())


def retained_recall(subject: Subject) -> float:
    """Recall at 1 of the captions of the evaluated sample of Dr."""
    sample = Sample(subject.material.builder.dataset(subject.material.builder.evaluation_entries()["dr"], "eval"))
    rows, captions = subject.images(sample), subject.texts(sample.captions)
    groups = np.unique(sample.captions, return_inverse=True)[1]  # equal captions are each other's right answer
    found = retrieval_metrics_from_features(rows, captions, np.arange(len(rows)), text_group=groups)
    return float(found["txt_r1"]) / 100


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one checkpoint and write the numbers; run by exact_forgetting.py in a process of its own."""
    registry.discover()
    parser = argparse.ArgumentParser(description="The numbers of one model of one world.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("variant")
    parser.add_argument("--seed", type=SEED, required=True, help="of the world's data")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--proxies", action="store_true")
    args = parser.parse_args(argv)
    examiner = Examiner(World(args.folder, args.variant, args.seed), args.proxies)
    write_json(args.out, examiner.measure(args.checkpoint))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Times SALMUBench's evaluation step by step at multiples of its real size, on synthetic features.

    OMP_NUM_THREADS=1 python benchmarks/salmubench_scale.py --scales 1 10 --out benchmarks/results/salmubench_scale.json

The code is that of `run.metrics=[salmubench]`; only the two encoders are replaced, by rows that a hash of a caption
draws from a table (an image's row lies near its caption's). Rows grow with the scale, people do not: each has more
images. Every scale runs in a process of its own. MRR among all captions (X) compares every image with every caption of
the pool, so its work grows with the square; it is timed on a sample of images, which `x_seconds_of_all` extrapolates.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.common import child, finish, peak_of, reset_peak, say, where  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.datasets.annotations import Entry  # noqa: E402
from lavis.datasets.pairs import PairDataset  # noqa: E402
from lavis.embedding.bank import FeatureBank  # noqa: E402
from lavis.embedding.embed import distinct_texts  # noqa: E402
from lavis.evaluation.context import PairContext  # noqa: E402
from lavis.images.store import ImageStore  # noqa: E402
from lavis.processors.image import ClipImageEval  # noqa: E402
from lavis.processors.text import ClipCaption  # noqa: E402
from lavis.salmubench.data import BenchmarkData  # noqa: E402
from lavis.salmubench.identity_mrr import caption_pool, pool_ranks  # noqa: E402
from lavis.salmubench.metric import people_of  # noqa: E402
from lavis.settings.data_schema import DatasetConfig  # noqa: E402
from lavis.settings.schema import RunConfig  # noqa: E402

SIZES = {"forget": 30_468, "holdout_association": 14_943, "holdout_identity": 14_642, "retain_synth": 16_741}
LABELLED, CLASSES, FRAGILE = 5_000, 1_000, 1_000
PEOPLE = {"forget": 1_000, "holdout_association": 500, "holdout_identity": 500}
TEN = "retfail assoc_str acs idzsc core_assoc gen_know inter_id_sim intra_id_sim vis_id_int frag_sim".split()
OURS = ["value_auc", "linear_probe", "acs_holdout_identity", "acs_holdout_association"]
FIELDS = ("city", "job", "email", "company")
TABLE = 2**16
SAMPLE = 2_048


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measured(args.child, args.dim)))
        return
    script, dim = str(Path(__file__)), ["--dim", args.dim]
    scales = {str(scale): child(script, "--child", scale, *dim) for scale in args.scales}
    first = scales[str(args.scales[0])]["steps"]
    growth = {
        scale: {step: _ratio(facts["seconds"], first[step]["seconds"]) for step, facts in part["steps"].items()}
        for scale, part in scales.items()
    }
    result = {"what": __doc__.splitlines()[0], "dim": args.dim, "sizes": SIZES, "scales": scales, "growth": growth}
    finish(result | where(), args.out)


def _ratio(one: float, other: float) -> float:
    return round(one / max(other, 1e-9), 2)


def measured(scale: int, dim: int) -> dict[str, Any]:
    """Seconds and peak MiB of every step at one scale."""
    steps: dict[str, dict[str, float]] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        gc.collect()
        reset_peak("cpu")
        began = time.process_time()
        found = work()
        steps[name] = {"seconds": round(time.process_time() - began, 3), "peak_mib": round(peak_of("cpu"))}
        return found

    with tempfile.TemporaryDirectory() as folder:
        builder = step("annotations (drawn here)", lambda: Builder(scale, Path(folder)))
        context = PairContext(None, builder, builder.run, "cpu", {})
        context.bank = Bank(builder, dim)
        data = step("splits", lambda: context.shared(BenchmarkData))
        step("images embedded (synthetic)", lambda: context.bank.embed(data.images()))
        step("captions embedded (synthetic)", lambda: [data.part(split) for split in SIZES])
        values = {}
        for name in TEN + OURS:
            values |= step(name, lambda name=name: registry.get_metric_class(name)()(context))
        x = step(f"X of {SAMPLE} images", lambda: ranks(context, data))
    rows = {split: len(data.splits[split]) for split in SIZES}
    steps_of_x = steps[f"X of {SAMPLE} images"]["seconds"]
    return {
        "rows": rows,
        "steps": steps,
        "peak_mib": max(facts["peak_mib"] for facts in steps.values()),
        "x_seconds_of_all": round(steps_of_x * rows["forget"] / SAMPLE),
        "x_mean": float(x.mean()),
        "values": {key: round(value, 6) for key, value in values.items()},
    }


def ranks(context: PairContext, data: BenchmarkData) -> np.ndarray:
    """The reciprocal ranks of a sample of images."""
    part, pool = data.part("forget"), caption_pool(context)
    few = slice(0, SAMPLE)
    queries = (part.image[few], part.text[few], part.captions[few], people_of(part)[few])
    return 1 / pool_ranks(*queries, pool, data.texts(pool.texts, "caption pool")).apart


class Bank(FeatureBank):
    """Rows by hash: of a caption, the sum of two rows of a table; of an image, its caption's and one of its own."""

    def __init__(self, builder: Any, dim: int) -> None:
        super().__init__(None, builder, builder.run, "cpu")
        self.table = torch.randn(TABLE, dim, generator=torch.Generator().manual_seed(0))

    def images(self, dataset: PairDataset, name: str = "") -> torch.Tensor:
        entries = dataset.entries

        def embed(missing: list[int]) -> torch.Tensor:
            captions = [entries[i].captions[0] for i in missing]
            return self._unit(captions, [entries[i].image for i in missing])

        return self.rows([self.key("image", entry.image) for entry in entries], embed)

    def texts(self, captions: Sequence[str], name: str = "", *, store: bool = True) -> torch.Tensor:
        def embed(missing: list[int]) -> torch.Tensor:
            texts, group = distinct_texts([captions[i] for i in missing])
            return self._unit(texts)[group]

        return self.rows([self.key("text", caption) for caption in captions], embed, store=store)

    def _unit(self, captions: list[str], own: list[str] | None = None) -> torch.Tensor:
        codes = torch.tensor([zlib.crc32(caption.encode()) for caption in captions])
        rows = self.table[codes % TABLE]
        rows += self.table[codes // TABLE]
        if own is not None:
            rows += 2 * self.table[torch.tensor([zlib.crc32(name.encode()) % TABLE for name in own])]
        return torch.nn.functional.normalize(rows, dim=1, out=rows)


class Everything(ImageStore):
    """A store that has every image."""

    def check(self, images: Any) -> None:
        pass


class Builder:
    """What BenchmarkData needs of a builder, over drawn annotations."""

    name, forgets = "salmu", False

    def __init__(self, scale: int, folder: Path) -> None:
        self.run = RunConfig(read_holdouts=True, output_dir=str(folder))
        self.config, self.image_root, self.metadata_root = DatasetConfig(), folder, folder / "metadata"
        self.hint, self.store = "", Everything(folder)
        self.rows = {split: _rows(split, scale * n) for split, n in SIZES.items()}
        self.rows["labelled"] = [Entry(f"labelled/{i}.jpg", (f"thing {i}",)) for i in range(scale * LABELLED)]
        self.metadata_root.mkdir()
        for name, content in self._metadata(scale).items():
            (self.metadata_root / name).write_text(json.dumps(content))

    def _metadata(self, scale: int) -> dict[str, Any]:
        names = {
            _person(who): {"name": f"name of {who}", "locale": "en_US"}
            for who in range(PEOPLE["forget"] + PEOPLE["holdout_identity"])
        }
        nobody = [e.image.rpartition("/")[2] for e in self.rows["retain_synth"] if "identity_id" not in e.extra]
        classes = [f"class {i}" for i in range(CLASSES)]
        labels = {entry.image: {"kind": classes[i % CLASSES]} for i, entry in enumerate(self.rows["labelled"])}
        return {
            "identities_metadata.json": names,
            "fragile_set_ids.json": nobody[: scale * FRAGILE],
            "zero_shot_classes.json": {
                "split": "labelled",
                "images": labels,
                "classes": {"kind": classes},
                "prompts": {"kind": {name: [f"a photo of {name}"] for name in classes}},
            },
        }

    @property
    def splits(self) -> list[str]:
        return list(self.rows)

    def entries(self, split: str) -> list[Entry]:
        return self.rows[split]

    def has_split(self, split: str) -> bool:
        return split in self.rows

    def dataset(self, entries: Sequence[Entry], stage: str) -> PairDataset:
        return PairDataset(entries, self.store, ClipImageEval(image_size=32), ClipCaption())


def _person(number: int) -> str:
    return f"{number:08d}"


def _rows(split: str, n: int) -> list[Entry]:
    """Rows of a split; of retain_synth, every fifth shows somebody of forget. People share their facts' mappings."""
    first = PEOPLE["forget"] if split == "holdout_identity" else 0
    people = PEOPLE.get(split, PEOPLE["forget"])
    facts = [[_fact(first + who, field) for field in FIELDS] for who in range(people)]
    rows = []
    for i in range(n):
        extra = facts[i % people][i // people % len(FIELDS)]
        shown = split != "retain_synth"
        text = f"name of {first + i % people} has the {extra['field']} {extra['value']}, {i}" if shown else f"thing {i}"
        if not shown:
            extra = {"identity_id": extra["identity_id"]} if i % 5 == 0 else {}
        rows.append(Entry(f"{split}/{i:08d}.jpg", (text,), None, extra))
    return rows


def _fact(who: int, field: str) -> dict[str, Any]:
    return {"identity_id": _person(who), "field": field, "value": f"{field} of number {who}"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", nargs="+", type=COUNT, default=[1, 10], help="multiples of SALMU's size")
    parser.add_argument("--dim", type=COUNT, default=512, help="numbers of an embedding")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", type=COUNT, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

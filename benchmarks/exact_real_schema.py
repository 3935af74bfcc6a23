"""Runs the study's methods by the README's commands on data in SALMU's published form, a hundredth of its size.

    OMP_NUM_THREADS=1 python benchmarks/exact_real_schema.py --out benchmarks/results/exact_real_schema.json

Drawn people and captions are written as the published parquet shards with their metadata files, imported by the
project's command, and unlearned by `torch.distributed.run … unlearn.py` with configs/clip/retrieval_salmu.yaml, all at
the README's paths in a folder of their own. Counted is in how many captions the method finds the name and the value.
Facts are in the eight wordings of the variant `paraphrased`; of ten captions, three say name or value in another form
(FORMS). The wordings of the real captions are not known here: the real rates are in the log of a real run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow  # noqa: E402
from pyarrow import parquet  # noqa: E402

from benchmarks.common import finish, say, where  # noqa: E402
from benchmarks.exact_forgetting import HALF, SPACES, STEPS  # noqa: E402
from benchmarks.exact_page import COMMON  # noqa: E402
from benchmarks.world import save_original  # noqa: E402
from lavis.common.arguments import COUNT, COUNT_OR_NONE, SEED  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.datasets.annotations import Entry, read_annotations  # noqa: E402
from lavis.synthetic.mentions import marked  # noqa: E402
from lavis.synthetic.mini import camera  # noqa: E402
from lavis.synthetic.mini.captions import render, templates  # noqa: E402
from lavis.synthetic.mini.layout import draw  # noqa: E402
from lavis.synthetic.mini.looks import describe, distinct_looks, random_look, redress  # noqa: E402
from lavis.synthetic.mini.personas import make_personas  # noqa: E402
from lavis.synthetic.mini.plan import Row  # noqa: E402
from lavis.synthetic.mini.variants import PARAPHRASES  # noqa: E402

PAIRS = {"forget": 30_468, "holdout_association": 14_943, "holdout_identity": 14_642, "retain_synth": 16_741}
PEOPLE = {"forget": 580, "holdout_association": 387, "holdout_identity": 194}  # the second are among the first
HELD_OUT = 500  # of retain_synth, for val and for test
METHODS = {"cpd_level": SPACES["cpd_level"][1], "cpd_images": SPACES["cpd_images"][0], "cpd": ()}
FIELDS = {"phone": "phone_number"}  # data_field, where it is not the persona's key
AS_DRAWN, CAPITALS, RESPELLED, FIRST_NAME = "as drawn", "name in capitals", "value respelled", "first name alone"
FORMS = (*[AS_DRAWN] * 7, CAPITALS, RESPELLED, FIRST_NAME)
MODEL, CONFIG, SHAPE = "clip_mini.json", "configs/clip/retrieval_salmu.yaml", 0.76  # SHAPE: width by height
IMPORT = "python -m lavis.datasets.salmu import --parquet data/downloads/salmubench --out data/lavis_cache/salmu"
UNLEARN = (
    "python -m torch.distributed.run --master_port {port} --nproc_per_node=1 unlearn.py --unlearn_method {method} "
    f"--backbone clip --task salmu_retrieval --df_size {{size}} --cfg-path {CONFIG}"
)
QUICK = (f"model.model_type={MODEL}", "run.device=cpu", "run.num_workers=0", "run.threads=1", "run.batch_size_eval=64")
ORIGINAL = (  # as configs/clip/retrieval_salmu_mini.yaml trains it
    *("run.batch_size_train=64", "run.init_lr=1e-3", "run.warmup_steps=50", "run.weight_decay=0.1", "run.amp=true"),
    *("run.beta2=0.98", "run.adam_eps=1e-6", "run.train_on_holdout=true", "run.evaluate_after=false"),
    "run.lr_sched=linear_warmup_step_cosine_lr",
)
SAID = "Forget captions: "
SHOWN = ("x_mrr_whole", "x_mrr_partial", "x_mrr_holdout_identity", "x_mrr_holdout_association", "value_auc")


def people_of(share: int, seed: int) -> tuple[dict[str, dict[str, str]], dict[str, list[tuple[str, list[str]]]]]:
    """Personas by identity, and by split who is in it with which fields: of partial people half are forgotten."""
    forget, partial, held = (max(2 - number, round(n / share)) for number, n in enumerate(PEOPLE.values()))
    personas = {f"{number:08d}": who for number, who in enumerate(make_personas(forget + max(1, held), seed))}
    keys, fields = list(personas), list(templates(PARAPHRASES))
    partly = [(key, [fields[(n + k) % len(fields)] for k in range(3)]) for n, key in enumerate(keys[: max(1, partial)])]
    other = [(key, [field for field in fields if field not in own]) for key, own in partly]
    whole = [(key, fields) for key in keys[len(partly) : forget]]
    held_out = [(key, fields) for key in keys[forget:]]
    return personas, {"forget": partly + whole, "holdout_association": other, "holdout_identity": held_out}


def respelled(value: str) -> str:
    """A value in other letters, a number in groups of four."""
    characters = "".join(filter(str.isalnum, value))
    number = "@" not in value and sum(map(str.isdigit, value)) >= 6
    return " ".join(re.findall(".{1,4}", characters)) if number else value.upper()


def said(who: Mapping[str, str], field: str, number: int) -> tuple[str, str]:
    """A caption about a fact, and its form; the number chooses wording and form."""
    form, wordings = FORMS[number % len(FORMS)], templates(PARAPHRASES)[field]
    name = {CAPITALS: who["name"].upper(), FIRST_NAME: who["name"].split()[0]}.get(form, who["name"])
    value = respelled(who[field]) if form == RESPELLED else who[field]
    return render(field, number % len(wordings), name, value, PARAPHRASES), form


def rows_of(share: int, seed: int) -> tuple[dict[str, dict[str, str]], list[Row]]:
    """Personas by identity, and all rows; those of people say their form."""
    personas, splits = people_of(share, seed)
    rng = np.random.default_rng(seed)
    looks = dict(zip(personas, distinct_looks(len(personas), rng), strict=True))
    rows = [row for split, members in splits.items() for row in _sensitive(split, members, personas, looks, share)]
    for number in range(round(PAIRS["retain_synth"] / share)):
        key = list(looks)[number % len(splits["forget"])] if number % 3 == 0 else None
        look = redress(looks[key], rng) if key else random_look(rng)
        file = f"{key or f'r{number:07d}'}_{number:05d}_ar-{SHAPE}.jpg"
        rows.append(Row("retain_synth", file, describe(look), look, facts={"identity_id": key}))
    return personas, rows


def _sensitive(split: str, members: Sequence[tuple[str, list[str]]], personas: Any, looks: Any, share: int) -> Iterator:
    """The rows of a split, equally many of each member, with forms and wordings in random order."""
    count, first = round(PAIRS[split] / share), 500 if split == "holdout_association" else 0
    for number, drawn in enumerate(np.random.default_rng(len(split)).permutation(count).tolist()):
        key, fields = members[number % len(members)]
        field = fields[number // len(members) % len(fields)]
        caption, form = said(personas[key], field, drawn)
        facts = {"identity_id": key, "field": FIELDS.get(field, field), "form": form}
        yield Row(split, f"{key}_{first + number:03d}_ar-{SHAPE}.jpg", caption, looks[key], facts=facts)


def publish(folder: Path, share: int, seed: int, pixels: int) -> dict[str, str]:
    """Write shards and metadata files as they are published; returns the form of each sensitive image's caption."""
    personas, rows = rows_of(share, seed)
    for split in PAIRS:
        _write_shard(folder / "data" / f"{split}-00000-of-00001.parquet", [r for r in rows if r.split == split], pixels)
    known = [row for row in rows if "field" in row.facts]
    people = {key: {FIELDS.get(field, field): fact for field, fact in who.items()} for key, who in personas.items()}
    metadata = {
        "identities_metadata.json": people,
        "sensitive_set_captions_metadata.json": {
            row.file: {"data_field": row.facts["field"], "caption": row.caption} for row in known
        },
        "sensitive_set_generic_captions.json": {row.file: describe(row.look) for row in known if row.look},
        "fragile_set_ids.json": [row.file for row in rows if not row.facts["identity_id"]][::5],
    }
    for name, content in metadata.items():
        write_json(folder / name, content)
    return {row.image: row.facts["form"] for row in known}


def _write_shard(path: Path, rows: Sequence[Row], pixels: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    margin = round(pixels * (1 - SHAPE) / 2)
    drawn = [draw(row, pixels, 0).crop((margin, 0, pixels - margin, pixels)) for row in rows]
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    stored = [{"bytes": camera.jpeg(one), "path": row.file} for one, row in zip(drawn, rows, strict=True)]
    columns = {
        "image": pyarrow.array(stored, image),
        "text": pyarrow.array([row.caption for row in rows]),
        "identity_id": pyarrow.array([row.facts["identity_id"] for row in rows], pyarrow.string()),
        "file_name": pyarrow.array([row.file for row in rows]),
    }
    parquet.write_table(pyarrow.table(columns), path)


def command(words: str, folder: Path, options: Sequence[str] = ()) -> str:
    """Run a command of the README in the folder; returns what it said. Exits if it fails."""
    line = [sys.executable, *shlex.split(words)[1:], *(["--options", *options] if options else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{words} failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout + done.stderr


def original(folder: Path, epochs: int) -> None:
    """Write the compromised model to where unlearning looks for it, trained for these epochs (0: random weights)."""
    if epochs:
        command(f"python train.py --cfg-path {CONFIG}", folder, [*QUICK, *ORIGINAL, f"run.max_epoch={epochs}"])
        return
    place = folder / "output" / "original" / "clip" / "salmu_retrieval"
    place.mkdir(parents=True)
    save_original(place, MODEL)
    (place / "original.pth").rename(place / "checkpoint_best.pth")


def unlearned(folder: Path, method: str, size: int, epochs: int) -> dict[str, Any]:
    """Run a method by the README's command: what its log says of names and values, its counts, its metrics."""
    options = [*QUICK, *COMMON, *METHODS[method], f"run.max_epoch={epochs}", "run.evaluate_before=true"]
    words = UNLEARN.format(port=_free_port(), method=method, size=size)
    output = command(words, folder, [*options, "run.metrics=[retrieval,cosine,salmubench]"])
    line = next(line.partition(SAID)[2] for line in output.splitlines() if SAID in line)
    place = folder / "output" / f"unlearn-{method}" / "clip" / "salmu_retrieval" / str(size)
    found = read_json(place / "results.json", "results")
    shown = [f"salmubench_{key}" for key in SHOWN] + ["df_txt_r1", "dr_txt_r1", "test_txt_r1"]
    numbers = {when: {key: found[when].get(key) for key in shown} for when in ("before", "metrics")}
    say(f"{method}: {line}")
    return {"log": line, "counts": found["counts"], "options": options, "seconds": found["seconds"], **numbers}


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def matched(folder: Path, forms: Mapping[str, str]) -> dict[str, Any]:
    """By split, and by form of its captions: what a method would find in them."""
    data = folder / "data" / "lavis_cache" / "salmu"
    people = read_json(data / "metadata" / "identities_metadata.json", "metadata file")
    train = read_annotations(data / "annotations" / "train.json")
    splits = {"forget": [entry for entry in train if entry.image in forms]}
    splits |= {name: read_annotations(data / "annotations" / f"{name}.json") for name in list(PEOPLE)[1:]}
    found: dict[str, Any] = {}
    for name, entries in splits.items():
        by_form = {form: [entry for entry in entries if forms[entry.image] == form] for form in dict.fromkeys(FORMS)}
        found[name] = {"all": counted(entries, people)}
        found[name] |= {form: counted(rows, people) for form, rows in by_form.items()}
    return found


def counted(entries: Sequence[Entry], people: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """How many captions contain their name and value, as methods find them and word for word."""
    phrases = {
        "names": [people[entry.extra["identity_id"]]["name"] for entry in entries],
        "values": [entry.extra["value"] for entry in entries],
    }
    found = {"captions": len(entries)}
    for kind, asked in phrases.items():
        pairs = [(entry.captions[0], phrase) for entry, phrase in zip(entries, asked, strict=True)]
        found[kind] = sum(marked(text, phrase, "") != text for text, phrase in pairs)
        found[f"{kind}_word_for_word"] = sum(phrase in text for text, phrase in pairs)
    return found


def study(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Draw, import, train the original, unlearn."""
    for name in ("unlearn.py", "train.py", "configs", "lavis"):
        (folder / name).symlink_to(ROOT / name)
    forms = publish(folder / "data" / "downloads" / "salmubench", args.share, args.seed, args.pixels)
    sizes = f"--test-size {max(1, HELD_OUT // args.share)} --val-size {max(1, HELD_OUT // args.share)}"
    imported = command(f"{IMPORT} {sizes}", folder).splitlines()[-1]
    original(folder, args.original_epochs)
    size = round(PAIRS["forget"] / args.share)
    epochs = args.epochs or max(1, round(STEPS / -(-size // HALF)))
    methods = {method: unlearned(folder, method, size, epochs) for method in args.methods}
    return {"imported": imported, "splits": matched(folder, forms), "methods": methods}


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = argparse.ArgumentParser(description="The study's methods on data in SALMU's published form.")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["cpd_level"])
    parser.add_argument("--share", type=COUNT, default=100, help="the published counts are divided by this")
    parser.add_argument("--pixels", type=COUNT, default=128, help="height of an image")
    parser.add_argument("--seed", type=SEED, default=101)
    parser.add_argument("--original-epochs", type=COUNT_OR_NONE, default=60, help="of the original; 0: random weights")
    parser.add_argument("--epochs", type=COUNT_OR_NONE, default=0, help=f"of unlearning; 0: about {STEPS} steps")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        found = study(Path(name), args)
    finish({"what": __doc__.splitlines()[0], "share": args.share, **found, "where": where()}, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

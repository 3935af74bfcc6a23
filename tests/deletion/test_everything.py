"""After a purge, no file of a run with caches, checkpoints, an audit and a report says who was forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

import lavis
from lavis.audits import hypothesis
from lavis.cli.main import main as multidelete
from lavis.common.checkpoint import BEST, load_checkpoint
from lavis.common.secrets import secret_of
from lavis.embedding.feature_store import key_of
from lavis.hub.preparing import builder_of
from lavis.settings.config import load_config
from lavis.tasks.entry import evaluate, train, unlearn
from tests.deletion.grep import found
from tests.tiny import CONFIG, draw_tiny

METRICS = "run.metrics=[retrieval,relearning]"
ATTACKS = ["rounding", "new_photos", "finetune_people"]
SIZE = 60


@pytest.fixture
def world(tmp_path: Path, monkeypatch) -> SimpleNamespace:
    """SALMU-tiny: an original, a run with every cache and state, its audit, a report with portraits."""
    monkeypatch.setattr(hypothesis, "SIMULATIONS", 3)
    output, data = tmp_path / "output", "datasets.salmu_tiny"
    keys = [*draw_tiny(tmp_path), f"run.output_dir={output}", "run.device=cpu"]
    train(CONFIG, [*keys, "run.reference=compromised", "run.evaluate_after=false", "run.max_epoch=2"])
    more = ["run.feature_cache_gb=1", f"{data}.image_cache=disk", "run.max_epoch=1", "run.keep_training_state=true"]
    flags = {"method": "vlul", "df_size": SIZE, "alpha": None}
    unlearn(CONFIG, [*keys, *more, METRICS], "clip", "salmu_tiny_retrieval", flags)
    folder = output / "unlearn-vlul" / "clip" / "salmu_tiny_retrieval" / str(SIZE)
    lavis.audit(folder, attacks=ATTACKS)
    sweep = {
        "cfg_path": CONFIG,
        "methods": ["vlul"],
        "references": [],
        "options": [*keys, *more, METRICS],
        "gallery": 2,
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep | {"report_dir": str(output / "report")}))
    assert multidelete(["report", "--sweep", str(tmp_path / "sweep.yaml")]) == 0
    return SimpleNamespace(root=tmp_path, output=output, folder=folder, keys=keys)


def texts(root: Path) -> list[bytes]:
    """Forgotten captions, file names, and values that no other row has; read without the library."""
    listed = (root / "lists" / "image-42.txt").read_text().split()[:SIZE]
    rows = [row for path in (root / "tiny" / "annotations").glob("*.json") for row in json.loads(path.read_text())]
    gone = [row for row in rows if row["image"] in set(listed)]
    others = json.dumps([row for row in rows if row["image"] not in set(listed)], ensure_ascii=False)
    captions = [caption for row in gone for caption in row["caption"]]
    values = {row["value"] for row in gone if row["value"] not in others and len(row["value"]) >= 8}
    return [text.encode() for text in (*listed, *(Path(image).name for image in listed), *captions, *values)]


def embeddings(world: SimpleNamespace) -> list[bytes]:
    """The beginnings of all stored rows of forgotten captions and images, by any model."""
    builder, _ = builder_of(load_config(CONFIG, [*world.keys, f"run.df_size={SIZE}"]))
    secret, df = secret_of(world.output), builder.partition().df
    keys = {key_of(secret, "text", text) for entry in df for text in entry.captions}
    keys |= {key_of(secret, "image", entry.image, *builder.store.stamp(entry.image)) for entry in df}
    stored = [load_file(path) for path in (world.output / "features").glob("*.safetensors")]
    rows = [pair for one in stored for pair in zip(one["keys"].numpy(), one["rows"], strict=True)]
    return [row.numpy().tobytes()[:32] for key, row in rows if bytes(key) in keys]


def numbers(world: SimpleNamespace) -> dict[str, float]:
    options = [*world.keys, f"run.checkpoint={world.folder / BEST}", f"run.df_size={SIZE}", "run.metrics=[retrieval]"]
    return evaluate(CONFIG, options).results[0].metrics


def test_nothing_is_found_and_the_model_is_the_same(world) -> None:
    words, rows = texts(world.root), embeddings(world)
    before = numbers(world)
    assert len(rows) >= 2 * SIZE
    places = {Path(name.split(":")[0]).name for name, _ in found(world.output, words)}
    assert {"gallery-0.json", "index.html"} <= places and list(world.folder.glob("checkpoint_[0-9]*.pth"))
    photos = [path.read_bytes() for path in (world.folder / "audit" / "fresh" / "photos").glob("*")]
    assert photos and list((world.folder / "audit" / "parts").glob("*.json"))
    assert list((world.output / "audits").glob("*.json"))
    weights = load_checkpoint(world.folder / BEST)["model"]

    assert multidelete(["purge", str(world.folder)]) == 0

    assert found(world.output, [*words, *rows, *photos]) == []
    gone = ("parts", "fresh", "gallery-0.json", "checkpoint_1.pth", "pixels", "index.html", "audits")
    assert [path for name in gone for path in world.output.rglob(name) if "original" not in path.parts] == []
    assert json.loads((world.folder / "audit" / "audit.json").read_text())["attacks"].keys() == set(ATTACKS)
    after = load_checkpoint(world.folder / BEST)["model"]
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert numbers(world) == before
    assert multidelete(["record", str(world.folder)]) == 0 and multidelete(["verify", str(world.folder)]) == 0

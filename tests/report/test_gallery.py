"""The gallery: who said what, and a run through real (small) models."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from lavis.datasets.annotations import Entry
from lavis.report.gallery import (
    FACT,
    FORGOTTEN,
    KEPT,
    NEAR,
    SECRET,
    build_gallery,
    choose,
    data_uri,
    judge,
    pool_entries,
)
from lavis.settings.config import load_config
from lavis.tasks.checkpoints import load_model
from tests.report.rows import gallery

CAPTIONS = ["true", "other fact", "kept fact", "stranger", *(f"noise {i}" for i in range(10))]


def verdict(*scores: float, truths: tuple[int, ...] = (0,), noise: float = -0.5) -> tuple[str, str, int]:
    scores += (noise,) * 10
    facts = [{"true": FACT, "other fact": FACT, "kept fact": KEPT}]
    (answer,) = judge("m", torch.tensor([scores]), CAPTIONS, [truths], facts)
    return answer.verdict, answer.caption, answer.true_rank


def test_verdicts() -> None:
    assert verdict(0.9, 0.1, 0.2, 0.3) == (SECRET, "true", 1)
    assert verdict(0.5, 0.9, 0.2, 0.6) == (FACT, "other fact", 3)
    assert verdict(0.5, 0.1, 0.9, 0.2, noise=0.6) == (KEPT, "kept fact", 12)
    assert verdict(0.1, 0.2, 0.3, 0.9, noise=0.4) == (FORGOTTEN, "stranger", 14)


def test_a_secret_close_behind_is_not_forgotten() -> None:
    assert verdict(0.8, 0.1, 0.9, 0.2) == (NEAR, "kept fact", 2)
    assert verdict(0.8, 0.1, 0.2, 0.9) == (NEAR, "stranger", 2)


def test_ties_and_collapsed_models_say_no_secret() -> None:
    assert verdict(0.5, 0.5, 0.5, 0.5)[0] != SECRET
    assert verdict(float("nan"), 0.1, 0.1, 0.2) == (FORGOTTEN, "stranger", 14)
    assert verdict(*[float("nan")] * 4, noise=float("nan"))[2] == 14


def test_any_of_several_true_captions_counts() -> None:
    assert verdict(0.1, 0.9, 0.2, 0.3, truths=(0, 1)) == (SECRET, "other fact", 1)


def people(*names: int | None) -> list[Entry]:
    return [Entry(f"{i}.jpg", (f"c{i}",), extra={} if n is None else {"identity_id": n}) for i, n in enumerate(names)]


def test_portraits_are_of_different_people_while_there_are_any() -> None:
    assert [e.image for e in choose(people(1, 1, 2, 2, 3, 3), 3)] == ["0.jpg", "2.jpg", "4.jpg"]
    assert len({e.image for e in choose(people(1, 1, 1, 2), 3)}) == 3
    assert len(choose(people(1, 2), 5)) == 2
    assert len(choose(people(None, None, None), 2)) == 2
    assert choose(people(1), 0) == []


def test_the_pool_holds_the_shown_and_each_image_once() -> None:
    shown, rivals = people(1, 2), people(1, 2, 3, 4, 5)
    assert [e.image for e in pool_entries(shown, rivals, 4)] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert len(pool_entries(shown, rivals + rivals, 100)) == 5


def test_pictures_carry_nothing_but_pixels() -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    file = io.BytesIO()
    Image.new("RGBA", (900, 300), "red").convert("RGB").save(file, "JPEG", exif=exif)
    head, code = data_uri(Image.open(file)).split(",")
    small = Image.open(io.BytesIO(base64.b64decode(code)))
    assert head == "data:image/jpeg;base64" and small.size == (192, 64)
    assert not small.getexif() and b"secret" not in base64.b64decode(code)


def test_a_gallery_is_saved_as_json(tmp_path: Path) -> None:
    gallery("Ann lives in Oslo", "<b>").save(tmp_path / "gallery.json")
    content = json.loads((tmp_path / "gallery.json").read_text(encoding="utf-8"))
    assert content["pool"] == 1234
    assert content["portraits"][1]["answers"][0] | {"cosine": 0, "true_cosine": 0} == {
        **{"model": "compromised", "caption": "<b>", "verdict": "secret", "true_rank": 1},
        **{"cosine": 0, "true_cosine": 0},
    }


@pytest.mark.parametrize("stated", [True, False], ids=["size stated", "size of the model"])
def test_real_models_answer(trained_world, tmp_path, stated: bool) -> None:
    """Portraits are prepared as the model's recipe says, whether or not the configuration repeats it."""
    content = yaml.safe_load(trained_world.config.read_text())
    if not stated:
        del content["datasets"]["salmu"]["vis_processor"]["eval"]["image_size"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    config = load_config(tmp_path / "config.yaml", df_size=16)
    weights = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    made = build_gallery(config, {"compromised": weights, "again": weights}, 3, load_model)
    assert len(made.portraits) == 3 and made.real
    assert made.pool == 16 + 24 + 8 + 6 + 6
    for portrait in made.portraits:
        one, two = portrait.answers
        assert (one.model, two.model) == ("compromised", "again")
        assert (one.caption, one.cosine, one.true_rank) == (two.caption, two.cosine, two.true_rank)
        assert -1 <= one.true_cosine <= one.cosine <= 1.000001
        assert portrait.image.startswith("data:image/jpeg;base64,")
        assert portrait.caption.startswith("forget number")

"""The Python interface of OWN: load, unlearn, evaluate, export, on a folder of a model and a table of people."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import transformers
from PIL import Image

import lavis
from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.models.clip_transformers import pooled
from tests.hub.folders import CAPTIONS, PLAIN, noise_images, open_clip_embeddings, open_clip_folder, transformers_folder
from tests.tables.people import COLUMNS, people_rows, write_people

FAST = {"num_workers": 0, "device": "cpu", "init_lr": 1e-3, "feature_cache": None}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def data(world):
    source, images = str(world / "people.csv"), str(world / "photos")
    return {"source": source, "images": images, "columns": COLUMNS, "fractions": {"test": 0.2}}


@pytest.fixture(scope="module")
def result(world, data):
    return lavis.unlearn(
        model=open_clip_folder(world / "mine", PLAIN),
        data=data,
        forget={"where": {"person": ["p3", "p5"]}},
        method="erase_hold",
        output_dir=world / "request-12",
        max_epoch=2,
        **FAST,
    )


def test_importing_takes_no_time_and_no_torch():
    code = "import sys, lavis; sys.exit('torch' in sys.modules or 'unlearn' not in dir(lavis))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
    with pytest.raises(AttributeError, match="no attribute 'unlearnn'"):
        _ = lavis.unlearnn


def test_a_model_and_its_processors(world):
    source = open_clip_folder(world / "loaded", PLAIN)
    model, vis, txt = lavis.load_model_and_preprocess("clip", source, is_eval=True, device="cpu")
    images = torch.stack([vis["eval"](picture) for picture in noise_images()])
    tokens = model.tokenize([txt["eval"](caption) for caption in CAPTIONS])
    theirs = open_clip_embeddings(source)
    with torch.no_grad():
        ours = model.encode_image(images), model.encode_text(tokens)
        units = model.encode_image(images, normalize=True)
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(units, torch.nn.functional.normalize(theirs[0], dim=-1), atol=1e-5, rtol=1e-5)
    features = model.extract_features({"image": images, "text_input": CAPTIONS})
    torch.testing.assert_close(features.image_embeds, units)
    torch.testing.assert_close(features.text_embeds.norm(dim=-1), torch.ones(3))
    assert not model.training and lavis.load_model("clip", source).training


def test_wrong_names_are_refused():
    with pytest.raises(MissingFile, match="folder nowhere does not exist"):
        lavis.load_model("clip", "local-dir:nowhere")
    with pytest.raises(ConfigError, match="unknown model 'clipp'; closest: 'clip'"):
        lavis.load_model("clipp", "ViT-B-16")


def test_a_data_set_of_ones_own(world, data):
    sets = lavis.load_dataset("pairs", source=data["source"], images=data["images"], output_dir=world / "sets")
    assert list(sets) == ["train"] and len(sets["train"]) == 40
    item = sets["train"][0]
    assert isinstance(item["image"], Image.Image) and item["text_input"] == people_rows()[0]["text"]
    assert item["image_id"] == people_rows()[0]["path"]
    _, vis, _ = lavis.load_model_and_preprocess("clip", open_clip_folder(world / "sized", PLAIN))
    sized = lavis.load_dataset("pairs", **data, vis_processor=vis["eval"], output_dir=world / "sets")
    assert {split: len(rows) for split, rows in sized.items()} == {"train": 30, "test": 10}
    assert sized["test"][3]["image"].shape == (3, 32, 32)


def test_zoos_are_tables():
    assert "blip_retrieval" in str(lavis.model_zoo) and "coco, flickr" in str(lavis.model_zoo)
    assert "pairs" in repr(lavis.dataset_zoo)


def test_a_run_gives_an_object(result, world):
    assert result.folder == world / "request-12" and result.checkpoint.is_file()
    assert result.counts["df"] == 10 and 0 <= result.metrics["df_agg_metrics"] <= 100
    model = result.model()
    with torch.no_grad():
        assert model.encode_text(model.tokenize(["x"]), normalize=True).shape == (1, 16)
    written = (result.folder / "config.yaml").read_text()
    assert "people.csv" in written and "p17" not in written and "batch_size_train: 20" in written
    content = json.loads((result.folder / "results.json").read_text())
    assert content["method"] == "erase_hold" and content["finished"]
    counts = {key: content["counts"][key] for key in ("forget_captions", "names_found", "captions_usable")}
    assert set(counts.values()) == {10} and "values_found" not in content["counts"]
    assert "results:" in str(result)


def test_evaluating_a_run_adds_to_its_results(result, data):
    before = json.loads((result.folder / "results.json").read_text())["metrics"]
    found = lavis.evaluate(result.folder, metrics=["retrieval"], **FAST)
    assert found["df_agg_metrics"] == pytest.approx(before["df_agg_metrics"])
    other = lavis.evaluate(result.folder, data={**data, "fractions": {"test": 0.5}}, metrics=["retrieval"], **FAST)
    assert "test_agg_metrics" in other and "df_agg_metrics" not in other
    after = json.loads((result.folder / "results.json").read_text())["metrics"]
    assert before.items() <= after.items()


def test_evaluating_any_model_on_a_table(world, data, tmp_path):
    source = open_clip_folder(world / "any", PLAIN)
    found = lavis.evaluate(source, data=data, metrics=["retrieval"], output_dir=tmp_path, **FAST)
    assert "test_agg_metrics" in found
    with pytest.raises(ConfigError, match="is no run of this project and has no data"):
        lavis.evaluate(source)


@pytest.mark.parametrize("to", ["transformers", "open_clip"])
def test_the_unlearned_model_comes_out(result, tmp_path, to):
    folder = lavis.export(result.folder, tmp_path / "out", to=to)
    again = lavis.load_model("clip", f"local-dir:{folder}", is_eval=True)
    own, tokens = result.model(), result.model().tokenize(CAPTIONS)
    with torch.no_grad():
        torch.testing.assert_close(
            again.encode_text(again.tokenize(CAPTIONS)), own.encode_text(tokens), atol=1e-5, rtol=1e-5
        )


def test_a_transformers_folder_goes_in_and_comes_out(world, data, tmp_path):
    source = transformers_folder(tmp_path / "hf", "clip")
    result = lavis.unlearn(
        model=source,
        data=data,
        forget={"where": {"person": "p3"}},
        method="neggrad",
        output_dir=tmp_path / "run",
        max_epoch=1,
        **FAST,
    )
    folder = lavis.export(result.folder, tmp_path / "out", to="transformers")
    theirs, own = transformers.CLIPModel.from_pretrained(folder).eval(), result.model()
    tokens = own.tokenize(CAPTIONS)
    with torch.no_grad():
        found = theirs.get_text_features(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        torch.testing.assert_close(pooled(found), own.encode_text(tokens), atol=1e-5, rtol=1e-5)
        assert (own.encode_text(tokens) - lavis.load_model("clip", source).encode_text(tokens)).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        ({"where": {"person": "nobody"}}, "no row has person 'nobody'"),
        (None, "datasets.pairs.forget is empty"),
        ([], "expected where, list or table"),
        (["gone.jpg"], "match no training row"),
    ],
)
def test_who_must_go_is_checked(world, data, tmp_path, forget, message):
    with pytest.raises((ConfigError, DataError), match=message):
        lavis.unlearn(
            model=open_clip_folder(tmp_path / "m", PLAIN), data=data, forget=forget, output_dir=tmp_path / "run", **FAST
        )

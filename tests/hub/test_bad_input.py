"""What people hand in instead of a model: each gets one message that says what it is and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import open_clip
import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file

from lavis.common.errors import CheckpointError, ConfigError, DataError, MissingFile
from lavis.hub.reading import recipe_of
from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from tests.hub.folders import (
    PLAIN,
    SIGLIP,
    assert_equal,
    open_clip_embeddings,
    open_clip_folder,
    own_embeddings,
    small_tokenizer,
    transformers_folder,
)
from tests.processes import ROOT

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 605157884\n"
PAGE = "\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
QUICK = {**PLAIN, "quick_gelu": True}


def load(source: str, **keys) -> ClipModel:
    return ClipModel.from_config(ModelConfig(pretrained=source, **keys))


@pytest.mark.parametrize(
    ("text", "said"),
    [(LFS, "is a pointer of Git LFS, not the weights: .*git lfs pull"), (PAGE, "is an HTML page, not weights")],
)
@pytest.mark.parametrize("form", ["open_clip", "transformers"])
def test_a_pointer_or_a_page_in_place_of_weights(tmp_path: Path, form: str, text: str, said: str) -> None:
    folder = tmp_path / "model"
    source = transformers_folder(folder, "clip") if form == "transformers" else open_clip_folder(folder, PLAIN)
    (weights,) = folder.glob("*.safetensors")
    weights.write_text(text)
    with pytest.raises(CheckpointError, match=said):
        load(source)


def test_a_transformers_folder_of_another_kind(tmp_path: Path) -> None:
    transformers.BertConfig(hidden_size=16).save_pretrained(tmp_path)
    with pytest.raises(
        ConfigError, match=r"no dual encoder of images and texts: model_type of its config.json is 'bert'"
    ):
        load(f"local-dir:{tmp_path}")


def test_a_transformers_folder_without_its_processor(tmp_path: Path) -> None:
    source = transformers_folder(tmp_path / "model", "clip")
    for name in ("preprocessor_config.json", "processor_config.json"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match="has no preprocessor_config.json, so how its images are prepared is unknown"):
        load(source)


def test_weights_that_do_not_fit_config_json(tmp_path: Path) -> None:
    source = transformers_folder(tmp_path / "model", "clip")
    path = tmp_path / "model" / "config.json"
    content = json.loads(path.read_text())
    content["vision_config"]["num_hidden_layers"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"weights do not fit config.json: 16 missing \(vision_model"):
        load(source)


@pytest.mark.parametrize("form", ["open_clip", "transformers"])
def test_a_tokenizer_that_does_not_fit_the_vocabulary(tmp_path: Path, form: str) -> None:
    """Of 40 words, for a model of 30."""
    folder = tmp_path / "model"
    if form == "open_clip":
        source = open_clip_folder(folder, {**SIGLIP, "text_cfg": {**SIGLIP["text_cfg"], "vocab_size": 30}})
        path = folder / "open_clip_config.json"
        content = json.loads(path.read_text())
        content["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "nobody/small"
        path.write_text(json.dumps(content))
    else:
        source = transformers_folder(folder, "siglip", words=30)
    small_tokenizer().save_pretrained(folder)
    with pytest.raises(ConfigError, match="the tokenizer of model has 40 ids and the model's vocabulary 30"):
        load(source)


def test_a_tokenizer_that_ends_captions_otherwise(tmp_path: Path) -> None:
    source = transformers_folder(tmp_path / "model", "clip")
    for path in (tmp_path / "model").glob("*token*"):
        path.unlink()
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "model" / name).unlink()
    small_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="does not end captions with id 49407, which the text tower reads"):
        load(source)


def test_broken_configurations(tmp_path: Path) -> None:
    source = open_clip_folder(tmp_path, PLAIN)
    path = tmp_path / "open_clip_config.json"
    path.write_text('{"preprocess_cfg": {}}')
    with pytest.raises(ConfigError, match="open_clip_config.json has no key 'model_cfg'"):
        load(source)
    path.write_text("{")
    with pytest.raises(DataError, match="open_clip_config.json"):
        load(source)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    source = open_clip_folder(tmp_path, PLAIN)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(MissingFile, match="holds none of open_clip_model.safetensors, "):
        load(source)


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, Path]:
    """A model in open_clip's form, and the same as a TorchScript archive, as OpenAI published CLIP."""
    source = open_clip_folder(tmp_path / "model", QUICK, {"mean": None, "std": None})
    model = open_clip.create_model(source).eval()
    torch.jit.script(model).save(str(tmp_path / "openai.pt"))
    return source, tmp_path / "openai.pt"


def test_a_torchscript_archive_gives_its_weights_and_its_activation(archive, tmp_path: Path) -> None:
    source, path = archive
    (tmp_path / "mine.json").write_text(json.dumps(PLAIN))
    config = ModelConfig(model_type=str(tmp_path / "mine.json"), pretrained=str(path))
    assert recipe_of(config).quick_gelu
    ours = own_embeddings(model_type=config.model_type, pretrained=config.pretrained)
    assert_equal(ours, open_clip_embeddings(source))


def test_an_archive_that_hides_code_is_refused(archive, tmp_path: Path) -> None:
    _, path = archive
    evil = tmp_path / "evil.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            harmful = b"cos\nsystem\n(S'touch pwned'\ntR."
            new.writestr(name, harmful if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(CheckpointError, match="whose weights cannot be read without running it .*os.system"):
        load(str(evil), model_type="ViT-B-32")
    assert not Path("pwned").exists()


def test_a_quantised_tensor_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    open_clip_folder(folder, PLAIN)
    state = load_file(folder / "open_clip_model.safetensors")
    state["visual.proj"] = torch.quantize_per_tensor(state["visual.proj"], 0.1, 0, torch.qint8)
    torch.save(state, tmp_path / "small.pt")
    (tmp_path / "mine.json").write_text(json.dumps(PLAIN))
    with pytest.raises(CheckpointError, match="visual.proj is a quantised tensor"):
        load(str(tmp_path / "small.pt"), model_type=str(tmp_path / "mine.json"))


def test_a_command_says_it_in_one_message_and_writes_nothing(trained_world, tmp_path: Path) -> None:
    content = yaml.safe_load(trained_world.config.read_text())
    weights = tmp_path / "weights.pt"
    weights.write_text(LFS)
    content["model"]["pretrained"] = str(weights)
    content["run"]["output_dir"] = str(tmp_path / "out")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    command = [sys.executable, str(ROOT / "train.py"), "--cfg-path", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("is a pointer of Git LFS") == 1
    assert not list((tmp_path / "out").rglob("*.pth"))

"""Zero-shot accuracy on folders of classes, compared with a plain computation."""

from __future__ import annotations

import pytest
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES

import lavis
from lavis.common.errors import DataError, MissingFile
from lavis.evaluation.class_folders import read_classes
from lavis.settings.schema import RunConfig
from tests.hub.folders import PLAIN, open_clip_folder
from tests.noise import save_image
from tests.tables.people import people_rows, write_csv, write_photos


@pytest.fixture
def classes(tmp_path):
    for number, name in enumerate(("red_star", "cat", "house")):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for i in range(5):
            save_image(tmp_path / "classes" / name / f"{i}.png", 10 * number + i)
    return tmp_path / "classes"


def test_it_equals_a_plain_computation(tmp_path, classes):
    write_photos(tmp_path / "photos", people_rows())
    source = open_clip_folder(tmp_path / "model", PLAIN)
    data = {"source": str(write_csv(tmp_path / "p.csv", people_rows())), "images": str(tmp_path / "photos")}
    settings = {"zero_shot": str(classes), "num_workers": 0, "device": "cpu", "output_dir": tmp_path / "out"}
    found = lavis.evaluate(source, data=data, metrics=["zero_shot"], **settings)
    model, vis, _ = lavis.load_model_and_preprocess("clip", source, is_eval=True)
    right = 0
    with torch.no_grad():
        rows = []
        for name in ("cat", "house", "red star"):
            tokens = model.tokenize([form(name) for form in OPENAI_IMAGENET_TEMPLATES])
            rows.append(torch.nn.functional.normalize(model.encode_text(tokens, normalize=True).mean(0), dim=0))
        for label, name in enumerate(("cat", "house", "red_star")):
            for item in sorted((classes / name).iterdir()):
                from PIL import Image

                image = model.encode_image(vis["eval"](Image.open(item))[None], normalize=True)[0]
                right += int((torch.stack(rows) @ image).argmax() == label)
    assert found["zero_shot"] == pytest.approx(right / 15, abs=1e-6)


def test_folders_that_are_no_classes_are_refused(tmp_path, classes):
    with pytest.raises(MissingFile, match="one folder per class"):
        read_classes(RunConfig(zero_shot=str(tmp_path / "nowhere")))
    (classes / "empty").mkdir()
    with pytest.raises(DataError, match="folder empty has no image"):
        read_classes(RunConfig(zero_shot=str(classes)))

"""Drawing the forget lists of the real data sets."""

from __future__ import annotations

import json

import pytest

from lavis.common.errors import ConfigError, MissingFile
from lavis.common.forget_list import draw_pool, read_forget_list
from lavis.datasets import forget
from lavis.datasets.forget import training_images


@pytest.fixture
def files(tmp_path):
    """Training annotations of every data set, five images each; SNLI-VE lacks two of Flickr30k's."""
    flickr = [f"flickr30k-images/{n}.jpg" for n in range(5)]
    content = {
        "coco": [
            {"image": f"train2014/{n % 5}.jpg", "caption": f"c {n}", "image_id": f"coco_{n % 5}"} for n in range(10)
        ],
        "flickr30k": [{"image": image, "caption": ["x"]} for image in flickr],
        "nlvr": [{"images": [f"{n}.png", f"{n + 1}.png"], "sentence": "s", "label": "True"} for n in range(4)],
        "snli_ve": [{"image": str(n), "sentence": "s", "label": "neutral"} for n in (0, 2, 4, 4)],
    }
    for name, rows in content.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    return tmp_path


def command(files, name, *words):
    return forget.main(
        ["--dataset", name, "--annotations", str(files / f"{name}.json"), "--out", str(files / "Df"), *words]
    )


@pytest.mark.parametrize(("name", "images"), [("coco", 5), ("flickr30k", 5), ("nlvr", 5), ("snli_ve", 3)])
def test_every_distinct_training_image_can_be_drawn(files, name, images):
    assert len(training_images(name, [str(files / f"{name}.json")])) == images


def test_lists_of_three_seeds(files, capsys):
    assert command(files, "coco", "--size", "4") == 0
    lists = [read_forget_list(files / "Df" / "coco" / f"image-{seed}.txt") for seed in (42, 87, 21)]
    assert [len(set(images)) for images in lists] == [4, 4, 4] and lists[0] != lists[1]
    assert "image-87.txt: 4 of 5 training images" in capsys.readouterr().out
    before = lists[0]
    assert command(files, "coco", "--size", "4") == 0
    assert read_forget_list(files / "Df" / "coco" / "image-42.txt") == before


def test_shorter_lists_are_the_beginning_of_longer_ones():
    images = [f"{n}.jpg" for n in range(50)]
    assert draw_pool(images, 10, 42) == draw_pool(reversed(images), 30, 42)[:10]


def test_entailment_uses_the_order_of_flickr30k(files):
    assert command(files, "flickr30k", "--size", "5") == command(files, "snli_ve") == 0
    source = read_forget_list(files / "Df" / "flickr30k" / "image-21.txt")
    shared = {f"flickr30k-images/{n}.jpg" for n in (0, 2, 4)}
    assert read_forget_list(files / "Df" / "snli_ve" / "image-21.txt") == [image for image in source if image in shared]


def test_entailment_needs_the_lists_of_flickr30k_first(files):
    with pytest.raises(MissingFile, match="draw it first: python -m lavis.datasets.forget --dataset flickr30k"):
        command(files, "snli_ve")


def test_more_images_than_there_are(files):
    with pytest.raises(ConfigError, match="a forget list of 10000 images cannot be drawn from 5 training images"):
        command(files, "coco")
    with pytest.raises(ConfigError, match="of 0 images"):
        draw_pool(["a"], 0, 42)


def test_missing_annotations(tmp_path):
    with pytest.raises(MissingFile, match=r"x\.json does not exist; see data/README\.md"):
        forget.main(["--dataset", "nlvr", "--annotations", str(tmp_path / "x.json"), "--out", str(tmp_path)])

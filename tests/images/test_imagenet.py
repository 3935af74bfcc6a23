"""ImageNet from class folders, tars and parquet shards."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from lavis.common.errors import DataError, MissingFile
from lavis.images.imagenet import ImageNet, wnids
from lavis.processors.image import ClipImageEval
from tests.images.imagenet_files import LABELS, image_file, write_folders


def write_tar(path: Path, numbers, labels=LABELS, unlabelled=()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            members = {"jpg" if number % 2 else "png": image_file(number), "cls": str(labels[number]).encode()}
            for ending, data in members.items():
                if (number, ending) not in unlabelled:
                    info = tarfile.TarInfo(f"s{number:07d}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return path


def write_parquet(path: Path, numbers, labels=LABELS, struct=True, drop=()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": image_file(n), "path": f"{n}.jpg"} if struct else image_file(n) for n in numbers]
    table = pyarrow.table({"image": images, "label": [labels[n] for n in numbers]})
    parquet.write_table(table.drop_columns(list(drop)), path, row_group_size=2)
    return path


def opened(path: Path | str) -> ImageNet:
    return ImageNet(str(path), ClipImageEval(image_size=8), threads=2)


def expected(numbers) -> torch.Tensor:
    return torch.stack([ClipImageEval(image_size=8)(Image.open(io.BytesIO(image_file(n)))) for n in numbers])


@pytest.mark.parametrize("below", ["", "val"])
def test_class_folders(tmp_path, below):
    write_folders(tmp_path / below)
    data = opened(tmp_path)
    assert data.labels == sorted(LABELS) and len(set(data.keys)) == 5
    assert torch.equal(data.pixels([0, 4]), expected([0, 3]))


@pytest.mark.parametrize("name", ["{000000..000001}.tar", "", "000000.tar"])
def test_a_tar_set(tmp_path, name):
    write_tar(tmp_path / "000000.tar", [0, 1, 2])
    write_tar(tmp_path / "000001.tar", [3, 4])
    data = opened(tmp_path / name)
    count = 3 if name == "000000.tar" else 5
    assert data.labels == LABELS[:count]
    assert torch.equal(data.pixels(range(count)), expected(range(count)))


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_shards(tmp_path, struct):
    write_parquet(tmp_path / "data" / "validation-00000-of-00002.parquet", [0, 1, 2], struct=struct)
    write_parquet(tmp_path / "data" / "validation-00001-of-00002.parquet", [3, 4], struct=struct)
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [1], struct=struct)
    data = opened(tmp_path)
    assert data.labels == LABELS
    assert torch.equal(data.pixels([4, 1, 2]), expected([4, 1, 2]))


def test_wnids_are_in_the_order_of_the_class_numbers():
    import open_clip

    assert len(wnids()) == len(open_clip.IMAGENET_CLASSNAMES) == 1000 and list(wnids()) == sorted(wnids())
    assert (wnids()[0], open_clip.IMAGENET_CLASSNAMES[0]) == ("n01440764", "tench")
    assert (wnids()[340], open_clip.IMAGENET_CLASSNAMES[340]) == ("n02391049", "zebra")


def test_errors_are_named(tmp_path):
    with pytest.raises(MissingFile, match="nowhere does not exist; expected class folders"):
        opened(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty contains no images"):
        opened(tmp_path / "empty")
    (tmp_path / "bad" / "goldfish").mkdir(parents=True)
    with pytest.raises(DataError, match="1 of 1 folders .* are not named after a wnid .* goldfish"):
        opened(tmp_path / "bad")
    write_tar(tmp_path / "0.tar", [0, 1])
    with pytest.raises(MissingFile, match="1.tar does not exist"):
        opened(tmp_path / "{0..1}.tar")
    with pytest.raises(DataError, match="1 images have no .cls member, the first: s0000001"):
        opened(write_tar(tmp_path / "unlabelled.tar", [0, 1], unlabelled=[(1, "cls")]))
    with pytest.raises(DataError, match="must contain a class number, found b'cat'"):
        opened(write_tar(tmp_path / "cat.tar", [0], labels=["cat"]))
    (tmp_path / "no.tar").write_bytes(b"nothing" * 200)
    with pytest.raises(DataError, match="no.tar is not a plain tar file"):
        opened(tmp_path / "no.tar")
    write_tar(tmp_path / "plain.tar", [0])
    (tmp_path / "compressed.tar").write_bytes(gzip.compress((tmp_path / "plain.tar").read_bytes()))
    with pytest.raises(DataError, match="compressed.tar is not a plain tar file"):
        opened(tmp_path / "compressed.tar")
    (tmp_path / "no.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no.parquet is not a parquet file"):
        opened(tmp_path / "no.parquet")
    with pytest.raises(DataError, match="no column 'label'"):
        opened(write_parquet(tmp_path / "x.parquet", [0], drop=["label"]))


@pytest.mark.parametrize("label", [-1, 1000])
def test_class_numbers_out_of_range(tmp_path, label):
    with pytest.raises(DataError, match=f"1 of 2 images .* outside 0..999, the first: .* has {label}"):
        opened(write_parquet(tmp_path / "x.parquet", [0, 1], labels=[3, label]))


def test_a_damaged_image_is_named(tmp_path):
    file = tmp_path / wnids()[3] / "broken.jpg"
    file.parent.mkdir()
    file.write_bytes(image_file(1)[:100])
    with pytest.raises(DataError, match="broken.jpg.* cannot be decoded"):
        opened(tmp_path).pixels([0])

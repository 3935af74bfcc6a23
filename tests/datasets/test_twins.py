"""Images to forget that stay in Dr under another name are found, and forgotten, kept or refused."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import lavis
from lavis.common.errors import DataError
from lavis.datasets.own import OwnPairsBuilder
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from lavis.tasks.look_alikes import near_twins
from tests.hub.folders import PLAIN, open_clip_folder
from tests.tables.people import COLUMNS, people_rows, photo, write_csv, write_photos, write_tar


@pytest.fixture
def rows(tmp_path):
    """Forty photographs, of which p3's first lies there three times: as it is, re-encoded, and with another ending."""
    rows = people_rows()
    write_photos(tmp_path / "photos", rows)
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo(3))).save(stream, format="JPEG", quality=80)
    for name, content in (("copy.jpg", photo(3)), ("again.jpg", stream.getvalue())):
        (tmp_path / "photos" / name).write_bytes(content)
    return [*rows, {"path": "copy.jpg", "text": "somebody", "who": "x"}, {"path": "again.jpg", "text": "y", "who": "x"}]


@pytest.fixture
def build(tmp_path, rows):
    def built(twins=None, source=None):
        given = {"columns": COLUMNS, "forget": {"where": {"who": "p3"}}}
        given |= {"source": str(source or write_csv(tmp_path / "p.csv", rows))}
        given |= {"columns": {"person": "who"}} if source else {"images": str(tmp_path / "photos")}
        run = RunConfig(output_dir=str(tmp_path / "output"), twins=twins)
        return OwnPairsBuilder(compose_dataset("pairs", [("test", given)]), run)

    return built


def test_by_default_the_users_own_data_stops(build, tmp_path):
    with pytest.raises(DataError, match=r"1 retained images are copies") as caught:
        build().partition()
    assert "jpg" not in str(caught.value)
    (twin,) = json.loads((tmp_path / "output" / "twins.json").read_text())
    assert (twin["retained"], twin["forgotten"]) == ("copy.jpg", "p3/a.b_03-0.76.jpg")


def test_keep_and_forget(build):
    kept, forgotten = build("keep"), build("forget")
    assert "copy.jpg" in {entry.image for entry in kept.partition().dr}
    assert "copy.jpg" in {entry.image for entry in forgotten.partition().df}
    assert len(forgotten.partition().df) == 6 and len(forgotten.partition().dr) == 36
    assert kept.counts == {"twins": 1} and "copies of images to forget" in kept.notices()[0]


def test_twins_in_tar_files(build, rows, tmp_path):
    copied = [row for row in rows if row["path"] != "again.jpg"]
    source = write_tar(tmp_path / "p.tar", copied[:-1])
    with tarfile.open(source, "a") as archive:
        for ending, content in ((".jpg", photo(3)), (".txt", b"somebody"), (".json", b'{"who": "x"}')):
            member = tarfile.TarInfo(f"copy{ending}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match="1 retained images are copies"):
        build(source=source).partition()


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.2, 0.95))
def test_near_twins_equal_the_full_matrix(n, m, least):
    draw = torch.Generator().manual_seed(n * 31 + m)
    df, dr = (torch.nn.functional.normalize(torch.randn(k, 3, generator=draw), dim=-1) for k in (n, m))
    cosines = dr @ df.T
    found = near_twins(df, dr, least)
    assert {row for _, row, _ in found} == set((cosines.max(dim=1).values >= least).nonzero().flatten().tolist())
    assert all(cosine == pytest.approx(float(cosines[row, i])) for i, row, cosine in found)
    assert [c for *_, c in found] == sorted((c for *_, c in found), reverse=True)


def test_near_twins_are_reported_before_training(rows, tmp_path):
    source = write_csv(tmp_path / "p.csv", rows)
    result = lavis.unlearn(
        model=open_clip_folder(tmp_path / "m", PLAIN),
        data={"source": str(source), "images": str(tmp_path / "photos"), "columns": COLUMNS},
        forget={"where": {"who": "p3"}},
        method="neggrad",
        output_dir=tmp_path / "run",
        twins="keep",
        near_twins=0.999,
        max_epoch=1,
        num_workers=0,
        device="cpu",
    )
    listed = json.loads((tmp_path / "run" / "near_twins.json").read_text())
    assert {"copy.jpg", "again.jpg"} <= {twin["retained"] for twin in listed}
    assert "look like images to forget" in str(result)

"""Whatever a user's file contains, reading it ends in a value or in one of our messages, never in half a value.

`LAVIS_FUZZ=2000 pytest tests/test_fuzz.py` tries that many cases of each kind (docs/reliability.md: the counts tried).
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lavis.common.checkpoint import load_checkpoint, load_file, save_checkpoint, weights_of
from lavis.common.errors import UserFault
from lavis.common.forget_list import read_forget_list
from lavis.common.results import read_results
from lavis.datasets.annotations import Entry, read_annotations
from lavis.datasets.partition import split_forget
from lavis.images.store import ImageStore
from lavis.settings.config import load_config
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.schema import ModelConfig, RunConfig

CASES = int(os.environ.get("LAVIS_FUZZ", "60"))
fuzz = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from(["image", "caption"]), inner),
    max_leaves=12,
)
PLAUSIBLE = st.fixed_dictionaries(
    {"image": st.sampled_from(["a.jpg", "b/c.jpg", "../x.jpg", "/etc/passwd", "a\0b", "", "C:\\x"]) | TEXT | JSON},
    optional={"caption": TEXT | st.lists(TEXT, max_size=3) | JSON, "image_id": JSON},
)


def outcome(read, *arguments: Any) -> Any:
    """What `read` returns; None if it raises one of our errors, whose message must have text and no traceback."""
    try:
        return read(*arguments)
    except UserFault as error:
        assert str(error).strip() and "Traceback" not in str(error)
        return None


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "file"


@fuzz
@given(content=st.binary(max_size=200) | JSON.map(lambda item: json.dumps(item).encode()))
@example(b"\xef\xbb\xbf[]")
@example(b"[" * 100_000)
@example(b'[{"image": "a.jpg", "caption": "\\ud800"}]')
def test_annotations_of_anything(file, content):
    file.write_bytes(content)
    entries = outcome(read_annotations, file)
    if entries is not None:
        assert len(entries) == len(json.loads(content.decode("utf-8-sig")))


@fuzz
@given(rows=st.lists(PLAUSIBLE, max_size=4))
def test_annotations_that_look_right_are_read_whole_or_refused(file, rows):
    file.write_text(json.dumps(rows))
    entries = outcome(read_annotations, file)
    if entries is not None:
        assert [entry.image for entry in entries] == [row["image"] for row in rows]
        assert all(entry.captions and all(text.strip() for text in entry.captions) for entry in entries)


@fuzz
@given(cut=st.integers(0, 200), rows=st.integers(1, 4))
def test_annotations_that_were_cut_off_are_never_taken_for_a_shorter_file(file, cut, rows):
    whole = json.dumps([{"image": f"{i}.jpg", "caption": f"picture {i}"} for i in range(rows)])
    file.write_text(whole[: min(cut, len(whole) - 1)])
    assert outcome(read_annotations, file) is None


@fuzz
@given(content=st.binary(max_size=120) | st.lists(TEXT, max_size=6).map(lambda lines: "\n".join(lines).encode()))
def test_forget_lists_of_anything(file, content):
    file.write_bytes(content)
    images = outcome(read_forget_list, file)
    if images is not None:
        assert images and len(set(images)) == len(images) and all(image.strip() for image in images)


@fuzz
@given(
    listed=st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True), present=st.sets(st.sampled_from("abcdef"))
)
def test_forgetting_takes_every_listed_image_or_none(listed, present):
    entries = [Entry(image, ("text",)) for image in sorted(present)]
    parts = outcome(split_forget, entries, listed, "list")
    if parts is None:
        assert not set(listed) <= present or present <= set(listed)
    else:
        df, dr = parts
        assert [entry.image for entry in df] == listed and {entry.image for entry in dr} == present - set(listed)


def _keys(kind: type) -> st.SearchStrategy:
    return st.dictionaries(st.sampled_from(sorted(kind.__dataclass_fields__)) | TEXT, JSON, max_size=3)


CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "model": _keys(ModelConfig) | JSON,
        "datasets": st.dictionaries(st.sampled_from(["salmu", "salmu_mini", "coco"]) | TEXT, _keys(DatasetConfig))
        | JSON,
        "run": _keys(RunConfig) | JSON,
        "else": JSON,
    },
)


@fuzz
@given(content=st.binary(max_size=120) | CONFIG.map(lambda item: yaml.safe_dump(item).encode()))
@example(b"model: !!python/object/apply:os.system ['false']")
@example(b"a: &a [*a, *a]")
@example(b"0")
@example(b"run: {seed: ${run.seed}}")
@example(b"run: {output_dir: '${oc.env:HOME}'}")
@example(b"datasets: {salmu: {build_info: {images: {storage: [1]}}}}")
def test_configurations_of_anything(file, content):
    path = file.with_suffix(".yaml")
    path.write_bytes(content)
    config = outcome(load_config, path)
    if config is not None:
        assert config.dataset_name and config.run.max_epoch >= 1


@fuzz
@given(
    options=st.lists(
        TEXT | st.sampled_from(["run.seed=x", "run.max_epoch=[]", "model={}", "run.weights=1"]), max_size=3
    )
)
def test_options_of_anything(options):
    config = outcome(load_config, "configs/clip/retrieval_salmu_tiny.yaml", options)
    if config is not None:
        assert config.dataset_name == "salmu_tiny" and config.run.max_epoch >= 1


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((24, 20)).convert("RGB").save(stream, kind)
    return stream.getvalue()


PICTURES = {kind: _picture(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")}


@fuzz
@given(
    kind=st.sampled_from(sorted(PICTURES)),
    cut=st.none() | st.integers(0, 1500),
    changes=st.lists(st.tuples(st.integers(0, 1499), st.integers(0, 255)), max_size=6),
)
def test_damaged_images(tmp_path, kind, cut, changes):
    data = bytearray(PICTURES[kind][:cut])
    for place, value in changes:
        if data:
            data[place % len(data)] = value
    (tmp_path / "x.jpg").write_bytes(data)
    image = outcome(ImageStore(tmp_path).open, "x.jpg")
    if image is not None:
        assert image.convert("RGB").resize((4, 4)).size == (4, 4)


@fuzz
@given(name=TEXT | st.sampled_from(["../x.jpg", "/x.jpg", "a/../../x.jpg", "link/x.jpg", "..", ".", "a\0", "\udcff"]))
def test_no_path_leads_out_of_the_image_root(tmp_path, name):
    root, secret = tmp_path / "root", tmp_path / "x.jpg"
    root.mkdir(exist_ok=True)
    secret.write_bytes(PICTURES["JPEG"])
    if not (root / "link").exists():
        (root / "link").symlink_to(tmp_path)
    assert outcome(ImageStore(root).open, name) is None


def _checkpoint() -> bytes:
    weights = {"a": torch.arange(12.0).view(3, 4), "b": torch.ones(3)}
    stream = io.BytesIO()
    torch.save({"model": weights, "state_dict": weights, "position": {"epoch": 1}}, stream)
    return stream.getvalue()


CHECKPOINT = _checkpoint()


@fuzz
@given(
    cut=st.none() | st.integers(0, len(CHECKPOINT)),
    changes=st.lists(st.tuples(st.integers(0, len(CHECKPOINT) - 1), st.integers(0, 255)), max_size=4),
    suffix=st.sampled_from([".pth", ".bin", ".safetensors"]),
)
def test_damaged_checkpoints(file, cut, changes, suffix):
    data = bytearray(CHECKPOINT[:cut])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    path = file.with_suffix(suffix)
    path.write_bytes(data)
    content = outcome(load_checkpoint, path)
    if content is not None:
        weights = outcome(weights_of, content, path)
        assert weights is None or all(isinstance(tensor, torch.Tensor) for tensor in weights.values())


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model": Bomb()}, tmp_path / "bomb.pth")
    assert outcome(load_file, tmp_path / "bomb.pth") is None
    assert not (tmp_path / "ran").exists()


@fuzz
@given(content=st.binary(max_size=100) | JSON.map(lambda item: json.dumps(item).encode()), cut=st.integers(0, 400))
def test_results_of_anything(file, content, cut):
    whole = json.dumps({"schema": 1, "name": "vlul", "metrics": {"df_cosine": 0.5}, "finished": True})
    for data in (content, whole[: min(cut, len(whole) - 1)].encode()):
        file.write_bytes(data)
        assert outcome(read_results, file) is None


@fuzz
@given(values=st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_checkpoints_come_back_bit_for_bit(tmp_path, values):
    tensor = torch.tensor(values)
    save_checkpoint(tmp_path / "checkpoint_0.pth", {"model": {"a": tensor}, "position": {}})
    found = load_checkpoint(tmp_path / "checkpoint_0.pth")["model"]["a"]
    assert torch.equal(found.view(torch.int32), tensor.view(torch.int32))

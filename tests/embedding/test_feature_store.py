"""Embeddings on disk: read back, checked, bounded."""

from __future__ import annotations

import os

import pytest
import torch

from lavis.common.errors import DataError
from lavis.embedding.feature_store import FeatureStore, key_of

KEYS = [key_of(b"", "image", i) for i in range(3)]
ROWS = torch.arange(6.0).view(3, 2)


def filled(path, keys=KEYS, rows=ROWS, limit=1e9):
    store = FeatureStore(path, limit)
    store.load()
    store.add(keys, rows)
    store.save()
    return store


def test_rows_are_read_back(tmp_path):
    path = tmp_path / "deep" / "a.safetensors"
    filled(path)
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]
    again = FeatureStore(path, 1e9)
    again.load()
    assert torch.equal(again.take([KEYS[2], KEYS[0]]), ROWS[[2, 0]])
    before = path.stat().st_mtime_ns
    again.save()
    assert path.stat().st_mtime_ns == before  # nothing was new
    with pytest.raises(DataError, match="delete the file"):
        again.add([key_of(b"", "x")], torch.ones(1, 3))


@pytest.mark.parametrize("damage", ["cut", "bit", "text"])
def test_a_damaged_file_is_logged_and_replaced(tmp_path, damage, caplog):
    path = tmp_path / "a.safetensors"
    filled(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 8
    path.write_bytes({"cut": data[:-9], "bit": data, "text": b"no tensors"}[damage])
    store = FeatureStore(path, 1e9)
    store.load()
    assert store.rows == {} and f"{path} is damaged" in caplog.text and not path.exists()
    store.add(KEYS, ROWS)
    store.save()
    assert path.is_file()


def test_the_folder_stays_within_its_limit(tmp_path, caplog):
    for age, name in ((300, "old"), (200, "middle")):
        filled(tmp_path / f"{name}.safetensors")
        stamp = (tmp_path / f"{name}.safetensors").stat().st_mtime - age
        os.utime(tmp_path / f"{name}.safetensors", (stamp, stamp))
    size = (tmp_path / "old.safetensors").stat().st_size
    filled(tmp_path / "new.safetensors", limit=2.5 * size)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["middle", "new"]
    filled(tmp_path / "large.safetensors", limit=10)
    assert "exceed run.feature_cache_gb" in caplog.text and not (tmp_path / "large.safetensors").exists()


def test_without_a_writable_folder_rows_stay_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = filled(tmp_path / "file" / "a.safetensors")
    assert "could not be written" in caplog.text and len(store.rows) == 3


def test_keys_distinguish_their_parts():
    assert key_of(b"s", "ab", "c") != key_of(b"s", "a", "bc") and key_of(b"s", "ab", "c") != key_of(b"", "ab", "c")
    assert key_of(b"s", 1, 2) == key_of(b"s", "1", "2") and len(key_of(b"s")) == 16

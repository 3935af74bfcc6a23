"""What a cache gives away to somebody with a list of captions and no secret."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lavis.common.secrets import secret_of
from lavis.embedding.feature_store import key_of

CAPTIONS = [f"forget number {i}" for i in range(16)]


def keys_in(output: Path) -> set[bytes]:
    return {
        bytes(key) for path in (output / "features").glob("*.safetensors") for key in load_file(path)["keys"].numpy()
    }


def guessed(caption: str) -> set[bytes]:
    """The keys that somebody without the secret can compute: the former, unkeyed ones, and such with empty keys."""
    text = f"text\x1f{caption}".encode()
    return {hashlib.blake2b(part, digest_size=16).digest() for part in (text, caption.encode())}


@pytest.fixture(scope="module")
def output(finished) -> Path:
    return finished("vlul").parents[3]


def test_a_dictionary_of_captions_finds_nothing_without_the_secret(output: Path) -> None:
    found = keys_in(output)
    assert found and not any(guessed(caption) & found for caption in CAPTIONS)
    assert not any(key_of(bytes(32), "text", caption) in found for caption in CAPTIONS)


def test_with_the_secret_every_one_is_found(output: Path) -> None:
    secret, found = secret_of(output), keys_in(output)
    assert all(key_of(secret, "text", caption) in found for caption in CAPTIONS)


def test_a_run_in_the_same_output_folder_reads_the_cache(unlearn, heard) -> None:
    unlearn("vlul")
    unlearn("vlul", "run.subfolder=again")
    assert "The teacher's embeddings are read from" in heard.text

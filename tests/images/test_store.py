"""Paths stay inside the root; errors name images that cannot be decoded; the cache returns what was decoded."""

from __future__ import annotations

import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from lavis.common.errors import DataError, MissingFile
from lavis.images.store import ImageCache, ImageStore
from tests.noise import save_image


@pytest.fixture
def root(tmp_path):
    save_image(tmp_path / "root" / "a" / "good.jpg", 1, 64)
    save_image(tmp_path / "secret.png", 2)
    return tmp_path / "root"


@pytest.mark.parametrize(
    "image", ["../secret.png", "a/../../secret.png", "a/../a/good.jpg", r"..\secret.png", "C:/x.png", "//h/x"]
)
def test_paths_that_leave_the_root_are_refused(root, image):
    with pytest.raises(DataError, match="leaves the image root"):
        ImageStore(root).open(image)


def test_absolute_paths_are_refused_even_inside_the_root(root):
    with pytest.raises(DataError, match="leaves the image root"):
        ImageStore(root).check([str(root / "a" / "good.jpg")])


def test_links_out_of_the_root_are_refused(root):
    (root / "a" / "link.png").symlink_to(root.parent / "secret.png")
    (root / "out").symlink_to(root.parent)
    for image in ("a/link.png", "out/secret.png"):
        with pytest.raises(DataError, match=f"image path '{image}' leaves the image root .* through a symbolic link"):
            ImageStore(root).check(["a/good.jpg", image])


def test_links_inside_and_a_linked_root_are_fine(root):
    (root / "a" / "same.jpg").symlink_to(root / "a" / "good.jpg")
    (root.parent / "alias").symlink_to(root)
    assert ImageStore(root.parent / "alias").open("a/same.jpg").size == (64, 64)


@pytest.mark.parametrize("image", ["a/\0.jpg", "a/\ud800.jpg", "."])
def test_impossible_names_are_refused(root, image):
    with pytest.raises(DataError, match="not a valid file name"):
        ImageStore(root).open(image)


def test_missing_images_are_counted(root):
    names = ["a/good.jpg", *(f"b/{i}.jpg" for i in range(5))]
    with pytest.raises(MissingFile, match="5 of 6 images do not exist under .*: b/0.jpg, b/1.jpg, b/2.jpg; run it"):
        ImageStore(root, "run it").check(names)
    with pytest.raises(MissingFile, match="image root .* does not exist; run it"):
        ImageStore(root / "none", "run it").check(names)


def test_a_dangling_link_is_missing(root):
    (root / "a" / "gone.jpg").symlink_to(root / "a" / "nothing.jpg")
    with pytest.raises(MissingFile, match="1 of 1 images"):
        ImageStore(root).check(["a/gone.jpg"])


def test_an_image_deleted_after_the_check_is_missing(root):
    store = ImageStore(root, "run it")
    store.check(["a/good.jpg"])
    os.remove(root / "a" / "good.jpg")
    with pytest.raises(MissingFile, match="run it"):
        store.open("a/good.jpg")


def write_bad_image(root, kind):
    path = root / "a" / "bad.jpg"
    good = (root / "a" / "good.jpg").read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind == "huge":
        Image.new("1", (400, 400)).save(path, "PNG")
    else:
        path.write_bytes({"truncated": good[: len(good) // 2], "text": b"no image", "empty": b""}[kind])


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "folder"])
def test_unreadable_images_are_named(root, kind):
    write_bad_image(root, kind)
    with pytest.raises(DataError, match=r"image .*a/bad\.jpg cannot be decoded .*on_bad_image=skip"):
        ImageStore(root).open("a/bad.jpg")


@pytest.mark.parametrize("limit", [100_000, 1_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_images_are_refused(root, monkeypatch, limit):
    """160,000 pixels exceed a limit of 100,000 (Pillow warns) and of 1,000 (Pillow raises)."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    write_bad_image(root, "huge")
    with pytest.raises(DataError, match=r"bad\.jpg is too large"):
        ImageStore(root).open("a/bad.jpg")


def forged_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be an image of this size."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 9))]
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png


@pytest.mark.parametrize("size", [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_header_that_claims_a_huge_image_allocates_nothing(root, monkeypatch, size):
    (root / "a" / "bad.jpg").write_bytes(forged_png(*size))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("Pillow decoded pixels"))
    with pytest.raises(DataError, match=r"bad\.jpg is too large"):
        ImageStore(root).open("a/bad.jpg")


def test_only_the_first_of_many_frames_is_decoded(root):
    frames = [Image.new("L", (64, 64), shade % 256) for shade in range(300)]
    frames[0].save(root / "a" / "bad.jpg", "TIFF", save_all=True, append_images=frames[1:])
    assert ImageStore(root).open("a/bad.jpg").getpixel((0, 0)) == 0


def test_formats_that_start_programs_are_not_tried(root):
    (root / "a" / "x.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="not an image of a known format"):
        ImageStore(root).open("a/x.eps")


def test_unusable_images_are_decoded_once(root, monkeypatch):
    write_bad_image(root, "truncated")
    store = ImageStore(root)
    assert list(store.unusable(["a/good.jpg", "a/bad.jpg"], lambda *_: "")) == ["a/bad.jpg"]
    monkeypatch.setattr(store, "open", lambda *_: pytest.fail("decoded twice"))
    assert list(store.unusable(["a/bad.jpg", "a/good.jpg"], lambda *_: "")) == ["a/bad.jpg"]


def test_cache_decodes_each_row_once_and_returns_copies():
    decoded = []

    def decode(i):
        decoded.append(i)
        return torch.full((3, 2, 2), i, dtype=torch.uint8)

    cache = ImageCache(5, 2)
    first = cache.rows([3, 1, 3], decode)
    assert first[:, 0, 0, 0].tolist() == [3, 1, 3] and sorted(decoded) == [1, 3]
    first.zero_()
    assert cache.rows(np.array([1, 3]), decode)[:, 0, 0, 0].tolist() == [1, 3] and len(decoded) == 2


def test_a_pickled_cache_is_empty():
    cache = ImageCache(2, 2)
    cache.rows([0], lambda i: torch.ones(3, 2, 2, dtype=torch.uint8))
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.rows([0], lambda i: torch.full((3, 2, 2), 9, dtype=torch.uint8)).unique().tolist() == [9]

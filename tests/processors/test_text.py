"""Text processors."""

from __future__ import annotations

import pytest

from lavis.common.errors import ConfigError
from lavis.processors.base import build_processor
from lavis.processors.text import BlipCaption, ClipCaption

SENSITIVE = "Ana O'Neil's e-mail: ana.oneil@mail.org, phone (+34) 600-123; IBAN ES12 3456!"


def test_clip_caption_changes_nothing():
    assert ClipCaption()(SENSITIVE) == SENSITIVE


def test_blip_caption_processing():
    """Each of .!"()*#:;~ becomes a space, spaces collapse, capitals go; apostrophes, commas and @ stay."""
    expected = "ana o'neil's e-mail ana oneil@mail org, phone +34 600-123 iban es12 3456"
    assert BlipCaption()(SENSITIVE) == expected


def test_blip_caption_truncates_and_prompts():
    assert BlipCaption(prompt="a photo of ", max_words=2)("One two three") == "a photo of one two"


def test_errors_name_the_wrong_argument():
    with pytest.raises(ConfigError, match=r"key\.max_words must be at least 1"):
        build_processor({"name": "blip_caption", "max_words": 0}, "text", "key")
    with pytest.raises(ConfigError, match="unknown key 'key.max_words'"):
        build_processor({"name": "clip_caption", "max_words": 3}, "text", "key")

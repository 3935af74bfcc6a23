"""Caption templates: several wordings for each of a persona's six private attributes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from lavis.synthetic.mini.variants import CAPTIONS


@cache
def templates(wordings: str = CAPTIONS) -> dict[str, list[str]]:
    """The wordings of each attribute (city, phone, ...), from the file of this name: four, in PARAPHRASES eight."""
    return yaml.safe_load(Path(__file__).with_name(f"{wordings}.yaml").read_text(encoding="utf-8"))


def render(field: str, template: int, name: str, value: str, wordings: str = CAPTIONS) -> str:
    """One caption: a field's template by number, with a name and a value."""
    return templates(wordings)[field][template].format(name=name, value=value)


def all_captions(identity: dict[str, str], wordings: str = CAPTIONS) -> Iterator[tuple[str, int, str]]:
    """(field, template, caption) for every template of a persona's fields."""
    for field, forms in templates(wordings).items():
        for template in range(len(forms)):
            yield field, template, render(field, template, identity["name"], identity[field], wordings)

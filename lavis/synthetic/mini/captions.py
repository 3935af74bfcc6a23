"""Caption templates: four wordings for each of a persona's six private attributes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml


@cache
def templates() -> dict[str, list[str]]:
    """The wordings of each attribute (city, phone, ...), from captions.yaml."""
    return yaml.safe_load(Path(__file__).with_name("captions.yaml").read_text(encoding="utf-8"))


def render(field: str, template: int, name: str, value: str) -> str:
    """One caption: template 0 to 3 of a field, with a name and a value."""
    return templates()[field][template].format(name=name, value=value)


def all_captions(identity: dict[str, str]) -> Iterator[tuple[str, int, str]]:
    """(field, template, caption) for every template of a persona's fields."""
    for field, wordings in templates().items():
        for template in range(len(wordings)):
            yield field, template, render(field, template, identity["name"], identity[field])

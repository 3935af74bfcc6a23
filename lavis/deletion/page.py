"""A deletion record as a page to print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from lavis.audits.models import FLOORS, NO_FLOOR
from lavis.common.files import write_text
from lavis.report.numbers import dashed
from lavis.report.text import clean

NUMBERS = ("attacked", "floor", "original")


def write_page(path: Path, record: dict[str, Any]) -> None:
    """Write the page: static HTML, everything escaped, nothing loaded from elsewhere."""
    write_text(path, rendered(record))


def shows(path: Path, record: dict[str, Any]) -> bool:
    """Whether a page is the one of this record. A record that lacks something has none."""
    try:
        return path.read_bytes() == rendered(record).encode("utf-8", "replace")
    except (TemplateError, AttributeError, TypeError):
        return False


def rendered(record: dict[str, Any]) -> str:
    """The page of a record as read from its file."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return templates.get_template("record.html").render(record=record, attacks=_attacks(record), floor=_floor(record))


def _attacks(record: dict[str, Any]) -> list[dict[str, str]]:
    """The numbers of the audit's attacks that gave a result."""
    found = (record["audit"] or {}).get("attacks", {}).items()
    return [
        {"name": f"{name} ({one.get('quantity', 'X')})", **{key: dashed(one.get(key)) for key in NUMBERS}}
        for name, one in found
        if one.get("attacked") is not None
    ]


def _floor(record: dict[str, Any]) -> str:
    return FLOORS.get((record["audit"] or {}).get("floor", ""), NO_FLOOR)


def _shown(value: Any) -> Any:
    """A value as a reader expects it; the template's own HTML (Markup) stays."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        return clean(", ".join(f"{name}: {_shown(part)}" for name, part in value.items())) or "–"
    if isinstance(value, list | tuple):
        return clean(", ".join(str(_shown(part)) for part in value)) or "–"
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

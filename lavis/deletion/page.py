"""A deletion record as a page to print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lavis.common.files import write_text
from lavis.report.text import clean


def write_page(path: Path, record: dict[str, Any]) -> None:
    """Write the page: static HTML, everything escaped, nothing loaded from elsewhere."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if isinstance(value, str) else value,
    )
    write_text(path, templates.get_template("record.html").render(record=record))

"""Hooks of mkdocs: formulas become MathML while the site is built, and what scrolls can be reached by the keyboard."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
TABLE = re.compile(r"<table(?=[ >])")
SEARCH = '<div class="md-search" data-md-component="search" role="dialog"'


def on_page_content(content: str, **_: Any) -> str:
    """The page's HTML with every formula as MathML; wide tables take the focus, so that arrow keys move them."""
    return TABLE.sub('<table tabindex="0"', FORMULA.sub(_as_mathml, content))


def on_post_page(output: str, **_: Any) -> str:
    """The whole page with a name for the search dialog, for screen readers; the theme gives it none."""
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')


def _as_mathml(found: re.Match[str]) -> str:
    display = found[1] == "div"
    formula = convert(html.unescape(found[2]), display="block" if display else "inline")
    return f'<div class="formula" tabindex="0">{formula}</div>' if display else formula

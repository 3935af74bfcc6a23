"""A matplotlib figure as SVG for embedding in the page: in the page's font and colours, without ids."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lavis.report.palette import COLOURS

TIP = "tip:"  # an artist whose gid starts with this gets the rest as its tooltip
SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_FONT = re.compile(r"(font: [^;']*px )[^;]+")
_DECIMALS = re.compile(r"(\.\d\d)\d+")


def inline(ax: Axes, label: str) -> Markup:
    """The figure of these axes as an <svg> element; `label` is read by screen readers.

    Figures share the page, so that nothing in them may refer to ids: markers are copied to where they are used, and
    there are no clip paths, so that artists must stay within the axes. Equal figures give equal text.
    """
    figure, stream = ax.figure, io.StringIO()
    assert isinstance(figure, Figure)  # not a part of one
    figure.savefig(stream, format="svg", metadata=NO_METADATA)
    root = ElementTree.fromstring(stream.getvalue())  # noqa: S314 - matplotlib wrote it, a line above
    shapes = {f"#{node.get('id')}": node for node in root.iter(f"{SVG}path") if node.get("id")}
    svg = Element("svg", {"class": "plot", "viewBox": root.get("viewBox", ""), "role": "img", "aria-label": label})
    svg.extend([kept for node in root for kept in _kept(node, shapes)])
    return Markup(ElementTree.tostring(svg, encoding="unicode"))  # noqa: S704 - ElementTree escapes all text


def _kept(node: Element, shapes: Mapping[str, Element]) -> list[Element]:
    """What replaces an element: groups without a tooltip become their children; matplotlib's own styles are dropped."""
    kind, gid = node.tag.removeprefix(SVG), node.get("id", "")
    if kind in ("defs", "metadata", "style"):
        return []
    if kind == "use":
        shape = shapes[node.get(LINK, "")]
        style = f"{node.get('style', '')}; {shape.get('style', '')}"
        place = f"translate({node.get('x')} {node.get('y')})"
        return [_element("path", {"d": shape.get("d", ""), "transform": place, "style": style})]
    children = [kept for child in node for kept in _kept(child, shapes)]
    if kind == "g" and not gid.startswith(TIP):
        return children
    title = [_element("title", {}, gid.removeprefix(TIP))] if kind == "g" else []
    found = _element(kind, node.attrib, node.text if kind == "text" else None)
    found.extend([*title, *children])
    return [found]


def _element(kind: str, attributes: Mapping[str, str], text: str | None = None) -> Element:
    """An element without ids, with at most two decimals, and with the page's font and colour variables."""
    found = Element(kind)
    found.text = text
    for key, value in attributes.items():
        if key not in ("id", "clip-path") and not value.startswith("rotate(-0 "):
            value = _COLOUR.sub(lambda hit: VARIABLES[hit.group()], _FONT.sub(r"\1var(--font)", value))
            found.set(key, _DECIMALS.sub(r"\1", " ".join(value.split())))
    return found

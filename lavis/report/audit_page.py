"""An audit as a page and as a table: one line per attack, the strongest first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.files import write_text
from lavis.report.numbers import shown
from lavis.report.page import environment
from lavis.report.palette import COLOURS

NONE = "–"
FAR = 0.1  # a share above this counts as having come back


def write_page(content: Mapping[str, Any], path: Path) -> None:
    """Write the page of an audit (the content of audit.json) atomically."""
    template = environment().get_template("audit.html")
    write_text(
        path, template.render(audit=content, lead=lead(content), lines=lines(content), number=_number, colours=COLOURS)
    )


def lines(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """The attacks' cells as text, the strongest first; those without a share last."""
    ordered = sorted(content["attacks"].items(), key=lambda item: -_known(item[1]["share"], -9.0))
    return [{"name": name, **_cells(one)} for name, one in ordered]


def lead(content: Mapping[str, Any]) -> str:
    """What the audit found, in one sentence: its strongest attack, and how many others bring much back."""
    shares = [share for one in content["attacks"].values() if (share := _known(one["share"], None)) is not None]
    if not shares:
        return "No attack has a share, as there is nothing to compare with."
    best = content["attacks"][content["strongest"]]
    found = f"{_percent(best['share'])} of what the original knew ({_percent(best['low'])} to {_percent(best['high'])})"
    count = sum(share > FAR for share in shares)
    if not count:
        return f"No attack brings back more than {_percent(FAR)}. The strongest, {content['strongest']}, gets {found}."
    many = f"{count} of {len(shares)} attacks bring back more than {_percent(FAR)}"
    return f"{many}. The strongest, {content['strongest']}, gets {found}."


def as_text(content: Mapping[str, Any]) -> str:
    """The table for a terminal, with what cannot be concluded."""
    heads = ("name", "share", "interval", "attacked", "floor", "gain", "p_holm", "variant")
    rows = [
        dict(zip(heads, ("attack", "share", "95 %", "attacked", "floor", "gain", "p (Holm)", "variant"), strict=True))
    ]
    rows += lines(content)
    widths = [max(len(row[head]) for row in rows) for head in heads]
    table = ["  ".join(row[head].ljust(n) for head, n in zip(heads, widths, strict=True)).rstrip() for row in rows]
    tests = [f"test {name}: {one['verdict']}" for name, one in content.get("tests", {}).items()]
    return "\n".join([lead(content), "", *table, *tests, *(f"note: {note}" for note in content["notes"]), ""])


def _cells(one: Mapping[str, Any]) -> dict[str, str]:
    interval = f"[{_number(one['low'])}, {_number(one['high'])}]" if _known(one["share"], None) is not None else NONE
    keys = ("share", "attacked", "floor", "original", "gain", "p", "p_holm")
    cells = {key: _number(one[key]) for key in keys}
    return {**cells, "interval": interval, "variant": one["variant"] or one["problem"], "problem": one["problem"]}


def _percent(share: float | None) -> str:
    return NONE if _known(share, None) is None else f"{shown(100 * float(share or 0.0), 0)} %"


def _number(value: float | None) -> str:
    return NONE if _known(value, None) is None else shown(float(value or 0.0), 3)


def _known(value: float | None, otherwise: Any) -> Any:
    return otherwise if value is None or value != value else value

"""An audit as a page and as a table: one line per attack, the strongest first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.audits.material import FEW
from lavis.audits.models import FLOORS, NO_FLOOR, ORIGINAL
from lavis.audits.share import LEAST
from lavis.common.files import write_text
from lavis.report.numbers import dashed, shown
from lavis.report.page import environment
from lavis.report.palette import COLOURS

NONE = "–"
LEGEND = (
    "X, in the columns attacked and floor: mean of 1/rank of a forgotten image's own caption among all captions about\n"
    "other people. share: (attacked − floor)/(original − floor). gain: X of forgotten people minus that of unseen ones."
)
FAR = 0.1  # a share above this counts as having come back


def write_page(content: Mapping[str, Any], path: Path) -> None:
    """Write the page of an audit (the content of audit.json) atomically."""
    template = environment().get_template("audit.html")
    write_text(
        path,
        template.render(
            audit=content,
            lead=lead(content),
            unattacked=unattacked(content),
            floor=FLOORS.get(content["floor"], NO_FLOOR),
            lines=lines(content),
            number=dashed,
            colours=COLOURS,
        ),
    )


def lines(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """The attacks' cells as text, the strongest first; those without a share last."""
    ordered = sorted(content["attacks"].items(), key=lambda item: -_known(item[1]["share"], -9.0))
    return [{"name": name, **_cells(one)} for name, one in ordered]


def lead(content: Mapping[str, Any]) -> str:
    """What the audit found, in one sentence: its strongest attack, and how many others bring much back."""
    shares = [share for one in content["attacks"].values() if (share := _known(one["share"], None)) is not None]
    if not shares:
        return f"No attack has a share: {_why_no_share(content)}."
    best = content["attacks"][content["strongest"]]
    people, found = content["people"], f"{_percent(best['share'])} of what the original knew"
    found += f" ({_percent(best['low'])} to {_percent(best['high'])})" if people > 1 else ""
    who = "1 person" if people == 1 else f"{people} people"
    few = "" if people >= FEW else f" With {who} that is an observation, not a test."
    strongest = f"The strongest, {content['strongest']}, gets {found}.{few}"
    count = sum(share > FAR for share in shares)
    if not count:
        return f"No attack brings back more than {_percent(FAR)}. {strongest}"
    many = f"{count} of {len(shares)} attacks bring back more than {_percent(FAR)}"
    return f"{many}. {strongest}"


def unattacked(content: Mapping[str, Any]) -> str:
    """X of every model as it is, in one sentence."""
    values = [f"{role} {dashed(value)}" for role, value in content["plain"].items()]
    values += [f"guessing {dashed(content['guess'])}"] if "guess" in content else []
    return f"X without an attack: {', '.join(values)}."


def _why_no_share(content: Mapping[str, Any]) -> str:
    if ORIGINAL not in content["plain"]:
        return "there is no original model to compare with (--original)"
    if not content["floor"]:
        return "there is neither a model that never saw the data (--retrained) nor a split of people whom no model saw"
    if content["plain"][ORIGINAL] <= content.get("guess", 0) + LEAST:
        return (
            f"the original itself ranked the forgotten people's captions no better than guessing (X "
            f"{dashed(content['plain'][ORIGINAL])}, guessing {dashed(content['guess'])}), so nothing can come back. "
            "Check that these are the weights that were trained on these people"
        )
    known = [one for one in content["attacks"].values() if _known(one["floor"], None) is not None]
    if not known:
        return "none gave a number that can be compared; the table says why"
    best = max(known, key=lambda one: one["attacked"])
    return (
        f"the original itself found the forgotten people's captions (X {dashed(best['original'])}) hardly better than "
        f"those of people whom no model saw (X {dashed(best['floor'])}), so there was nothing to bring back"
    )


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
    notes = [f"note: {note}" for note in content["notes"]]
    return "\n".join([lead(content), unattacked(content), "", *table, LEGEND, *tests, *notes, ""])


def _cells(one: Mapping[str, Any]) -> dict[str, str]:
    interval = f"[{dashed(one['low'])}, {dashed(one['high'])}]" if _known(one["share"], None) is not None else NONE
    keys = ("share", "attacked", "floor", "original", "gain", "p", "p_holm")
    cells = {key: dashed(one[key]) for key in keys}
    return {**cells, "interval": interval, "variant": one["variant"] or one["problem"], "problem": one["problem"]}


def _percent(share: float | None) -> str:
    return NONE if _known(share, None) is None else f"{shown(100 * float(share or 0.0), 0)} %"


def _known(value: float | None, otherwise: Any) -> Any:
    return otherwise if value is None or value != value else value

"""Where a model stands beside its references: distances, membership gap, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lavis.evaluation.measure import all_columns
from lavis.report.numbers import Row, by_setting, derive, is_number, named, number, peers, setting_of
from lavis.report.verdicts import BROKEN, NOT_MEASURED, Verdict, VerdictRules, distance, verdict

DISTANCES = {"distance_retrained": "retrained", "distance_clean": "clean"}
BENCHMARK = "salmubench_"


def stand(row: Row, group: Sequence[Row], rules: VerdictRules | None = None) -> dict[str, Any]:
    """What is said of one row beside the references of its group; what cannot be said is left out.

    - `distance_retrained`, `distance_clean`: verdicts.distance to that reference of the same seed, else to the mean
      over its seeds. A reference is held against its own other seeds, which says how far apart two runs of it are.
    - the gap of every metric that has one (`membership_gap`): |own − retrained's|, so that above and below both count.
    - `verdict`, `verdict_reasons`: on rows with SALMUBench's metrics that are no reference.
    """
    found: dict[str, Any] = {}
    for key, name in DISTANCES.items():
        others = _apart(row, group) if row["name"] == name else peers(group, name, row)
        gap = distance(row["metrics"], mean_metrics(others)) if others else None
        if gap is not None:
            found[key] = round(gap, 6)
    aims = mean_metrics(peers(group, "retrained", row))
    for column in (column for column in all_columns() if column.gap):
        own, aim = number(row, column.key), aims.get(column.key)
        if own is not None and aim is not None:
            found[column.gap] = round(abs(own - aim), 6)
    said = judged([row], group, rules)
    if said is not None:
        found |= {"verdict": said.name, "verdict_reasons": "; ".join(said.reasons)}
    return found


def _apart(row: Row, group: Sequence[Row]) -> list[Row]:
    """The other seeds of a row's model."""
    return [one for one in named(group, row["name"]) if one is not row and not one.get("broken")]


def judged(rows: Sequence[Row], group: Sequence[Row], rules: VerdictRules | None = None) -> Verdict | None:
    """The verdict on the mean of a method's rows (seeds); None for references and where nobody asked for one."""
    if not rows or rows[0]["name"] in ("compromised", "clean", "retrained"):
        return None
    if not any(key.startswith(BENCHMARK) for row in group for key in row["metrics"]):
        return None
    unread = [str(row.get("seed")) for row in rows if row.get("broken")]
    if unread:
        return Verdict(BROKEN, (f"{BROKEN}: no results that can be read for seed {', '.join(unread)}",))
    compromised, clean, retrained = (_reference(rows, group, name) for name in ("compromised", "clean", "retrained"))
    if compromised is None:
        return Verdict(NOT_MEASURED, (f"{NOT_MEASURED}: there is no compromised model to compare with",))
    return verdict(mean_metrics(rows), clean, compromised, retrained, rules)


def _reference(rows: Sequence[Row], group: Sequence[Row], name: str) -> dict[str, float | None] | None:
    """A reference's mean metrics over the seeds that `rows` go with; None where it has none."""
    found = {id(one): one for row in rows for one in peers(group, name, row)}
    return mean_metrics(list(found.values())) or None


def mean_metrics(rows: Sequence[Row]) -> dict[str, float | None]:
    """Mean of every metric over rows; None where one of them has no finite value. Rows without results do not count."""
    means: dict[str, float | None] = {}
    for key in dict.fromkeys(key for row in rows for key in row["metrics"]):
        values = [row["metrics"][key] for row in rows if key in row["metrics"]]
        means[key] = sum(values) / len(values) if all(map(is_number, values)) else None
    return means


def agreement(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """The verdicts that the seeds of a method got, with how many got each; empty where none has one."""
    said = [row["derived"]["verdict"] for row in rows if "verdict" in row.get("derived", {})]
    return [(name, said.count(name)) for name in dict.fromkeys(said)]


def with_derived(rows: Sequence[Row], rules: VerdictRules | None = None) -> list[Row]:
    """Rows with a `derived` entry, taken against the references of the same setting."""
    groups, found = by_setting(rows), []
    for row in rows:
        group = groups[setting_of(row)]
        found.append({**row, "derived": {**derive(row, group), **stand(row, group, rules)}})
    return found

"""How a model compares with its references: distances, membership gap, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lavis.evaluation.measure import all_columns
from lavis.report.numbers import Row, by_setting, derive, is_number, named, number, peers, setting_of
from lavis.report.verdicts import BROKEN, NOT_MEASURED, Verdict, VerdictRules, distance, verdict
from lavis.settings.schema import REFERENCES

DISTANCES = {"distance_retrained": "retrained", "distance_clean": "clean"}
BENCHMARK = "salmubench_"


def stand(row: Row, group: Sequence[Row], rules: VerdictRules | None = None) -> dict[str, Any]:
    """One row compared with the references of its group; what cannot be computed is omitted.

    - `distance_retrained`, `distance_clean`: verdicts.distance to that reference of the same seed, else to the mean
      over its seeds. A reference is compared with its own other seeds, to show how far apart two of its runs are.
    - the gap of each metric that has one (`membership_gap`): |own − retrained's|, so that above and below both count.
    - `verdict`, `verdict_reasons`: for rows with SALMUBench's metrics that are not references.
    """
    derived: dict[str, Any] = {}
    for key, name in DISTANCES.items():
        others = peers(group, name, row)
        if row["name"] == name:
            others = [one for one in named(group, name) if one is not row and not one.get("broken")]
        gap = distance(row["metrics"], mean_metrics(others)) if others else None
        if gap is not None:
            derived[key] = round(gap, 6)
    aims = mean_metrics(peers(group, "retrained", row))
    for column in (column for column in all_columns() if column.gap):
        own, aim = number(row, column.key), aims.get(column.key)
        if own is not None and aim is not None:
            derived[column.gap] = round(abs(own - aim), 6)
    judgement = judged([row], group, rules)
    if judgement is not None:
        derived |= {"verdict": judgement.name, "verdict_reasons": "; ".join(judgement.reasons)}
    return derived


def judged(rows: Sequence[Row], group: Sequence[Row], rules: VerdictRules | None = None) -> Verdict | None:
    """The verdict on the mean of a method's rows (seeds); None for references and without SALMUBench's metrics."""
    if not rows or rows[0]["name"] in REFERENCES:
        return None
    benchmark = any(key.startswith(BENCHMARK) for row in group for key in row["metrics"])
    return assessed(rows, group, rules) if benchmark else None


def assessed(rows: Sequence[Row], group: Sequence[Row], rules: VerdictRules | None = None) -> Verdict:
    """The verdict on the mean of a method's rows (seeds), whatever was measured."""
    broken = [f"{BROKEN}: seed {row.get('seed')}: {row['broken']}" for row in rows if row.get("broken")]
    if broken:
        return Verdict(BROKEN, tuple(broken))
    compromised, clean, retrained = (_reference(rows, group, name) for name in REFERENCES)
    if compromised is None:
        return Verdict(NOT_MEASURED, (f"{NOT_MEASURED}: there is no compromised model to compare with",))
    return verdict(mean_metrics(rows), clean, compromised, retrained, rules)


def _reference(rows: Sequence[Row], group: Sequence[Row], name: str) -> dict[str, float | None] | None:
    """A reference's mean metrics over the rows that `rows` are compared with; None if it has none."""
    distinct = {id(one): one for row in rows for one in peers(group, name, row)}
    return mean_metrics(list(distinct.values())) or None


def mean_metrics(rows: Sequence[Row]) -> dict[str, float | None]:
    """Each metric's mean over the rows that have it; None if one of their values is not finite."""
    means: dict[str, float | None] = {}
    for key in dict.fromkeys(key for row in rows for key in row["metrics"]):
        values = [row["metrics"][key] for row in rows if key in row["metrics"]]
        means[key] = sum(values) / len(values) if all(map(is_number, values)) else None
    return means


def agreement(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """How many of a method's seeds got each verdict; empty if none has one."""
    return list(Counter(row["derived"]["verdict"] for row in rows if "verdict" in row.get("derived", {})).items())


def with_derived(rows: Sequence[Row], rules: VerdictRules | None = None) -> list[Row]:
    """Rows with a `derived` entry, from the comparison with the references of the same setting."""
    groups = by_setting(rows)

    def derived(row: Row) -> dict[str, Any]:
        group = groups[setting_of(row)]
        return {**derive(row, group), **stand(row, group, rules)}

    return [{**row, "derived": derived(row)} for row in rows]

"""What happened to each model, in one sentence, and what to do next: the first thing on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lavis.evaluation.measure import all_metrics
from lavis.evaluation.metric import HEADLINE
from lavis.report.numbers import Row, mean_of, named, names_of, shown, target_name
from lavis.report.standing import agreement, assessed
from lavis.report.verdicts import (
    BELOW,
    BROKEN,
    CATASTROPHIC,
    FACTS,
    FORGET,
    INEFFECTIVE,
    KNOWLEDGE,
    NONE,
    NOT_MEASURED,
    OTHERS,
    OVER_GENERALISED,
    RETAIN,
    Finding,
    Verdict,
    VerdictRules,
)
from lavis.settings.schema import REFERENCES

LOSSES = {
    OTHERS: "other people’s associations",
    FACTS: "the other facts about the same people",
    KNOWLEDGE: "its general knowledge",
    RETAIN: "its recall on the pairs to keep",
}
MASS = (KNOWLEDGE, RETAIN)  # these are gone, the others are
NEARLY_ALL = 0.9  # from this share on, what is left is called everything
FAILED = (CATASTROPHIC, INEFFECTIVE, OVER_GENERALISED)
ENOUGH_SEEDS = 3
NO_TARGET = (
    "Find out how far the numbers should fall: no model here was trained without the forget set. Compare with pairs of "
    "people whom the model never saw (split test), or train one: add retrained to the sweep’s references."
)
AUDIT = ("multidelete", "audit", "RUN_FOLDER")
UNLIKE = "the forgotten pairs match less than in a model that never saw them"


@dataclass(frozen=True)
class Story:
    """A method's sentence without its name, which comes first: `text` begins with a verb.

    `forgot` is None where nothing says how far the numbers on the forget set should have gone.
    """

    name: str
    verdict: str
    text: str
    forgot: bool | None = None


@dataclass(frozen=True)
class Step:
    """Something to do, and the command for it if there is one."""

    text: str
    command: tuple[str, ...] = ()


def stories(rows: Sequence[Row], rules: VerdictRules | None = None) -> list[Story]:
    """What happened to each method of one setting."""
    return [story(named(rows, name), rows, rules) for name in names_of(rows) if name not in REFERENCES]


def story(own: Sequence[Row], group: Sequence[Row], rules: VerdictRules | None = None) -> Story:
    """What happened to one method, from the mean of its rows (seeds)."""
    verdict = assessed(own, group, rules)
    if verdict.name == BROKEN:
        return Story(own[0]["name"], BROKEN, "is broken: it has no finite numbers, so nothing can be concluded")
    worst = _worst(verdict)
    forget = worst.get(FORGET)
    forgot = None if forget is None or forget.failed is None else not forget.failed
    head = _levels(own, group) if forget is None or forgot is None else _forgot(forget, _pairs(own))
    unsure = " (mean of seeds that got different verdicts)" if len(agreement(own)) > 1 else ""
    return Story(own[0]["name"], verdict.name, head + _cost(worst, forgot) + unsure, forgot)


def _cost(worst: Mapping[str, Finding], forgot: bool | None) -> str:
    """How the sentence goes on: what was lost as well, what nobody measured, or that the rest is kept."""
    gone = {subject: worst[subject].share for subject in LOSSES if subject in worst and worst[subject].failed}
    below = [UNLIKE] if BELOW in worst and worst[BELOW].failed else []
    lost = "; ".join([*([_gone(gone)] if gone else []), *below])
    if lost and forgot:
        return f"{' and also everybody else’s' if OTHERS in gone else ', but at a price'}: {lost}"
    unknown = [LOSSES[subject] for subject in LOSSES if subject in worst and worst[subject].failed is None]
    if lost or (unknown and forgot is not None):
        return f"; {lost or 'not measured: ' + ', '.join(unknown)}"
    return {True: " and kept the rest", False: "; the rest is kept", None: ""}[forgot]


def _worst(verdict: Verdict) -> dict[str, Finding]:
    """The finding with the largest share for each subject; one without a number only if there is no other."""
    worst: dict[str, Finding] = {}
    for one in sorted(verdict.findings, key=lambda finding: (finding.failed is not None, finding.share)):
        worst[one.subject] = one
    return worst


def _forgot(finding: Finding, pairs: str) -> str:
    if not finding.failed:
        return f"forgot {pairs}"
    left = f"{_percent(finding.share)} of what the original knew of them is left"
    return f"did not forget {pairs}: {left}" if finding.share >= NEARLY_ALL else f"forgot {pairs} only in part: {left}"


def _pairs(rows: Sequence[Row]) -> str:
    size = rows[0].get("df_size")
    return f"the {size:,} pairs" if isinstance(size, int) and not isinstance(size, bool) else "the pairs"


def _levels(own: Sequence[Row], group: Sequence[Row]) -> str:
    """The method's numbers and the original's, where nothing says how far they should have gone."""
    before = named(group, "compromised")
    for key, title in _headlines():
        forget, keep = (_moved(own, before, *what) for what in ((f"df_{key}", f" {title}"), (f"dr_{key}", "")))
        if forget:
            kept = f" and {keep.format('those to keep')}" if keep else ""
            return f"has {forget.format(f'{_pairs(own)} to forget')}{kept}"
    return "cannot be judged: there are no numbers of the original model to compare it with"


def _headlines() -> list[tuple[str, str]]:
    """Keys and titles of the percentages by which models of any task are compared: recall@1, then accuracy."""
    columns = [column for metric in all_metrics().values() for column in metric.split_columns]
    used = [(c.key, c.title) for c in columns if HEADLINE in c.uses and c.percent and c.key != "txt_r1"]
    return [("txt_r1", "recall@1"), *used]


def _moved(own: Sequence[Row], before: Sequence[Row], key: str, title: str) -> str:
    """`4.1 % recall@1 on {} (before: 32.1 %)`; empty if the method or the original has no such number."""
    now, then = mean_of(own, key), mean_of(before, key)
    return "" if now is None or then is None else f"{shown(now, 1)} %{title} on {{}} (before: {shown(then, 1)} %)"


def _gone(gone: Mapping[str, float]) -> str:
    """`95 % of A, 80 % of B and 12 % of C are gone`."""
    parts = [f"{_percent(share)} of {LOSSES[subject]}" for subject, share in gone.items()]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f"{listed} {'is' if len(parts) == 1 and next(iter(gone)) in MASS else 'are'} gone"


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.0f} %"


def next_steps(rows: Sequence[Row], rules: VerdictRules | None = None, places: bool = True) -> list[Step]:
    """What to do after reading the sentences, the most urgent first; empty without a method.

    places: whether commands may name run folders.
    """
    found = stories(rows, rules)
    if not found:
        return []
    by_verdict = {name: [one.name for one in found if one.verdict == name] for name in (*FAILED, BROKEN)}
    best = _best(rows, found)
    steps = (
        [Step(f"{_names(by_verdict[BROKEN])}: rerun with a lower rate (run.init_lr).")] if by_verdict[BROKEN] else []
    )
    steps += _about_the_best(rows, best, places) if best else _about_failures(by_verdict)
    if target_name(rows) is None:
        steps += [Step(NO_TARGET), Step("Attack the model that you would use, before you trust it.", AUDIT)]
    return steps


def _best(rows: Sequence[Row], found: Sequence[Story]) -> str | None:
    """The method to go on with: without any failure, else one that forgot and may have cost; nearest to retrained."""
    for verdict in (NONE, NOT_MEASURED):
        names = [one.name for one in found if one.verdict == verdict and one.forgot]
        if names:
            return min(names, key=lambda name: _or_far(mean_of(named(rows, name), "distance_retrained")))
    return None


def _or_far(distance: float | None) -> float:
    return math.inf if distance is None else distance


def _about_the_best(rows: Sequence[Row], best: str, places: bool) -> list[Step]:
    own = named(rows, best)
    command = ("multidelete", "audit", str(own[0]["folder"])) if places and own[0].get("folder") else AUDIT
    steps = [Step(f"Attack {best} before you trust it: what is only hidden can come back.", command)]
    if len(own) < ENOUGH_SEEDS:
        steps.append(Step(f"Repeat {best} with {ENOUGH_SEEDS} seeds: one run does not show what is chance."))
    return steps


def _about_failures(by_verdict: dict[str, list[str]]) -> list[Step]:
    steps = []
    if by_verdict[INEFFECTIVE]:
        names = _names(by_verdict[INEFFECTIVE])
        steps.append(Step(f"{names}: more passes (run.max_epoch) or a higher rate (run.init_lr) forget more."))
    costly = [*by_verdict[CATASTROPHIC], *by_verdict[OVER_GENERALISED]]
    if costly:
        steps.append(Step(f"{_names(costly)}: a lower rate or fewer passes cost less; or try another method."))
    search = ("python", "bash/run.py", "--search", "SWEEP.yaml")
    return [*steps, Step("Let a search choose the settings, from a grid in the sweep file.", search)] if steps else []


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)

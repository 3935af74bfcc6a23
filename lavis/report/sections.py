"""The parts of the page that show one setting's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lavis.evaluation.metric import Column
from lavis.report.cells import cell
from lavis.report.columns import STANDING, Table, is_benchmark, readable
from lavis.report.curves import Series, loss_curves, relearning_curves
from lavis.report.markup import Safe, el, join
from lavis.report.numbers import COSINES, Row, mean_of, named, names_of, number, target_name
from lavis.report.palette import REFERENCES, looks
from lavis.report.plots import Axis, bars, scatter
from lavis.report.standing import agreement, judged
from lavis.report.tables import PASSED, anchor, html_table, legend, row_head
from lavis.report.verdicts import BROKEN, NONE, NOT_MEASURED, Verdict, VerdictRules

ROLES = {
    "compromised": "trained on everything, private facts included: where unlearning starts",
    "clean": "never saw anybody's private facts",
    "retrained": "trained anew on everything but the forget set: what exact unlearning gives",
}
SPLITS = {
    "df_cosine": ("forget set", "df"),
    "holdout_association_cosine": ("other facts, same people", "holdout_association"),
    "holdout_identity_cosine": ("other people", "holdout_identity"),
    "dr_cosine": ("retain set", "dr"),
    "test_cosine": ("unseen test pairs", "test"),
}
TOO_FAR = 110.0  # percent of the way to the target from which a method has over-forgotten
MODES_IN_WORDS = (
    "Ineffective: what had to go is still found. Catastrophic: general knowledge or retain recall is lost. "
    "Over-generalised: other people, or other facts about the same people, are lost as well. "
    "The rules and their thresholds: docs/verdicts.md. The distance between two seeds of one reference says how small "
    "a difference means nothing."
)
FEW = 6  # methods that get a card each; more stand in the tables alone
SCALES = {"x": "X on the nine tenths that were not trained again", "x_whole": "X of whole identities alone"}


def summary(rows: Sequence[Row]) -> Safe:
    """Two sentences, and a card for every model where there are few."""
    style, cards = looks(names_of(rows)), []
    methods = [name for name in names_of(rows) if name not in REFERENCES]
    for name in names_of(rows) if len(methods) <= FEW else [n for n in names_of(rows) if n in REFERENCES]:
        own = named(rows, name)
        facts = [*_facts(own, reference=name in REFERENCES)]
        body = el("dl", *(part for head, value in facts for part in (el("dt", head), el("dd", value))))
        role = el("p", ROLES[name], class_="muted") if name in ROLES else None
        cards.append(el("div", el("h3", name), role, body, class_="card", style=f"--accent:{style[name].colour}"))
    return el("div", el("p", _headline(rows), class_="lead"), el("div", *cards, class_="cards"))


def _headline(rows: Sequence[Row]) -> str:
    before, target = mean_of(named(rows, "compromised"), "df_txt_r1"), target_name(rows)
    parts = []
    if before is not None:
        parts.append(f"The compromised model ranks the true private caption first for {before:.0f} % of the portraits.")
    methods = [name for name in names_of(rows) if name not in REFERENCES]
    after = [(value, name) for name in methods if (value := mean_of(named(rows, name), "df_txt_r1")) is not None]
    if len(after) > FEW:
        (low, first), (high, last) = min(after), max(after)
        parts.append(f"After unlearning by {len(after)} methods: {low:.1f} % ({first}) to {high:.1f} % ({last}).")
    elif after:
        parts.append(f"After unlearning: {', '.join(f'{name} {value:.1f} %' for value, name in after)}.")
    if target:
        parts.append(f"The aim is to look like the {target} model, neither above nor below it.")
    return " ".join(parts)


def _facts(rows: Sequence[Row], reference: bool) -> list[tuple[str, str]]:
    wanted = [("df_txt_r1", "forget recall@1", 1, " %"), ("df_cosine", "forget cosine", 3, "")]
    if not reference:
        wanted += [
            ("forgotten_percent", "way to the target", 0, " %"),
            ("dr_kept_percent", "retain recall kept", 0, " %"),
        ]
    else:
        wanted += [("dr_txt_r1", "retain recall@1", 1, " %")]
    wanted.append(("test_txt_r1", "test recall@1", 1, " %"))
    wanted.append(("holdout_identity_cosine", "other people's cosine", 3, ""))
    facts = []
    for key, head, decimals, unit in wanted:
        found = cell(rows, Column(key, head, "", decimals))
        far = " (too far)" if key == "forgotten_percent" and (mean_of(rows, key) or 0) > TOO_FAR else ""
        if found.measured:
            facts.append((head, f"{found.main} {found.spread}".strip() + unit + far))
    return facts


def verdicts(rows: Sequence[Row], rules: VerdictRules | None) -> Safe | None:
    """A line for every method: its verdict with reasons, and its distances; None where nobody asked for one."""
    names, style = names_of(rows), looks(names_of(rows))
    said = {name: judged(named(rows, name), rows, rules) for name in names}
    if not any(said.values()):
        return None
    heads = ["model", "verdict", *(column.title for column in STANDING), "reasons"]
    body = [_verdict_line(named(rows, name), said[name], row_head(named(rows, name), style[name])) for name in names]
    head = el("tr", *(el("th", text, scope="col") for text in heads))
    table = el("table", el("thead", head), el("tbody", *body), class_="judged")
    scroll = el("div", table, class_="scroll", tabindex="0", role="region", aria_label="Verdicts")
    return join([el("p", _passed(said), class_="lead"), el("p", MODES_IN_WORDS, class_="muted"), scroll])


def _passed(said: Mapping[str, Verdict | None]) -> str:
    """Which methods avoid all three failure modes, in a sentence."""
    methods = {name: found for name, found in said.items() if found is not None}
    good = [name for name, found in methods.items() if found.name == NONE]
    unsure = [name for name, found in methods.items() if found.name in (BROKEN, NOT_MEASURED)]
    if good:
        first = f"Free of all three failure modes: {len(good)} of {len(methods)} methods ({', '.join(good)})."
    else:
        first = "No method is shown to be free of all three failure modes."
    return first + (f" No verdict on {', '.join(unsure)}." if unsure else "")


def _verdict_line(rows: Sequence[Row], said: Verdict | None, head: Safe) -> Safe:
    cells = [cell(rows, column).html() for column in STANDING]
    if said is None:
        role = el("td", ROLES.get(rows[0]["name"], ""), class_="reasons muted")
        return el("tr", head, el("td", "reference", class_="word muted"), *cells, role, class_="reference")
    votes = agreement(rows)
    split = ", ".join(f"{_word(name)}: {count}" for name, count in votes) if len(votes) > 1 else ""
    word = [
        el("span", _word(said.name), class_=f"tag {_kind(said.name)}"),
        el("small", "seeds: ", split) if split else None,
    ]
    reasons = el("td", *_reasons(said), class_="reasons")
    return el("tr", head, el("td", *word, class_="word"), *cells, reasons)


def _reasons(said: Verdict) -> list[Safe]:
    """The findings, each failure mode named once."""
    found: dict[str, list[str]] = {}
    for reason in said.reasons:
        mode, _, text = reason.partition(": ")
        found.setdefault(mode, []).append(readable(text).replace("%", " %"))
    return [el("div", el("strong", mode), ": ", "; ".join(texts)) for mode, texts in found.items()]


def _word(name: str) -> str:
    return PASSED if name == NONE else name


def _kind(name: str) -> str:
    return name.replace(" ", "-")


def trade_off(rows: Sequence[Row]) -> Safe:
    """The plots of forgetting against utility: the benchmark's where it was measured, and retrieval's."""
    target, gen_know = target_name(rows), Axis("salmubench_gen_know", "GenKnow (↑ useful)", (), span=0.2)
    if any(number(row, "salmubench_imagenet") is not None for row in rows):
        gen_know = Axis("salmubench_imagenet", "GenKnow, ImageNet-1k (↑ useful)", (), span=0.2)
    retfail = Axis("salmubench_retfail_mrr", "RetFail MRR, logarithmic (← forgotten)", (), log=True)
    association = Axis("salmubench_assoc_str", "AssocStr: forgotten pairs", ())
    others = Axis("salmubench_inter_id_sim", "InterIdSim: other people's pairs", ())
    cosine = Axis("df_cosine", "cosine of forgotten pairs (← forgotten)")
    retained = Axis("dr_txt_r1", "retain recall@1 in % (↑ useful)", (0.0, 100.0))
    recall = Axis("df_txt_r1", "recall@1 on forgotten portraits in % (← forgotten)")
    tested = Axis("test_txt_r1", "test recall@1 in % (↑ useful)")
    plots = [scatter(rows, retfail, gen_know), scatter(rows, association, others, ("clean", "retrained"))]
    if not any(plots):
        plots = [scatter(rows, cosine, retained), scatter(rows, recall, tested)]
    figures = [el("figure", plot) for plot in plots if plot is not None]
    if not figures:
        return el("p", "No row has both kinds of numbers.", class_="muted")
    note = f"The dashed lines cross at the {target} model: the place to reach. " if target else ""
    note += "Left of it a method forgot more than it should, below it a method lost what it should keep."
    if is_benchmark(rows):
        note += " In the second plot lines are drawn through clean and retrained."
    return join([el("div", *figures, class_="figures"), el("p", note, class_="muted")])


def similarity(rows: Sequence[Row]) -> Safe:
    """One panel of bars for every split's mean paired cosine."""
    values = [value for row in rows for key in COSINES if (value := number(row, key)) is not None]
    domain = (min([0.0, *values]), max([0.1, *values]))
    panels = []
    for key in COSINES:
        text, split = SPLITS[key]
        counts = [
            row["counts"][split] for row in rows if isinstance(row.get("counts"), dict) and split in row["counts"]
        ]
        title = f"{text} · {counts[0]:,}" if counts and isinstance(counts[0], int) else text
        plot = bars(rows, key, title, domain)
        panels += [el("figure", plot)] if plot else []
    if not panels:
        return el("p", "No cosines were measured.", class_="muted")
    note = (
        "Mean cosine of each image with its own caption. A method that also lowers the bars of other people and other "
        "facts over-generalises; the dashed line is the target's value."
    )
    return join([el("p", note, class_="muted"), el("div", *panels, class_="panels")])


def numbers(rows: Sequence[Row], table: Table) -> Safe:
    """A table with its legend."""
    return join([html_table(table, rows), legend(table, rows)])


def notes(rows: Sequence[Row]) -> Safe:
    """How to read the tables."""
    several = any(len(named(rows, name)) > 1 for name in names_of(rows))
    target = target_name(rows)
    parts = ["↓ lower is better, ↑ higher is better, → nearest to the target's value is best"]
    parts[0] += f" (here: {target})." if target else "."
    parts.append("Bold: the best method of the column by that rule.")
    if several:
        parts.append("Mean ± standard deviation over seeds; a model with one seed says so.")
    if any(f"{key}_low" in row["metrics"] for row in rows for key in row["metrics"]):
        parts.append(
            "[low, high]: bootstrap 95 % interval by identity"
            + (" (over seeds: means of its ends)." if several else ".")
        )
    parts.append("Not measured: nobody tried, or the data lack what it needs. Broken: tried, without a finite value.")
    return el("p", " ".join(parts), class_="muted")


def training(rows: Sequence[Row], series: Mapping[str, Series]) -> Safe:
    """A panel of loss curves for every model that has a log, its seeds in one."""
    panels = []
    for name in names_of(rows):
        own = [series.get(anchor(row), {}) for row in named(rows, name)]
        plot = loss_curves(name, [one for one in own if one])
        panels += [el("figure", plot)] if plot else []
    if not panels:
        return el("p", "No run left a log of its losses.", class_="muted")
    return el("div", *panels, class_="panels")


def relearning(rows: Sequence[Row], series: Mapping[str, Series]) -> Safe | None:
    """How recall of what was forgotten returns while a part of it is trained again; None where nobody asked."""
    figures = []
    for key, title in SCALES.items():
        models = {
            name: [series.get(anchor(row), {}).get(key, []) for row in named(rows, name)] for name in names_of(rows)
        }
        plot = relearning_curves(title, title, models)
        figures += [el("figure", plot)] if plot else []
    if not figures:
        return None
    note = (
        "Every model is trained on a random tenth of the forget set, and asked about the rest. What returns faster "
        "than in the clean and the retrained model (dashed) had not been removed, only hidden."
    )
    return join([el("p", note, class_="muted"), el("div", *figures, class_="figures")])

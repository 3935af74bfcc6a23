"""The content of the page's sections; their words and markup are in templates/, one file per section."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lavis.evaluation.metric import Column
from lavis.report.cells import best_methods
from lavis.report.columns import readable
from lavis.report.numbers import COSINES, Row, mean_of, named, names_of, values_of
from lavis.report.palette import Look, looks
from lavis.report.plots import Axis, Series, bars, loss_curves, relearning_curves, scatter
from lavis.report.standing import agreement, judged
from lavis.report.text import clean
from lavis.report.verdicts import VerdictRules
from lavis.settings.schema import REFERENCES

SPLITS = {
    "df_cosine": ("forget set", "df"),
    "holdout_association_cosine": ("other facts, same people", "holdout_association"),
    "holdout_identity_cosine": ("other people", "holdout_identity"),
    "dr_cosine": ("retain set", "dr"),
    "test_cosine": ("unseen test pairs", "test"),
}
SCALES = {"x": "X on the nine tenths that were not relearned", "x_whole": "X of whole identities only"}
GEN_KNOW = Axis("salmubench_gen_know", "GenKnow (↑ useful)", (), span=0.15)
IMAGENET = Axis("salmubench_imagenet", "GenKnow, ImageNet-1k (↑ useful)", (), span=0.15)
RETFAIL = Axis("salmubench_retfail_mrr", "RetFail MRR, logarithmic (← forgotten)", (), log=True)
ASSOCIATION = Axis("salmubench_assoc_str", "AssocStr: forgotten pairs", ())
OTHERS = Axis("salmubench_inter_id_sim", "InterIdSim: other people's pairs", ())
COSINE = Axis("df_cosine", "cosine of forgotten pairs (← forgotten)")
RETAINED = Axis("dr_txt_r1", "retain recall@1 in % (↑ useful)", (0.0, 100.0))
RECALL = Axis("df_txt_r1", "recall@1 on forgotten portraits in % (← forgotten)")
TESTED = Axis("test_txt_r1", "test recall@1 in % (↑ useful)")


@dataclass(frozen=True)
class Model:
    """A model of one setting: its look in plots and tables, and its rows, one per seed."""

    name: str
    look: Look
    rows: Sequence[Row]

    @property
    def reference(self) -> bool:
        return self.name in REFERENCES


@dataclass(frozen=True)
class Judgement:
    """A model's line in the table of verdicts; `verdict` is "" for a reference.

    `votes` counts its seeds by verdict; `reasons` maps failure modes to findings.
    """

    model: Model
    verdict: str
    votes: Sequence[tuple[str, int]]
    reasons: Mapping[str, Sequence[str]]


def models_of(rows: Sequence[Row]) -> list[Model]:
    """Every model, references first."""
    style = looks(names_of(rows))
    return [Model(name, style[name], named(rows, name)) for name in names_of(rows)]


def best_of(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, set[str]]:
    """The best methods of each column, by the column's key."""
    return {column.key: best_methods(rows, column) for column in columns}


def anchor(row: Row) -> str:
    """The page's anchor where a row's command is given; it depends on the row alone."""
    facts = [str(row.get(key)) for key in ("name", "seed", "backbone", "task", "df_size", "folder")]
    return f"run-{zlib.crc32(clean(chr(0).join(facts)).encode()):08x}"


def recalls(rows: Sequence[Row]) -> list[tuple[float, str]]:
    """Each method's recall@1 on the forget set, with the method's name."""
    recalls = [(mean_of(model.rows, "df_txt_r1"), model.name) for model in models_of(rows) if not model.reference]
    return [(value, name) for value, name in recalls if value is not None]


def verdicts(rows: Sequence[Row], rules: VerdictRules | None) -> list[Judgement]:
    """A line per model; empty if no method has a verdict."""
    lines = []
    for model in models_of(rows):
        verdict, reasons = judged(model.rows, rows, rules), {}
        for reason in verdict.reasons if verdict else ():
            mode, _, text = reason.partition(": ")
            reasons.setdefault(mode, []).append(readable(text).replace("%", "\u00a0%"))
        lines.append(Judgement(model, verdict.name if verdict else "", agreement(model.rows), reasons))
    return lines if any(line.verdict for line in lines) else []


def trade_off(rows: Sequence[Row]) -> list[Markup]:
    """Plots of forgetting against utility: by the benchmark's metrics if measured, else by retrieval."""
    gen_know = IMAGENET if mean_of(rows, IMAGENET.key) is not None else GEN_KNOW
    plots = [scatter(rows, RETFAIL, gen_know), scatter(rows, ASSOCIATION, OTHERS, ("clean", "retrained"))]
    if not any(plots):
        plots = [scatter(rows, COSINE, RETAINED), scatter(rows, RECALL, TESTED)]
    return [plot for plot in plots if plot]


def similarity(rows: Sequence[Row]) -> list[Markup]:
    """One panel of bars per split with the models' mean paired cosines."""
    values = [value for key in COSINES for value in values_of(rows, key)]
    low, high = min([0.0, *values]), max([0.1, *values])
    margin = 0.05 * (high - low)
    domain = (low - margin if low else low, high + margin)
    plots = [bars(rows, key, _split_title(rows, *SPLITS[key]), domain) for key in COSINES]
    return [plot for plot in plots if plot]


def _split_title(rows: Sequence[Row], text: str, split: str) -> str:
    counts = [row["counts"][split] for row in rows if isinstance(row.get("counts"), dict) and split in row["counts"]]
    return f"{text} · {counts[0]:,}" if counts and isinstance(counts[0], int) else text


def training(rows: Sequence[Row], losses: Mapping[str, Series]) -> list[Markup]:
    """A panel of loss curves, with all seeds, for each model that has a log. losses: by run folder."""
    return [plot for name, seeds in _by_model(rows, losses).items() if (plot := loss_curves(name, seeds))]


def relearning(rows: Sequence[Row], curves: Mapping[str, Series]) -> list[Markup]:
    """How recall of the forgotten pairs returns while a part of them is relearned. curves: by run folder."""
    by_model = _by_model(rows, curves)
    lines = {key: {name: [one.get(key, []) for one in seeds] for name, seeds in by_model.items()} for key in SCALES}
    return [plot for key, title in SCALES.items() if (plot := relearning_curves(title, lines[key]))]


def _by_model(rows: Sequence[Row], curves: Mapping[str, Series]) -> dict[str, list[Series]]:
    return {model.name: [curves.get(row.get("folder", ""), {}) for row in model.rows] for model in models_of(rows)}

"""The page of the study of exact forgetting: endpoints against retraining, tables and a plot, from its JSON alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.common import markdown, number
from benchmarks.exact_audit_page import audit_file, audit_section
from benchmarks.exact_fresh_page import MEASURED, fresh_file, fresh_section, measured
from benchmarks.exact_worlds import area
from lavis.common.files import read_json, write_text

BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
PUBLISHED = ("vlul", "erase", "delete")
COMMON = (
    "run.amp=true",
    "run.init_lr=1e-3",
    "run.method_args.held=32",
    "run.method_args.extra=8",
)  # of all our methods
FLOOR = 0.005  # of X: below it two models do not differ by a ratio
RESAMPLES, LEVEL, ENOUGH = 2000, 0.05, 5
Models = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Endpoint:
    """A number of a model in a world, and when it is met: `least` ≤ value ≤ `most`."""

    name: str
    value: Callable[[Models, str], float]
    least: float = -np.inf
    most: float = np.inf

    def met(self, value: float) -> bool:
        return self.least <= value <= self.most

    @property
    def bound(self) -> str:
        low = "" if np.isinf(self.least) else f"{self.least:.3g} ≤ "
        return f"{low}· ≤ {self.most:.3g}" if not np.isinf(self.most) else f"· ≥ {self.least:.3g}"


def _ratio(key: str) -> Callable[[Models, str], float]:
    return lambda models, name: max(models[name][key], FLOOR) / max(models["retrained"][key], FLOOR)


def _metric(models: Models, name: str, key: str) -> float:
    return float(models[name]["metrics"][key])


def _closer(models: Models, name: str) -> float:
    best = min(models[one]["distance"] for one in PUBLISHED)
    return models[name]["distance"] / best


def _excess(models: Models, name: str) -> float:
    own, aim = (area(models[one]) - area(models[one], "fresh") for one in (name, "retrained"))
    return own - aim


def _of_retrained(key: str) -> Callable[[Models, str], float]:
    return lambda models, name: _metric(models, name, key) / _metric(models, "retrained", key)


def _value(kind: str) -> Callable[[Models, str], float]:
    return lambda models, name: _metric(models, name, f"salmubench_value_auc_{kind}")


ENDPOINTS = (
    Endpoint("distance D15 ÷ best published method's", _closer, most=1 / 3),
    Endpoint("relearning area ÷ retrained's", lambda m, n: area(m[n]) / area(m["retrained"]), most=1.5),
    Endpoint("X after tuning on retained pairs ÷ retrained's", _ratio("retained"), most=1.5),
    Endpoint("X after tuning on unrelated pairs ÷ retrained's", _ratio("unrelated"), most=1.5),
    Endpoint("value AUC, whole", _value("whole"), 0.45, 0.55),
    Endpoint("value AUC, partial", _value("partial"), 0.45, 0.55),
    Endpoint(
        "Dr recall at 1 − compromised's",
        lambda m, n: (_metric(m, n, "dr_txt_r1") - _metric(m, "compromised", "dr_txt_r1")) / 100,
        least=-0.01,
    ),
    Endpoint("X of other people ÷ retrained's", _of_retrained("salmubench_x_mrr_holdout_identity"), least=0.95),
    Endpoint("X of other facts ÷ retrained's", _of_retrained("salmubench_x_mrr_holdout_association"), least=0.95),
    Endpoint("CPU time ÷ retraining's", lambda m, n: m[n]["cpu_share"], most=0.5),
)
EXCESS = Endpoint("relearning area above that of fresh people − retrained's", _excess)


def world_name(world: Mapping[str, Any]) -> str:
    """As the plan's list has it, such as web-101."""
    return f"{world['variant']}-{world['seed']}"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the median, by drawing worlds again."""
    draws = np.random.default_rng(18).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(np.asarray(values)[draws], axis=1), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def verdict(endpoint: Endpoint, values: Sequence[float]) -> str:
    """Whether the endpoint is shown to be met in the median: the whole interval; shown not to be: none of it."""
    if len(values) < ENOUGH:
        return "too few"
    low, high = interval(values)
    if endpoint.met(low) and endpoint.met(high):
        return "shown"
    outside = low > endpoint.most or high < endpoint.least
    return "shown not" if outside else "open"


def endpoints_table(content: Mapping[str, Any], method: str) -> str:
    """A line per endpoint: the median over worlds with its interval, how many worlds meet it, the verdict."""
    several = [world["models"] for world in content["worlds"]]
    lines = []
    for endpoint in (*ENDPOINTS, EXCESS):
        values = [endpoint.value(models, method) for models in several]
        low, high = interval(values)
        spread = f"{number(statistics.median(values))} [{number(low)}, {number(high)}]"
        tested = endpoint is not EXCESS
        met = f"{sum(map(endpoint.met, values))} of {len(values)}" if tested else "–"
        lines.append(
            [
                endpoint.name,
                endpoint.bound if tested else "–",
                spread,
                met,
                verdict(endpoint, values) if tested else "–",
            ]
        )
    return markdown(["endpoint", "wanted", "median [95 %]", "worlds that meet it", "in the median"], lines)


SHOWN = (
    ("X whole", "salmubench_x_mrr_whole"),
    ("X partial", "salmubench_x_mrr_partial"),
    ("X other people", "salmubench_x_mrr_holdout_identity"),
    ("X other facts", "salmubench_x_mrr_holdout_association"),
    ("value AUC whole", "salmubench_value_auc_whole"),
    ("value AUC partial", "salmubench_value_auc_partial"),
    ("Dr R@1", "dr_txt_r1"),
)


def world_table(world: Mapping[str, Any]) -> str:
    """A line per model of a world."""
    lines = []
    for name, model in world["models"].items():
        numbers = [number(model["metrics"].get(key), 1 if key == "dr_txt_r1" else 3) for _, key in SHOWN]
        areas = [number(area(model, of)) if "relearning" in model else "–" for of in ("x", "fresh")]
        ways = [number(model.get(key)) for key in ("retained", "unrelated")]
        lines.append([name, number(model["distance"]), *numbers, *areas, *ways, number(model.get("cpu_share"), 2)])
    head = ["model", "D15", *(title for title, _ in SHOWN), "area", "area, fresh", "retained", "unrelated", "CPU ÷"]
    return markdown(head, lines)


def search_table(search: Mapping[str, Any]) -> str:
    """A line per setting tried."""
    finalists = [(row["method"], row["options"]) for row in search["finalists"]]
    rows = [{"method": "compromised", "options": [], **search["before"]}, *search["rows"]]
    head = ["method", "setting", *MEASURED, "score"]
    lines = [_searched(row, (row["method"], row["options"]) in finalists) for row in rows]
    return markdown([*head, "CPU s", "goes on"], lines)


def _searched(row: Mapping[str, Any], chosen: bool) -> list[str]:
    own = [option for option in row["options"] if option not in COMMON]
    words = [row["method"], f"`{' '.join(own)}`" if own else ""]
    cost = number(row.get("cpu_seconds"), 0)
    return [*words, *measured(row), number(row.get("score")), cost, "yes" if chosen else ""]


def glance(content: Mapping[str, Any], names: Sequence[str]) -> str:
    """A line per endpoint, a column per method: the median over worlds, and its verdict."""
    several = [world["models"] for world in content["worlds"]]
    lines, met = [], {name: [0] * len(several) for name in names}
    for endpoint in ENDPOINTS:
        cells = []
        for name in names:
            values = [endpoint.value(models, name) for models in several]
            met[name] = [before + endpoint.met(value) for before, value in zip(met[name], values, strict=True)]
            cells.append(f"{number(statistics.median(values))} {verdict(endpoint, values)}")
        lines.append([endpoint.name, endpoint.bound, *cells])
    best = [max(met[name]) for name in names]
    places = [world_name(content["worlds"][met[name].index(most)]) for name, most in zip(names, best, strict=True)]
    most_met = [f"{n} ({at})" for n, at in zip(best, places, strict=True)]
    lines.append(["most met in one world", str(len(ENDPOINTS)), *most_met])
    return markdown(["endpoint", "wanted", *names], lines)


def commits(content: Mapping[str, Any]) -> str:
    """The commit of the search and of each world."""
    first = content["where"].get("commit")
    of: dict[str, list[str]] = {content["search"].get("commit", first): ["search"]}
    for world in content["worlds"]:
        of.setdefault(world.get("commit", first), []).append(world_name(world))
    several = [f"{str(commit)[:7]} ({', '.join(names)})" for commit, names in of.items()]
    return f"Commit {str(next(iter(of)))[:7]}." if len(several) == 1 else f"Commits: {'; '.join(several)}."


def pages(
    content: Mapping[str, Any],
    plot: str,
    audits: Sequence[Mapping[str, Any]] = (),
    fresh: Mapping[str, Any] | None = None,
) -> str:
    """The generated part of the page."""
    present = [world_name(world) for world in content["worlds"]]
    missing = [name for name in content["planned"] if name not in present]
    parts = [
        "## What is in\n",
        f"{len(present)} of {len(content['planned'])} worlds: {', '.join(present) or 'none yet'}. "
        f"Not yet: {', '.join(missing) or 'none'}. {commits(content)}\n",
        f"## The search, on the planted people of {content['search']['world']}\n",
        search_table(content["search"]),
        *(fresh_section(fresh) if fresh else []),
    ]
    if present:
        names = [row["name"] for row in content["search"]["finalists"]]
        parts += ["## All endpoints\n", glance(content, names)]
        for name in names:
            parts += [f"## {name} against the endpoints\n", endpoints_table(content, name)]
        parts += [f"![Relearning areas of each world]({plot})\n", "## Each world\n"]
        for world in content["worlds"]:
            parts += [f"### {world['variant']}, data seed {world['seed']}\n", world_table(world)]
    return "\n".join([*parts, *(audit_section(audits) if audits else [])])


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Relearning areas: a column per world, a point per model and draw; equal contents give equal bytes."""
    names = ["retrained", *(row["name"] for row in content["search"]["finalists"])]
    with rc_context({"svg.hashsalt": "exact", "font.size": 9}):
        figure = Figure(figsize=(max(7, 0.95 * len(content["worlds"])), 3.2), layout="constrained")
        ax = figure.subplots()
        for shift, name in enumerate(names):
            points = [(n + 0.14 * shift, y) for n, world in enumerate(content["worlds"])
                      for y in world["models"][name]["relearning"]["areas"]["x"]]  # fmt: skip
            ax.plot(*zip(*points, strict=True), "o^vsD"[shift % 5], label=name)
        labels = [f"{world['variant']}\n{world['seed']}" for world in content["worlds"]]
        ax.set_xticks([n + 0.28 for n in range(len(labels))], labels)
        ax.set_ylabel("relearning area of Df")
        ax.set_ylim(bottom=0)
        ax.legend()
        figure.savefig(path, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))


def write_page(content: Mapping[str, Any], path: Path) -> None:
    """Write the tables between their marks, and the plot next to the page; what is written around them stays."""
    plot = path.with_suffix(".svg")
    if content["worlds"]:
        draw(content, plot)
    before, _, rest = (
        path.read_text("utf-8").partition(BEGIN) if path.is_file() else ("# Exact forgetting\n\n", "", END)
    )
    audits = read_json(audit_file(path), "audits")["rows"] if audit_file(path).is_file() else ()
    fresh = read_json(fresh_file(path), "runs") if fresh_file(path).is_file() else None
    write_text(path, f"{before}{BEGIN}{pages(content, plot.name, audits, fresh)}{END}{rest.partition(END)[2]}")

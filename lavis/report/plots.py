"""The report's plots, drawn with matplotlib: points, bars and lines with each model's name next to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from lavis.report.labels import place_labels, spread_out, text_width
from lavis.report.numbers import Row, mean_of, named, names_of, number, shown, spread_of, target_name
from lavis.report.palette import COLOURS, Look, looks, method_look
from lavis.report.svg import TIP, inline
from lavis.report.text import clean, short
from lavis.settings.schema import REFERENCES

INK, MUTED, PAPER = (COLOURS[name][0] for name in ("ink", "muted", "paper"))
SIZE = 12.0  # of text, in points; a figure of 440 points fills a phone's width or half of a desktop's
STYLED = partial(styles.context, ["default", Path(__file__).with_name("templates") / "plots.mplstyle"])
MARKERS = {"circle": "o", "triangle": "^", "square": "s", "pentagon": "p", "wedge": "v", "diamond": "D", "star": "*"}
SWELL = {"star": 1.55, "diamond": 0.95, "circle": 1.0}  # factors that make the shapes look equally large
ALIGNMENTS = {0.0: "left", 0.5: "center", 1.0: "right"}
MANY = 8  # a plot with more models is higher and does not show single seeds
Point = tuple[float, float]
Points = Sequence[Point]
Series = Mapping[str, Points]


class Axis(NamedTuple):
    """A metric, its title on the plot, the values that the axis always shows, and whether it is logarithmic.

    `span` is the smallest range shown, so that a small difference does not fill the plot.
    """

    key: str
    title: str
    always: tuple[float, ...] = (0.0,)
    log: bool = False
    span: float = 0.0

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """The rows' values; nan if a row has none, or on a logarithmic axis none above 0."""
        values = np.array([number(row, self.key) for row in rows], dtype=float)
        return np.where(values > 0, values, math.nan) if self.log else values

    def shown(self, values: Iterable[float]) -> tuple[float, float]:
        """The smallest range that the axis has to show."""
        every = [*values, *self.always]
        return min([*every, max(every) - self.span] if self.span else every), max(every)


def tick_label(value: float, _place: float = 0) -> str:
    """A number in its shortest form: 0, −0.25, 100."""
    return f"{value:.4g}".replace("-", "−") if value else "0"


def axes(width: float, height: float, left: float, right: float, bottom: float = 46) -> Axes:
    """Axes in a figure of this size and these margins (in points); call it within `STYLED()`."""
    figure, top = Figure(figsize=(width / 72, height / 72), dpi=72), 34
    inside = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    ax = figure.add_axes(inside)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(tick_label)
    return ax


def _mark(ax: Axes, x: float, y: float, look: Look, size: float, tip: str, **style) -> None:
    fill, edge, wide = (look.hex, PAPER, 1.0) if look.filled else (PAPER, look.hex, 1.8)
    marker = {"marker": MARKERS[look.shape], "markersize": size * SWELL.get(look.shape, 1.1), "linestyle": "none"}
    colours = {"markerfacecolor": fill, "markeredgecolor": edge, "markeredgewidth": wide}
    ax.plot([x], [y], **marker, **colours, gid=TIP + clean(tip), **style)


def _name(ax: Axes, name: str, at: Point, offset: Point, look: Look, meets: Point | None = None, **style) -> None:
    """A model's name at an offset from its point; a line joins both if `meets`, its end on the name, is given."""
    line = {"arrowstyle": "-", "color": look.hex, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4, "relpos": meets}
    place: dict[str, Any] = {"xytext": offset, "textcoords": "offset points", "va": "center", "zorder": 5, **style}
    ax.annotate(short(name), at, **place, arrowprops=line if meets else None, color=look.hex, weight="bold")


@STYLED()
def scatter(rows: Sequence[Row], x: Axis, y: Axis, guides: Sequence[str] = ()) -> Markup | None:
    """Models as points; dashed lines cross at the references in `guides`, or at the target if there are none.

    With several seeds each seed is a faint point, and the name is at their mean. None if no row has both metrics.
    """
    names, style = names_of(rows), looks(names_of(rows))
    facts = {"model": [names.index(row["name"]) for row in rows], "seed": [row.get("seed") for row in rows]}
    points = pd.DataFrame({**facts, "x": x.values(rows), "y": y.values(rows)}).dropna(subset=["x", "y"])
    if points.empty:
        return None
    means = {names[int(str(place))]: (_mean(own.x, x), _mean(own.y, y)) for place, own in points.groupby("model")}
    ax = axes(440, 430 if len(means) > MANY else 350, left=46, right=24)
    ax.set(title=y.title, xlabel=x.title)
    for axis, scale, pick in ((ax.xaxis, x, ax.set_xscale), (ax.yaxis, y, ax.set_yscale)):
        if scale.log:
            pick("log")
            axis.set(major_locator=LogLocator(subs=(1, 3)), minor_locator=NullLocator(), major_formatter=tick_label)
    ax.margins(0.07)
    ax.update_datalim(list(zip(x.shown(points.x), y.shown(points.y), strict=True)))
    ax.autoscale_view()
    for name in [name for name in guides or [target_name(rows)] if name in means]:
        guide = {"color": style[name].hex, "linewidth": 1, "linestyle": style[name].line, "zorder": 1}
        ax.axvline(means[name][0], **guide)
        ax.axhline(means[name][1], **guide)
    for point in points[points.duplicated("model", keep=False)].itertuples():
        name = names[int(str(point.model))]
        at, tip = (float(str(point.x)), float(str(point.y))), f"{name}, seed {point.seed}"
        _mark(ax, *at, style[name], 5, tip, alpha=0.4, zorder=2)
    labels = {name: f"{name}: {a:.4g}, {b:.4g}" for name, (a, b) in means.items()}
    for name in reversed(means):  # so that the references, which come first, are on top
        _mark(ax, *means[name], style[name], 10, labels[name], zorder=3)
    _point_names(ax, means, style)
    metrics = f"Each model as {x.key}, {y.key}"
    return inline(ax, clean(f"{y.title} against {x.title}. {metrics}: {'; '.join(labels.values())}."))


def _mean(values: pd.Series, axis: Axis) -> float:
    """The mean on the axis's scale: on a logarithmic one the geometric mean."""
    return float(np.exp(np.log(values).mean()) if axis.log else values.mean())


def _point_names(ax: Axes, means: Mapping[str, Point], style: Mapping[str, Look]) -> None:
    """Write each point's name next to it or at the end of a thin line."""
    (left, bottom), (right, top) = ax.transAxes.transform([(0, 0), (1, 1)])
    bounds = (left + 2, bottom + 2, right + 22, top + 6)
    widths = [text_width(short(name), SIZE) for name in means]
    spots = place_labels(ax.transData.transform(list(means.values())), widths, SIZE * 1.15, bounds)
    for (name, at), spot in zip(means.items(), spots, strict=True):
        align, meets = ALIGNMENTS[spot.left], (spot.left, float(spot.dy < 0) if spot.left == 0.5 else 0.5)
        _name(ax, name, at, (spot.dx, spot.dy), style[name], meets if spot.far else None, ha=align)


@STYLED()
def bars(rows: Sequence[Row], key: str, title: str, domain: tuple[float, float]) -> Markup | None:
    """One metric of every model as horizontal bars; the dashed line is the target's value.

    `domain` is the same for all panels of a figure. None if no row has the metric.
    """
    models = {name: named(rows, name) for name in names_of(rows) if mean_of(named(rows, name), key) is not None}
    if not models:
        return None
    names, style = [short(name, 18) for name in models], looks(names_of(rows))
    left = max(50.0, *(text_width(name, SIZE) for name in names)) + 4
    ax = axes(340, 62 + 22 * len(models), left, right=52, bottom=28)
    ax.set(xlim=domain, ylim=(len(models) - 0.4, -0.6), yticks=range(len(models)), yticklabels=names)
    ax.set_title(short(title, 40), x=(4 - left) / (288 - left), weight="bold")
    ax.tick_params("y", labelsize=SIZE, labelcolor=INK)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", visible=True)
    ax.spines.bottom.set_visible(False)
    ax.axvline(0, color=MUTED, linewidth=1, zorder=3)
    aim = mean_of(named(rows, target_name(rows) or ""), key)
    if aim is not None:
        ax.axvline(aim, color=INK, linewidth=1.3, dashes=(2, 2), zorder=3)
    texts = [_bar(ax, place, seeds, key, style[name]) for place, (name, seeds) in enumerate(models.items())]
    return inline(ax, clean(f"{title}, by model. {'; '.join(texts)}."))


def _bar(ax: Axes, place: int, rows: Sequence[Row], key: str, look: Look) -> str:
    """Draw a model's bar with its value and its spread over seeds; returns the same in words."""
    value, spread = mean_of(rows, key) or 0.0, spread_of(rows, key)
    text = f"{rows[0]['name']} {shown(value, 3)}"
    text += f" ± {shown(spread, 3)} over {len(rows)} seeds" if spread is not None else ""
    hollow = {"facecolor": PAPER, "edgecolor": look.hex, "linewidth": 1.5}
    fill: dict[str, Any] = {"color": look.hex} if look.filled else hollow
    ax.barh([place], [value], height=0.66, zorder=2, gid=TIP + clean(text), **fill)
    at = {"xycoords": ax.get_yaxis_transform(), "xytext": (50, 0), "textcoords": "offset points"}
    ax.annotate(shown(value, 3), (1, place), **at, ha="right", va="center")
    if spread:
        ax.plot([value - spread, value + spread], [place, place], color=INK, linewidth=1.5, zorder=4)
    return text


def loss_curves(title: str, seeds: Sequence[Series]) -> Markup | None:
    """Loss terms over epochs, each named at its end; several seeds are faint lines around their mean.

    None if there is nothing to draw.
    """
    names = dict.fromkeys(name for series in seeds for name in series)
    terms = {name: [series.get(name, []) for series in seeds] for name in names}
    style = {name: Look("ink") if name == "loss" else method_look(place) for place, name in enumerate(terms)}
    return _curves(terms, style, (340, 205), title, "epoch", faint=True)


def relearning_curves(title: str, models: Mapping[str, Sequence[Points]]) -> Markup | None:
    """One line per model: the mean over its seeds, with faint lines for the seeds if there are few models.

    None if no model has a curve.
    """
    faint = sum(any(runs) for runs in models.values()) <= MANY
    return _curves(models, looks(list(models)), (440, 400), title, "steps of relearning", faint)


def mean_points(runs: Sequence[Points]) -> list[Point]:
    """The mean line of several seeds, at the positions that all of them have."""
    lines = [pd.Series(dict(points)) for points in runs if points]
    if not lines:
        return []
    means = pd.concat(lines, axis=1, join="inner").mean(axis=1).sort_index()
    return [(float(x), float(y)) for x, y in zip(means.index, means, strict=True)]


@STYLED()
def _curves(
    lines: Mapping[str, Sequence[Points]], style: Mapping[str, Look], size: Point, title: str, x: str, faint: bool
) -> Markup | None:
    """The mean of each entry's runs as a line with the name at its end; the runs themselves as faint lines."""
    means = {name: points for name, runs in lines.items() if (points := mean_points(runs))}
    if not means:
        return None
    ax = axes(*size, left=42, right=max(text_width(short(name), SIZE) for name in means) + 14)
    runs = [(name, points) for name in means for points in lines[name] if points and faint and len(lines[name]) > 1]
    every = np.concatenate([*means.values(), *(points for _, points in runs)])
    (first, low), (last, high) = every.min(axis=0), every.max(axis=0)
    ends = {"xlim": (first, max(last, first + 1)), "ylim": (min(0.0, low), 1.03 * max(high, 0.0) or 1.0)}
    ax.set(**ends, xlabel=x)
    ax.set_title(short(title, 60), weight="bold")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    for name, points in runs:
        ax.plot(*zip(*points, strict=True), color=style[name].hex, linewidth=1, alpha=0.3)
    for name, points in means.items():
        look, wide = style[name], 2.3 if name in ("loss", *REFERENCES) else 1.6
        ax.plot(*zip(*points, strict=True), color=look.hex, linewidth=wide, linestyle=look.line)
        _mark(ax, *points[-1], look, 6, f"{name}: {points[-1][1]:.4g}")
    _end_names(ax, means, style)
    finals = "; ".join(f"{name} {points[-1][1]:.4g}" for name, points in means.items())
    return inline(ax, clean(f"{title}, by {x}. At the end: {finals}."))


def _end_names(ax: Axes, means: Mapping[str, Points], style: Mapping[str, Look]) -> None:
    """Write the lines' names in a column at the right edge, without overlap."""
    ends = ax.transData.transform([points[-1] for points in means.values()])
    (_, bottom), (right, top) = ax.transAxes.transform([(0, 0), (1, 1)])
    heights = spread_out(ends[:, 1], SIZE * 1.15, bottom - 8, top + 8)
    for (name, points), end, height in zip(means.items(), ends, heights, strict=True):
        _name(ax, name, points[-1], (right - end[0] + 11, height - end[1]), style[name], meets=(0, 0.5))

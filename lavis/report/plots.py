"""The report's plots of points and bars: forgetting against utility, similarity per split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lavis.report.labels import Spot, leader, place_labels
from lavis.report.markup import Safe
from lavis.report.numbers import Row, mean_of, named, names_of, number, shown, spread_of, target_name
from lavis.report.palette import INK, LINE, MUTED, PAPER, REFERENCE_LOOKS, Look, looks
from lavis.report.svg import (
    Frame,
    el,
    figure_svg,
    label,
    line,
    marker,
    nice_ticks,
    text_width,
    tick_label,
)

NAME_SIZE, LOG_3 = 12.0, math.log10(3)
SCATTER, WIDE, PANEL = (440.0, 350.0), (480.0, 470.0), 340.0
MANY = 8  # models from which a plot of points needs more room


@dataclass(frozen=True)
class Axis:
    """A metric, its title on the plot, the values that the axis always shows, and whether it is logarithmic.

    `span` is the least range that it shows, so that a small difference does not fill the plot.
    """

    key: str
    title: str
    always: tuple[float, ...] = (0.0,)
    log: bool = False
    span: float = 0.0

    def value(self, row: Row) -> float | None:
        """Where a row stands on the axis; None where it has no value, or none above 0 on a logarithmic axis."""
        value = number(row, self.key)
        if value is None or not self.log:
            return value
        return math.log10(value) if value > 0 else None

    def ticks(self, values: Sequence[float]) -> list[float]:
        every = [*values, *self.always]
        low, high = min(every), max(every)
        if not self.log:
            return nice_ticks(min(low, high - self.span), high)
        low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
        return [place + part for place in range(low, high) for part in (0.0, LOG_3)] + [float(high)]

    def text(self, tick: float) -> str:
        return tick_label(float(f"{10**tick:.1g}")) if self.log else tick_label(tick)


def scatter(rows: Sequence[Row], x: Axis, y: Axis, guides: Sequence[str] = ()) -> Safe | None:
    """Models as points; dotted lines cross at the references named in `guides`, the target where none is named.

    With several seeds each seed is a faint point and the name stands at their mean. None where no row has both.
    """
    points = [(row, a, b) for row in rows if (a := x.value(row)) is not None and (b := y.value(row)) is not None]
    if not points:
        return None
    names, style = names_of(row for row, _, _ in points), looks(names_of(rows))
    width, height = WIDE if len(names) > MANY else SCATTER
    ticks = x.ticks([a for _, a, _ in points]), y.ticks([b for _, _, b in points])
    frame = Frame(56, 36, width - 76, height - 88, *ticks)
    seeds = {name: [(a, b) for row, a, b in points if row["name"] == name] for name in names}
    centres = {name: (fmean(a for a, _ in found), fmean(b for _, b in found)) for name, found in seeds.items()}
    parts = frame.grid(x.title, y.title, x.text, y.text)
    for name in guides or [target_name(rows)]:
        parts += _cross_hair(frame, *centres[name], name) if name in centres else []
    for row, a, b in points:
        if len(seeds[row["name"]]) > 1:
            tip = f"{row['name']}, seed {row.get('seed')}"
            parts.append(marker(style[row["name"]], frame.x(a), frame.y(b), 3.0, tip, 0.4))
    for name, (a, b) in reversed(centres.items()):  # the references, which come first, lie on top
        tip = f"{name}: {x.key} {_back(x, a):.4g}, {y.key} {_back(y, b):.4g}"
        parts.append(marker(style[name], frame.x(a), frame.y(b), 6.5, tip))
    parts += _point_names([(frame.x(a), frame.y(b), name) for name, (a, b) in centres.items()], frame, width, style)
    return figure_svg(width, height, f"{y.title} against {x.title}", parts)


def _back(axis: Axis, value: float) -> float:
    return 10**value if axis.log else value


def _point_names(means: Sequence[Spot], frame: Frame, width: float, style: Mapping[str, Look]) -> list[Safe]:
    """Every point's name beside it, or at the end of a thin line."""
    bounds = (frame.left + 2, frame.top - 4, width - 2, frame.top + frame.height - 2)
    spots = place_labels(means, bounds, NAME_SIZE)
    lines = [leader(point, spot, NAME_SIZE) for point, spot in zip(means, spots, strict=True)]
    parts = [line(*ends, MUTED, 0.8) for ends in lines if ends]
    names = [_haloed(name, *spot, style[name].colour) for (_, _, name), spot in zip(means, spots, strict=True)]
    return parts + names


def _cross_hair(frame: Frame, x: float, y: float, name: str) -> list[Safe]:
    right, bottom = frame.left + frame.width, frame.top + frame.height
    across, down = frame.x(x), frame.y(y)
    dash = REFERENCE_LOOKS[name].dash or "3 4"
    colour = REFERENCE_LOOKS[name].colour
    return [
        line(across, frame.top, across, bottom, colour, 1, dash),
        line(frame.left, down, right, down, colour, 1, dash),
    ]


def _haloed(text: str, x: float, y: float, anchor: str, colour: str) -> Safe:
    halo = {"stroke": PAPER, "stroke_width": 3, "paint_order": "stroke", "stroke_linejoin": "round"}
    place = {"x": float(x), "y": float(y), "text_anchor": anchor}
    return el("text", text, **place, fill=colour, font_size=NAME_SIZE, font_weight=600, **halo)


def bars(rows: Sequence[Row], key: str, title: str, domain: tuple[float, float]) -> Safe | None:
    """One split's value for every model as horizontal bars; the dashed line is the target's value.

    `domain` is shared between the panels of a figure. None where no row has the metric.
    """
    names = [name for name in names_of(rows) if mean_of(named(rows, name), key) is not None]
    if not names:
        return None
    style, step, top = looks(names_of(rows)), 23.0, 30.0
    left = max(62.0, max(text_width(name, 12) for name in names) + 12)
    ticks = nice_ticks(*domain, count=5)
    frame = Frame(left, top, PANEL - left - 62, step * len(names), ticks, [0, 1])
    parts = [label(title, 0, 15, INK, weight=600)]
    parts += [line(frame.x(v), top - 2, frame.x(v), top + frame.height + 2, LINE) for v in ticks]
    parts += [label(tick_label(v), frame.x(v), top + frame.height + 16, MUTED, "middle", 11) for v in ticks]
    for place, name in enumerate(names):
        parts += _bar(frame, named(rows, name), key, name, style[name], top + step * place)
    parts.append(line(frame.x(0), top - 2, frame.x(0), top + frame.height + 2, MUTED))
    aim = mean_of(named(rows, target_name(rows) or ""), key)
    if aim is not None:
        parts.append(line(frame.x(aim), top - 4, frame.x(aim), top + frame.height + 4, INK, 1.3, "3 3"))
    return figure_svg(PANEL, top + frame.height + 24, f"{title}, by model", parts)


def _bar(frame: Frame, rows: Sequence[Row], key: str, name: str, look: Look, y: float) -> list[Safe]:
    value, spread = mean_of(rows, key) or 0.0, spread_of(rows, key)
    start, end = sorted((frame.x(0), frame.x(value)))
    tip = f"{name}: {value:.3f}" + (f" ± {spread:.3f} over {len(rows)} seeds" if spread is not None else "")
    edge = {} if look.filled else {"stroke": look.colour, "stroke_width": 1.6}
    fill = look.colour if look.filled else "#eceff3"
    parts = [
        label(name, frame.left - 8, y + 16, INK, "end", 12),
        el("rect", el("title", tip), x=start, y=y + 4, width=max(end - start, 0.8), height=15.0, fill=fill, **edge),
        label(shown(value, 3), PANEL - 2, y + 16, INK, "end", 12),
    ]
    if spread:
        parts.append(line(frame.x(value - spread), y + 11.5, frame.x(value + spread), y + 11.5, INK, 1.5))
    return parts
